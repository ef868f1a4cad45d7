"""What a transaction costs a node as its state grows: execution, tree and rows, the synced batch.

The same blocks are decided on states of several sizes, in one process, without consensus or
sockets: grants by patients drawn from all that there are, so that the paths in the tree are cold
where the state is large. Every patient drawn has given no right before, whatever the size. The
work is done on a copy. `python -m benchmarks.growth.against_state grown/keys-10000
grown/keys-1000000` prints a row for each; the first is what the others are compared with.
"""

import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from benchmarks.errors import NotGrown
from benchmarks.growth.deciding import begin_making, decide, grants
from benchmarks.growth.making import read_size
from benchmarks.load.people import make_person
from benchmarks.scene.local import load_members
from config import load_config
from genesis.document import chain_id_of
from genesis.files import load_genesis
from ledger.accounts import Role
from shell.limits import world_limits
from storage.chain import open_chain
from storage.database import open_database
from storage.layout import NodeLayout, make_layout

WARMUP_BLOCKS: Final = 1
MICROSECONDS: Final = 1e6
STEPS: Final = ("execute", "stage", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What is decided on each state: so many blocks of so many grants, the first left out."""

    count: int = 6
    grants: int = 500
    seed: int = 1


def measure_states(
    directories: Sequence[Path], scratch: Path, blocks: Blocks, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for the ledger in each directory, with its cost as a multiple of the first.

    Costs are microseconds of processor time per transaction, medians over the blocks; `block_ms` is
    the longest that one took on the wall. Raises `NotGrown` for a directory that holds no ledger
    made to grow, or too few patients.
    """
    rows: list[dict[str, Any]] = []
    for directory in directories:
        tell(f"deciding {blocks.count} blocks on the state in {directory}")
        row = _measure_state(directory, scratch / "copy", blocks)
        first = (rows or [row])[0]["cpu_us"]
        rows.append({**row, "ratio": round(row["cpu_us"] / first, 3)})
    return rows


def _measure_state(directory: Path, copy: Path, blocks: Blocks) -> dict[str, Any]:
    size = read_size(directory)
    layouts = [make_layout(member.directory) for member in load_members(directory)]
    if size.patients < blocks.count * blocks.grants:
        raise NotGrown(
            f"{directory} has {size.patients:,} patients, and {blocks.count * blocks.grants:,} are"
            " needed: let it grow, or ask for fewer blocks"
        )
    shutil.copytree(layouts[0].ledger, copy)
    try:
        costs, block_ms = _decide_blocks(directory, layouts, copy, size.patients, blocks)
    finally:
        shutil.rmtree(copy)
    return {
        "state_keys": size.state_keys,
        **{f"{step}_us": round(costs[step], 1) for step in STEPS},
        "cpu_us": round(sum(costs.values()), 1),
        "block_ms": round(block_ms, 1),
    }


def _decide_blocks(
    directory: Path, layouts: Sequence[NodeLayout], ledger: Path, patients: int, blocks: Blocks
) -> tuple[dict[str, float], float]:
    """Return the cost of each step, and the longest time a block took beside its signatures."""
    source = random.Random(blocks.seed)
    numbers = source.sample(range(patients), blocks.count * blocks.grants)
    found: list[dict[str, float]] = []
    longest = 0.0
    with open_database(ledger) as database:
        chain = open_chain(
            database,
            chain_id_of(load_genesis(layouts[0].genesis)),
            limits=world_limits(load_config(layouts[0].config).limits),
        )
        making = begin_making(directory, layouts, chain, seed=blocks.seed)
        making.is_synced = True
        for first in range(0, len(numbers), blocks.grants):
            givers = [
                make_person(blocks.seed, Role.PATIENT, number, making.orgs)
                for number in numbers[first : first + blocks.grants]
            ]
            time_ms = chain.tip.time_ms + 1
            signed = list(grants(making, time_ms, givers))
            making.costs.clear()
            began = time.perf_counter()
            decide(making, time_ms, signed)
            longest = max(longest, time.perf_counter() - began)
            found.append(dict(making.costs))
    measured = found[WARMUP_BLOCKS:]
    return {
        step: median([one[step] for one in measured]) / blocks.grants * MICROSECONDS
        for step in STEPS
    }, 1_000 * longest


@click.command()
@click.argument("directories", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--blocks", type=click.IntRange(2), default=6, show_default=True)
@click.option("--grants", type=click.IntRange(1, 1_000), default=500, show_default=True)
def main(directories: tuple[Path, ...], blocks: int, grants: int) -> None:
    """Decide the same blocks on the grown states in DIRECTORIES."""
    with tempfile.TemporaryDirectory(prefix="medledger-state-") as scratch:
        wanted = Blocks(count=blocks, grants=grants)
        for row in measure_states(directories, Path(scratch), wanted, click.echo):
            click.echo(json.dumps(row))


if __name__ == "__main__":
    main()
