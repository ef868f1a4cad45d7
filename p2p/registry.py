"""The registry: which link belongs to whom.

Every link is judged once, right after its handshake and before its first frame: by the pin of the
key it has proved to hold. There is one link per peer. When a second appears, a newer one made in
the same direction replaces the older (which is then most likely dead), and of two made in opposite
directions the one dialed by the lower pin stays: both sides know both pins, so both keep the same.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import TypeAlias

from p2p import peers
from p2p.channel import Channel, OnFrame, closed_routes, end_channel, open_channel
from p2p.config import NetworkConfig, PeerAddress
from p2p.errors import ProtocolViolation, UnidentifiedPeer
from p2p.frames import Control, make_limits
from p2p.guests import WELCOME_GUEST, WELCOME_MEMBER, make_room
from p2p.identity import PROTOCOL, VISIT_PROTOCOL, peer_pin
from p2p.lanes import LANES
from p2p.link import Link, LinkTerms
from p2p.peers import Peer, PeerTable, note_connected, note_end, replace_addresses
from p2p.serving import ServingTerms, make_serving
from p2p.statistics import Traffic

GuestPolicy: TypeAlias = Callable[[bytes], frozenset[int] | None]
"""Takes an unknown pin; returns the request kinds it is answered, or None to turn it away."""

OnLink: TypeAlias = Callable[[int, bool], None]
"""Takes (peer, is up): a link to a member has opened or ended."""


class Registry:
    """Judges links as their `LinkOwner` and keeps `table` true; it owns every link of the node."""

    def __init__(
        self,
        config: NetworkConfig,
        own_pin: bytes,
        serving_terms: ServingTerms,
        *,
        on_frame: OnFrame,
        on_link: OnLink,
        guest_policy: GuestPolicy,
    ) -> None:
        self._config = config
        self._own_pin = own_pin
        self._serving_terms = serving_terms
        self._on_frame = on_frame
        self._on_link = on_link
        self._guest_policy = guest_policy
        self._guests_seen = 0
        self._expected: dict[Link, Peer] = {}
        self._links: set[Link] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._terms = make_terms(config)
        self._limits = make_limits({kind: rule.bytes_max for kind, rule in config.kinds.items()})
        self._guest_limits = make_limits(
            {kind: rule.bytes_max for kind, rule in config.kinds.items() if not rule.is_message}
        )
        self._closed_routes = closed_routes(self._on_welcome)
        self.table = PeerTable()

    def set_peers(self, addresses: Iterable[PeerAddress]) -> None:
        """Take another set of members: links of those that stay with their key stay too."""
        slots = self._config.requests_max
        gone = replace_addresses(self.table, addresses, own_pin=self._own_pin, slots=slots)
        for peer in [*gone, *self.table.by_id.values()]:
            channel = peer.channel
            if channel is not None and self.table.by_pin.get(channel.link.pin) is not peer:
                self._close_channel(peer, peers.REASON_REMOVED)
        for guest in list(self.table.guests.values()):
            if guest.link.pin in self.table.by_pin:
                guest.link.close(peers.REASON_MEMBER_NOW)

    def make_link(self, expected: Peer | None) -> Link:
        """Return a link to be connected: to a peer we dial, or for whoever has called us."""
        link = Link(
            self,
            self._terms,
            limits=self._limits,
            routes=self._closed_routes,
            is_dialed=expected is not None,
        )
        if expected is not None:
            self._expected[link] = expected
        return link

    def forget_link(self, link: Link) -> None:
        """Drop what is kept about a link that never came to be."""
        self._expected.pop(link, None)

    def take_pin(self, own_pin: bytes) -> None:
        """Show another key from now on: whoever is connected connects again and sees it."""
        self._own_pin = own_pin
        for peer in self.table.by_id.values():
            if peer.channel is not None:
                peer.channel.link.close(peers.REASON_OTHER_KEY)

    async def close_links(self, patience_s: float) -> None:
        """Say goodbye on every link and cut off what has not ended in time."""
        lost = [link.lost for link in self._links]
        for link in list(self._links):
            link.close(peers.REASON_CLOSING)
        if lost:
            await asyncio.wait(lost, timeout=patience_s)
        for link in list(self._links):
            link.abort(peers.REASON_CLOSING)
        if lost:
            await asyncio.wait(lost)
        await asyncio.gather(*self._ending, return_exceptions=True)

    # What a link calls.

    def on_handshake(self, link: Link, tls: ssl.SSLObject) -> None:
        self._links.add(link)
        try:
            link.pin = peer_pin(tls.getpeercert(binary_form=True) or b"")
        except UnidentifiedPeer:
            self._refuse(link, peers.REASON_UNREADABLE_KEY)
            return
        protocol = tls.selected_alpn_protocol()
        if protocol == VISIT_PROTOCOL and not link.is_dialed:
            self._judge_stranger(link)
        elif protocol != PROTOCOL:
            self._refuse(link, peers.REASON_OTHER_PROTOCOL)
        elif not link.is_dialed:
            self._judge_caller(link)
        elif self.table.by_pin.get(link.pin) is not self._expected[link]:
            self._refuse(link, peers.REASON_WRONG_PIN)

    def on_link_lost(self, link: Link) -> None:
        self._links.discard(link)
        self._expected.pop(link, None)
        if link.peer_id is None:
            return
        guest = self.table.guests.pop(link.peer_id, None)
        if guest is not None:
            self._end_channel(guest)
        peer = self.table.by_id.get(link.peer_id)
        if peer is not None and peer.channel is not None and peer.channel.link is link:
            self._close_channel(peer, link.reason)

    def on_fault(self, fault: Exception) -> None:
        self._serving_terms.on_fault(fault)

    # Below: who is who.

    def _judge_caller(self, link: Link) -> None:
        peer = self.table.by_pin.get(link.pin)
        if peer is None:
            self._judge_stranger(link)
        elif asyncio.get_running_loop().time() < peer.barred_until:
            self._refuse(link, peers.REASON_PENALTY)
        elif self._is_preferred(peer, link):
            link.send_control(Control.WELCOME, 0, WELCOME_MEMBER)
            self._open_channel(peer, link)
        else:
            self._refuse(link, peers.REASON_DUPLICATE)

    def _judge_stranger(self, link: Link) -> None:
        if link.pin == self._own_pin:
            self._refuse(link, peers.REASON_OWN_KEY)
            return
        kinds = self._guest_policy(link.pin)
        if kinds is None:
            self._refuse(link, peers.REASON_UNKNOWN_PIN)
        elif not make_room(self.table, self._config, link.pin):
            self._refuse(link, peers.REASON_TOO_MANY_GUESTS)
        else:
            self._guests_seen += 1
            link.parser.limits = self._guest_limits
            link.send_control(Control.WELCOME, 0, WELCOME_GUEST)
            link.open(-self._guests_seen, Traffic())
            serving = make_serving(self._serving_terms, kinds)
            channel = open_channel(link, serving, self._config.kinds, _refuse_message)
            self.table.guests[-self._guests_seen] = channel

    def _on_welcome(self, link: Link, _kind: int, _request_id: int, body: bytes) -> None:
        peer = self._expected.get(link)
        if peer is None or body not in (WELCOME_MEMBER, WELCOME_GUEST):
            raise ProtocolViolation("absurd_welcome")
        if self.table.by_pin.get(link.pin) is not peer:
            link.close(peers.REASON_REMOVED)
        elif self._is_preferred(peer, link):
            link.is_guest_there = body == WELCOME_GUEST
            self._open_channel(peer, link)
        else:
            link.close(peers.REASON_DUPLICATE)

    def _is_preferred(self, peer: Peer, link: Link) -> bool:
        if peer.channel is None or peer.channel.link.is_closing:
            return True
        if peer.channel.link.is_dialed == link.is_dialed:
            return True
        return link.is_dialed == (self._own_pin < link.pin)

    def _open_channel(self, peer: Peer, link: Link) -> None:
        if peer.channel is not None:
            self._close_channel(peer, peers.REASON_REPLACED)
        link.open(peer.address.peer_id, peer.traffic)
        serving = make_serving(self._serving_terms, None)
        peer.channel = open_channel(link, serving, self._config.kinds, self._on_frame)
        if peer.held_bytes > self._config.held_bytes_max:
            link.pause_reading()
        note_connected(peer)
        self._on_link(peer.address.peer_id, True)

    def _close_channel(self, peer: Peer, reason: str) -> None:
        channel, peer.channel = peer.channel, None
        assert channel is not None, "only an open channel is closed"
        channel.link.close(reason)
        if channel.link.is_violated:
            penalty_s = self._config.penalty_ms / 1000
            peer.barred_until = asyncio.get_running_loop().time() + penalty_s
        self._end_channel(channel)
        note_end(peer, reason)
        self._on_link(peer.address.peer_id, False)

    def _end_channel(self, channel: Channel) -> None:
        for task in end_channel(channel):
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _refuse(self, link: Link, reason: str) -> None:
        self.table.refused[reason] += 1
        link.close(reason)


def _refuse_message(_peer_id: int, _kind: int, _body: bytes) -> None:
    raise ProtocolViolation("message_of_a_guest")


def make_terms(config: NetworkConfig) -> LinkTerms:
    return LinkTerms(
        lane_limits=tuple(config.lane_limits[lane] for lane in LANES),
        receive_bytes=config.receive_bytes,
        socket_receive_bytes=config.socket_receive_bytes,
        heartbeat_s=config.heartbeat_ms / 1000,
        idle_beats=-(-config.idle_timeout_ms // config.heartbeat_ms),
        stall_beats=-(-config.write_stall_timeout_ms // config.heartbeat_ms),
    )
