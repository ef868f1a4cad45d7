"""Posting bytes over kept connections with little work: drivers share the cores of the nodes.

HTTP/1.1 as our own nodes speak it: answers have a length, and a connection stays open unless it
broke. A general client costs the driver several times as much for each batch.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

HEAD_BYTES_MAX: Final = 64 << 10
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NoAnswer(Exception):
    """Nobody answered, or the answer broke off: what became of the request is not known."""


@dataclass(slots=True, kw_only=True)
class Peer:
    """One node's API: where it is, and the connections to it that are free."""

    url: str
    idle: deque[Streams] = field(default_factory=deque)


async def post(
    peer: Peer, path: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
) -> tuple[int, bytes]:
    """Return status and body of the answer; raise `NoAnswer`."""
    streams: Streams | None = None
    try:
        async with asyncio.timeout(timeout_s):
            streams = _take(peer) or await _connect(peer)
            answer = await _exchange(streams, _request(peer, path, body, headers))
    except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as problem:
        if streams is not None:
            streams[1].close()
        raise NoAnswer(f"{peer.url}: {problem}") from problem
    peer.idle.append(streams)
    return answer


def close(peer: Peer) -> None:
    """End the connections that are free."""
    while peer.idle:
        peer.idle.popleft()[1].close()


def _take(peer: Peer) -> Streams | None:
    """Return a free connection that the node has not closed meanwhile."""
    while peer.idle:
        streams = peer.idle.popleft()
        if not streams[0].at_eof() and not streams[1].is_closing():
            return streams
        streams[1].close()
    return None


async def _connect(peer: Peer) -> Streams:
    parts = urlsplit(peer.url)
    assert parts.hostname is not None, "a node's address has a host"
    is_tls = parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    return await asyncio.open_connection(
        parts.hostname, port, ssl=is_tls or None, limit=HEAD_BYTES_MAX
    )


def _request(peer: Peer, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    host = urlsplit(peer.url).netloc
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


async def _exchange(streams: Streams, request: bytes) -> tuple[int, bytes]:
    reader, writer = streams
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = STATUS.match(head), LENGTH.search(head)
    if status is None or length is None:
        raise ValueError("the answer is no HTTP with a length")
    return int(status[1]), await reader.readexactly(int(length[1]))
