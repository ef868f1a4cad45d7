"""Visits: short calls at an address as a guest, whatever key answers there.

Who was away while others changed their keys cannot tell a member from an impostor. What it takes
on a visit proves itself, so it does not have to: blocks come with the certificates of a quorum.
The other side is asked and never listened to, and a visitor answers nothing.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from p2p.channel import Channel
from p2p.config import KindRule
from p2p.dialing import DialTerms, connect
from p2p.errors import PeerUnreachable
from p2p.identity import TlsContexts
from p2p.registry import Registry
from p2p.requests import ask, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """An open visit; `pin` is that of the key the other side has shown."""

    channel: Channel
    kinds: Mapping[int, KindRule]

    @property
    def pin(self) -> bytes:
        return self.channel.link.pin

    async def request(
        self, kind: int, body: bytes, timeout_ms: int, *, reply_bytes_max: int
    ) -> bytes:
        """Return the reply; raises what `Network.request` raises."""
        rule = self.kinds[kind]
        assert len(body) <= rule.bytes_max, "we keep to our own limits"
        to = self.channel
        asked = ask(to.link, to.asking, rule.lane, kind, body, reply_bytes_max=reply_bytes_max)
        return await within(timeout_ms / 1000, asked)


@asynccontextmanager
async def visiting(
    registry: Registry,
    contexts: TlsContexts,
    terms: DialTerms,
    kinds: Mapping[int, KindRule],
    host: str,
    port: int,
) -> AsyncIterator[Visit]:
    """Call at an address and leave at the end; raises `PeerUnreachable` saying why not."""
    link = registry.make_visit()
    try:
        reason = await connect(link, host, port, contexts.visiting, terms)
        channel = registry.visit_of(link)
        if reason is not None or channel is None:
            raise PeerUnreachable(f"{host}:{port}: {reason or link.reason}")
        yield Visit(channel=channel, kinds=kinds)
    finally:
        if link.outbox.transport is None:
            registry.forget_link(link)
        else:  # The registry forgets it when it is gone.
            link.close("visit_over")
