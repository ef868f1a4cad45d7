"""Transfers go on where a connection broke, and believe no node about bytes or promises."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from client.errors import (
    AnswerRejected,
    BytesRejected,
    NotReachable,
    ReceiptRejected,
    Refused,
)
from client.http import Node, Patience, get_json, open_node
from client.transfers import download_blob, fetch_sidecar, upload_blob
from client.trust import make_trust
from crypto.cid import RAW, make_cid
from crypto.envelopes import make_sidecar
from crypto.hashing import Digest
from tests.unit.ledger.record_samples import Hospitals
from tests.unit.ledger.small_consortium import genesis, seed

QUICK = Patience(attempts=3, pause_s=0.001, connect_timeout_s=2, read_timeout_s=2)
CONTENT = bytes(range(256)) * 4_096
CID = make_cid(RAW, seed("content"))
READ = Digest(seed("read"))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def node_with(method: str, path: str, handler: Handler) -> AsyncIterator[Node]:
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route(method, path, handler)
    async with (
        TestServer(app) as server,
        open_node(str(server.make_url("")), patience=QUICK) as node,
    ):
        yield node


def serving(break_after: int, content: bytes = CONTENT) -> tuple[Handler, list[str]]:
    """A handler that breaks off after so many bytes of each answer; and the ranges asked for."""
    asked: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        wanted = request.headers.get("Range", "")
        asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(content) - start
        await response.prepare(request)
        await response.write(content[start : start + break_after])
        if start + break_after < len(content):
            assert request.transport is not None
            request.transport.abort()
        return response

    return serve, asked


async def test_a_download_goes_on_where_each_connection_broke() -> None:
    handler, asked = serving(break_after=300_000)
    sink, told = io.BytesIO(), []

    async with node_with("GET", "/v1/blobs/{cid}", handler) as node:
        await download_blob(
            node,
            CID,
            len(CONTENT),
            sink,
            read=READ,
            progress=lambda done, total: told.append((done, total)),
        )

    assert sink.getvalue() == CONTENT
    assert len(asked) >= 4
    assert asked[0] == ""
    assert told[-1] == (len(CONTENT), len(CONTENT))


async def test_a_download_that_gets_nowhere_ends() -> None:
    handler, asked = serving(break_after=0)

    async with node_with("GET", "/v1/blobs/{cid}", handler) as node:
        with pytest.raises(NotReachable):
            await download_blob(node, CID, len(CONTENT), io.BytesIO(), read=READ)

    assert len(asked) == QUICK.attempts


async def test_more_bytes_than_the_seal_has_are_refused() -> None:
    handler, _ = serving(break_after=1 << 30, content=CONTENT + b"more")

    async with node_with("GET", "/v1/blobs/{cid}", handler) as node:
        with pytest.raises(BytesRejected):
            await download_blob(node, CID, len(CONTENT), io.BytesIO(), read=READ)


async def test_a_node_that_ignores_the_range_is_refused() -> None:
    first, _ = serving(break_after=300_000)

    async def serve(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            return web.Response(body=CONTENT)
        return await first(request)

    async with node_with("GET", "/v1/blobs/{cid}", serve) as node:
        with pytest.raises(AnswerRejected):
            await download_blob(node, CID, len(CONTENT), io.BytesIO(), read=READ)


async def test_a_right_that_ends_in_the_middle_ends_the_download() -> None:
    first, _ = serving(break_after=300_000)

    async def serve(request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            problem = {"code": "access.denied", "detail": "no right permits it"}
            return web.json_response(problem, status=403, content_type="application/problem+json")
        return await first(request)

    async with node_with("GET", "/v1/blobs/{cid}", serve) as node:
        with pytest.raises(Refused) as refusal:
            await download_blob(node, CID, len(CONTENT), io.BytesIO(), read=READ)

    assert refusal.value.code == "access.denied"


async def test_other_bytes_than_the_sidecar_named_are_refused() -> None:
    wanted, other = make_sidecar(b"wanted"), make_sidecar(b"other")

    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(body=other.content)

    async with node_with("GET", "/v1/sidecars/{digest}", serve) as node:
        assert await fetch_sidecar(node, other.digest) == b"other"
        with pytest.raises(BytesRejected):
            await fetch_sidecar(node, wanted.digest)


def receiving(receipts: list[list[Any]], failures: int = 0) -> tuple[Handler, list[bytes]]:
    """A handler that takes uploads, after so many broken connections, and gives these receipts."""
    taken: list[bytes] = []

    async def receive(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        taken.append(body)
        if len(taken) <= failures:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"receipts": receipts}, status=201)

    return receive, taken


def promise(node: int, size_bytes: int = len(CONTENT)) -> list[Any]:
    receipt = Hospitals().receipt(node, CID, size_bytes)
    return [node, receipt.signature.hex()]


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "sealed"
    path.write_bytes(CONTENT)
    return path


async def test_an_upload_survives_a_broken_connection(sealed: Path) -> None:
    handler, taken = receiving([promise(0), promise(2)], failures=1)

    async with node_with("PUT", "/v1/blobs/{cid}", handler) as node:
        stored = await upload_blob(node, make_trust(genesis()), sealed, CID, len(CONTENT))

    assert stored.is_safe
    assert taken[-1] == CONTENT
    assert [one.validator for one in stored.receipts] == [0, 2]


async def test_one_promise_of_four_hospitals_is_not_safe(sealed: Path) -> None:
    handler, _ = receiving([promise(0)])

    async with node_with("PUT", "/v1/blobs/{cid}", handler) as node:
        stored = await upload_blob(node, make_trust(genesis()), sealed, CID, len(CONTENT))

    assert not stored.is_safe


@pytest.mark.parametrize(
    "receipts",
    [
        [promise(0), [2, promise(0)[1]]],
        [promise(0), [9, promise(2)[1]]],
        [promise(0), promise(2, size_bytes=1)],
        [promise(0), promise(0)],
        [[0, "00"]],
    ],
    ids=["another's", "a stranger's", "of another size", "twice", "cut"],
)
async def test_a_promise_that_does_not_hold_is_refused(
    sealed: Path, receipts: list[list[Any]]
) -> None:
    handler, _ = receiving(receipts)

    async with node_with("PUT", "/v1/blobs/{cid}", handler) as node:
        with pytest.raises(ReceiptRejected):
            await upload_blob(node, make_trust(genesis()), sealed, CID, len(CONTENT))


async def test_a_node_that_does_not_answer_is_not_reachable() -> None:
    async with open_node("http://127.0.0.1:9", patience=QUICK) as node:
        with pytest.raises(NotReachable, match="check that the node runs"):
            await get_json(node, "/v1/node")


@pytest.mark.parametrize("body", [b"", b"not json", b"[" * 100_000, b"\xff"])
async def test_an_answer_that_is_no_json_is_refused(body: bytes) -> None:
    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with node_with("GET", "/v1/node", serve) as node:
        with pytest.raises(AnswerRejected):
            await get_json(node, "/v1/node")


async def test_a_busy_node_is_asked_again_as_it_wishes() -> None:
    asked = []

    async def serve(_: web.Request) -> web.StreamResponse:
        asked.append(1)
        if len(asked) == 1:
            return web.json_response({"code": "limit.rate"}, status=429)
        return web.json_response({"ok": True})

    async with node_with("GET", "/v1/node", serve) as node:
        assert await get_json(node, "/v1/node") == {"ok": True}
