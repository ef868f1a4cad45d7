"""Dialing: keep one peer connected by calling it again and again, ever less eagerly."""

import asyncio
import secrets
import ssl
from dataclasses import dataclass
from typing import Final

from p2p.identity import TlsContexts
from p2p.link import Link
from p2p.peers import Peer, note_end
from p2p.registry import Registry

_STEADY_S: Final = 1.0
"""A link that lived as long was no failure: the next attempt is eager again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialTerms:
    """Seconds between attempts, and how long an attempt or a farewell may take."""

    backoff_min_s: float
    backoff_max_s: float
    handshake_s: float
    shutdown_s: float


async def keep_dialed(
    registry: Registry, peer: Peer, contexts: TlsContexts, terms: DialTerms
) -> None:
    """Connect to a peer whenever it is not, until cancelled."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        if peer.channel is not None:
            await asyncio.wait([peer.channel.link.lost])
            continue
        link = registry.make_link(peer)
        began = loop.time()
        try:
            address = peer.address
            reason = await connect(link, address.host, address.port, contexts.dialing, terms)
            if reason is None:
                began = loop.time()
                await asyncio.wait([link.lost])
            else:
                note_end(peer, reason)
        finally:
            registry.forget_link(link)
        was_steady = link.opened.done() and loop.time() - began >= _STEADY_S
        failures = 0 if was_steady else failures + 1
        penalty_s = peer.barred_until - loop.time()
        await asyncio.sleep(max(penalty_s, backoff_s(failures, terms, secrets.randbelow(1001))))


def backoff_s(failures: int, terms: DialTerms, permille: int) -> float:
    """Return the pause before the next attempt: doubled per failure, capped, half of it random."""
    full = min(terms.backoff_max_s, terms.backoff_min_s * 2.0 ** min(failures, 16))
    return full * (0.5 + 0.5 * permille / 1000)


async def connect(
    link: Link, host: str, port: int, context: ssl.SSLContext, terms: DialTerms
) -> str | None:
    """Return None once both sides have agreed to talk, or why they have not."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(terms.handshake_s):
            await loop.create_connection(
                lambda: link,
                host,
                port,
                ssl=context,
                server_hostname="",
                ssl_handshake_timeout=terms.handshake_s,
                ssl_shutdown_timeout=terms.shutdown_s,
            )
            if link.outbox.transport is None:
                return "handshake"
            await asyncio.wait([link.opened, link.lost], return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        link.abort("cancelled")
        raise
    except TimeoutError:
        link.abort("timeout")
        return "timeout"
    except ssl.SSLError:
        return "handshake"
    except (OSError, ValueError):  # ValueError: a host that no resolver could be asked for.
        return "unreachable"
    return None if link.opened.done() else link.reason
