"""Visits: short calls at an address as a guest, whatever key answers there.

Who was away while others changed their keys cannot tell a member from an impostor. What it takes
on a visit proves itself, so it does not have to: blocks come with the certificates of a quorum.
The other side is asked and never listened to, and a visitor answers nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from p2p import peers
from p2p.channel import GOODBYE_PREFIX, Channel, closed_routes, end_channel, open_channel
from p2p.config import KindRule, NetworkConfig
from p2p.dialing import DialTerms, connect
from p2p.errors import NotWelcome, PeerUnreachable, ProtocolViolation, UnidentifiedPeer
from p2p.frames import make_limits
from p2p.guests import WELCOME_GUEST
from p2p.identity import VISIT_PROTOCOL, TlsContexts, peer_pin
from p2p.link import Link
from p2p.registry import make_terms
from p2p.requests import ask, within
from p2p.serving import ServingTerms, make_serving
from p2p.statistics import Traffic

VISITED: Final = -1 << 31
"""The peer id of whoever is visited: no member, and no guest."""

_NOTHING: Final[frozenset[int]] = frozenset()


class Visit:
    """One call, as the `LinkOwner` of its link."""

    def __init__(
        self, kinds: Mapping[int, KindRule], serving_terms: ServingTerms, own_pin: bytes
    ) -> None:
        self._kinds = kinds
        self._serving_terms = serving_terms
        self._own_pin = own_pin
        self._channel: Channel | None = None
        self._ending: list[asyncio.Task[None]] = []

    @property
    def pin(self) -> bytes:
        """The pin of the key that the other side has shown."""
        return self._open_channel().link.pin

    async def request(
        self, kind: int, body: bytes, timeout_ms: int, *, reply_bytes_max: int
    ) -> bytes:
        """Return the reply; raises what `Network.request` raises."""
        rule = self._kinds[kind]
        assert len(body) <= rule.bytes_max, "we keep to our own limits"
        to = self._open_channel()
        asked = ask(to.link, to.asking, rule.lane, kind, body, reply_bytes_max=reply_bytes_max)
        return await within(timeout_ms / 1000, asked)

    # What the link calls.

    def on_handshake(self, link: Link, tls: ssl.SSLObject) -> None:
        try:
            link.pin = peer_pin(tls.getpeercert(binary_form=True) or b"")
        except UnidentifiedPeer:
            link.close(peers.REASON_UNREADABLE_KEY)
            return
        if tls.selected_alpn_protocol() != VISIT_PROTOCOL:
            link.close(peers.REASON_OTHER_PROTOCOL)
        elif link.pin == self._own_pin:
            link.close(peers.REASON_OWN_KEY)

    def on_welcome(self, link: Link, _kind: int, _request_id: int, body: bytes) -> None:
        if body != WELCOME_GUEST:
            raise ProtocolViolation("absurd_welcome")
        link.open(VISITED, Traffic())
        serving = make_serving(self._serving_terms, _NOTHING)
        self._channel = open_channel(link, serving, self._kinds, _refuse_message)

    def on_link_lost(self, link: Link) -> None:
        if self._channel is not None:
            self._ending = end_channel(self._channel)

    def on_fault(self, fault: Exception) -> None:
        self._serving_terms.on_fault(fault)

    def _open_channel(self) -> Channel:
        assert self._channel is not None, "a visit is given out once it is open"
        return self._channel


@asynccontextmanager
async def visiting(
    config: NetworkConfig,
    serving_terms: ServingTerms,
    contexts: TlsContexts,
    dial_terms: DialTerms,
    address: tuple[str, int],
    *,
    own_pin: bytes,
) -> AsyncIterator[Visit]:
    """Call at (host, port) and leave at the end; raises `PeerUnreachable` saying why not.

    `NotWelcome` is the one where the other side answers nobody under our key.
    """
    visit = Visit(config.kinds, serving_terms, own_pin)
    link = Link(
        visit,
        make_terms(config),
        limits=make_limits({kind: rule.bytes_max for kind, rule in config.kinds.items()}),
        routes=closed_routes(visit.on_welcome),
        is_dialed=True,
    )
    host, port = address
    try:
        reason = await connect(link, host, port, contexts.visiting, dial_terms)
        if reason == GOODBYE_PREFIX + peers.REASON_UNKNOWN_PIN:
            raise NotWelcome(f"{host}:{port}: {reason}")
        if reason is not None:
            raise PeerUnreachable(f"{host}:{port}: {reason}")
        yield visit
    finally:
        if link.outbox.transport is not None and not link.lost.done():
            link.close("visit_over")
            await asyncio.wait([link.lost], timeout=dial_terms.shutdown_s)
            link.abort("visit_over")  # Who takes no farewell is not waited for.
            await asyncio.wait([link.lost])


def _refuse_message(_peer_id: int, _kind: int, _body: bytes) -> None:
    raise ProtocolViolation("message_to_a_visitor")
