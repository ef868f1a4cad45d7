import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from struct import pack

import pytest

from p2p.config import PeerAddress
from p2p.errors import (
    PeerRefused,
    PeerUnreachable,
    ReplyTooLarge,
    RequestRefused,
    RequestTimeout,
)
from p2p.frames import SHARED_BYTES_MAX, Control
from p2p.streams import CHUNK_COST_BYTES
from tests.unit.p2p.loopback import (
    ASK,
    FETCH,
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


def expect_raw(node: Node, pin: bytes) -> None:
    raw = PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=pin)
    node.network.set_peers([raw], self_id=node.self_id)


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def never() -> bytes:
    await asyncio.get_running_loop().create_future()
    return b""


# Requests.


async def test_a_request_is_answered_with_its_own_reply() -> None:
    async with consortium(2) as (one, other):

        async def double(peer_id: int, body: bytes) -> bytes:
            return b"%d:%s%s" % (peer_id, body, body)

        one.network.serve(ASK, double)
        other.network.serve(ASK, double)

        replies = await asyncio.gather(
            *(one.network.request(1, ASK, b"a%d" % number, 5000) for number in range(50)),
            *(other.network.request(0, ASK, b"b%d" % number, 5000) for number in range(50)),
        )

        assert replies[:50] == [b"0:a%da%d" % (number, number) for number in range(50)]
        assert replies[50:] == [b"1:b%db%d" % (number, number) for number in range(50)]


@pytest.mark.parametrize("size", [0, 1, SHARED_BYTES_MAX, SHARED_BYTES_MAX + 1, 1_000_000])
async def test_a_reply_of_any_size_arrives_whole(size: int) -> None:
    async with consortium(2) as (one, other):
        reply = bytes(index % 251 for index in range(size))

        async def answer(_peer_id: int, _body: bytes) -> bytes:
            return reply

        other.network.serve(ASK, answer)

        assert await one.network.request(1, ASK, b"", 5000) == reply


async def test_a_reply_longer_than_asked_for_is_refused_and_ends_the_link() -> None:
    async with consortium(2) as (one, other):

        async def answer(_peer_id: int, _body: bytes) -> bytes:
            return bytes(200_000)

        other.network.serve(ASK, answer)

        with pytest.raises(ReplyTooLarge):
            await one.network.request(1, ASK, b"", 5000, reply_bytes_max=100_000)

        assert one.peer(1).invalid == {"reply_too_large": 1}


async def test_a_refusal_reaches_the_asker_by_its_code() -> None:
    async with consortium(2) as (one, other):

        async def refuse(_peer_id: int, _body: bytes) -> bytes:
            raise RequestRefused("blob.not-here")

        other.network.serve(ASK, refuse)

        with pytest.raises(PeerRefused) as refused:
            await one.network.request(1, ASK, b"", 5000)

        assert refused.value.refusal == "blob.not-here"
        assert not other.faults


async def test_a_fault_of_a_handler_is_reported_there_and_named_internal_here() -> None:
    async with consortium(2) as (one, other):
        mistake = ZeroDivisionError("a mistake of ours")

        async def fail(_peer_id: int, _body: bytes) -> bytes:
            raise mistake

        other.network.serve(ASK, fail)

        with pytest.raises(PeerRefused, match="internal"):
            await one.network.request(1, ASK, b"", 5000)

        assert other.faults == [mistake]
        assert other.network.connected() == (0,)


async def test_a_kind_without_a_handler_is_refused() -> None:
    async with consortium(2) as (one, _other):
        with pytest.raises(PeerRefused, match="no_handler"):
            await one.network.request(1, ASK, b"", 5000)


async def test_a_request_without_an_answer_times_out_and_its_handler_is_cancelled() -> None:
    async with consortium(2) as (one, other):
        cancelled = asyncio.Event()

        async def hang(_peer_id: int, _body: bytes) -> bytes:
            try:
                return await never()
            finally:
                cancelled.set()

        other.network.serve(ASK, hang)

        with pytest.raises(RequestTimeout):
            await one.network.request(1, ASK, b"", 50)
        async with asyncio.timeout(5):
            await cancelled.wait()

        assert one.network.connected() == (1,)


async def test_requests_to_nobody_fail_at_once() -> None:
    async with running(0) as one:
        absent = PeerAddress(peer_id=8, host="127.0.0.1", port=1, pin=bytes(32))
        one.network.set_peers([absent], self_id=0)

        with pytest.raises(PeerUnreachable, match="member 8"):
            await one.network.request(8, ASK, b"", 5000)
        with pytest.raises(PeerUnreachable, match="no member 7"):
            await one.network.request(7, ASK, b"", 5000)
        with pytest.raises(PeerUnreachable):
            async for _ in one.network.stream_request(7, FETCH, b""):
                pass
        with pytest.raises(PeerUnreachable):
            await one.network.stream_push(7, STORE, b"", chunks_of(b"x"))


async def test_the_end_of_a_link_ends_what_waits_on_it_on_both_sides() -> None:
    async with consortium(2) as (one, other):
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(_peer_id: int, _body: bytes) -> bytes:
            started.set()
            try:
                return await never()
            finally:
                cancelled.set()

        other.network.serve(ASK, hang)
        asked = asyncio.create_task(one.network.request(1, ASK, b"", 20_000))
        await started.wait()

        channel = one.network._table.by_id[1].channel
        assert channel is not None
        channel.link.abort("test")

        with pytest.raises(PeerUnreachable):
            await asked
        async with asyncio.timeout(5):
            await cancelled.wait()


async def test_a_peer_has_so_many_slots_and_no_more() -> None:
    identity = new_identity()
    async with running(5, requests_max=2) as node:
        running_now = 0

        async def hang(_peer_id: int, _body: bytes) -> bytes:
            nonlocal running_now
            running_now += 1
            return await never()

        node.network.serve(ASK, hang)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)

            for request_id in range(1, 8):
                raw.send(ASK, request_id)
            refused = [await raw.next_frame(Control.FAILED) for _ in range(3)]

            assert running_now == 2
            assert refused == [(Control.FAILED, number, b"busy") for number in (5, 6, 7)]


async def test_a_cancelled_request_frees_its_slot_even_before_it_began() -> None:
    identity = new_identity()
    async with running(5, requests_max=1) as node:

        async def answer(_peer_id: int, _body: bytes) -> bytes:
            return b"done"

        node.network.serve(ASK, answer)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            for request_id in range(1, 50):
                raw.send(ASK, request_id)
                raw.send(Control.CANCEL, request_id)
                raw.send(Control.PING, 0, bytes(8))
                await raw.next_frame(Control.PONG)

            raw.send(ASK, 99)
            while (frame := await raw.next_frame(Control.REPLY, Control.FAILED))[1] != 99:
                pass

            assert frame == (Control.REPLY, 99, b"done")


async def test_a_request_id_in_use_is_a_violation() -> None:
    identity = new_identity()
    async with running(5) as node:

        async def hang(_peer_id: int, _body: bytes) -> bytes:
            return await never()

        node.network.serve(ASK, hang)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            raw.send(ASK, 1)
            raw.send(ASK, 1)
            farewell = await raw.next_frame(Control.GOODBYE)

        assert farewell[2] == b"request_id_reused"


async def test_answers_to_nothing_are_ignored() -> None:
    identity = new_identity()
    async with running(5) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            for kind, body in (
                (Control.REPLY, b"x"),
                (Control.REPLY_PART, b"x"),
                (Control.FAILED, b"\xff\xfe not a code"),
                (Control.STREAM_CHUNK, b"x"),
                (Control.STREAM_END, b""),
                (Control.PUSH_WINDOW, pack(">I", 1)),
                (Control.CANCEL, b""),
                (Control.STREAM_WINDOW, pack(">I", 1)),
                (Control.PUSH_CHUNK, b"x"),
                (Control.PUSH_END, b""),
                (Control.PONG, b"x"),
            ):
                raw.send(kind, 77, body)
            raw.send(VOTE, 0, b"done")
            await until(lambda: bool(node.received))

            assert not node.peer(RAW_ID).invalid


# Streams.


async def test_a_stream_arrives_in_order_and_whole() -> None:
    async with consortium(2) as (one, other):
        sent = [bytes([number % 256]) * (number * 1000 + 1) for number in range(200)]

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return chunks_of(*sent, b"")

        other.network.serve(FETCH, answer)

        received = [chunk async for chunk in one.network.stream_request(1, FETCH, b"")]

        assert b"".join(received) == b"".join(sent)
        assert max(map(len, received)) <= SHARED_BYTES_MAX


async def test_an_empty_stream_is_complete() -> None:
    async with consortium(2) as (one, other):

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return chunks_of()

        other.network.serve(FETCH, answer)

        assert [chunk async for chunk in one.network.stream_request(1, FETCH, b"")] == []


async def test_a_stream_that_fails_ends_with_an_error_after_what_was_sent() -> None:
    async with consortium(2) as (one, other):

        async def break_off() -> AsyncIterator[bytes]:
            yield b"so far"
            raise RequestRefused("disk.error")

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return break_off()

        other.network.serve(FETCH, answer)
        async with aclosing(one.network.stream_request(1, FETCH, b"")) as chunks:
            first = await anext(chunks)
            with pytest.raises(PeerRefused, match=r"disk\.error"):
                await anext(chunks)

        assert first == b"so far"


async def test_a_reader_that_leaves_early_ends_the_stream_at_its_source() -> None:
    async with consortium(2) as (one, other):
        ended = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1000)
            finally:
                ended.set()

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return endless()

        other.network.serve(FETCH, answer)

        async with aclosing(one.network.stream_request(1, FETCH, b"")) as chunks:
            async for _ in chunks:
                break
        async with asyncio.timeout(5):
            await ended.wait()

        assert one.network.connected() == (1,)


async def test_a_stream_that_stalls_is_given_up() -> None:
    async with consortium(2, stream_stall_timeout_ms=50) as (one, other):

        async def stall() -> AsyncIterator[bytes]:
            yield b"first"
            yield await never()

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return stall()

        other.network.serve(FETCH, answer)

        with pytest.raises(RequestTimeout):
            async for _ in one.network.stream_request(1, FETCH, b""):
                pass


async def test_a_single_reply_where_a_stream_was_asked_for_is_an_error() -> None:
    async with consortium(2) as (one, other):

        async def answer(_peer_id: int, _body: bytes) -> bytes:
            return b"no stream"

        other.network.serve(FETCH, answer)

        with pytest.raises(PeerRefused, match="no_stream"):
            async for _ in one.network.stream_request(1, FETCH, b""):
                pass


async def test_nothing_is_streamed_to_a_reader_who_grants_nothing() -> None:
    identity = new_identity()
    produced = 0
    async with running(5, stream_stall_timeout_ms=100) as node:

        async def produce() -> AsyncIterator[bytes]:
            nonlocal produced
            while True:
                produced += 1
                yield bytes(1000)

        async def answer(_peer_id: int, _body: bytes) -> AsyncIterator[bytes]:
            return produce()

        node.network.serve(FETCH, answer)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            raw.send(FETCH, 1)
            raw.send(Control.STREAM_WINDOW, 1, pack(">I", 3 * (1000 + CHUNK_COST_BYTES)))

            chunks = [await raw.next_frame(Control.STREAM_CHUNK) for _ in range(3)]
            failed = await raw.next_frame(Control.FAILED, Control.STREAM_CHUNK)

        assert [len(chunk[2]) for chunk in chunks] == [1000] * 3
        assert failed == (Control.FAILED, 1, b"request.timeout")
        assert produced == 4


# Uploads.


async def test_an_upload_arrives_in_order_and_is_answered() -> None:
    async with consortium(2) as (one, other):
        sent = [bytes([number % 256]) * (number * 500 + 1) for number in range(300)]
        stored: list[bytes] = []

        async def store(peer_id: int, header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
            stored.extend([chunk async for chunk in chunks])
            return b"%d stored %s" % (peer_id, header)

        other.network.serve_push(STORE, store)

        reply = await one.network.stream_push(1, STORE, b"name", chunks_of(*sent))

        assert reply == b"0 stored name"
        assert b"".join(stored) == b"".join(sent)


async def test_an_upload_can_be_refused_before_it_is_sent() -> None:
    async with consortium(2) as (one, other):
        taken = 0

        async def store(_peer_id: int, _header: bytes, _chunks: AsyncIterator[bytes]) -> bytes:
            raise RequestRefused("store.full")

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield bytes(60_000)

        other.network.serve_push(STORE, store)

        with pytest.raises(PeerRefused, match=r"store\.full"):
            await one.network.stream_push(1, STORE, b"", endless())

        assert taken < 100


async def test_an_upload_may_be_answered_before_its_end() -> None:
    async with consortium(2) as (one, other):

        async def store(_peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
            async for _ in chunks:
                return b"known already"
            return b"empty"

        closed = False

        async def endless() -> AsyncIterator[bytes]:
            nonlocal closed
            try:
                while True:
                    yield bytes(60_000)
            finally:
                closed = True

        other.network.serve_push(STORE, store)

        assert await one.network.stream_push(1, STORE, b"", endless()) == b"known already"
        assert closed
        assert not other.peer(0).invalid


async def test_a_source_that_fails_cancels_the_upload_there() -> None:
    async with consortium(2) as (one, other):
        ended = asyncio.Event()

        async def store(_peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
            try:
                async for _ in chunks:
                    pass
            finally:
                ended.set()
            return b"complete"

        async def fail() -> AsyncIterator[bytes]:
            yield b"some"
            raise OSError("disk")

        other.network.serve_push(STORE, store)

        with pytest.raises(OSError, match="disk"):
            await one.network.stream_push(1, STORE, b"", fail())
        async with asyncio.timeout(5):
            await ended.wait()


async def test_an_uploader_that_exceeds_its_window_is_disconnected() -> None:
    identity = new_identity()
    async with running(5, window_bytes=200_000) as node:

        async def store(_peer_id: int, _header: bytes, _chunks: AsyncIterator[bytes]) -> bytes:
            return await never()

        node.network.serve_push(STORE, store)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            raw.send(STORE, 1)
            grant = await raw.next_frame(Control.PUSH_WINDOW)
            for _ in range(4):
                raw.send(Control.PUSH_CHUNK, 1, bytes(60_000))
            farewell = await raw.next_frame(Control.GOODBYE)

        assert grant[2] == pack(">I", 200_000)
        assert farewell[2] == b"window_exceeded"


@pytest.mark.parametrize("kind", [Control.PUSH_CHUNK, Control.PUSH_END])
async def test_chunks_for_a_plain_request_are_a_violation(kind: Control) -> None:
    identity = new_identity()
    async with running(5) as node:

        async def hang(_peer_id: int, _body: bytes) -> bytes:
            return await never()

        node.network.serve(ASK, hang)
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            raw.send(ASK, 1)
            raw.send(kind, 1, b"x" if kind is Control.PUSH_CHUNK else b"")
            farewell = await raw.next_frame(Control.GOODBYE)

        assert farewell[2] == b"unexpected_upload"


async def test_an_unasked_stream_is_a_violation() -> None:
    identity = new_identity()
    async with running(5) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            asked = asyncio.create_task(node.network.request(RAW_ID, ASK, b"", 20_000))
            request = await raw.next_frame(ASK)

            raw.send(Control.STREAM_CHUNK, request[1], b"unasked")
            farewell = await raw.next_frame(Control.GOODBYE)

            assert farewell[2] == b"unexpected_stream"
            with pytest.raises(PeerUnreachable):
                await asked


# Guests.


async def test_a_guest_is_answered_what_the_policy_allows_and_nothing_else() -> None:
    async with (
        running(1, guest_policy=lambda _pin: frozenset({ASK})) as member,
        running(None) as sleeper,
    ):

        async def answer(peer_id: int, _body: bytes) -> bytes:
            return b"%d" % peer_id

        member.network.serve(ASK, answer)
        member.network.serve(FETCH, answer)
        sleeper.network.set_peers([member.address], self_id=None)
        await until(lambda: sleeper.network.connected() == (1,))

        reply = await sleeper.network.request(1, ASK, b"", 5000)
        with pytest.raises(PeerRefused, match="members_only"):
            await sleeper.network.request(1, FETCH, b"", 5000)
        sleeper.network.send(1, VOTE, b"not sent")

        assert int(reply) < 0
        assert sleeper.peer(1).is_guest_there
        assert sleeper.peer(1).frames_unsent == 1
        assert member.network.statistics().guests == 1
        assert not member.links
        assert not member.received


async def test_a_guest_is_answered_one_thing_at_a_time() -> None:
    """Nobody knows who it is: its requests wait for one another, and not the members for them."""
    async with (
        running(1, guest_policy=lambda _pin: frozenset({ASK})) as member,
        running(None) as sleeper,
    ):
        at_once, most = 0, 0

        async def answer(_peer_id: int, _body: bytes) -> bytes:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            for _ in range(9):  # The others have come long before.
                await asyncio.sleep(0)
            at_once -= 1
            return b""

        member.network.serve(ASK, answer)
        sleeper.network.set_peers([member.address], self_id=None)
        await until(lambda: sleeper.network.connected() == (1,))

        await asyncio.gather(*(sleeper.network.request(1, ASK, b"", 5000) for _ in range(6)))

        assert most == 1


async def test_a_guest_that_sends_messages_is_disconnected() -> None:
    async with running(5, guest_policy=lambda _pin: frozenset({ASK})) as node:
        async with raw_peer(node, new_identity()) as raw:
            assert (await raw.next_frame(Control.WELCOME))[2] == b"\x00"
            raw.send(VOTE, 0, b"I vote")
            farewell = await raw.next_frame(Control.GOODBYE)

        assert farewell[2] == b"frame.unknown_kind"
        assert not node.received
        await until(lambda: node.network.statistics().guests == 0)


async def test_guests_are_few() -> None:
    async with (
        running(5, guest_policy=lambda _pin: frozenset({ASK}), guests_max=1) as node,
        raw_peer(node, new_identity()) as first,
    ):
        await first.next_frame(Control.WELCOME)
        async with raw_peer(node, new_identity()) as second:
            farewell = await second.next_frame(Control.GOODBYE)

        assert farewell[2] == b"too_many_guests"


async def test_a_guest_that_becomes_a_member_is_let_in_as_one() -> None:
    async with (
        running(1, guest_policy=lambda _pin: frozenset({ASK})) as member,
        running(None) as learner,
    ):
        learner.network.set_peers([member.address], self_id=None)
        await until(lambda: learner.network.connected() == (1,))
        assert learner.peer(1).is_guest_there
        joined = PeerAddress(
            peer_id=2, host="127.0.0.1", port=learner.network.port, pin=learner.identity.pin
        )

        member.network.set_peers([joined], self_id=1)
        await until(lambda: member.network.connected() == (2,))
        while not member.received:
            with suppress(PeerUnreachable):
                learner.network.send(1, VOTE, b"a member now")
            await asyncio.sleep(0)

        assert (2, VOTE, b"a member now") in member.received
