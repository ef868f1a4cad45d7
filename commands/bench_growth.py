"""`medledger bench growth`: what a consortium costs as it grows, in members, hours and blocks."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.growth.chains import measure_chain
from benchmarks.growth.findings import FILE, save_findings
from benchmarks.growth.making import Growth
from benchmarks.growth.members import measure_sizes
from benchmarks.growth.memory import memory_rows
from benchmarks.growth.states import measure_states
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
STATES: Final = (10_000, 100_000)
WARMUP_S: Final = 5.0
PATIENTS: Final = 20

out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory for what is found; it is made, and must be empty.",
)
seed_option = click.option("--seed", type=click.IntRange(0), default=1, show_default=True)


ledgers_option = click.option(
    "--ledgers",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder in which grown ledgers are made, and found again another time.",
)


@bench.group()
def growth() -> None:
    """Measure what grows: members, memory over time, the state, the chain, and its upkeep."""


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
@out_option
@ledgers_option
@click.option(
    "--keys",
    type=click.IntRange(100, 10_000_000),
    multiple=True,
    default=STATES,
    show_default=True,
    help="Entries of the state; the first is what the others are compared with.",
)
@click.option("--seconds", type=click.FloatRange(6), default=12.0, show_default=True)
@click.option("--repetitions", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seed", type=click.IntRange(2), default=2, show_default=True)
def state(
    out: Path, ledgers: Path, keys: tuple[int, ...], seconds: float, repetitions: int, seed: int
) -> None:
    """Keep four nodes saturated with rights to give, on states of several sizes.

    What is offered stays on the ledgers: measure them another time with another --seed.

    \b
    Example:
      medledger bench growth state --ledgers grown --out results/state --keys 10000 --keys 1000000
    """
    with failures(BENCH_ERRORS):
        make_empty(out)
        changes = {"seconds": seconds, "repetitions": repetitions, "fractions": ()}
        workload = load_workload(WORKLOAD, changes)
        rows = measure_states(workload, keys, ledgers, seed=seed, out=out, tell=say)
    _finish(out, "state", {"keys": keys, **changes, "seed": seed}, rows)


@growth.command()
@out_option
@ledgers_option
@click.option("--blocks", type=click.IntRange(100, 10_000_000), default=10_000, show_default=True)
@click.option("--grants", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--restarts", type=click.IntRange(1, 100), default=3, show_default=True)
def chain(out: Path, ledgers: Path, blocks: int, grants: int, restarts: int) -> None:
    """Measure restart, catch-up, snapshot and pruning on a chain of so many blocks.

    Each block gives --grants rights; a chain is made in seconds to minutes, by the nodes' own code.

    \b
    Example:
      medledger bench growth chain --ledgers grown --out results/chain --blocks 100000
    """
    wanted = Growth(blocks=blocks, grants=grants)
    with failures(BENCH_ERRORS):
        make_empty(out)
        directory = ledgers / f"blocks-{blocks}-{grants}"
        rows = measure_chain(directory, wanted, restarts=restarts, tell=say)
    _finish(out, "chain", {"blocks": blocks, "grants": grants, "restarts": restarts}, rows)


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
