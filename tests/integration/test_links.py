"""The proxy that the nemesis cuts links with: it knows who dials, and a cut link loses nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from commands.devnet import free_ports
from tests.integration.soak.links import Links, both_ways, close_proxies, cut, mend, open_proxy

ME, OTHER = 3, 5


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Links, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A node that says what it hears, and a connection to it as from the node `ME`."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()

    (port,) = free_ports(1)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    links = Links(pids=lambda: {ME: os.getpid()})
    await open_proxy(links, OTHER, port=port, target=server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield links, reader, writer
    finally:
        writer.close()
        await close_proxies(links)
        server.close()


async def test_what_is_said_over_a_cut_link_waits_until_it_is_mended() -> None:
    async with echoing() as (links, reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"

        cut(links, both_ways([ME], [OTHER]))
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), timeout=0.3)
        assert links.unknown == 0

        mend(links)
        writer.write(b"six")
        assert await asyncio.wait_for(reader.readexactly(6), timeout=5) == b"twosix"


async def test_one_direction_can_be_cut_alone() -> None:
    async with echoing() as (links, reader, writer):
        cut(links, {(ME, 7), (7, OTHER)})
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"

        cut(links, {(OTHER, ME)})
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), timeout=0.3)
        mend(links)
        assert await reader.readexactly(3) == b"two"
