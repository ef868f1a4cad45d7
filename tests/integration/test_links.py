"""The relay that faults cut and slow links with: it knows who dials, and cut links lose nothing."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.scene.local import free_ports
from benchmarks.scene.relays import Links, both_ways, close_relays, cut, mend, open_relay, slow

ME, OTHER = 3, 5


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Links, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A node that says what it hears, and a connection to it as from the node `ME`."""

    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()
        ended.set()

    (port,) = free_ports(1)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    links = Links(pids=lambda: {ME: os.getpid()})
    await open_relay(links, OTHER, port=port, target=server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield links, reader, writer
    finally:
        writer.close()
        await close_relays(links)
        await ended.wait()
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


async def test_bytes_of_a_slow_link_are_on_their_way_side_by_side() -> None:
    async with echoing() as (links, reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        loop, delay_s, pieces = asyncio.get_running_loop(), 0.1, 20

        slow(links, {(ME, OTHER)}, delay_s)
        began_s = loop.time()
        for _ in range(pieces):
            writer.write(b"two")
            await asyncio.sleep(0.005)  # Each is a piece of its own on its way.
        await reader.readexactly(3 * pieces)
        took_s = loop.time() - began_s

        assert delay_s <= took_s < delay_s * pieces / 2
