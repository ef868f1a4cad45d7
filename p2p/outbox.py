"""The outbox: what one connection has to send, and the writing of it.

Frames wait in their lanes, not in TLS or the kernel: the transport is given more only when it has
next to nothing left, so an urgent frame overtakes all that was not given away yet. Senders of
lanes that do not drop wait for room in the order in which they came.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from p2p.errors import P2pError
from p2p.frames import HEADER_BYTES, SHARED_BYTES_MAX
from p2p.lanes import LANES, Lane, LaneQueues, drop_all, put_frame, take_frames

WRITE_BYTES: Final = HEADER_BYTES + SHARED_BYTES_MAX
"""Frames leave together up to this size, a write of its own costing more than a small frame; and
the largest frame of a lane below consensus just fits."""

_WRITE_HIGH_WATER: Final = 16 * 1024
"""What may wait in TLS before nothing more is given to it."""


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Frames in their lanes, senders in line (by lane), and the transport they wait for.

    `rest` is what remains of a large frame that has begun to leave.
    """

    queues: LaneQueues
    transport: asyncio.Transport | None = None
    line: tuple[deque[tuple[asyncio.Future[None], bytes]], ...] = field(
        default_factory=lambda: tuple(deque() for _ in LANES)
    )
    is_paused: bool = False
    is_closed: bool = False
    is_flush_due: bool = False
    rest: memoryview = field(default_factory=lambda: memoryview(b""))


def attach(outbox: Outbox, transport: asyncio.Transport) -> None:
    """Begin to write to a transport, which is told to buffer little."""
    outbox.transport = transport
    transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER, low=0)


def send(outbox: Outbox, lane: Lane, frame: bytes) -> bool:
    """Queue a frame for this turn of the loop; False if its lane is full and may not drop."""
    if not put_frame(outbox.queues, lane, frame):
        return False
    if not outbox.is_flush_due and not outbox.is_paused:
        outbox.is_flush_due = True
        asyncio.get_running_loop().call_soon(flush, outbox)
    return True


async def put(outbox: Outbox, lane: Lane, frame: bytes) -> None:
    """Queue a frame when there is room and all who came earlier have had their turn.

    Raises what `close_outbox` is given if the connection ends first.
    """
    line = outbox.line[lane]
    if not line and send(outbox, lane, frame):
        return
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    place = (turn, frame)
    line.append(place)
    try:
        await turn
    finally:
        if place in line:  # Whoever is cancelled leaves the line.
            line.remove(place)


def flush(outbox: Outbox) -> None:
    """Write until the transport has enough or nothing is left."""
    outbox.is_flush_due = False
    while not outbox.is_paused and not outbox.is_closed:
        portion = _take_portion(outbox)
        if not portion:
            return
        assert outbox.transport is not None, "frames are queued for open links only"
        outbox.transport.write(portion)


def close_outbox(outbox: Outbox, failure: P2pError) -> None:
    """Drop what waits, and send away whoever waits to add to it."""
    outbox.is_closed = True
    drop_all(outbox.queues)
    for line in outbox.line:
        for turn, _ in line:
            if not turn.done():
                turn.set_exception(failure)
        line.clear()


def _take_portion(outbox: Outbox) -> bytes | memoryview:
    # A large frame leaves piece by piece: that it leaves at all is seen, and it is encrypted
    # (and so in memory once more) by pieces too.
    if outbox.rest:
        portion, outbox.rest = outbox.rest[:WRITE_BYTES], outbox.rest[WRITE_BYTES:]
        return portion
    frames = take_frames(outbox.queues, WRITE_BYTES)
    for lane in LANES:
        if outbox.line[lane]:
            _call_up(outbox, lane)
    if len(frames) != 1:
        return b"".join(frames)
    whole = memoryview(frames[0])
    outbox.rest = whole[WRITE_BYTES:]
    return whole[:WRITE_BYTES]


def _call_up(outbox: Outbox, lane: Lane) -> None:
    line = outbox.line[lane]
    while line:
        turn, frame = line[0]
        if not turn.done():  # Done is whoever is about to leave the line.
            if not put_frame(outbox.queues, lane, frame):
                return
            turn.set_result(None)
        line.popleft()
