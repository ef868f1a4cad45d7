"""Turns: work that keeps the one event loop busy is done one at a time, with a rest after each.

Reading, hashing and encoding a large block takes this process a tenth of a second, in which it
hears no vote. Whoever asks for such things, however often, gets a share of its time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Turn:
    """One place at the work: the next begins when it is free, not before `free_at_s`."""

    share: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at_s: float = 0.0


@asynccontextmanager
async def taking(turn: Turn) -> AsyncIterator[None]:
    """Wait for the turn and have it; afterwards it rests, so that `share` of the time is used."""
    async with turn.lock:
        await asyncio.sleep(max(0.0, turn.free_at_s - time.monotonic()))
        started_s = time.monotonic()
        try:
            yield
        finally:
            ended_s = time.monotonic()
            turn.free_at_s = ended_s + (ended_s - started_s) * (1 / turn.share - 1)
