"""Links between node processes that can be cut, one direction at a time, and slowed: a proxy.

Every node's peers know it by the address of its proxy here. Who dials is read from /proc (which
process owns the other end of the connection), so a link is known by both its ends although all of
them live on loopback; no privileges are needed. Bytes of a link that is cut wait, as packets that
are never acknowledged do: the nodes find out by their own heartbeats.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 64 << 10

Pids = Callable[[], Mapping[int, int]]
"""Process id of each node that runs, by node index."""


@dataclass(slots=True, kw_only=True)
class Links:
    """What is done to each direction: pairs (from, to) in `cut` pass nothing until `mended`."""

    pids: Pids
    cut: set[tuple[int, int]] = field(default_factory=set)
    mended: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: dict[tuple[int, int], float] = field(default_factory=dict)
    servers: list[asyncio.Server] = field(default_factory=list)
    carried_bytes: int = 0
    unknown: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)


async def open_proxy(links: Links, node: int, *, port: int, target: int) -> None:
    """Listen on `port` for peers of `node`, which itself listens on `target`."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        links.open.add(task)
        try:
            await _serve(links, node, target, reader, writer)
        except asyncio.CancelledError:
            writer.close()  # The proxies close; streams would report a cancelled handler.
        finally:
            links.open.discard(task)

    links.servers.append(await asyncio.start_server(on_connection, "127.0.0.1", port))


async def close_proxies(links: Links) -> None:
    for server in links.servers:
        server.close()
    for task in tuple(links.open):
        task.cancel()
    await asyncio.gather(*links.open, return_exceptions=True)
    links.servers.clear()


def cut(links: Links, pairs: set[tuple[int, int]]) -> None:
    """Let nothing through from the first to the second of each pair."""
    links.mended.clear()
    links.cut |= pairs


def slow(links: Links, pairs: set[tuple[int, int]], delay_s: float) -> None:
    """Hold back every chunk from the first to the second of each pair."""
    links.delay_s |= dict.fromkeys(pairs, delay_s)


def mend(links: Links) -> None:
    links.cut.clear()
    links.delay_s.clear()
    links.mended.set()


def both_ways(one: list[int], other: list[int]) -> set[tuple[int, int]]:
    return {pair for a in one for b in other for pair in ((a, b), (b, a))}


async def _serve(
    links: Links,
    node: int,
    target: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        port = writer.get_extra_info("peername")[1]
        dialer = await asyncio.to_thread(owner_of, port, links.pids())
        if dialer is None:
            links.unknown += 1  # The process has ended since, or is no node: as a bare connection.
        into, out_of = await asyncio.open_connection("127.0.0.1", target)
        try:
            forth = _carry(links, (-1 if dialer is None else dialer, node), reader, out_of)
            back = _carry(links, (node, -1 if dialer is None else dialer), into, writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(forth)
                group.create_task(back)
        finally:
            out_of.close()
    except* (OSError, EOFError):
        pass  # One side hung up, or nobody listens: so does the other side find out.
    finally:
        with contextlib.suppress(OSError):
            writer.close()


async def _carry(
    links: Links,
    pair: tuple[int, int],
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
) -> None:
    """Pass bytes on in one direction; the end of one direction ends the connection."""
    while chunk := await source.read(CHUNK_BYTES):
        delay_s = links.delay_s.get(pair)
        if delay_s is not None:
            await asyncio.sleep(delay_s)
        while pair in links.cut:
            await links.mended.wait()
        sink.write(chunk)
        links.carried_bytes += len(chunk)
        await sink.drain()
    raise EOFError


def owner_of(port: int, pids: Mapping[int, int]) -> int | None:
    """Return which node's process holds the loopback connection that comes from `port`."""
    inode = _inode_of(port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for node, pid in pids.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                        return node
    return None


def _inode_of(port: int) -> str | None:
    ours = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == ours and words[9] != "0":
            return words[9]
    return None
