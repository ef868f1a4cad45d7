import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from typing_extensions import override

from p2p.config import LANE_LIMITS
from p2p.errors import PeerUnreachable
from p2p.lanes import LANES, Lane, LaneQueues, has_room
from p2p.outbox import Outbox, attach, close_outbox, flush, put, send

FRAME = bytes(60_000)


class Writing(asyncio.Protocol):
    """Tells an outbox when its transport has enough, as a link does."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    @override
    def pause_writing(self) -> None:
        self.outbox.is_paused = True

    @override
    def resume_writing(self) -> None:
        self.outbox.is_paused = False
        flush(self.outbox)


@asynccontextmanager
async def piped_outbox() -> AsyncIterator[tuple[Outbox, socket.socket]]:
    """An outbox on a real socket, and the other end, which nobody reads yet."""
    here, there = socket.socketpair()
    there.setblocking(False)
    outbox = Outbox(queues=LaneQueues(limits=tuple(LANE_LIMITS[lane] for lane in LANES)))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: Writing(outbox), sock=here)
    attach(outbox, transport)
    try:
        yield outbox, there
    finally:
        transport.abort()
        there.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def read_until(there: socket.socket, tasks: list[asyncio.Task[None]]) -> None:
    loop = asyncio.get_running_loop()
    while not all(task.done() for task in tasks):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await loop.sock_recv(there, 2**16)


async def fill(outbox: Outbox) -> None:
    """Give the outbox more than the unread socket takes, until its lane is full."""
    while not outbox.is_paused:
        send(outbox, Lane.BULK, FRAME)
        await asyncio.sleep(0)
    while send(outbox, Lane.BULK, FRAME):
        pass


async def test_senders_of_a_full_lane_take_turns() -> None:
    async with piped_outbox() as (outbox, there):
        await fill(outbox)
        order: list[int] = []

        async def send_all(sender: int) -> None:
            for _ in range(20):
                await put(outbox, Lane.BULK, FRAME)
                order.append(sender)

        tasks = [asyncio.create_task(send_all(sender)) for sender in range(8)]
        await read_until(there, tasks)

        shares = [order[:80].count(sender) for sender in range(8)]
        assert min(shares) >= 5
        assert len(order) == 160


async def test_a_small_frame_does_not_push_past_a_large_one_in_line() -> None:
    async with piped_outbox() as (outbox, there):
        await fill(outbox)
        order: list[str] = []

        async def send_one(name: str, frame: bytes) -> None:
            await put(outbox, Lane.BULK, frame)
            order.append(name)

        tasks = [
            asyncio.create_task(send_one("large", FRAME)),
            asyncio.create_task(send_one("small", b"fits")),
        ]
        await asyncio.sleep(0)
        assert has_room(outbox.queues, Lane.BULK, len(b"fits"))
        assert order == []
        await read_until(there, tasks)

        assert order == ["large", "small"]


async def test_whoever_is_cancelled_leaves_the_line() -> None:
    async with piped_outbox() as (outbox, _there):
        await fill(outbox)
        waiting = [asyncio.create_task(put(outbox, Lane.BULK, FRAME)) for _ in range(5)]
        await asyncio.sleep(0)
        assert len(outbox.line[Lane.BULK]) == 5

        waiting[1].cancel()
        await asyncio.wait([waiting[1]])

        assert len(outbox.line[Lane.BULK]) == 4
        close_outbox(outbox, PeerUnreachable("test"))
        await asyncio.wait(waiting)
        assert all(task.exception() for task in waiting if not task.cancelled())


async def test_the_end_of_a_connection_sends_everybody_in_line_away() -> None:
    async with piped_outbox() as (outbox, _there):
        await fill(outbox)
        waiting = asyncio.create_task(put(outbox, Lane.BULK, FRAME))
        await asyncio.sleep(0)

        close_outbox(outbox, PeerUnreachable("ended"))

        with pytest.raises(PeerUnreachable, match="ended"):
            await waiting
        assert not outbox.line[Lane.BULK]
        assert outbox.queues.bytes_queued[Lane.BULK] == 0


async def test_a_large_frame_leaves_whole_and_before_anything_else() -> None:
    async with piped_outbox() as (outbox, there):
        large = bytes(index % 251 for index in range(1_000_000))
        loop = asyncio.get_running_loop()

        send(outbox, Lane.CONSENSUS, large)
        received = await loop.sock_recv(there, 2**16)
        send(outbox, Lane.CONTROL, b"urgent")
        while len(received) < len(large) + len(b"urgent"):
            received += await loop.sock_recv(there, 2**16)

        assert received == large + b"urgent"


async def test_an_urgent_frame_overtakes_what_was_not_given_away() -> None:
    async with piped_outbox() as (outbox, there):
        await fill(outbox)
        overtakable = sum(outbox.queues.bytes_queued)
        loop = asyncio.get_running_loop()

        send(outbox, Lane.CONSENSUS, b"urgent")
        received = b""
        while b"urgent" not in received or any(outbox.queues.frames):
            received += await loop.sock_recv(there, 2**16)
        with suppress(BlockingIOError):
            while chunk := there.recv(2**16):
                received += chunk

        assert overtakable > 3 * len(FRAME)
        assert len(received) - received.index(b"urgent") > overtakable - 2 * len(FRAME)
