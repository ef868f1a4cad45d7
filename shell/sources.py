"""Work shared out among peers: whoever is bad or slow loses what it has, and others go on with it.

A source that sent something wrong is asked no more; one that was slow, busy or out of reach a few
times in a row neither. What it had in hand goes back to the front of the line at once. One that
answers each time at the last moment keeps nobody waiting: others take over what it has in hand.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from crypto.errors import CryptoError, DecodeError
from ledger.errors import InvalidBlock, InvalidTransaction
from p2p.errors import P2pError, PeerRefused
from p2p.serving import REFUSED_BUSY
from storage.errors import BlockNotOurs

log = logging.getLogger("medledger.sources")

T = TypeVar("T")

SLOW_MAX: Final = 3
"""A source that fails so many times in a row, without sending anything wrong, is left alone."""

PAUSE_S: Final = 0.5

TAKE_OVER_S: Final = 10.0
"""Who has nothing to do takes over what has been in other hands for so long."""

WRONG: Final = (DecodeError, CryptoError, InvalidBlock, InvalidTransaction, BlockNotOurs)
"""What a source is given up for at once: it sent what does not hold."""


class Asks(Protocol):
    """Asks one peer and returns its reply (`p2p.network.Network`)."""

    async def request(
        self,
        peer_id: int,
        kind: int,
        body: bytes,
        timeout_ms: int,
        *,
        reply_bytes_max: int | None = None,
    ) -> bytes: ...


class NoSource(Exception):
    """Nobody is left who could be asked."""


@dataclass(slots=True, kw_only=True)
class Sources:
    """The peers that are asked, in turn; `bad` counts what was wrong, `slow` what did not come."""

    asks: Asks
    peers: list[int]
    bad: Counter[int] = field(default_factory=Counter)
    slow: Counter[int] = field(default_factory=Counter)
    in_a_row: Counter[int] = field(default_factory=Counter)


async def ask_one(sources: Sources, work: Callable[[int], Awaitable[T]]) -> T:
    """Return what the first source that can gives; raise `NoSource`."""
    while sources.peers:
        peer_id = sources.peers[0]
        try:
            found = await work(peer_id)
        except (P2pError, *WRONG) as problem:
            note_fault(sources, peer_id, problem)
            if peer_id in sources.peers:
                sources.peers.append(sources.peers.pop(0))
                await asyncio.sleep(PAUSE_S if len(sources.peers) == 1 else 0)
            continue
        sources.in_a_row[peer_id] = 0
        return found
    raise NoSource("nobody is left who could be asked")


async def share_out(
    sources: Sources, jobs: Iterable[T], work: Callable[[int, T], Awaitable[None]]
) -> None:
    """Have every job done by some source, all of them at once; raise `NoSource`.

    A job that is broken off is begun again by another: it has to remember what it has.
    """
    waiting = deque(jobs)
    under_way: dict[int, asyncio.Task[None]] = {}  # The longest in hand first.
    begun_s: dict[int, float] = {}
    losers: set[int] = set()

    async def do(peer_id: int, job: T) -> None:
        """Have one job done, or give it back."""
        begun_s[peer_id] = time.monotonic()
        under_way[peer_id] = asyncio.ensure_future(work(peer_id, job))
        try:
            await under_way[peer_id]
            sources.in_a_row[peer_id] = 0
        except (P2pError, *WRONG) as problem:
            waiting.appendleft(job)
            note_fault(sources, peer_id, problem)
        except asyncio.CancelledError:
            if peer_id not in losers:
                raise
            waiting.appendleft(job)
        finally:
            under_way.pop(peer_id).cancel()

    def take_over() -> None:
        """Have who has had a job in hand for very long give it back, and get no other."""
        holder = next(iter(under_way), None)
        if holder is None or holder in losers:
            return
        if time.monotonic() - begun_s[holder] >= TAKE_OVER_S:
            losers.add(holder)
            sources.slow[holder] += 1
            under_way[holder].cancel()

    async def serve(peer_id: int) -> None:
        while peer_id in sources.peers and peer_id not in losers and (waiting or under_way):
            if waiting:
                await do(peer_id, waiting.popleft())
                if sources.in_a_row[peer_id]:
                    await asyncio.sleep(PAUSE_S)
                continue
            await asyncio.sleep(PAUSE_S / 10)  # What others have in hand may come back.
            take_over()

    tasks = [asyncio.create_task(serve(peer_id)) for peer_id in tuple(sources.peers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if waiting:
        raise NoSource(f"{len(waiting)} parts are missing, and nobody is left who could be asked")


def note_fault(sources: Sources, peer_id: int, problem: Exception) -> None:
    """Count what a source did, and leave it alone if that is enough."""
    is_wrong = isinstance(problem, WRONG)
    is_gone = isinstance(problem, PeerRefused) and problem.refusal != REFUSED_BUSY
    if is_wrong:
        sources.bad[peer_id] += 1
    else:
        sources.slow[peer_id] += 1
        sources.in_a_row[peer_id] += 1
    details = {"peer": peer_id, "wrong": is_wrong, "reason": str(problem)}
    log.warning("snapshot source failed", extra=details)
    if peer_id in sources.peers and (is_wrong or is_gone or sources.in_a_row[peer_id] >= SLOW_MAX):
        sources.peers.remove(peer_id)
