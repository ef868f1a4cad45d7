"""One connection: bytes in become frames, queued frames become bytes, silence becomes an end.

What frames mean is decided by the table of routes a link is given, and who the other side is by
whoever made it.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from typing_extensions import override

from p2p.codes import encode_code
from p2p.errors import PeerUnreachable, ProtocolViolation
from p2p.faults import reporting
from p2p.frames import Control, Parser, encode_frame, feed
from p2p.heartbeat import Heartbeat, beat, make_ping
from p2p.lanes import Lane, LaneLimit, LaneQueues
from p2p.outbox import Outbox, attach, close_outbox, flush, put, send
from p2p.sockets import tune_socket
from p2p.statistics import Traffic

Route: TypeAlias = Callable[["Link", int, int, bytes], None]
"""What to do with a frame: (link, kind, request id, body); may raise `ProtocolViolation`."""


class LinkOwner(Protocol):
    """Who makes links and is told what becomes of them."""

    def on_handshake(self, link: "Link", tls: ssl.SSLObject) -> None: ...

    def on_link_lost(self, link: "Link") -> None: ...

    def on_fault(self, fault: Exception) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """What all links of a node have in common.

    `idle_beats` heartbeats without a byte from the peer end a link, and so do `stall_beats`
    without the peer taking a byte.
    """

    lane_limits: tuple[LaneLimit, ...]
    receive_bytes: int
    socket_receive_bytes: int
    heartbeat_s: float
    idle_beats: int
    stall_beats: int


class Link(asyncio.BufferedProtocol):
    """One TLS connection; `BufferedProtocol` is the port through which the event loop serves it.

    `opened` is done when both sides have agreed to talk, `lost` when the connection is gone, and
    `reason` then says why it ended; wait for them with `asyncio.wait`, which leaves them alone.
    `peer_id` is the member on the other side, negative for a guest, None before it is known, and
    `opened_at` the loop's time at which that was settled;
    `is_guest_there` means that the other side takes this node for a guest.
    """

    def __init__(
        self,
        owner: LinkOwner,
        terms: LinkTerms,
        *,
        limits: tuple[int, ...],
        routes: tuple[Route, ...],
        is_dialed: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._owner = owner
        self._terms = terms
        self._loop = loop
        self._buffer = memoryview(bytearray(terms.receive_bytes))
        self._beat: asyncio.TimerHandle | None = None
        self.outbox = Outbox(queues=LaneQueues(limits=terms.lane_limits))
        self.heartbeat = Heartbeat(idle_beats=terms.idle_beats, stall_beats=terms.stall_beats)
        self.parser = Parser(limits=limits)
        self.routes = routes
        self.traffic = Traffic()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.is_dialed = is_dialed
        self.is_closing = False
        self.is_violated = False
        self.is_guest_there = False
        self.is_reading_paused = False
        self.peer_id: int | None = None
        self.opened_at = 0.0
        self.pin = b""
        self.reason = ""

    # What the event loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream in every loop, but not in every loop a subclass of asyncio's class.
        attach(self.outbox, cast("asyncio.Transport", transport))
        tune_socket(
            transport.get_extra_info("socket"), receive_bytes=self._terms.socket_receive_bytes
        )
        with reporting(self._on_fault):
            self._owner.on_handshake(self, transport.get_extra_info("ssl_object"))

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    @override
    def buffer_updated(self, nbytes: int) -> None:
        self.heartbeat.quiet = 0
        try:
            with reporting(self._on_fault):
                for kind, request_id, body in feed(self.parser, bytes(self._buffer[:nbytes])):
                    if self.is_closing:  # TLS reads on until the other side has closed too.
                        return
                    self.routes[kind](self, kind, request_id, body)  # May change the routes.
        except ProtocolViolation as violation:
            self.violate(violation.reason)
        if self.parser.breach is not None:
            self.violate(self.parser.breach.code)

    @override
    def pause_writing(self) -> None:
        self.outbox.is_paused = True

    @override
    def resume_writing(self) -> None:
        self.outbox.is_paused = False
        self.heartbeat.stalled = 0
        flush(self.outbox)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closing = True
        self.reason = self.reason or "connection_lost"
        if self._beat is not None:
            self._beat.cancel()
        close_outbox(self.outbox, PeerUnreachable(self.reason))
        if not self.lost.done():
            self.lost.set_result(None)
        with reporting(self._on_fault):
            self._owner.on_link_lost(self)

    # What the room calls.

    def open(self, peer_id: int, traffic: Traffic) -> None:
        """Begin to talk with a peer whose key has been checked, counting into its `traffic`."""
        self.peer_id = peer_id
        self.opened_at = self._loop.time()
        self.traffic = traffic
        self.outbox.queues.bytes_taken = traffic.bytes_out
        self.outbox.queues.frames_dropped = traffic.frames_dropped
        self.opened.set_result(None)
        self._beat = self._loop.call_later(self._terms.heartbeat_s, self._on_beat)

    def send_control(self, kind: Control, request_id: int, body: bytes = b"") -> None:
        """Queue a frame of the room's own; a peer that lets these pile up is disconnected."""
        frame = encode_frame(kind, request_id, body)
        if not self.is_closing and not send(self.outbox, Lane.CONTROL, frame):
            self.violate("control_overflow")

    async def put(self, lane: Lane, frame: bytes) -> None:
        """Queue a frame when there is room; raise `PeerUnreachable` when the connection ends."""
        if self.is_closing:
            raise PeerUnreachable(self.reason)
        await put(self.outbox, lane, frame)

    def pause_reading(self) -> None:
        if not self.is_reading_paused and not self.is_closing:
            self.is_reading_paused = True
            self._transport().pause_reading()

    def resume_reading(self) -> None:
        if self.is_reading_paused and not self.is_closing:
            self.is_reading_paused = False
            self._transport().resume_reading()

    def violate(self, reason: str) -> None:
        """Count what the peer did wrong and end the connection for it."""
        if not self.is_closing:
            self.traffic.invalid[reason] += 1
            self.is_violated = True
            self.close(reason)

    def close(self, reason: str, *, says_goodbye: bool = True) -> None:
        """Send what the peer still takes, say why and close; cut it off if it takes nothing."""
        if self.is_closing:
            return
        self.is_closing = True
        self.reason = reason
        transport = self._transport()
        flush(self.outbox)
        if self.outbox.is_paused:
            transport.abort()
        else:
            if says_goodbye:
                transport.write(encode_frame(Control.GOODBYE, 0, encode_code(reason)))
            transport.close()
        close_outbox(self.outbox, PeerUnreachable(reason))

    def abort(self, reason: str) -> None:
        """End the connection at once, if there is one."""
        self.is_closing = True
        self.reason = self.reason or reason
        close_outbox(self.outbox, PeerUnreachable(self.reason))
        if self.outbox.transport is not None:
            self.outbox.transport.abort()

    # Below: shared steps.

    def _transport(self) -> asyncio.Transport:
        assert self.outbox.transport is not None, "there is a connection to act on"
        return self.outbox.transport

    def _on_fault(self, fault: Exception) -> None:
        self._owner.on_fault(fault)
        self.close("internal")  # What it interrupted is unknown.

    def _on_beat(self) -> None:
        is_listening, is_blocked = not self.is_reading_paused, self.outbox.is_paused
        reason = beat(self.heartbeat, is_listening=is_listening, is_blocked=is_blocked)
        if reason is not None:
            self.abort(reason)
            return
        self._beat = self._loop.call_later(self._terms.heartbeat_s, self._on_beat)
        if not self.outbox.queues.frames[Lane.CONTROL]:
            ping = make_ping(self.heartbeat, time.monotonic())  # Finer than some loops' time.
            self.send_control(Control.PING, 0, ping)
