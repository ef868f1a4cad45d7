"""`medledger bench`: how much a consortium commits, how fast, and what that costs."""

import asyncio
import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import quick as quick_benchmark
from benchmarks.comparison import compare as compare_results
from benchmarks.comparison import differences
from benchmarks.errors import LoadError
from benchmarks.load.drivers import TownFiles
from benchmarks.measuring import Site
from benchmarks.scene.local import (
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    running_pid,
    start_members,
    stop_members,
    wait_ready,
)
from benchmarks.schema import FILE, load_results
from benchmarks.spread import Spread
from benchmarks.suite import Load, Suite, begin_results, run_suite
from benchmarks.workload import load_workload
from commands.devnet import DEVNET_ERRORS
from commands.home import CLIENT_ERRORS
from commands.output import Exit, fail, failures, say, settings, show, show_rows
from ledger.parameters import Parameters

IDLE_BLOCK_MS: Final = 1_000
BENCH_ERRORS: Final[dict[type[Exception], Exit]] = {
    **CLIENT_ERRORS,
    **DEVNET_ERRORS,
    LoadError: Exit.LOCAL,
}


@click.group()
def bench() -> None:
    """Measure: transactions per second, latency, processor time."""


@bench.command()
def quick() -> None:
    """In less than a minute: four local nodes at saturation and at half of it; one line of JSON.

    \b
    Example:
      medledger bench quick
    """
    with failures(BENCH_ERRORS), _local_site(4) as site:
        town = town_files(
            site,
            seed=quick_benchmark.SEED,
            patients=quick_benchmark.PATIENTS,
            doctors=quick_benchmark.DOCTORS,
        )
        line = asyncio.run(quick_benchmark.measure(site, town, say))
    click.echo(json.dumps(line))


@bench.command()
@click.argument("workload")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for results.json and the histograms; it is made, and must be empty.",
)
@click.option("-n", "count", type=click.IntRange(1, 16), default=4, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--rate", "rates", type=click.FloatRange(1), multiple=True, help="Per second.")
@click.option("--rates", "curve", help="Several rates: 500,1000,2000.")
@click.option("--saturate", is_flag=True, help="Search the knee instead of offering fractions.")
@click.option("--seconds", type=click.FloatRange(1), help="How long each run is.")
@click.option("--warmup", "warmup_s", type=click.FloatRange(0), help="Seconds left out of figures.")
@click.option("--repetitions", type=click.IntRange(1), help="How often each load is offered.")
@click.option("--patients", type=click.IntRange(1), help="How many are registered first.")
def run(
    workload: str,
    out: Path,
    count: int,
    seed: int,
    rates: tuple[float, ...],
    curve: str | None,
    saturate: bool,
    **changes: Any,
) -> None:
    """Offer WORKLOAD to local nodes and write results.json and histograms to --out.

    Without rates the nodes are kept saturated first, then fractions of that are offered, open loop.
    Ctrl-C ends early and leaves valid results.

    \b
    Examples:
      medledger bench run grant --out results/grant
      medledger bench run hospital_day --out results/day --rates 200,400,800 --seconds 30
    """
    with failures(BENCH_ERRORS):
        load = Load(rates=rates + _rates(curve), has_knee=saturate)
        if load.rates and load.has_knee:
            fail(Exit.USAGE, "bench.load", "use --saturate, or --rate and --rates, not both")
        chosen = load_workload(workload, {k: v for k, v in changes.items() if v is not None})
        _make_empty(out)
        with _local_site(count) as site:
            network = {"validators": count, "dead": 0, "links": "lan", "where": "local"}
            results = begin_results(site, chosen, seed, network=network)
            suite = Suite(site=site, workload=chosen, seed=seed, out=out, tell=say, results=results)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
                asyncio.run(run_suite(suite, load))
    say(f"results are in {out / FILE}")
    if settings().as_json:
        show(results)
    if results["interrupted"]:
        fail(Exit.LOCAL, "bench.interrupted", f"interrupted; what was measured is in {out / FILE}")


@bench.command()
@click.argument("first", type=click.Path(path_type=Path, exists=True))
@click.argument("second", type=click.Path(path_type=Path, exists=True))
def compare(first: Path, second: Path) -> None:
    """Compare two results, medians and spread; a verdict only where they differ beyond noise.

    \b
    Example:
      medledger bench compare results/before results/after
    """
    with failures(BENCH_ERRORS):
        before, after = load_results(first), load_results(second)
    for text in differences(before, after):
        say(f"note: {text}")
    rows = [
        {
            "load": one.load,
            "figure": one.figure,
            "first": _spread(one.before),
            "second": _spread(one.after),
            "ratio": None if one.ratio is None else round(one.ratio, 3),
            "verdict": one.verdict,
        }
        for one in compare_results(before, after)
    ]
    if not rows:
        fail(Exit.LOCAL, "bench.nothing", "the two results have no load in common")
    show_rows("Comparison", ("load", "figure", "first", "second", "ratio", "verdict"), rows)


def _spread(one: Spread) -> str:
    return f"{one.median:g} ({one.low:g} .. {one.high:g})"


def _rates(text: str | None) -> tuple[float, ...]:
    """Return the rates of `500,1000`, or end the command."""
    try:
        found = tuple(float(one) for one in text.split(",")) if text else ()
    except ValueError:
        found = (0.0,)
    if any(not 1 <= one < math.inf for one in found):
        fail(Exit.USAGE, "bench.rates", f"--rates {text}: numbers from 1 on, with commas between")
    return found


def _make_empty(out: Path) -> None:
    """Make the directory, or end the command if it holds anything: no result is written over."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        fail(Exit.USAGE, "bench.out", f"{out} is not empty; name a directory of its own")


def town_files(site: Site, *, seed: int, patients: int, doctors: int) -> TownFiles:
    """Return where the drivers find who may register people."""
    return TownFiles(
        seed=seed,
        chain_id=site.chain_id,
        orgs=site.orgs,
        admins=tuple(f"admin-{org}" for org in site.orgs),
        home=site.home,
        passphrase_file=site.passphrase_file,
        patients=patients,
        doctors=doctors,
    )


@contextmanager
def _local_site(count: int) -> Iterator[Site]:
    """Found and start `count` nodes on this machine; stop them and remove them afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="medledger-bench-"))
    members: list[Member] = []
    try:
        say(f"starting {count} nodes")
        found_devnet(folder, count, parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS))
        members = load_members(folder)
        start_members(folder, members)
        wait_ready(members)
        yield Site(
            chain_id=bytes.fromhex((folder / "chain-id").read_text(encoding="ascii")),
            orgs=tuple(member.org for member in members),
            urls=tuple(member.url for member in members),
            validators=count,
            home=folder / "home",
            passphrase_file=passphrase_path(folder),
            pids={member.org: pid for member in members if (pid := running_pid(member))},
        )
    finally:
        stop_members(members)
        shutil.rmtree(folder, ignore_errors=True)
