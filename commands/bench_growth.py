"""`medledger bench growth`: what a consortium costs as it grows, in members, hours and blocks."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.growth.findings import FILE, save_findings
from benchmarks.growth.members import measure_sizes
from benchmarks.growth.memory import memory_rows
from benchmarks.growth.upkeep import measure_upkeep
from benchmarks.scene.places import VALIDATORS_MAX, open_scene
from benchmarks.suite import Load, Suite, run_suite
from benchmarks.workload import Workload, load_workload, wanted_of
from commands.bench import BENCH_ERRORS, bench, make_empty
from commands.node_directory import OFFLINE_ERRORS
from commands.output import failures, say, show_rows
from config import load_config
from shell.limits import world_limits
from storage.pruning import Keep

WORKLOAD: Final = "grant"
SIZES: Final = (4, 7, 10, 16)
WARMUP_S: Final = 5.0
PATIENTS: Final = 20

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for what is found; it is made, and must be empty.",
)
seed_option = click.option("--seed", type=click.IntRange(0), default=1, show_default=True)


@bench.group()
def growth() -> None:
    """Measure what grows: members, memory over time, snapshots and pruning of long chains."""


@growth.command()
@out_option
@click.option(
    "-n",
    "--nodes",
    "sizes",
    type=click.IntRange(1, VALIDATORS_MAX),
    multiple=True,
    default=SIZES,
    show_default=True,
    help="How many nodes; the first is what the others are compared with.",
)
@click.option(
    "--rate", type=click.FloatRange(1), default=2.0, show_default=True, help="Per second."
)
@click.option("--seconds", type=click.FloatRange(6), default=20.0, show_default=True)
@click.option("--repetitions", type=click.IntRange(1), default=1, show_default=True)
@seed_option
def members(
    out: Path, sizes: tuple[int, ...], rate: float, seconds: float, repetitions: int, seed: int
) -> None:
    """Measure what a transaction costs each node in consortia of several sizes.

    All nodes share this machine: keep the rate low, or they wait for each other and blocks hold
    more transactions where there are more nodes.

    \b
    Example:
      medledger bench growth members --out results/members -n 4 -n 16
    """
    with failures(BENCH_ERRORS):
        make_empty(out)
        workload = _workload(seconds=seconds, repetitions=repetitions)
        rows = measure_sizes(workload, sizes, rate, seed=seed, out=out, tell=say)
    asked = {"rate": rate, "seconds": seconds, "repetitions": repetitions, "seed": seed}
    _finish(out, "members", asked, rows)


@growth.command()
@out_option
@click.option("--minutes", type=click.FloatRange(0.2, 1_440), default=5.0, show_default=True)
@click.option("--rate", type=click.FloatRange(1), default=20.0, show_default=True)
@click.option("-n", "--nodes", type=click.IntRange(1, VALIDATORS_MAX), default=4, show_default=True)
@seed_option
def memory(out: Path, minutes: float, rate: float, nodes: int, seed: int) -> None:
    """Watch the memory of nodes while the same load goes on.

    \b
    Example:
      medledger bench growth memory --out results/memory --minutes 60
    """
    with failures(BENCH_ERRORS):
        make_empty(out)
        workload = _workload(seconds=60 * minutes, repetitions=1, validators=nodes)
        say(f"starting {nodes} nodes")
        with open_scene(wanted_of(workload)) as scene:
            suite = Suite(scene=scene, workload=workload, seed=seed, out=out, tell=say)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
                asyncio.run(run_suite(suite, Load(rates=(rate,))))
    series = [one for row in suite.results["runs"] for one in row["node_series"]]
    asked = {"minutes": minutes, "rate": rate, "nodes": nodes, "seed": seed}
    _finish(out, "memory", asked, memory_rows(series))


@growth.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@out_option
@click.option("--keep-blocks", type=click.IntRange(1), default=1, show_default=True)
def upkeep(directory: Path, out: Path, keep_blocks: int) -> None:
    """Measure a snapshot and a pruning of the ledger in DIRECTORY, that of a stopped node.

    Both are done with a copy, which needs its room beside --out; DIRECTORY stays as it is. What no
    start could do without is never pruned, however few blocks are to be kept.

    \b
    Example:
      medledger bench growth upkeep /var/lib/medledger --out results/upkeep
    """
    with failures(OFFLINE_ERRORS | BENCH_ERRORS):
        config = load_config(directory / "node.toml")
        make_empty(out)
        with tempfile.TemporaryDirectory(prefix="medledger-upkeep-", dir=out) as scratch:
            rows = measure_upkeep(
                directory,
                Path(scratch),
                world_limits(config.limits),
                Keep(blocks=keep_blocks, days=0),
                say,
            )
    _finish(out, "upkeep", {"keep_blocks": keep_blocks}, rows)


def _workload(**changes: Any) -> Workload:
    few = {"warmup_s": WARMUP_S, "patients": PATIENTS, "drivers": 1}
    return load_workload(WORKLOAD, few | changes)


def _finish(out: Path, what: str, asked: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write what was found, and show it."""
    save_findings(out, what, asked, rows)
    say(f"what was found is in {out / FILE}")
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    show_rows(what.capitalize(), columns, rows)
