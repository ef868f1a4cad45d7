"""The driver's own small HTTP client, against servers that answer well, badly and not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.load.posting import NoAnswer, Peer, close, post

OK = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n[{}]"


@asynccontextmanager
async def answering(answers: list[bytes], seen: list[bytes]) -> AsyncIterator[Peer]:
    """Serve the answers in turn; an empty one closes the connection instead."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.append(head + await reader.readexactly(length))
                answer = answers.pop(0)
                writer.write(answer)
                await writer.drain()
                if not answer or not answer.endswith(b"[{}]"):
                    break
        except EOFError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer = Peer(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield peer
    finally:
        close(peer)
        server.close()
        await server.wait_closed()


async def send(peer: Peer, body: bytes = b"body") -> tuple[int, bytes]:
    return await post(peer, "/v1/x", body, {"Content-Type": "a/b"}, timeout_s=2)


async def test_a_connection_is_used_again() -> None:
    seen: list[bytes] = []
    async with answering([OK, OK], seen) as peer:
        first = await send(peer)
        second = await send(peer, b"more")

        assert first == second == (202, b"[{}]")
        assert len(peer.idle) == 1
    assert seen[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: a/b\r\n" in seen[0]
    assert [one[-4:] for one in seen] == [b"body", b"more"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"something else\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_none_and_its_connection_is_not_used_again(answer: bytes) -> None:
    async with answering([answer, OK], []) as peer:
        with pytest.raises(NoAnswer):
            await send(peer)

        assert not peer.idle
        assert await send(peer) == (202, b"[{}]")


async def test_nobody_there_is_no_answer(unused_tcp_port_factory: Callable[[], int]) -> None:
    peer = Peer(url=f"http://127.0.0.1:{unused_tcp_port_factory()}")

    with pytest.raises(NoAnswer):
        await send(peer)
