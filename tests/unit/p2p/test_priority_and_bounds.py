import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import pytest

from p2p.config import LANE_LIMITS, PeerAddress
from p2p.frames import Control, Frame, feed, make_limits
from p2p.lanes import Lane
from p2p.outbox import WRITE_BYTES
from p2p.streams import Inflow
from tests.unit.p2p.loopback import (
    ASK,
    FETCH,
    KINDS,
    NEWS,
    STORE,
    VOTE,
    Node,
    consortium,
    new_identity,
    raw_peer,
    running,
    until,
)

RAW_ID = 3
MEBIBYTE = 2**20


def serve_megabytes(node: Node, count: int) -> list[int]:
    """Stream so many MiB to whoever asks; the returned list grows with every chunk produced."""
    produced: list[int] = []

    async def produce() -> AsyncIterator[bytes]:
        chunk = bytes(2**16)
        for _ in range(count * 16):
            produced.append(len(chunk))
            yield chunk

    async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
        return produce()

    node.network.serve(FETCH, answer)
    return produced


def inflow_to(node: Node, peer_id: int) -> Inflow:
    """The stream that a node is reading from a peer."""
    channel = node.network._table.by_id[peer_id].channel
    assert channel is not None
    (exchange,) = channel.asking.exchanges.values()
    assert exchange.inflow is not None
    return exchange.inflow


async def test_a_vote_waits_behind_little_of_the_bulk_in_flight() -> None:
    """64 MiB of credit is outstanding: only the lanes and small buffers keep the way free."""
    async with consortium(2, window_bytes=8 * MEBIBYTE) as (reader, source):
        serve_megabytes(source, 8)
        arrived = 0

        async def pull() -> None:
            nonlocal arrived
            async for chunk in reader.network.stream_request(1, FETCH, b""):
                arrived += len(chunk)

        pulls = [asyncio.create_task(pull()) for _ in range(8)]
        await until(lambda: arrived > MEBIBYTE)
        overtaken_by = []
        while arrived < 50 * MEBIBYTE:
            before, reader.received = arrived, []
            source.network.send(0, VOTE, b"urgent")
            await until(lambda: bool(reader.received))
            overtaken_by.append(arrived - before)
        await asyncio.gather(*pulls)

        assert arrived == 64 * MEBIBYTE
        assert len(overtaken_by) >= 10
        assert max(overtaken_by) < 3 * MEBIBYTE


async def test_a_slow_reader_of_100_mb_bounds_everybodys_memory_and_blocks_nobody() -> None:
    async with consortium(2) as (reader, source):
        produced = serve_megabytes(source, 100)
        window = MEBIBYTE
        consumed = 0

        async with aclosing(reader.network.stream_request(1, FETCH, b"")) as chunks:
            async for chunk in chunks:
                consumed += len(chunk)
                if consumed % (10 * MEBIBYTE) == 0:  # Now and then the reader is very slow.
                    reader.received = []
                    for _ in range(300):
                        await asyncio.sleep(0)
                    source.network.send(0, VOTE, b"meanwhile")
                    await until(lambda: bool(reader.received))
                assert sum(map(len, inflow_to(reader, 1).chunks)) <= window
                assert sum(produced) - consumed <= window + 2**16
                assert source.peer(0).bytes_queued <= LANE_LIMITS[Lane.BULK].bytes_max + 1000

        assert consumed == 100 * MEBIBYTE


async def test_a_slow_taker_of_an_upload_bounds_everybodys_memory() -> None:
    async with consortium(2) as (sender, taker):
        produced: list[int] = []
        consumed = 0

        async def produce() -> AsyncIterator[bytes]:
            for _ in range(20 * 16):
                produced.append(2**16)
                yield bytes(2**16)

        async def store(_peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
            nonlocal consumed
            async for chunk in chunks:
                consumed += len(chunk)
                for _ in range(5):
                    await asyncio.sleep(0)
                assert sum(produced) - consumed <= MEBIBYTE + 2**16
            return b"%d" % consumed

        taker.network.serve_push(STORE, store)

        reply = await sender.network.stream_push(1, STORE, b"", produce())

        assert int(reply) == 20 * MEBIBYTE
        assert not taker.faults


async def test_streams_of_one_lane_take_turns() -> None:
    async with consortium(2) as (reader, source):
        serve_megabytes(source, 4)
        arrived = [0, 0, 0]

        async def pull(index: int) -> None:
            async for chunk in reader.network.stream_request(1, FETCH, b""):
                arrived[index] += len(chunk)

        pulls = [asyncio.create_task(pull(index)) for index in range(3)]
        await until(lambda: sum(arrived) >= 6 * MEBIBYTE)
        halfway = list(arrived)
        await asyncio.gather(*pulls)

        assert min(halfway) > MEBIBYTE // 2
        assert arrived == [4 * MEBIBYTE] * 3


async def test_a_peer_over_its_budget_is_not_read_until_it_is_released() -> None:
    budget = 100_000
    async with consortium(2, held_bytes_max=budget) as (one, other):
        for _ in range(50):
            one.network.send(1, VOTE, bytes(10_000))
        await until(lambda: bool(other.received))
        other.network.hold(0, budget + 1)
        await until(lambda: other.peer(0).reading_paused)
        one.network.broadcast(VOTE, b"later")
        for _ in range(200):
            await asyncio.sleep(0)
        kept_out = (0, VOTE, b"later") not in other.received

        other.network.release(0, budget // 2)
        still_paused = other.peer(0).reading_paused
        other.network.release(0, budget // 2)
        await until(lambda: (0, VOTE, b"later") in other.received)

        assert kept_out
        assert still_paused
        assert len(other.received) == 51
        assert not other.peer(0).reading_paused


async def test_a_paused_peer_is_not_taken_for_dead() -> None:
    times = {"heartbeat_ms": 10, "idle_timeout_ms": 30}
    async with consortium(2, held_bytes_max=10, **times) as (one, other):
        other.network.hold(0, 11)
        beats = one.peer(1).bytes_out[Lane.CONTROL]
        await until(lambda: one.peer(1).bytes_out[Lane.CONTROL] > beats + 17 * 20)

        other.network.release(0, 11)
        one.network.send(1, VOTE, b"still here")
        await until(lambda: bool(other.received))

        assert other.links == [(0, True)]
        assert one.links == [(1, True)]


async def test_a_peer_that_reads_nothing_costs_bounded_memory_and_loses_the_oldest() -> None:
    identity = new_identity()
    async with running(5) as node:
        raw_address = PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=identity.pin)
        node.network.set_peers([raw_address], self_id=5)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            raw.stop_reading()
            bound = sum(limit.bytes_max for limit in LANE_LIMITS.values())

            for _ in range(3000):
                node.network.send(RAW_ID, VOTE, bytes(30_000))
                node.network.send(RAW_ID, NEWS, bytes(30_000))
                assert node.peer(RAW_ID).bytes_queued <= bound
                await asyncio.sleep(0)

            dropped = node.peer(RAW_ID).frames_dropped
            assert dropped[Lane.CONSENSUS] > 1000
            assert dropped[Lane.GOSSIP] > 1000
            assert dropped[Lane.SYNC] == dropped[Lane.BULK] == 0


async def test_small_messages_leave_together() -> None:
    async with consortium(2) as (one, other):
        channel = one.network._table.by_id[1].channel
        assert channel is not None
        transport = channel.link.outbox.transport
        assert transport is not None
        writes: list[int] = []
        send_on = transport.write

        class Counting:
            def write(self, chunk: bytes) -> None:
                writes.append(len(chunk))
                send_on(chunk)

            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

        channel.link.outbox.transport = cast("asyncio.Transport", Counting())

        for _ in range(1000):
            one.network.send(1, VOTE, bytes(200))
        await until(lambda: len(other.received) == 1000)

        assert len(writes) <= 1000 * 209 // 65_000 + 1
        assert max(writes) <= WRITE_BYTES


def is_past(loop: asyncio.AbstractEventLoop, time_s: float) -> bool:
    return loop.time() > time_s


async def test_a_peer_that_takes_a_large_message_slowly_is_not_left() -> None:
    identity = new_identity()
    async with running(
        5, heartbeat_ms=20, idle_timeout_ms=20_000, write_stall_timeout_ms=100
    ) as node:
        raw_address = PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=identity.pin)
        node.network.set_peers([raw_address], self_id=5)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            connection = raw.writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            loop = asyncio.get_running_loop()
            began = loop.time()
            for body in (bytes(2**20), bytes(60_000), b"after"):
                node.network.send(RAW_ID, VOTE, body)
            frames: list[Frame] = []
            while all(body != b"after" for _, _, body in frames):
                await until(partial(is_past, loop, loop.time() + 0.015))
                chunk = await raw.reader.read(2**15)
                assert chunk, "the node has hung up"
                frames += feed(raw.parser, chunk)

            assert loop.time() - began > 0.3
            assert [len(body) for kind, _, body in frames if kind == VOTE] == [2**20, 60_000, 5]
            assert node.network.connected() == (RAW_ID,)


def random_frame(source: random.Random) -> tuple[int, int, bytes]:
    limits = make_limits({kind: rule.bytes_max for kind, rule in KINDS.items()})
    if source.random() < 0.02:
        return source.randrange(256), source.randrange(2**32), b"?"
    kind = source.choice([*KINDS, *(kind for kind in Control if kind is not Control.WELCOME)])
    request_id = 0 if kind in (VOTE, NEWS) else source.choice([1, 2, 3, 4, 2**32 - 1])
    exact = (
        {Control.STREAM_WINDOW: 4, Control.PUSH_WINDOW: 4}.get(Control(kind))
        if (kind < 32)
        else None
    )
    size = source.choice([0, 1, 7, 8, 64, 1000]) if exact is None else exact
    return kind, request_id, source.randbytes(min(size, limits[kind]))


@pytest.mark.parametrize("seed", range(10))
async def test_a_member_that_sends_random_frames_harms_nobody(seed: int) -> None:
    source, identity = random.Random(seed), new_identity()
    async with (
        running(5, penalty_ms=0, requests_max=3, stream_stall_timeout_ms=50) as node,
        running(6) as neighbour,
    ):

        async def echo(_peer_id: int, body: bytes) -> bytes:
            return body

        async def store(_peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
            return b"".join([chunk async for chunk in chunks])

        node.network.serve(ASK, echo)
        node.network.serve_push(STORE, store)
        serve_megabytes(node, 1)
        members = [
            PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=identity.pin),
            neighbour.address,
        ]
        node.network.set_peers(members, self_id=5)
        neighbour.network.set_peers([node.address], self_id=6)
        await until(lambda: neighbour.network.connected() == (5,))

        for _ in range(20):
            async with raw_peer(node, identity) as raw:
                for _ in range(200):
                    raw.send(*random_frame(source))
                    if raw.writer.transport.is_closing():
                        break
                    await asyncio.sleep(0)
        replies = [await neighbour.network.request(5, ASK, b"x", 5000) for _ in range(10)]

        assert replies == [b"x"] * 10
        assert not node.faults
        assert neighbour.links == [(5, True)]
