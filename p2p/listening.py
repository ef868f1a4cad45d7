"""Listening: take calls, and let nobody in who has not finished the handshake in time."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Final

from p2p.admission import Admission, admit, discharge, source_of
from p2p.dialing import DialTerms
from p2p.identity import TlsContexts
from p2p.registry import Registry
from p2p.sockets import tune_socket

_BACKLOG: Final = 128
_PAUSE_S: Final = 0.1
"""After an accept that failed, most likely for want of file descriptors."""


@dataclass(slots=True, kw_only=True)
class Listener:
    """The listening socket and the handshakes in progress."""

    socket: socket.socket
    admission: Admission
    handshakes: set[asyncio.Task[None]] = field(default_factory=set)


def open_listener(host: str, port: int, admission: Admission) -> Listener:
    """Bind an IP address (`::` takes both families where the system can); port 0 takes any."""
    if ":" in host:
        both = host == "::" and socket.has_dualstack_ipv6()
        bound = socket.create_server(
            (host, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=both
        )
    else:
        bound = socket.create_server((host, port), backlog=_BACKLOG)
    bound.setblocking(False)
    return Listener(socket=bound, admission=admission)


async def keep_accepting(
    listener: Listener, registry: Registry, contexts: TlsContexts, terms: DialTerms
) -> None:
    """Take calls until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            accepted, address = await loop.sock_accept(listener.socket)
        except OSError:
            registry.table.refused["accept"] += 1
            await asyncio.sleep(_PAUSE_S)
            continue
        tune_socket(accepted, receive_bytes=0)  # The rest follows if it is let in.
        source = source_of(address[0]) or ""
        is_known = source in _known_sources(registry)
        refusal = admit(listener.admission, source, is_known=is_known, now=loop.time())
        if refusal is not None:
            registry.table.refused[refusal] += 1
            accepted.close()
            continue
        task = loop.create_task(
            _receive(listener, registry, contexts, terms, accepted, source, is_known=is_known)
        )
        listener.handshakes.add(task)
        task.add_done_callback(listener.handshakes.discard)


async def _receive(
    listener: Listener,
    registry: Registry,
    contexts: TlsContexts,
    terms: DialTerms,
    accepted: socket.socket,
    source: str,
    *,
    is_known: bool,
) -> None:
    loop = asyncio.get_running_loop()
    link = registry.make_link(None)
    try:
        await loop.connect_accepted_socket(
            lambda: link,
            accepted,
            ssl=contexts.accepting,
            ssl_handshake_timeout=terms.handshake_s,
            ssl_shutdown_timeout=terms.shutdown_s,
        )
        if link.outbox.transport is not None and not link.opened.done():
            await asyncio.wait([link.lost])  # Turned away: its slot is free when it is gone.
    except (OSError, ValueError):  # A failure of TLS is the first, of decoding the second.
        registry.table.refused["handshake"] += 1
    finally:
        discharge(listener.admission, source, is_known=is_known)
    peer = registry.table.by_pin.get(link.pin)
    if peer is not None and link.opened.done():
        peer.source = source


def _known_sources(registry: Registry) -> set[str | None]:
    members = registry.table.by_id.values()
    return {peer.source for peer in members} | {source_of(peer.address.host) for peer in members}
