"""Pruning while the node runs: old blocks leave the disk a slice at a time."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from crypto.votes import Height
from shell.chain import Chain, wait_height
from storage.errors import StorageError
from storage.pruning import Keep, Pruned, prune, prune_horizon, pruned_ranges

log = logging.getLogger("medledger.pruning")

LOOK_S: Final = 60.0
BLOCKS_AT_ONCE_MIN: Final = 64
"""Compaction rewrites whole files: it is not worth its work for fewer blocks."""

SLICE_PAUSE_S: Final = 0.005
WAIT_MS: Final = 60_000


@dataclass(slots=True, kw_only=True)
class Pruning:
    """What an operator wants kept, and what was last done about it."""

    chain: Chain
    keep: Keep
    is_under_way: bool = False
    last: Pruned | None = None


async def keep_pruning(pruning: Pruning, *, look_s: float = LOOK_S) -> None:
    """Look every minute whether enough has become old; nothing to do where all is kept."""
    while not pruning.keep.is_everything:
        await asyncio.sleep(look_s)
        horizon = prune_horizon(pruning.chain.stored, pruning.keep)
        if horizon - pruning.chain.stored.history.whole_from >= BLOCKS_AT_ONCE_MIN:
            try:
                await prune_once(pruning, horizon)
            except StorageError as problem:
                log.warning("pruning broken off", extra={"reason": str(problem)})


async def prune_once(pruning: Pruning, horizon: int) -> None:
    """Delete what is below the horizon, then give its room back once no view shows it any more.

    Raises `StorageError`; what was done stays done.
    """
    chain = pruning.chain
    pruning.is_under_way = True
    try:
        steps = prune(chain.stored, Height(horizon))
        for done in steps:
            pruning.last = done
            await asyncio.sleep(SLICE_PAUSE_S)
        # The view of the tip and the one before it: two blocks later both show what is left.
        await wait_height(chain, chain.tip.height + 2, WAIT_MS)
        for start, stop in pruned_ranges(chain.stored):
            await _compact(chain, start, stop)
    finally:
        pruning.is_under_way = False
    log.info("pruned", extra={"horizon": horizon, "blocks": pruning.last and pruning.last.blocks})


async def _compact(chain: Chain, start: bytes, stop: bytes | None) -> None:
    """Compact a range in a thread; who cancels this waits: LevelDB cannot close under it."""
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(None, chain.stored.database.compact_range, start, stop)
    try:
        await asyncio.shield(work)
    finally:
        if not work.done():
            await asyncio.wait([work])
