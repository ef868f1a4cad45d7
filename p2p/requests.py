"""The asking side of conversations: requests, streamed requests and uploads on one link.

A conversation lives in `Asking.exchanges` from its first frame until its asker leaves; frames
for one that is gone are late and ignored. Whatever ends the link ends them all with
`PeerUnreachable`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, TypeVar

from p2p.codes import decode_code
from p2p.errors import (
    P2pError,
    PeerRefused,
    PeerUnreachable,
    ProtocolViolation,
    ReplyTooLarge,
    RequestTimeout,
)
from p2p.frames import HEADER_BYTES, REQUEST_ID_MAX, SHARED_BYTES_MAX, Control, encode_frame
from p2p.lanes import Lane
from p2p.link import Link
from p2p.outbox import send
from p2p.streams import (
    Inflow,
    Outflow,
    accept_chunk,
    add_credit,
    close_chunks,
    end_inflow,
    next_chunk,
    open_inflow,
    spend_credit,
    stop_outflow,
    take_grant,
)

WINDOW: Final = Struct(">I")

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One conversation this node has begun.

    It has an `inflow` if its answer is a stream, an `outflow` if it uploads; `parts` are the
    beginning of a long reply.
    """

    lane: Lane
    reply: asyncio.Future[bytes]
    reply_bytes_max: int
    parts: bytearray = field(default_factory=bytearray)
    inflow: Inflow | None = None
    outflow: Outflow | None = None


@dataclass(slots=True, kw_only=True)
class Asking:
    """The conversations that one link carries for this node."""

    exchanges: dict[int, Exchange] = field(default_factory=dict)
    last_id: int = 0


async def ask(
    link: Link, asking: Asking, lane: Lane, kind: int, body: bytes, *, reply_bytes_max: int
) -> bytes:
    """Send a request and wait for its reply; the caller bounds the time."""
    exchange = _make_exchange(lane, reply_bytes_max)
    with _conversation(link, asking, exchange) as request_id:
        await link.put(lane, encode_frame(kind, request_id, body))
        return await exchange.reply


async def ask_stream(
    link: Link,
    asking: Asking,
    lane: Lane,
    kind: int,
    body: bytes,
    *,
    window_bytes: int,
    stall_s: float,
) -> AsyncGenerator[bytes]:
    """Send a request and yield the chunks of its answer; `stall_s` bounds the wait for each."""
    exchange = _make_exchange(lane, 0)
    inflow = exchange.inflow = open_inflow(window_bytes)
    with _conversation(link, asking, exchange) as request_id:
        # The first grant follows its request in the same lane: in another it might overtake it.
        await within(stall_s, link.put(lane, encode_frame(kind, request_id, body)))
        window = encode_frame(Control.STREAM_WINDOW, request_id, WINDOW.pack(window_bytes))
        await within(stall_s, link.put(lane, window))
        while (chunk := await within(stall_s, next_chunk(inflow))) is not None:
            granted = take_grant(inflow)
            if granted:
                link.send_control(Control.STREAM_WINDOW, request_id, WINDOW.pack(granted))
            yield chunk


async def ask_push(
    link: Link,
    asking: Asking,
    lane: Lane,
    kind: int,
    header: bytes,
    chunks: AsyncIterator[bytes],
    *,
    reply_bytes_max: int,
    stall_s: float,
) -> bytes:
    """Upload the chunks after a header and wait for the reply; an early reply ends the upload.

    An iterator that can be closed is closed in any case.
    """
    exchange = _make_exchange(lane, reply_bytes_max)
    outflow = exchange.outflow = Outflow()
    with _conversation(link, asking, exchange) as request_id:
        await within(stall_s, link.put(lane, encode_frame(kind, request_id, header)))
        try:
            async for chunk in chunks:
                for piece in split_chunk(chunk):
                    if not await within(stall_s, spend_credit(outflow, piece)):
                        return await exchange.reply
                    frame = encode_frame(Control.PUSH_CHUNK, request_id, piece)
                    await within(stall_s, link.put(lane, frame))
        finally:
            await close_chunks(chunks)
        await within(stall_s, link.put(lane, encode_frame(Control.PUSH_END, request_id, b"")))
        return await within(stall_s, exchange.reply)


def end_all(asking: Asking, failure: P2pError) -> None:
    """End every conversation of a link that is gone."""
    for exchange in asking.exchanges.values():
        _fail(exchange, failure)


def split_chunk(chunk: bytes) -> Iterator[bytes]:
    """Cut what a stream yields into what a frame may carry; an empty chunk is nothing."""
    if len(chunk) <= SHARED_BYTES_MAX:
        if chunk:
            yield chunk
        return
    for start in range(0, len(chunk), SHARED_BYTES_MAX):
        yield chunk[start : start + SHARED_BYTES_MAX]


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Await `work`, or raise `RequestTimeout` when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as problem:
        raise RequestTimeout(f"no progress for {seconds:g} s") from problem


# Frames of the answering side.


def on_reply_part(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is not None:
        _add_part(exchange, body)


def on_reply(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is None:
        return
    _add_part(exchange, body)
    if not exchange.reply.done():
        exchange.reply.set_result(bytes(exchange.parts))
    if exchange.outflow is not None:
        stop_outflow(exchange.outflow)


def on_failed(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is not None:
        _fail(exchange, PeerRefused(decode_code(body)))


def on_stream_chunk(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is not None:
        accept_chunk(_inflow(exchange), body)


def on_stream_end(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is not None:
        end_inflow(_inflow(exchange), None)


def on_push_window(link: Link, asking: Asking, request_id: int, body: bytes) -> None:
    exchange = _find(link, asking, request_id, body)
    if exchange is not None:
        if exchange.outflow is None or len(body) != WINDOW.size:
            raise ProtocolViolation("unexpected_grant")
        add_credit(exchange.outflow, WINDOW.unpack(body)[0])


# Below: the life of one exchange.


@contextmanager
def _conversation(link: Link, asking: Asking, exchange: Exchange) -> Iterator[int]:
    if link.is_closing:
        raise PeerUnreachable(link.reason)
    request_id = _next_id(asking)
    asking.exchanges[request_id] = exchange
    try:
        yield request_id
    finally:
        del asking.exchanges[request_id]
        if not _is_ended(exchange) and not link.is_closing:
            cancel = encode_frame(Control.CANCEL, request_id, b"")
            # Behind its request, unless that lane is stuck.
            if not send(link.outbox, exchange.lane, cancel):
                link.send_control(Control.CANCEL, request_id)
        _settle(exchange.reply)


def _make_exchange(lane: Lane, reply_bytes_max: int) -> Exchange:
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    return Exchange(lane=lane, reply=reply, reply_bytes_max=reply_bytes_max)


def _next_id(asking: Asking) -> int:
    while True:
        asking.last_id = asking.last_id % REQUEST_ID_MAX + 1
        if asking.last_id not in asking.exchanges:
            return asking.last_id


def _find(link: Link, asking: Asking, request_id: int, body: bytes) -> Exchange | None:
    exchange = asking.exchanges.get(request_id)
    lane = Lane.CONTROL if exchange is None else exchange.lane
    link.traffic.bytes_in[lane] += HEADER_BYTES + len(body)
    return exchange


def _inflow(exchange: Exchange) -> Inflow:
    if exchange.inflow is None:
        raise ProtocolViolation("unexpected_stream")
    return exchange.inflow


def _add_part(exchange: Exchange, body: bytes) -> None:
    if exchange.inflow is not None:
        _fail(exchange, PeerRefused("no_stream"))
    elif len(exchange.parts) + len(body) > exchange.reply_bytes_max:
        _fail(exchange, ReplyTooLarge(f"more than {exchange.reply_bytes_max} bytes"))
        raise ProtocolViolation("reply_too_large")
    else:
        exchange.parts += body


def _fail(exchange: Exchange, failure: P2pError) -> None:
    if exchange.inflow is not None:
        end_inflow(exchange.inflow, failure)
    elif not exchange.reply.done():
        exchange.reply.set_exception(failure)
    if exchange.outflow is not None:
        stop_outflow(exchange.outflow)


def _is_ended(exchange: Exchange) -> bool:
    """Whether the other side has said its last word (an asker that leaves cancels the future)."""
    if exchange.inflow is not None:
        return exchange.inflow.ended
    return exchange.reply.done() and not exchange.reply.cancelled()


def _settle(reply: asyncio.Future[bytes]) -> None:
    if not reply.done():
        reply.cancel()
    elif not reply.cancelled():
        reply.exception()  # Whoever left for another reason need not be told of this one.
