"""The answering side of conversations: handlers run for a peer's requests on one link.

A peer has so many slots in each lane; as many requests more may wait for one, the next is refused
as `busy`. Handlers end with their link. What a handler raises as `RequestRefused` is told to the
peer; anything else it raises is a fault of this node: the peer hears `internal`, the node all.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from p2p.codes import encode_code
from p2p.errors import P2pError, PeerUnreachable, ProtocolViolation, RequestRefused
from p2p.faults import OnFault, reporting
from p2p.frames import HEADER_BYTES, SHARED_BYTES_MAX, Control, encode_frame
from p2p.lanes import CONVERSATIONAL, Lane
from p2p.link import Link
from p2p.requests import WINDOW, split_chunk, within
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
    take_grant,
)

RequestHandler: TypeAlias = Callable[[int, bytes], Awaitable[bytes | AsyncIterator[bytes]]]
"""Answers (peer, body) with a reply or a stream of chunks."""

PushHandler: TypeAlias = Callable[[int, bytes, AsyncIterator[bytes]], Awaitable[bytes]]
"""Takes (peer, header, chunks) and answers with a reply, whether it took all chunks or not."""

REFUSED_BUSY: Final = "busy"
REFUSED_UNKNOWN: Final = "no_handler"
REFUSED_GUEST: Final = "members_only"
REFUSED_INTERNAL: Final = "internal"


@dataclass(slots=True, kw_only=True)
class Service:
    """One request being answered: `outflow` feeds a streamed answer, `inflow` is an upload."""

    lane: Lane
    outflow: Outflow = field(default_factory=Outflow)
    inflow: Inflow | None = None
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTerms:
    """What a node answers and how much at once; the mappings grow as handlers are registered."""

    request_handlers: Mapping[int, RequestHandler]
    push_handlers: Mapping[int, PushHandler]
    lanes: Mapping[int, Lane]
    slots: int
    window_bytes: int
    stall_s: float
    on_fault: OnFault


@dataclass(slots=True, kw_only=True)
class Serving:
    """The requests that one link has brought and that are not answered yet.

    `guest_kinds` is None for a member; a guest is answered these kinds only.
    """

    terms: ServingTerms
    guest_kinds: frozenset[int] | None
    slots: dict[Lane, asyncio.Semaphore]
    services: dict[int, Service] = field(default_factory=dict)


def make_serving(terms: ServingTerms, guest_kinds: frozenset[int] | None) -> Serving:
    """Return a link with nothing to answer yet; a guest is answered one thing at a time."""
    slots = terms.slots if guest_kinds is None else 1
    return Serving(
        terms=terms,
        guest_kinds=guest_kinds,
        slots={lane: asyncio.Semaphore(slots) for lane in CONVERSATIONAL},
    )


def on_request(link: Link, serving: Serving, kind: int, request_id: int, body: bytes) -> None:
    """Begin to answer a request, or refuse it at once."""
    terms = serving.terms
    lane = terms.lanes[kind]
    link.traffic.bytes_in[lane] += HEADER_BYTES + len(body)
    if request_id == 0:
        raise ProtocolViolation("request_without_id")
    if request_id in serving.services:
        raise ProtocolViolation("request_id_reused")
    if serving.guest_kinds is not None and kind not in serving.guest_kinds:
        _refuse(link, request_id, REFUSED_GUEST)
        return
    if sum(one.lane is lane for one in serving.services.values()) >= 2 * terms.slots:
        _refuse(link, request_id, REFUSED_BUSY)
        return
    if kind not in terms.push_handlers and kind not in terms.request_handlers:
        _refuse(link, request_id, REFUSED_UNKNOWN)
        return
    service = serving.services[request_id] = Service(lane=lane)
    if kind in terms.push_handlers:
        service.inflow = open_inflow(terms.window_bytes)
    service.task = asyncio.create_task(_serve(link, serving, service, kind, request_id, body))
    # Not in the task itself: cancelled before its first step it would never get there.
    service.task.add_done_callback(lambda _: serving.services.pop(request_id))


def on_cancel(_link: Link, serving: Serving, request_id: int, _body: bytes) -> None:
    service = serving.services.get(request_id)
    if service is not None and service.task is not None:
        service.task.cancel()


def on_stream_window(_link: Link, serving: Serving, request_id: int, body: bytes) -> None:
    if len(body) != WINDOW.size:
        raise ProtocolViolation("unexpected_grant")
    service = serving.services.get(request_id)
    if service is not None:
        add_credit(service.outflow, WINDOW.unpack(body)[0])


def on_push_chunk(link: Link, serving: Serving, request_id: int, body: bytes) -> None:
    service = serving.services.get(request_id)
    lane = Lane.CONTROL if service is None else service.lane
    link.traffic.bytes_in[lane] += HEADER_BYTES + len(body)
    if service is not None:
        accept_chunk(_inflow(service), body)


def on_push_end(_link: Link, serving: Serving, request_id: int, _body: bytes) -> None:
    service = serving.services.get(request_id)
    if service is not None:
        end_inflow(_inflow(service), None)


def cancel_all(serving: Serving) -> list[asyncio.Task[None]]:
    """Cancel every handler of a link that is gone; return the tasks, which end by themselves."""
    tasks = [one.task for one in serving.services.values() if one.task is not None]
    for task in tasks:
        task.cancel()
    return tasks


async def _serve(
    link: Link, serving: Serving, service: Service, kind: int, request_id: int, body: bytes
) -> None:
    try:
        refusal = await _work(link, serving, service, kind, request_id, body)
        if refusal is not None and not link.is_closing:
            # In the lane of the chunks it follows: what was sent before it arrives before it.
            frame = encode_frame(Control.FAILED, request_id, encode_code(refusal))
            await link.put(service.lane, frame)
    except PeerUnreachable:
        return  # Nobody is left to answer.


async def _work(
    link: Link, serving: Serving, service: Service, kind: int, request_id: int, body: bytes
) -> str | None:
    """Run the handler and send its answer; return the code of what prevented it, if anything."""
    answer = _answer if service.inflow is None else _take_push
    refusal: str | None = REFUSED_INTERNAL
    try:
        with reporting(serving.terms.on_fault):
            async with serving.slots[service.lane]:
                await answer(link, serving.terms, service, kind, request_id, body)
            refusal = None
    except RequestRefused as problem:
        return problem.refusal
    except P2pError as problem:  # Its upload stalled, or another peer that the handler asked.
        return problem.code
    return refusal


async def _answer(
    link: Link, terms: ServingTerms, service: Service, kind: int, request_id: int, body: bytes
) -> None:
    assert link.peer_id is not None, "only an open link has routes to handlers"
    answer = await terms.request_handlers[kind](link.peer_id, body)
    if isinstance(answer, bytes):
        await _send_reply(link, service.lane, request_id, answer)
    else:
        await _send_stream(link, terms, service, request_id, answer)


async def _take_push(
    link: Link, terms: ServingTerms, service: Service, kind: int, request_id: int, header: bytes
) -> None:
    assert link.peer_id is not None, "only an open link has routes to handlers"
    assert service.inflow is not None, "an upload has an inflow"
    link.send_control(Control.PUSH_WINDOW, request_id, WINDOW.pack(terms.window_bytes))
    chunks = _pushed_chunks(link, service.inflow, request_id, terms.stall_s)
    async with aclosing(chunks):
        reply = await terms.push_handlers[kind](link.peer_id, header, chunks)
    await _send_reply(link, service.lane, request_id, reply)


async def _pushed_chunks(
    link: Link, inflow: Inflow, request_id: int, stall_s: float
) -> AsyncGenerator[bytes]:
    while (chunk := await within(stall_s, next_chunk(inflow))) is not None:
        granted = take_grant(inflow)
        if granted:
            link.send_control(Control.PUSH_WINDOW, request_id, WINDOW.pack(granted))
        yield chunk


async def _send_reply(link: Link, lane: Lane, request_id: int, reply: bytes) -> None:
    last = max(0, (len(reply) - 1) // SHARED_BYTES_MAX * SHARED_BYTES_MAX)
    for start in range(0, last, SHARED_BYTES_MAX):
        part = reply[start : start + SHARED_BYTES_MAX]
        await link.put(lane, encode_frame(Control.REPLY_PART, request_id, part))
    await link.put(lane, encode_frame(Control.REPLY, request_id, reply[last:]))


async def _send_stream(
    link: Link,
    terms: ServingTerms,
    service: Service,
    request_id: int,
    chunks: AsyncIterator[bytes],
) -> None:
    try:
        async for chunk in chunks:
            for piece in split_chunk(chunk):
                await within(terms.stall_s, spend_credit(service.outflow, piece))
                frame = encode_frame(Control.STREAM_CHUNK, request_id, piece)
                await link.put(service.lane, frame)
    finally:
        await close_chunks(chunks)
    await link.put(service.lane, encode_frame(Control.STREAM_END, request_id, b""))


def _refuse(link: Link, request_id: int, refusal: str) -> None:
    link.send_control(Control.FAILED, request_id, encode_code(refusal))


def _inflow(service: Service) -> Inflow:
    if service.inflow is None:
        raise ProtocolViolation("unexpected_upload")
    return service.inflow
