"""Flow control of one stream of chunks: the receiver grants bytes, the sender spends them.

Credit is counted in bytes of chunks plus `CHUNK_COST_BYTES` for each of them, so that a million
tiny chunks are no way round the bound. What the receiver holds never passes its window; what the
sender holds is one chunk. A chunk without credit is a violation, so no correct sender waits long
in anybody's memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from p2p.errors import P2pError, ProtocolViolation

CHUNK_COST_BYTES: Final = 64
"""What a chunk costs beside its bytes: about what the objects that carry it take in memory."""

CREDIT_MAX: Final = 2**31
"""More outstanding credit than this is no window but an attack on a counter."""


@dataclass(slots=True, kw_only=True)
class Inflow:
    """The receiving end: chunks that arrived and were not taken yet.

    `credit` is what the sender may still send, `freed` what was taken since the last grant.
    `ended` with `failure` None means that the stream is complete.
    """

    window_bytes: int
    credit: int = 0
    freed: int = 0
    chunks: deque[bytes] = field(default_factory=deque)
    ended: bool = False
    failure: P2pError | None = None
    waiter: asyncio.Future[None] | None = None


@dataclass(slots=True, kw_only=True)
class Outflow:
    """The sending end: what may still be sent; `stopped` once nobody wants more."""

    credit: int = 0
    stopped: bool = False
    waiter: asyncio.Future[None] | None = None


def open_inflow(window_bytes: int) -> Inflow:
    """Return the end of a stream whose sender is about to be granted its whole window."""
    return Inflow(window_bytes=window_bytes, credit=window_bytes)


def chunk_cost(chunk: bytes) -> int:
    return len(chunk) + CHUNK_COST_BYTES


def accept_chunk(inflow: Inflow, chunk: bytes) -> None:
    """Keep a chunk that was paid for; raise `ProtocolViolation` for any other."""
    if inflow.ended:
        raise ProtocolViolation("chunk_after_end")
    if not chunk:
        raise ProtocolViolation("empty_chunk")
    if chunk_cost(chunk) > inflow.credit:
        raise ProtocolViolation("window_exceeded")
    inflow.credit -= chunk_cost(chunk)
    inflow.chunks.append(chunk)
    _wake(inflow)


def end_inflow(inflow: Inflow, failure: P2pError | None) -> None:
    """Let the reader come to the end once it has taken what is there; the first end counts."""
    if not inflow.ended:
        inflow.ended = True
        inflow.failure = failure
        _wake(inflow)


async def next_chunk(inflow: Inflow) -> bytes | None:
    """Wait for a chunk; None at the end of a complete stream, else raise what ended it."""
    while not inflow.chunks:
        if inflow.ended:
            if inflow.failure is not None:
                raise inflow.failure
            return None
        inflow.waiter = asyncio.get_running_loop().create_future()
        await inflow.waiter
    chunk = inflow.chunks.popleft()
    inflow.freed += chunk_cost(chunk)
    return chunk


def take_grant(inflow: Inflow) -> int:
    """Return the bytes to grant the sender now, 0 while less than half the window is free."""
    if inflow.ended or inflow.freed < inflow.window_bytes // 2:
        return 0
    granted, inflow.freed = inflow.freed, 0
    inflow.credit += granted
    return granted


def add_credit(outflow: Outflow, granted: int) -> None:
    """Take a grant of the receiver's; raise `ProtocolViolation` for an absurd one."""
    if granted == 0 or outflow.credit + granted > CREDIT_MAX:
        raise ProtocolViolation("absurd_grant")
    outflow.credit += granted
    _wake(outflow)


def stop_outflow(outflow: Outflow) -> None:
    outflow.stopped = True
    _wake(outflow)


async def spend_credit(outflow: Outflow, chunk: bytes) -> bool:
    """Wait until the chunk is paid for; return False when nobody wants it any more."""
    cost = chunk_cost(chunk)
    while not outflow.stopped and outflow.credit < cost:
        outflow.waiter = asyncio.get_running_loop().create_future()
        await outflow.waiter
    if outflow.stopped:
        return False
    outflow.credit -= cost
    return True


async def close_chunks(chunks: AsyncIterator[bytes]) -> None:
    """Let whoever produces chunks clean up now, not when somebody collects garbage."""
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def _wake(flow: Inflow | Outflow) -> None:
    waiter, flow.waiter = flow.waiter, None
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
