"""Sealed bytes in and out: for whom, until when, from where on."""

import asyncio
import io

import aiohttp
import pytest

from crypto.cid import encode_cid_text
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from ledger.identity_payloads import Suspend
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import enter_read, grant, revoke, sealed_bytes, write
from tests.unit.ledger.record_samples import (
    DOCTOR,
    NURSE,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    agent_of,
)
from tests.unit.ledger.small_consortium import NORTH, account_of

READ_ENTRY_MS = 600_000


async def download(server: Server, path: str, by: str, *, into: bytearray) -> None:
    """Gather what comes of a stream, also if it breaks; it must have begun well."""
    headers = {"Authorization": f"Bearer {await server.token(by)}"}
    async with server.http.get(server.url + path, headers=headers) as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            into += chunk


async def test_bytes_come_back_as_they_were_sealed(server: Server, node: MemoryNode) -> None:
    written = write(node)
    grant(node, SOUTH_DOCTOR)
    read = enter_read(node, written, SOUTH_DOCTOR)

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=SOUTH_DOCTOR)

    assert answer.status == 200
    assert answer.body == written.content
    assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_nothing_is_served_without_a_read_entry(server: Server, node: MemoryNode) -> None:
    written = write(node)

    unnamed = await server.get(written.blob_path, by=DOCTOR)
    unknown = await server.get(f"{written.blob_path}?read={bytes(32).hex()}", by=DOCTOR)

    assert unnamed.code == "request.malformed"
    assert unknown.code == "read.unknown"


async def test_a_read_entry_serves_its_reader_only(server: Server, node: MemoryNode) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=NURSE)

    assert answer.code == "read.not_yours"


async def test_another_transaction_is_no_read_entry(server: Server, node: MemoryNode) -> None:
    written = write(node)
    given = grant(node, SOUTH_DOCTOR)

    answer = await server.get(f"{written.blob_path}?read={given.hex()}", by=PATIENT)

    assert answer.code == "read.not_yours"


async def test_a_read_entry_serves_its_seal_only(server: Server, node: MemoryNode) -> None:
    first, second = write(node), write(node)
    read = enter_read(node, first, DOCTOR)

    answer = await server.get(f"{second.blob_path}?read={read.hex()}", by=DOCTOR)

    assert answer.code == "read.other_seal"


async def test_a_read_entry_serves_at_the_node_it_names(server: Server, node: MemoryNode) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR, serving_node=2)

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=DOCTOR)

    assert answer.code == "serving.other_node"


async def test_a_read_entry_ends_to_the_millisecond(server: Server, node: MemoryNode) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)
    path = f"{written.blob_path}?read={read.hex()}"

    node.ahead_ms = READ_ENTRY_MS - 1
    before = await server.get(path, by=DOCTOR)
    node.ahead_ms = READ_ENTRY_MS
    at_the_end = await server.get(path, by=DOCTOR)

    assert before.status == 200
    assert at_the_end.code == "serving.entry_expired"


async def test_a_clock_that_is_behind_does_not_lengthen_a_right(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)
    path = f"{written.blob_path}?read={read.hex()}"
    token = await server.token(DOCTOR)

    node.decide([], after_ms=READ_ENTRY_MS)
    node.ahead_ms = -READ_ENTRY_MS
    answer = await server.get(path, headers={"Authorization": f"Bearer {token}"})

    assert answer.code == "serving.entry_expired"


async def test_a_right_that_ended_is_refused_though_the_read_is_entered(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    given = grant(node, SOUTH_DOCTOR)
    read = enter_read(node, written, SOUTH_DOCTOR)
    revoke(node, given)

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=SOUTH_DOCTOR)

    assert answer.code == "access.denied"


async def test_a_node_that_may_be_behind_serves_nothing(server: Server, node: MemoryNode) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)
    node.freshness = False

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=DOCTOR)

    assert answer.status == 503
    assert answer.code == "node.behind"


async def test_a_blob_that_cannot_be_had_is_a_problem_not_a_stream(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)
    del node.blob_contents[written.cid]

    answer = await server.get(f"{written.blob_path}?read={read.hex()}", by=DOCTOR)

    assert answer.status == 503
    assert answer.code == "blob.missing"


@pytest.mark.parametrize("end", ["revoked", "suspended", "expired", "behind"])
async def test_a_right_that_ends_in_the_middle_cuts_the_stream(
    server: Server, node: MemoryNode, end: str
) -> None:
    written = write(node, size_bytes=12 * LEAF_BYTES)
    given = grant(node, SOUTH_DOCTOR)
    read = enter_read(node, written, SOUTH_DOCTOR)

    def on_leaf(position: int) -> None:
        if position != 5:
            return
        if end == "revoked":
            revoke(node, given)
        elif end == "suspended":
            payload = Suspend(account_id=account_of(SOUTH_DOCTOR), reason="left")
            node.accept("identity.suspend", payload, "first admin of south")
        elif end == "expired":
            node.ahead_ms = READ_ENTRY_MS
        else:
            node.freshness = False

    node.on_leaf = on_leaf
    received = bytearray()
    path = f"{written.blob_path}?read={read.hex()}"
    with pytest.raises(aiohttp.ClientError):
        await download(server, path, SOUTH_DOCTOR, into=received)

    assert len(received) <= 5 * LEAF_BYTES
    assert written.content.startswith(received)


async def test_a_download_goes_on_where_it_broke_off(server: Server, node: MemoryNode) -> None:
    written = write(node, size_bytes=3 * LEAF_BYTES)
    read = enter_read(node, written, DOCTOR)
    start = LEAF_BYTES + 7

    answer = await server.get(
        f"{written.blob_path}?read={read.hex()}",
        by=DOCTOR,
        headers={"Range": f"bytes={start}-"},
    )

    size = len(written.content)
    assert answer.status == 206
    assert answer.body == written.content[start:]
    assert answer.headers["Content-Range"] == f"bytes {start}-{size - 1}/{size}"


@pytest.mark.parametrize(
    "value",
    ["bytes=99999999-", "bytes=0-5", "bytes=-5", "bytes=1-,3-", "lines=1-", "bytes=-1-", "bytes=-"],
)
async def test_other_ranges_are_refused_by_name(
    server: Server, node: MemoryNode, value: str
) -> None:
    written = write(node)
    read = enter_read(node, written, DOCTOR)

    answer = await server.get(
        f"{written.blob_path}?read={read.hex()}", by=DOCTOR, headers={"Range": value}
    )

    assert answer.status == 416
    assert answer.code == "request.range"


async def test_an_upload_is_answered_with_promises_to_keep_it(
    server: Server, node: MemoryNode
) -> None:
    content = sealed_bytes(2 * LEAF_BYTES + 3)
    cid = cid_of_stream(io.BytesIO(content))

    body = io.BytesIO(content)
    answer = await server.ask("PUT", f"/v1/blobs/{encode_cid_text(cid)}", by=DOCTOR, data=body)

    assert answer.status == 201
    assert answer.json["cid"] == encode_cid_text(cid)
    assert answer.json["size_bytes"] == len(content)
    assert [index for index, _ in answer.json["receipts"]] == [1, 2]
    assert answer.json["wanted"] == 2
    assert node.blob_contents[cid] == content


async def test_bytes_of_another_address_are_no_upload(server: Server, node: MemoryNode) -> None:
    cid = cid_of_stream(io.BytesIO(b"something else"))

    answer = await server.ask("PUT", f"/v1/blobs/{cid.hex()}", by=DOCTOR, data=b"something")

    assert answer.status == 422
    assert answer.code == "blob.mismatch"
    assert answer.json["definite"] is True


async def test_an_upload_says_its_length_first(server: Server) -> None:
    cid = cid_of_stream(io.BytesIO(b"something"))

    async def chunks() -> object:
        yield b"something"

    unmeasured = await server.ask("PUT", f"/v1/blobs/{cid.hex()}", by=DOCTOR, data=chunks())
    empty = await server.ask("PUT", f"/v1/blobs/{cid.hex()}", by=DOCTOR, data=b"")

    assert unmeasured.code == "request.length_required"
    assert empty.code in ("blob.too_large", "request.length_required")


async def test_only_a_session_uploads(server: Server) -> None:
    answer = await server.ask("PUT", f"/v1/blobs/{'0' * 72}", data=b"something")

    assert answer.code == "session.required"


@pytest.mark.parametrize("cid", ["b", "x" * 59, "0" * 72, "b" + "a" * 58])
async def test_what_is_no_content_address_is_refused(server: Server, cid: str) -> None:
    answer = await server.ask("PUT", f"/v1/blobs/{cid}", by=DOCTOR, data=b"something")

    assert answer.code == "cid.invalid"


async def test_the_patient_gets_every_envelope(server: Server, node: MemoryNode) -> None:
    written = write(node)

    answers = [
        await server.get(f"/v1/sidecars/{digest.hex()}", by=PATIENT)
        for digest in written.envelopes.values()
    ]

    contents = [node.sidecar_contents[digest] for digest in written.envelopes.values()]
    assert [answer.body for answer in answers] == contents


async def test_the_key_agent_gets_the_envelopes_it_hands_on(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    digest = written.envelopes[account_of(agent_of(NORTH))]

    answer = await server.get(f"/v1/sidecars/{digest.hex()}", by=agent_of(NORTH))

    assert answer.body == node.sidecar_contents[digest]


async def test_a_reader_gets_an_envelope_once_the_read_is_entered(
    server: Server, node: MemoryNode
) -> None:
    grant(node, SOUTH_DOCTOR)
    written = write(node)
    path = f"/v1/sidecars/{written.envelopes[account_of(SOUTH_DOCTOR)].hex()}"

    before = await server.get(path, by=SOUTH_DOCTOR)
    enter_read(node, written, SOUTH_DOCTOR)
    after = await server.get(path, by=SOUTH_DOCTOR)
    others = await server.get(path, by=SOUTH_NURSE)

    assert before.code == "read.required"
    assert after.status == 200
    assert others.code == "sidecar.not_entitled"


async def test_an_unknown_sidecar_is_told_so(server: Server) -> None:
    answer = await server.get(f"/v1/sidecars/{bytes(32).hex()}", by=DOCTOR)

    assert answer.code == "sidecar.unknown"


async def test_a_node_that_stops_ends_its_streams(node: MemoryNode, server: Server) -> None:
    written = write(node, size_bytes=8 * LEAF_BYTES)
    read = enter_read(node, written, DOCTOR)
    stopping: list[asyncio.Task[None]] = []

    def on_leaf(position: int) -> None:
        if position == 2:
            stopping.append(asyncio.get_running_loop().create_task(server.api.close()))
            server.api.api.stopping.set()

    node.on_leaf = on_leaf
    path = f"{written.blob_path}?read={read.hex()}"
    with pytest.raises(aiohttp.ClientError):
        await download(server, path, DOCTOR, into=bytearray())

    await stopping[0]
