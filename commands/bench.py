"""`medledger bench`: how much a consortium commits, how fast, and what that costs."""

import asyncio
import contextlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import quick as quick_benchmark
from benchmarks.comparison import compare as compare_results
from benchmarks.comparison import differences
from benchmarks.errors import InvalidScene, LoadError, SceneError, WorkloadInvalid
from benchmarks.report.making import write_report
from benchmarks.scene.faults import check_faults, parse_fault_words
from benchmarks.scene.places import LOOPBACK, NAMESPACES, Scene, Wanted, open_scene
from benchmarks.scene.remote import check_commands, load_network
from benchmarks.schema import FILE, load_results
from benchmarks.spread import Spread
from benchmarks.suite import Load, Suite, run_suite
from benchmarks.workload import Workload, load_workload, wanted_of
from commands.devnet import DEVNET_ERRORS
from commands.home import CLIENT_ERRORS
from commands.output import Exit, fail, failures, say, settings, show, show_rows

PLACES: Final = click.Choice((LOOPBACK, NAMESPACES))
FILE_PATH: Final = click.Path(path_type=Path, dir_okay=False)
BENCH_ERRORS: Final[dict[type[Exception], Exit]] = {
    InvalidScene: Exit.USAGE,
    WorkloadInvalid: Exit.USAGE,
    **CLIENT_ERRORS,
    **DEVNET_ERRORS,
    SceneError: Exit.LOCAL,
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
    with failures(BENCH_ERRORS):
        say("starting 4 nodes")
        with open_scene(Wanted()) as scene:
            line = asyncio.run(quick_benchmark.measure(scene, say))
    click.echo(json.dumps(line))


@bench.command()
@click.argument("workload")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for results.json and the histograms; it is made, and must be empty.",
)
@click.option("-n", "--nodes", "validators", type=click.IntRange(1, 16), help="How many nodes [4].")
@click.option("--dead", type=click.IntRange(0), help="How many of them are never started [0].")
@click.option("--links", help="lan, or the delay of every message one way, such as 100ms [lan].")
@click.option("--where", type=PLACES, help="Where its nodes are [as the links need it].")
@click.option("--fault", "faults", multiple=True, help='In every run: "5 kill primary".')
@click.option("--network", type=FILE_PATH, help="A network that runs already, from its file.")
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
    network: Path | None,
    seed: int,
    faults: tuple[str, ...],
    rates: tuple[float, ...],
    curve: str | None,
    saturate: bool,
    **changes: Any,
) -> None:
    """Offer WORKLOAD to local nodes and write results.json and histograms to --out.

    Without rates the nodes are kept saturated first, then fractions of that are offered, open loop.
    Ctrl-C ends early and leaves valid results.

    \b
    Example:
      medledger bench run grant --out results/grant
      medledger bench run hospital_day --out results/day --rates 200,400,800 --seconds 30
    """
    with failures(BENCH_ERRORS):
        load = _load(rates, curve, is_knee_wanted=saturate)
        chosen = _choose(workload, faults, changes)
        make_empty(out)
        with _open_network(network, chosen) as scene:
            suite = Suite(scene=scene, workload=chosen, seed=seed, out=out, tell=say)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
                asyncio.run(run_suite(suite, load))
        page = write_report((out,), out, say)
    say(f"results are in {out / FILE}, to be read in {page}")
    if settings().as_json:
        show(suite.results)
    if suite.is_interrupted:
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


@contextmanager
def _open_network(file: Path | None, workload: Workload) -> Iterator[Scene]:
    """Open the network of that file, or make one as the workload wants it."""
    if file is not None:
        scene = load_network(file)
        check_faults(workload.faults, scene.orgs)
        check_commands(scene, workload.faults)
        yield scene
        return
    wanted = wanted_of(workload)
    say(f"starting {wanted.validators - wanted.dead} nodes, links {wanted.links.name}")
    with open_scene(wanted) as scene:
        yield scene


def _spread(one: Spread) -> str:
    return f"{one.median:g} ({one.low:g} .. {one.high:g})"


def _choose(name: str, faults: tuple[str, ...], changes: dict[str, Any]) -> Workload:
    said = {key: value for key, value in changes.items() if value is not None}
    if faults:
        said["faults"] = tuple(sorted(map(parse_fault_words, faults), key=lambda one: one.at_s))
    return load_workload(name, said)


def _load(rates: tuple[float, ...], curve: str | None, *, is_knee_wanted: bool) -> Load:
    load = Load(rates=rates + _rates(curve), has_knee=is_knee_wanted)
    if load.rates and load.has_knee:
        fail(Exit.USAGE, "bench.load", "use --saturate, or --rate and --rates, not both")
    return load


def _rates(text: str | None) -> tuple[float, ...]:
    """Return the rates of `500,1000`, or end the command."""
    try:
        found = tuple(float(one) for one in text.split(",")) if text else ()
    except ValueError:
        found = (0.0,)
    if any(not 1 <= one < math.inf for one in found):
        fail(Exit.USAGE, "bench.rates", f"--rates {text}: numbers from 1 on, with commas between")
    return found


def make_empty(out: Path) -> None:
    """Make the directory, or end the command if it holds anything: no result is written over."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        fail(Exit.USAGE, "bench.out", f"{out} is not empty; name a directory of its own")
