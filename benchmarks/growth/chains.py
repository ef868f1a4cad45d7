"""What a long chain costs: restarting a member, catching up with it, a snapshot, pruning."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.growth.catching_up import CatchUp, measure_catch_up
from benchmarks.growth.making import Growth, make_grown
from benchmarks.growth.restarting import measure_restarts
from benchmarks.growth.upkeep import measure_upkeep
from benchmarks.scene.local import load_members
from config import Limits, load_config
from shell.limits import world_limits
from storage.pruning import Keep

SNAPSHOT_BLOCKS_MIN: Final = 10_000
"""On a shorter chain a member has caught up before it looks for a shorter way."""


def measure_chain(
    directory: Path, growth: Growth, *, restarts: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for each measurement on a ledger that is made in `directory`, or found there.

    Raises what founding, storage and the measurements raise.
    """
    size, made_s = make_grown(directory, growth, tell)
    rows: list[dict[str, Any]] = [{"what": "made", **asdict(size), "seconds": round(made_s, 1)}]
    tell(f"restarting a member {restarts} times")
    rows += [{"what": "restart", **asdict(one)} for one in measure_restarts(directory, restarts)]
    tell("catching up block by block")
    lowest, highest = Limits.BOUNDS["snapshot_gap_blocks"]
    by_blocks = measure_catch_up(directory, size, gap_blocks=highest)
    rows.append(catch_up_row("catch-up by blocks", by_blocks))
    if size.height >= SNAPSHOT_BLOCKS_MIN:
        tell("catching up by a snapshot")
        by_snapshot = measure_catch_up(directory, size, gap_blocks=lowest)
        rows.append(catch_up_row("catch-up by snapshot", by_snapshot))
    node = load_members(directory)[0].directory
    limits = world_limits(load_config(node / "node.toml").limits)
    with tempfile.TemporaryDirectory(prefix="upkeep-", dir=directory) as scratch:
        keep = Keep(blocks=1, days=0)
        return [*rows, *measure_upkeep(node, Path(scratch), limits, keep, tell)]


def catch_up_row(what: str, found: CatchUp) -> dict[str, Any]:
    """Return what a catch-up came to, with its rates and its processor time per transaction."""
    cpu_ms = 1_000 * found.cpu_s / found.transactions if found.transactions else None
    return {
        "what": what,
        **asdict(found),
        "seconds": round(found.seconds, 2),
        "cpu_s": round(found.cpu_s, 2),
        "blocks_per_s": round(found.blocks_per_s, 1),
        "transactions_per_s": round(found.transactions_per_s, 1),
        "cpu_ms_per_transaction": None if cpu_ms is None else round(cpu_ms, 3),
    }
