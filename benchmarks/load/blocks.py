"""Watching the nodes decide: when each of them announced each block.

A transaction counts as decided when `quorum` nodes have announced the block that holds it: one
announcement is one node's word. Only headers travel while the load runs; what became of each
transaction is read back afterwards (`benchmarks.load.outcomes`).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

RETRY_S: Final = 0.2


@dataclass(slots=True, kw_only=True)
class Block:
    """A block as announced: by digest, the times (monotonic seconds) in order of arrival."""

    tx_count: dict[str, int] = field(default_factory=dict)
    seen_s: dict[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was announced so far; `decided` counts transactions of blocks that a quorum has.

    `on_decided` is told of each such block: its transactions, and when the quorum had it.
    """

    quorum: int
    on_decided: Callable[[int], None]
    blocks: dict[int, Block] = field(default_factory=dict)
    decided: int = 0
    followed: set[str] = field(default_factory=set)
    is_followed: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def watching(
    urls: Sequence[str], quorum: int, on_decided: Callable[[int], None] = lambda _count: None
) -> AsyncIterator[Watch]:
    """Follow the blocks of every node from its tip on, through broken connections.

    Yields once the streams of a quorum are open: no block is missed from then on.
    """
    watch = Watch(quorum=quorum, on_decided=on_decided)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=2)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        following = [asyncio.create_task(_follow(http, url, watch)) for url in urls]
        try:
            await watch.is_followed.wait()
            yield watch
        finally:
            for one in following:
                one.cancel()
            await asyncio.gather(*following, return_exceptions=True)


def on_announced(watch: Watch, told: dict[str, Any], at_s: float) -> None:
    """Note that one more node has announced a block; `told` is its event's data."""
    block = watch.blocks.setdefault(told["height"], Block())
    digest, count = told["digest"], told["tx_count"]
    block.tx_count[digest] = count
    times = block.seen_s.setdefault(digest, [])
    times.append(at_s)
    if len(times) == watch.quorum:
        watch.decided += count
        watch.on_decided(count)


def decided_s(watch: Watch, height: int, digest: str) -> float | None:
    """Return when a quorum had announced this block, None if it has not."""
    block = watch.blocks.get(height)
    times = [] if block is None else block.seen_s.get(digest, [])
    return None if len(times) < watch.quorum else times[watch.quorum - 1]


async def _follow(http: aiohttp.ClientSession, url: str, watch: Watch) -> None:
    params: dict[str, str] = {}
    while True:
        try:
            async with http.get(url + "/v1/events", params=params) as events:
                watch.followed.add(url)
                if len(watch.followed) >= watch.quorum:
                    watch.is_followed.set()
                async for line in events.content:
                    if line.startswith(b"data:"):
                        told = json.loads(line[5:])
                        if "height" in told and "digest" in told:
                            params = {"after": str(told["height"])}
                            on_announced(watch, told, time.monotonic())
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # The node is down; its announcements come when it is back.
        await asyncio.sleep(RETRY_S)
