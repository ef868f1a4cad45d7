"""The door: how many connections there may be, in all and from one address.

A connection costs a socket of the process, and the replica needs some too; whoever opens more than
its share is shown out before a byte is read. A connection without a request ends by itself.
"""

import asyncio
from functools import partial
from typing import Final, cast

from aiohttp import web
from typing_extensions import override

BACKLOG: Final = 128


class Gate(asyncio.Protocol):
    """Looks at who connects, then lets the HTTP protocol take over or ends the connection."""

    def __init__(self, server: web.Server, *, total_max: int, each_max: int) -> None:
        self._server = server
        self._total_max = total_max
        self._each_max = each_max

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        line = cast("asyncio.Transport", transport)
        if not self._has_room(_host(line.get_extra_info("peername"))):
            line.abort()
            return
        handler = self._server()
        line.set_protocol(handler)
        handler.connection_made(line)

    def _has_room(self, host: str) -> bool:
        open_now = self._server.connections
        if len(open_now) >= self._total_max:
            return False
        return sum(_host(one.peername) == host for one in open_now) < self._each_max


async def listen(
    server: web.Server, *, host: str, port: int, total_max: int, each_max: int
) -> asyncio.Server:
    """Accept connections for an HTTP server; raises `OSError` if the address is taken."""
    make_gate = partial(Gate, server, total_max=total_max, each_max=each_max)
    loop = asyncio.get_running_loop()
    return await loop.create_server(make_gate, host, port, backlog=BACKLOG, reuse_address=True)


def _host(peer: object) -> str:
    return str(peer[0]) if isinstance(peer, tuple) else ""
