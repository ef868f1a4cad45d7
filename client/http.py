"""Talking to one node over HTTP: bounded answers, retries where repeating is safe, named errors.

Everything sent here may be repeated: reads change nothing, a transaction is known by its id, a blob
by its content address. So a broken connection is tried again with growing pauses; when that does
not help the error says that nobody knows, never that it failed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp

from client.errors import AnswerRejected, NotReachable, Refused
from crypto.errors import DecodeError
from crypto.schema import decode, encode

T = TypeVar("T")

MSGPACK: Final = "application/msgpack"
JSON_BYTES_MAX: Final = 8 << 20
READ_BYTES: Final = 256 << 10

_RETRIED_STATUS: Final = (429, 502, 503, 504)
_BROKEN: Final = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on trying: attempts, the pause before the second (it doubles), timeouts."""

    attempts: int = 5
    pause_s: float = 0.2
    pause_s_max: float = 5.0
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class Node:
    """A node as this client reaches it.

    `url` has no path and no slash at its end; it is also the origin that sessions are bound to.
    `token` is the session's, in memory only; `renew` opens a new one after a 401.
    """

    url: str
    http: aiohttp.ClientSession
    patience: Patience
    token: str = field(default="", repr=False)
    renew: Callable[[], Awaitable[None]] | None = None


@asynccontextmanager
async def open_node(url: str, *, patience: Patience | None = None) -> AsyncIterator[Node]:
    """Open the way to a node; nothing is sent yet."""
    patience = patience or Patience()
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=patience.connect_timeout_s, sock_read=patience.read_timeout_s
    )
    async with aiohttp.ClientSession(
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=READ_BYTES,
        auto_decompress=False,
    ) as http:
        yield Node(url=url.rstrip("/"), http=http, patience=patience)


async def get_json(node: Node, path: str, params: Mapping[str, str] | None = None) -> Any:
    """Return the JSON at `path`."""
    return _parsed(await get_bytes(node, path, params, bytes_max=JSON_BYTES_MAX), path)


async def post_json(node: Node, path: str, body: object) -> Any:
    """Send JSON and return the answer's JSON."""
    encoded = json.dumps(body).encode()
    answer = await _whole(
        node, "POST", path, body=encoded, content_type="application/json", bytes_max=JSON_BYTES_MAX
    )
    return _parsed(answer, path)


async def post_wire(node: Node, path: str, wire: Any) -> Any:
    """Send a canonical encoding and return the answer's JSON."""
    answer = await _whole(
        node, "POST", path, body=encode(wire), content_type=MSGPACK, bytes_max=JSON_BYTES_MAX
    )
    return _parsed(answer, path)


async def exchange(node: Node, path: str, wire: Any, kind: type[T], *, bytes_max: int) -> T:
    """Send a canonical encoding and return the answer, a canonical encoding of `kind`."""
    answer = await _whole(
        node,
        "POST",
        path,
        body=encode(wire),
        content_type=MSGPACK,
        accept=MSGPACK,
        bytes_max=bytes_max,
    )
    try:
        return decode(kind, answer)
    except DecodeError as problem:
        raise AnswerRejected(f"{path}: not a {kind.__name__}: {problem}") from problem


async def get_bytes(
    node: Node, path: str, params: Mapping[str, str] | None = None, *, bytes_max: int
) -> bytes:
    """Return the bytes at `path`; raise `AnswerRejected` for more than `bytes_max`."""
    return await _whole(node, "GET", path, params=params, bytes_max=bytes_max)


async def put_stream(
    node: Node, path: str, size_bytes: int, open_chunks: Callable[[], AsyncIterator[bytes]]
) -> Any:
    """Send `size_bytes` from the chunks and return the answer's JSON.

    After a broken connection the chunks are opened anew and sent again: the node passes over what
    it has kept of the earlier attempt.
    """

    async def attempt() -> bytes:
        async with node.http.put(
            node.url + path,
            data=open_chunks(),
            headers={
                **_headers(node),
                "Content-Length": str(size_bytes),
                "Content-Type": "application/octet-stream",
            },
            allow_redirects=False,
        ) as response:
            return await _answer(response, path, JSON_BYTES_MAX)

    return _parsed(await _repeated(node, path, attempt), path)


@asynccontextmanager
async def get_stream(
    node: Node, path: str, params: Mapping[str, str], *, start: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open the bytes at `path` from `start` on; one attempt, the caller goes on where it broke.

    Raises `NotReachable` when the connection breaks, at the start or while reading.
    """
    headers = _headers(node)
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        async with node.http.get(
            node.url + path, params=dict(params), headers=headers, allow_redirects=False
        ) as response:
            if response.status not in (200, 206):
                await _answer(response, path, JSON_BYTES_MAX)
            if start and response.status != 206:
                raise AnswerRejected(f"{path}: the node sends it all where the rest was asked for")
            yield response.content.iter_chunked(READ_BYTES)
    except _BROKEN as problem:
        raise NotReachable(f"the connection to {node.url} broke: {problem}") from problem


async def pause_before(node: Node, attempt: int) -> None:
    """Wait before attempt number `attempt` (from 1): longer each time."""
    patience = node.patience
    await asyncio.sleep(min(patience.pause_s * 2 ** (attempt - 1), patience.pause_s_max))


async def _whole(
    node: Node,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    body: bytes | None = None,
    content_type: str = "",
    accept: str = "",
    bytes_max: int,
) -> bytes:
    async def attempt() -> bytes:
        headers = _headers(node)
        if content_type:
            headers["Content-Type"] = content_type
        if accept:
            headers["Accept"] = accept
        async with node.http.request(
            method,
            node.url + path,
            params=dict(params or {}),
            data=body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            return await _answer(response, path, bytes_max)

    return await _repeated(node, path, attempt)


async def _repeated(node: Node, path: str, attempt: Callable[[], Awaitable[bytes]]) -> bytes:
    """Attempt until an answer comes; renew the session once if that is what is missing."""
    is_renewed = False
    number = 0
    while True:
        number += 1
        try:
            return await attempt()
        except Refused as refusal:
            if refusal.status == 401 and node.renew is not None and not is_renewed:
                is_renewed = True
                await node.renew()
                continue
            if refusal.status not in _RETRIED_STATUS or number >= node.patience.attempts:
                raise
            await asyncio.sleep(min(refusal.retry_after_s, node.patience.pause_s_max))
        except _BROKEN as problem:
            if number >= node.patience.attempts:
                raise NotReachable(
                    f"{node.url} does not answer ({_reason(problem)}); check that the node runs, "
                    "or name another"
                ) from problem
        await pause_before(node, number)


def _headers(node: Node) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.token}"} if node.token else {}


async def _answer(response: aiohttp.ClientResponse, path: str, bytes_max: int) -> bytes:
    """Return a good answer's body; raise `Refused` for any other status."""
    is_good = 200 <= response.status < 300
    body = await _bounded(response, bytes_max if is_good else JSON_BYTES_MAX, path)
    if is_good:
        return body
    after = response.headers.get("Retry-After", "")
    code, text, definite = f"http.{response.status}", body[:200].decode(errors="replace"), False
    try:
        problem = json.loads(body)
        if isinstance(problem, dict):
            code = str(problem.get("code", code))
            text = str(problem.get("detail") or problem.get("title") or code)
            definite = problem.get("definite") is True
    except ValueError:
        pass  # Something in between answered, not a node: its status has to do.
    raise Refused(
        code,
        text,
        definite=definite,
        status=response.status,
        retry_after_s=int(after) if after.isascii() and after.isdecimal() else 0,
    )


async def _bounded(response: aiohttp.ClientResponse, bytes_max: int, path: str) -> bytes:
    gathered = bytearray()
    async for chunk in response.content.iter_chunked(READ_BYTES):
        gathered += chunk
        if len(gathered) > bytes_max:
            raise AnswerRejected(f"{path}: more than {bytes_max} bytes came back")
    return bytes(gathered)


def _parsed(answer: bytes, path: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError) as problem:
        raise AnswerRejected(f"{path}: the answer is not JSON: {problem}") from problem


def _reason(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
