"""Bytes of every kind at every address: a refusal by name each time, never a fault of the node."""

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import CODES, ApiError
from api.parsing import parse_json
from api.routes import ROUTES
from crypto.encoding import pack
from tests.api.asking import MSGPACK, Answer, Server, running
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.record_samples import DOCTOR

POSTS = [route.path for route in ROUTES if route.method == "POST"]
GETS = [route for route in ROUTES if route.method == "GET" and route.path != "/v1/events"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
wire_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**64 - 1) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5).map(tuple),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=300)
    | json_values.map(lambda value: json.dumps(value).encode())
    | wire_values.map(pack)
)
path_parts = st.text(
    st.characters(blacklist_characters="/?#%\\", blacklist_categories=("Cs", "Cc")), max_size=80
)


def _filled(path: str, part: str) -> str:
    return re.sub(r"\{\w+\}", lambda _: part, path)


def check_refused(answer: Answer) -> None:
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.code in CODES


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_of_any_bytes_is_refused_by_name(path: str) -> None:
    async with running(MemoryNode()) as server:
        for kind, body in hypothesis_bodies(120):
            check_refused(
                await server.ask("POST", path, by=DOCTOR, headers={"Content-Type": kind}, data=body)
            )
        assert (await server.get("/v1/node")).status == 200


def hypothesis_bodies(count: int) -> list[tuple[str, bytes]]:
    """Some bodies, the same in each run: the server's loop and hypothesis' do not mix."""
    found: list[tuple[str, bytes]] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.sampled_from([MSGPACK, "application/json"]), bodies)
    def gather(kind: str, body: bytes) -> None:
        found.append((kind, body))

    gather()
    return found


def hypothesis_parts(count: int) -> list[str]:
    found: list[str] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(path_parts)
    def gather(part: str) -> None:
        found.append(part)

    gather()
    return found


async def test_any_text_in_a_path_or_a_parameter_is_refused_by_name() -> None:
    async with running(MemoryNode()) as server:
        for part in hypothesis_parts(60):
            for route in GETS:
                path = _filled(route.path, part or "x")
                params = dict.fromkeys(route.query, part)
                check_refused(await server.get(path, by=DOCTOR, params=params))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"account": "00", "account": "01"}',
        b'{"account": 1.5}',
        b'{"account": NaN}',
        b'{"account": ' + b"9" * 5_000 + b"}",
        b'{"account": "\\ud800"}',
        b'{"account": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"null",
        b"[]",
        b'{"account": null}',
        b'{"account": ["00"]}',
        b'{"account": true}',
    ],
)
async def test_json_of_another_form_is_refused_by_name(server: Server, body: bytes) -> None:
    for path in ("/v1/sessions/challenge", "/v1/sessions", "/v1/transactions"):
        answer = await server.ask(
            "POST", path, headers={"Content-Type": "application/json"}, data=body
        )
        assert answer.status in (400, 401, 413)
        assert answer.code in ("request.malformed", "session.origin", "request.too_large")


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": "00"},
        {"signature": "00" * 64},
        {"signature": None},
        {"nonce": "00" * 32},
        {"nonce": "zz" * 32},
        {"key_id": "00" * 16},
        {"issued_ms": -1},
        {"issued_ms": 2**64},
        {"issued_ms": True},
        {"expires_ms": "soon"},
        {"origin": 7},
        {"origin": ""},
        {"origin": "http://\ud800"},
        {"account": "00" * 32},
        {"extra": 1},
    ],
)
async def test_a_claim_with_any_part_replaced_opens_nothing(
    server: Server, changes: dict[str, Any]
) -> None:
    answer = await server.open_session(DOCTOR, sent=changes)

    assert answer.status in (400, 401)
    assert answer.code in CODES


@given(st.binary(max_size=200))
def test_parsing_json_fails_by_name_or_not_at_all(body: bytes) -> None:
    code = "none"
    try:
        parse_json(body)
    except ApiError as refusal:
        code = refusal.code

    assert code in ("none", "request.malformed")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /v1/node HTTP/9.9\r\n\r\n",
        b"GET /v1/node HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/node%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/blobs/%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_ends_the_connection_and_nothing_else(
    server: Server, raw: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.api.port)
    writer.write(raw)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    after = await server.get("/v1/node")

    assert b"Traceback" not in answer
    assert not answer.startswith(b"HTTP/1.1 5")
    assert after.status == 200
