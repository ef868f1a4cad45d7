"""`medledger bench peers`: the same kinds of transaction at our nodes and at other systems."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.peers.installing import default_directory
from benchmarks.peers.running import Places, begin_peers, our_rows, run_peers
from benchmarks.report.making import PEERS, write_report
from benchmarks.report.peers import PEERS_NOTE, peers_table
from benchmarks.scene.places import open_scene
from benchmarks.suite import Load, Suite, run_suite
from benchmarks.workload import load_workload, wanted_of
from commands.bench import BENCH_ERRORS, bench, make_empty
from commands.output import Exit, fail, failures, say, settings, show, show_rows

WORKLOAD: Final = "beside_peers"


@bench.command("peers")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for results.json, peers.json and report.html; made, and must be empty.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where npm puts the packages of Hardhat and Ganache, 500 MB [in your cache].",
)
@click.option(
    "--etcd",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The program of etcd [the one on PATH].",
)
@click.option("--seconds", type=click.FloatRange(6), help="How long each run of our nodes is.")
@click.option("--repetitions", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def beside(
    out: Path,
    directory: Path | None,
    etcd: Path | None,
    seconds: float | None,
    repetitions: int,
    seed: int,
) -> None:
    """Offer the same kinds of transaction to our nodes, Hardhat's, Ganache's and etcd's.

    Register, add a record, give a right, read with it, take it back: each is kept saturated, one
    after the other. Not like for like: Hardhat's
    and Ganache's nodes are a single process without consensus; etcd checks no signatures and
    survives crashes only. What this machine lacks is named and left out.

    \b
    Example:
      medledger bench peers --out results/peers
    """
    with failures(BENCH_ERRORS):
        make_empty(out)
        changes = {"seconds": seconds, "repetitions": repetitions}
        said = {key: value for key, value in changes.items() if value is not None}
        results = begin_peers()
        results["runs"] += _run_ours(said, seed, out)
        places = Places(packages=(directory or default_directory()).absolute(), etcd=etcd)
        try:
            run_peers(results, places, repetitions, say)
        finally:  # Ctrl-C leaves what was measured until then.
            (out / PEERS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        page = write_report((out,), out, say)
    _show(results, page)


def _run_ours(changes: dict[str, Any], seed: int, out: Path) -> list[dict[str, Any]]:
    workload = load_workload(WORKLOAD, changes)
    say(f"starting {workload.validators} nodes")
    with open_scene(wanted_of(workload)) as scene:
        suite = Suite(scene=scene, workload=workload, seed=seed, out=out, tell=say)
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
            asyncio.run(run_suite(suite, Load()))
    if suite.is_interrupted:
        fail(Exit.LOCAL, "bench.interrupted", f"interrupted; what was measured is in {out}")
    return our_rows(suite.results)


def _show(results: dict[str, Any], page: Path) -> None:
    if settings().as_json:
        show(results)
        return
    table = peers_table([results])
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    show_rows("Beside other systems", table.columns, rows)
    say(PEERS_NOTE)
    say(f"the report is {page}")
