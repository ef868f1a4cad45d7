"""The network: what a node asks of this room, from opening its port to closing it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, aclosing

from p2p.admission import make_admission
from p2p.channel import OnFrame
from p2p.config import NetworkConfig, PeerAddress
from p2p.dialing import DialTerms, keep_dialed
from p2p.faults import OnFault
from p2p.frames import encode_frame
from p2p.identity import Identity, install_certificate, make_certificate, make_contexts
from p2p.lanes import Lane
from p2p.listening import Listener, keep_accepting, open_listener
from p2p.outbox import send
from p2p.peers import Peer, channel_to, slot_of
from p2p.registry import GuestPolicy, OnLink, Registry
from p2p.requests import ask, ask_push, ask_stream, within
from p2p.serving import PushHandler, RequestHandler, ServingTerms
from p2p.statistics import NetworkStatistics, PeerStatistics, by_lane, by_reason
from p2p.visiting import Visit, visiting


def refuse_guests(_pin: bytes) -> None:
    """Turn every unknown key away: the guest policy of a node that has none."""


def ignore_links(_peer_id: int, _is_up: bool) -> None:
    """Take no notice of links coming and going."""


def report_to_loop(fault: Exception) -> None:
    """Hand a fault to the event loop's exception handler."""
    context = {"message": "fault in a handler or callback of the network", "exception": fault}
    asyncio.get_running_loop().call_exception_handler(context)


class Network:
    """One node's connections. All methods belong to the event loop that runs `start`.

    `on_frame(peer_id, kind, body)` is called for each single message in order and keeps none of
    them without `hold`. `on_link(peer_id, is_up)` tells of links. `on_fault` gets what handlers
    and callbacks of this node raise by mistake; by default the loop's exception handler does.
    `guest_policy` says which requests of an unknown key are answered, if any.
    """

    def __init__(
        self,
        config: NetworkConfig,
        identity: Identity,
        *,
        self_id: int | None,
        peers: Iterable[PeerAddress],
        on_frame: OnFrame,
        on_link: OnLink = ignore_links,
        on_fault: OnFault = report_to_loop,
        guest_policy: GuestPolicy = refuse_guests,
    ) -> None:
        self._config = config
        self._identity = identity
        self._self_id = self_id
        self._contexts = make_contexts()
        self._request_handlers: dict[int, RequestHandler] = {}
        self._push_handlers: dict[int, PushHandler] = {}
        self._stall_s = config.stream_stall_timeout_ms / 1000
        self._serving_terms = ServingTerms(
            request_handlers=self._request_handlers,
            push_handlers=self._push_handlers,
            lanes={kind: rule.lane for kind, rule in config.kinds.items()},
            slots=config.requests_max,
            window_bytes=config.window_bytes,
            stall_s=self._stall_s,
            on_fault=on_fault,
        )
        self._registry = Registry(
            config,
            identity.pin,
            self._serving_terms,
            on_frame=on_frame,
            on_link=on_link,
            guest_policy=guest_policy,
        )
        self._table = self._registry.table
        self._initial_peers = tuple(peers)
        self._dial_terms = DialTerms(
            backoff_min_s=config.backoff_min_ms / 1000,
            backoff_max_s=config.backoff_max_ms / 1000,
            handshake_s=config.handshake_timeout_ms / 1000,
            shutdown_s=config.shutdown_timeout_ms / 1000,
        )
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialing: dict[int, tuple[Peer, asyncio.Task[None]]] = {}
        self._renewal: asyncio.TimerHandle | None = None

    # Life.

    async def start(self) -> None:
        """Open the port and begin to connect; raises `OSError` if the port cannot be had."""
        assert self._listener is None, "a network is started once"
        loop = asyncio.get_running_loop()
        admission = make_admission(
            strangers_max=self._config.strangers_max,
            sources_max=self._config.sources_max,
            per_second=self._config.handshakes_per_second,
            now=loop.time(),
        )
        self._listener = open_listener(self._config.host, self._config.port, admission)
        _renew_certificate(self)
        accepting = keep_accepting(self._listener, self._registry, self._contexts, self._dial_terms)
        _start_task(self, accepting)
        self.set_peers(self._initial_peers, self_id=self._self_id)

    async def close(self) -> None:
        """Say goodbye to everybody and end; returns when nothing of the network runs any more."""
        if self._listener is None:
            return
        if self._renewal is not None:
            self._renewal.cancel()
        self._dialing.clear()
        tasks = self._tasks | self._listener.handshakes
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.socket.close()
        await self._registry.close_links(self._dial_terms.shutdown_s)

    @property
    def port(self) -> int:
        """The port that others can dial."""
        assert self._listener is not None, "a network has a port once it is started"
        port: int = self._listener.socket.getsockname()[1]
        return port

    def set_peers(self, peers: Iterable[PeerAddress], *, self_id: int | None) -> None:
        """Take another set of members; `self_id` is this node's index among them, None if none.

        The member with the lower index dials; a node without an index dials everybody.
        """
        assert self._listener is not None, "a network has peers once it is started"
        self._self_id = self_id
        self._registry.set_peers(peer for peer in peers if peer.peer_id != self_id)
        wanted = {
            peer_id: peer
            for peer_id, peer in self._table.by_id.items()
            if self_id is None or self_id < peer_id
        }
        for peer_id, (peer, task) in list(self._dialing.items()):
            if wanted.get(peer_id) is not peer:
                task.cancel()
                del self._dialing[peer_id]
        for peer_id in sorted(wanted.keys() - self._dialing.keys()):
            peer = wanted[peer_id]
            work = keep_dialed(self._registry, peer, self._contexts, self._dial_terms)
            self._dialing[peer_id] = (peer, _start_task(self, work))

    def set_identity(self, identity: Identity) -> None:
        """Show another key from now on; every link ends and is made again with it.

        The members have to expect it already (`PeerAddress.other_pin`).
        """
        assert self._listener is not None, "a network shows a key once it is started"
        self._identity = identity
        if self._renewal is not None:
            self._renewal.cancel()
        _renew_certificate(self)
        self._registry.take_pin(identity.pin)

    def visit(self, host: str, port: int) -> AbstractAsyncContextManager[Visit]:
        """Call at an address as a guest, whatever key answers: for what proves itself.

        Raises `PeerUnreachable` when nobody opens.
        """
        return visiting(
            self._config,
            self._serving_terms,
            self._contexts,
            self._dial_terms,
            (host, port),
            own_pin=self._identity.pin,
        )

    # Single messages.

    def send(self, peer_id: int, kind: int, body: bytes) -> None:
        """Send a message to one member, or count it as unsent if there is no link to it."""
        peer = self._table.by_id.get(peer_id)
        if peer is not None:
            _send_message(peer, _lane_of(self._config, kind, body), encode_frame(kind, 0, body))

    def broadcast(self, kind: int, body: bytes) -> None:
        """Send a message to every member."""
        lane = _lane_of(self._config, kind, body)
        frame = encode_frame(kind, 0, body)
        for peer in self._table.by_id.values():
            _send_message(peer, lane, frame)

    def hold(self, peer_id: int, byte_count: int) -> None:
        """Say that input of a peer is kept; over `held_bytes_max` the peer is read no further."""
        peer = self._table.by_id.get(peer_id)
        if peer is not None:
            peer.held_bytes += byte_count
            if peer.held_bytes > self._config.held_bytes_max and peer.channel is not None:
                peer.channel.link.pause_reading()

    def release(self, peer_id: int, byte_count: int) -> None:
        """Say that held input is done with; at half the limit the peer is read again."""
        peer = self._table.by_id.get(peer_id)
        if peer is not None:
            peer.held_bytes = max(0, peer.held_bytes - byte_count)
            if 2 * peer.held_bytes <= self._config.held_bytes_max and peer.channel is not None:
                peer.channel.link.resume_reading()

    # Conversations.

    def serve(self, kind: int, handler: RequestHandler) -> None:
        """Answer requests of this kind with what `handler(peer_id, body)` returns.

        That is bytes, or an iterator whose chunks are streamed; it may raise `RequestRefused`.
        Guests have negative ids.
        """
        assert not self._config.kinds[kind].is_message, "messages are not answered"
        self._request_handlers[kind] = handler

    def serve_push(self, kind: int, handler: PushHandler) -> None:
        """Take uploads of this kind with `handler(peer_id, header, chunks)`.

        It returns the reply, and may do so or raise `RequestRefused` before it has all chunks.
        """
        assert not self._config.kinds[kind].is_message, "messages are not answered"
        self._push_handlers[kind] = handler

    async def request(
        self,
        peer_id: int,
        kind: int,
        body: bytes,
        timeout_ms: int,
        *,
        reply_bytes_max: int | None = None,
    ) -> bytes:
        """Return the reply of a member.

        Raises `PeerUnreachable`, `RequestTimeout` (the outcome is unknown), `PeerRefused`, and
        `ReplyTooLarge` above `reply_bytes_max`.
        """
        lane = _lane_of(self._config, kind, body)
        bytes_max = self._config.reply_bytes_max if reply_bytes_max is None else reply_bytes_max

        async def ask_in_turn() -> bytes:
            async with slot_of(self._table, peer_id, lane):
                to = channel_to(self._table, peer_id)
                return await ask(to.link, to.asking, lane, kind, body, reply_bytes_max=bytes_max)

        return await within(timeout_ms / 1000, ask_in_turn())

    async def stream_request(self, peer_id: int, kind: int, body: bytes) -> AsyncGenerator[bytes]:
        """Yield the chunks that a member answers with; leave early only through `aclosing`.

        At most the configured window of it is in memory. Raises what `request` raises; it is
        timed out when no chunk comes for the configured stall time.
        """
        lane = _lane_of(self._config, kind, body)
        async with slot_of(self._table, peer_id, lane):
            to = channel_to(self._table, peer_id)
            window_bytes, stall_s = self._config.window_bytes, self._stall_s
            chunks = ask_stream(
                to.link, to.asking, lane, kind, body, window_bytes=window_bytes, stall_s=stall_s
            )
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def stream_push(
        self, peer_id: int, kind: int, header: bytes, chunks: AsyncIterator[bytes]
    ) -> bytes:
        """Upload the chunks to a member and return its reply; raises what `request` raises."""
        lane = _lane_of(self._config, kind, header)
        async with slot_of(self._table, peer_id, lane):
            to = channel_to(self._table, peer_id)
            bytes_max, stall_s = self._config.reply_bytes_max, self._stall_s
            return await ask_push(
                to.link,
                to.asking,
                lane,
                kind,
                header,
                chunks,
                reply_bytes_max=bytes_max,
                stall_s=stall_s,
            )

    # Knowledge.

    def connected(self) -> tuple[int, ...]:
        """Return the members there is a link to, ascending."""
        members = self._table.by_id
        return tuple(sorted(one for one in members if members[one].channel is not None))

    def statistics(self) -> NetworkStatistics:
        """Return a picture of this moment."""
        members = self._table.by_id
        return NetworkStatistics(
            peers=tuple(_peer_statistics(members[peer_id]) for peer_id in sorted(members)),
            guests=len(self._table.guests),
            unauthenticated=0 if self._listener is None else len(self._listener.handshakes),
            refused=by_reason(self._table.refused),
        )


def _start_task(network: Network, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work)
    network._tasks.add(task)
    task.add_done_callback(network._tasks.discard)
    return task


def _renew_certificate(network: Network) -> None:
    lifetime_s = network._config.certificate_lifetime_s
    certificate = make_certificate(network._identity, now_s=int(time.time()), lifetime_s=lifetime_s)
    install_certificate(network._contexts, network._identity, certificate)
    loop = asyncio.get_running_loop()
    network._renewal = loop.call_later(lifetime_s / 2, _renew_certificate, network)


def _lane_of(config: NetworkConfig, kind: int, body: bytes) -> Lane:
    rule = config.kinds[kind]
    assert len(body) <= rule.bytes_max, "we keep to our own limits"
    return rule.lane


def _send_message(peer: Peer, lane: Lane, frame: bytes) -> None:
    channel = peer.channel
    if channel is None or channel.link.is_closing or channel.link.is_guest_there:
        peer.traffic.unsent += 1
        return
    is_queued = send(channel.link.outbox, lane, frame)
    assert is_queued, "only lanes that may drop carry single messages"


def _peer_statistics(peer: Peer) -> PeerStatistics:
    traffic = peer.traffic
    link = None if peer.channel is None else peer.channel.link
    return PeerStatistics(
        peer_id=peer.address.peer_id,
        state=peer.state,
        since_ms=peer.since_ms,
        reason=peer.reason,
        is_guest_there=link is not None and link.is_guest_there,
        rtt_ms=None if link is None else link.heartbeat.rtt_ms,
        bytes_in=by_lane(traffic.bytes_in),
        bytes_out=by_lane(traffic.bytes_out),
        bytes_queued=0 if link is None else sum(link.outbox.queues.bytes_queued),
        frames_dropped=by_lane(traffic.frames_dropped),
        frames_unsent=traffic.unsent,
        invalid=by_reason(traffic.invalid),
        held_bytes=peer.held_bytes,
        reading_paused=link is not None and link.is_reading_paused,
        reconnects=max(0, traffic.connections - 1),
    )
