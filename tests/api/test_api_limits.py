"""What a flood, a dawdler or a stranger's page gets: a refusal by name, and the node goes on."""

import asyncio
import io
from typing import Any

import pytest

from api.app import IDLE_S, start_api
from api.context import ApiConfig
from api.errors import ApiError
from api.limits import (
    BUCKETS_MAX,
    Buckets,
    LimitsConfig,
    Rate,
    Slots,
    occupied,
    take,
)
from ledger.exchange import SUBMIT_BYTES_MAX
from tests.api.asking import MSGPACK, Server, running
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import enter_read, write
from tests.unit.ledger.record_samples import DOCTOR, NURSE
from tests.unit.ledger.small_consortium import account_of

ME = f"/v1/people/{account_of(DOCTOR).hex()}"


def limited(**limits: Any) -> ApiConfig:
    return ApiConfig(limits=LimitsConfig(**limits))


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(rate=Rate(per_s=2, burst=3), clock_s=lambda: now[0])

    given = [take(buckets, "one") for _ in range(4)]
    now[0] = 0.5
    later = [take(buckets, "one") for _ in range(2)]

    assert given == [0, 0, 0, 0.5]
    assert later == [0, 0.5]
    assert take(buckets, "other") == 0


def test_the_table_of_buckets_is_bounded_and_forgets_the_stillest() -> None:
    buckets = Buckets(rate=Rate(per_s=1, burst=1), clock_s=lambda: 0.0)

    for number in range(BUCKETS_MAX + 10):
        take(buckets, number)
        take(buckets, 0)

    assert len(buckets.known) == BUCKETS_MAX
    assert 0 in buckets.known
    assert 1 not in buckets.known


def test_slots_are_given_back_whatever_happens() -> None:
    slots = Slots(total_max=2, each_max=1)

    with occupied(slots, "one", "full"):
        refused = occupied(slots, "one", "full")
        with pytest.raises(ApiError), refused:
            pass
    failing = occupied(slots, "one", "full")
    with pytest.raises(KeyError), failing:
        raise KeyError

    assert slots == Slots(total_max=2, each_max=1)


async def test_an_address_that_asks_too_much_is_told_when_to_come_again(node: MemoryNode) -> None:
    async with running(node, limited(address=Rate(per_s=0.5, burst=3))) as server:
        answers = [await server.get("/v1/node") for _ in range(4)]

    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert answers[3].code == "limit.rate"
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 2


async def test_an_account_is_limited_whatever_its_sessions(node: MemoryNode) -> None:
    async with running(node, limited(account=Rate(per_s=0.01, burst=2))) as server:
        mine = [await server.get(ME, by=DOCTOR) for _ in range(2)]
        del server.tokens[DOCTOR]
        again = await server.get(ME, by=DOCTOR)
        others = await server.get(ME, by=NURSE)

    assert [one.status for one in mine] == [200, 200]
    assert again.code == "limit.account"
    assert others.status == 200


async def test_sessions_are_opened_at_a_bounded_rate(node: MemoryNode) -> None:
    async with running(node, limited(sessions=Rate(per_s=0.01, burst=2))) as server:
        await server.token(DOCTOR)
        answer = await server.ask("POST", "/v1/sessions/challenge", json={"account": "00" * 32})

    assert answer.code == "limit.rate"


async def test_an_account_uploads_its_share_and_no_more(node: MemoryNode) -> None:
    async with running(node, limited(upload_bytes=Rate(per_s=0.01, burst=10))) as server:
        answer = await server.ask(
            "PUT",
            "/v1/blobs/" + bytes.fromhex("01551220").hex() + "00" * 32,
            by=DOCTOR,
            data=b"x" * 11,
        )

    assert answer.code == "limit.upload_quota"


async def test_downloads_at_a_time_are_bounded(node: MemoryNode) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)
    async with running(node, limited(downloads_per_account_max=0)) as server:
        answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=DOCTOR)

    assert answer.code == "limit.busy"


@pytest.mark.parametrize(
    ("path", "kind", "bytes_max"),
    [
        ("/v1/transactions", MSGPACK, SUBMIT_BYTES_MAX),
        ("/v1/state/witness", MSGPACK, 80 << 10),
        ("/v1/sessions", "application/json", 64 << 10),
    ],
)
@pytest.mark.parametrize("is_told", [True, False])
async def test_bodies_above_their_limit_are_refused(
    server: Server, path: str, kind: str, bytes_max: int, is_told: bool
) -> None:
    async def chunks() -> object:
        for _ in range(bytes_max // 4096 + 1):
            yield bytes(4096)

    body = io.BytesIO(bytes(bytes_max + 1))
    answer = await server.ask(
        "POST", path, headers={"Content-Type": kind}, data=body if is_told else chunks()
    )

    assert answer.status == 413
    assert answer.code == "request.too_large"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {},
    ],
)
async def test_other_bodies_are_not_read(server: Server, headers: dict[str, str]) -> None:
    answer = await server.ask("POST", "/v1/transactions", headers=headers, data=b"{}")

    assert answer.status == 415
    assert answer.code == "request.media_type"


async def test_long_lines_and_many_headers_are_no_request(server: Server) -> None:
    long_line = await server.get("/v1/node?" + "x" * 9_000)
    long_field = await server.get("/v1/node", headers={"X-Long": "x" * 9_000})
    many = await server.get("/v1/node", headers={f"X-{number}": "1" for number in range(100)})
    after = await server.get("/v1/node")

    for answer in (long_line, long_field, many):
        assert answer.status in (400, 414, 431)
        assert b"Traceback" not in answer.body
    assert after.status == 200


async def test_a_page_of_another_origin_may_not_ask(server: Server) -> None:
    foreign = await server.get("/v1/node", headers={"Origin": "http://evil.example"})
    opaque = await server.get("/v1/node", headers={"Origin": "null"})
    own = await server.get("/v1/node", headers={"Origin": server.url})
    preflight = await server.ask("OPTIONS", "/v1/node", headers={"Origin": server.url})

    assert foreign.code == opaque.code == "request.foreign_origin"
    assert own.status == 200
    assert not any(name.lower().startswith("access-control") for name in own.headers)
    assert preflight.code == "request.method"


async def test_a_configured_address_is_the_only_one_claims_are_for(node: MemoryNode) -> None:
    config = ApiConfig(origins=("https://ledger.north.example",))
    async with running(node, config) as server:
        by_host = await server.open_session(DOCTOR)
        by_name = await server.open_session(DOCTOR, origin="https://ledger.north.example")

    assert by_host.code == "session.origin"
    assert by_name.status == 201


async def test_every_answer_tells_browsers_to_keep_out(server: Server) -> None:
    good, bad = await server.get("/v1/node"), await server.get("/v1/nothing")

    for answer in (good, bad):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "Set-Cookie" not in answer.headers


async def test_unknown_addresses_and_methods_are_problems(server: Server) -> None:
    unknown = await server.get("/v1/nothing")
    method = await server.ask("DELETE", "/v1/node")

    assert unknown.code == "request.not_found"
    assert method.code == "request.method"
    assert "GET" in method.headers["Allow"]


async def test_a_fault_of_ours_is_told_without_its_details(
    server: Server,
    node: MemoryNode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_self: MemoryNode) -> object:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(MemoryNode, "tip", fail)
    answer = await server.get("/v1/node")

    assert answer.status == 500
    assert answer.code == "node.internal"
    assert b"secret" not in answer.body
    assert "a secret detail" in caplog.text


async def test_an_outcome_that_is_not_known_in_time_is_told_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_self: MemoryNode, _items: object) -> object:
        raise TimeoutError

    monkeypatch.setattr(MemoryNode, "submit", never)
    answer = await server.ask(
        "POST", "/v1/transactions", json={"transactions": [{"signed": "AA=="}]}
    )

    assert answer.status == 504
    assert answer.code == "outcome.unknown"
    assert "may still commit" in answer.json["detail"]
    assert answer.json["definite"] is False


async def test_a_body_that_dawdles_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.parsing.BODY_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.api.port)
    writer.write(
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert head.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1000\r\n\r\nonly this",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nonly",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n",
    ],
)
@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_body_that_breaks_off_is_no_fault_of_ours(
    server: Server, caplog: pytest.LogCaptureFixture, rest: bytes, is_reset: bool
) -> None:
    token = await server.token(DOCTOR)
    paths = ("POST /v1/sessions", "POST /v1/state/witness")
    for path in paths:
        kind = "application/json" if "sessions" in path else MSGPACK
        reader, writer = await asyncio.open_connection("127.0.0.1", server.api.port)
        head = f"{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        length, _, body = rest.partition(b"\r\n\r\n")
        writer.write(f"{head}Content-Type: {kind}\r\n".encode() + length + b"\r\n\r\n")
        await server.get("/v1/node")  # By now the handler waits for the body.
        writer.write(body)
        await server.get("/v1/node")
        if is_reset:
            writer.transport.abort()
        else:
            writer.write_eof()
            await reader.read()
            writer.close()

    assert (await server.get("/v1/node")).status == 200
    assert "node.internal" not in server.api.api.refused
    assert server.api.api.refused["request.broken"] >= 2
    assert "Traceback" not in caplog.text


async def test_a_connection_without_a_request_is_not_kept(
    node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert IDLE_S <= 60
    monkeypatch.setattr("api.app.IDLE_S", 0.05)
    async with running(node) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.api.port)
        writer.write(b"GET /v1/node HTTP/1.1\r\nHost: ")

        left = await reader.read()
        writer.close()

    assert left == b""


async def test_one_address_opens_its_share_of_connections(node: MemoryNode) -> None:
    config = limited(connections_per_address_max=2)
    async with running(node, config) as server:
        lines = [await asyncio.open_connection("127.0.0.1", server.api.port) for _ in range(3)]
        shown_out = await lines[2][0].read()
        lines[0][1].write(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = await lines[0][0].readline()
        for _, writer in lines:
            writer.close()

    assert shown_out == b""
    assert answered.startswith(b"HTTP/1.1 200")


async def test_a_taken_address_is_told(node: MemoryNode) -> None:
    async with running(node) as server:
        with pytest.raises(OSError, match="in use"):
            await start_api(node.ports(), host="127.0.0.1", port=server.api.port)


async def test_a_stopped_node_answers_nobody(node: MemoryNode) -> None:
    async with running(node) as server:
        port = server.api.port
        await server.api.close()

        with pytest.raises(OSError, match=r".*"):
            await asyncio.open_connection("127.0.0.1", port)
