"""What one client sends or asks must not keep the node from everybody else."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.context import ApiConfig
from api.entitlement import may_see_entry
from api.errors import ApiError
from api.limits import LimitsConfig, Rate
from api.parsing import parse_json
from crypto.hashing import Digest
from crypto.votes import Height
from ledger.access_payloads import AccessRevoke
from ledger.exchange import ScanQuery, SealedHeader
from ledger.records_state import patient_prefix
from tests.api.asking import MSGPACK, Answer, Server, running
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import write
from tests.unit.ledger.record_samples import DOCTOR, NURSE, PATIENT
from tests.unit.ledger.small_consortium import account_of

JSON_BYTES = 12 << 20
REVOKE = AccessRevoke(pseudonym=account_of(PATIENT), grant=Digest(bytes(32)))


@pytest.mark.parametrize("item", [b"{},", b"[],", b"1,", b'{"a":{}},'])
def test_a_body_of_many_small_things_is_refused_before_it_is_parsed(item: bytes) -> None:
    body = b'{"transactions":[' + item * (JSON_BYTES // len(item)) + b"1]}"

    with pytest.raises(ApiError) as refusal:
        parse_json(body)

    assert refusal.value.code == "request.malformed"
    assert "items" in str(refusal.value)


class Turns:
    """Counts the turns that other tasks get, and how much was done between two of them."""

    def __init__(self) -> None:
        self.turn = 0
        self.done: dict[int, int] = {}

    async def run(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def work(self) -> None:
        self.done[self.turn] = self.done.get(self.turn, 0) + 1


async def test_a_subscriber_from_the_first_block_on_leaves_turns_to_others(
    node: MemoryNode, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = int(node.tip().height)
    for _ in range(200):
        node.decide([])
    turns, read = Turns(), MemoryNode.sealed_header

    def counted(self: MemoryNode, height: Height) -> SealedHeader | None:
        turns.work()
        return read(self, height)

    monkeypatch.setattr(MemoryNode, "sealed_header", counted)
    ticking = asyncio.create_task(turns.run())

    async with server.http.get(server.url + f"/v1/events?after={first}") as response:
        async for line in response.content:
            if line.startswith(f"id: {first + 200}".encode()):
                break
    ticking.cancel()

    assert sum(turns.done.values()) >= 200
    assert max(turns.done.values()) <= 2


async def test_a_scan_of_a_long_record_leaves_turns_to_others(
    node: MemoryNode, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(130):
        write(node, size_bytes=64)
    node.decide([])
    await server.token(DOCTOR)
    turns = Turns()

    def counted(*asked: Any) -> bool:
        turns.work()
        return may_see_entry(*asked)

    monkeypatch.setattr("api.chain.may_see_entry", counted)
    ticking = asyncio.create_task(turns.run())
    prefix = patient_prefix(account_of(PATIENT))
    query = ScanQuery(prefix=prefix, start=b"", limit=256, at_least_height=0, wait_ms=0)

    answer = await server.post_wire("/v1/state/scan", query, by=DOCTOR)
    ticking.cancel()

    assert answer.status == 200
    assert sum(turns.done.values()) >= 130
    assert max(turns.done.values()) <= 64


async def test_one_account_does_not_hold_all_the_places_for_uploads(node: MemoryNode) -> None:
    limits = LimitsConfig(uploads_max=4, uploads_per_account_max=2)
    written = write(node)
    async with running(node, ApiConfig(limits=limits)) as server:
        hogs = [asyncio.create_task(_dribble(server, written.blob_path)) for _ in range(6)]
        await asyncio.sleep(0)
        await _uploads_open(server, 2)

        answer = await server.ask("PUT", written.blob_path, by=NURSE, data=written.content)
        for hog in hogs:
            hog.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)

    assert answer.status == 201


async def test_one_address_does_not_fill_the_memory_with_large_bodies(node: MemoryNode) -> None:
    limits = LimitsConfig(large_bodies_max=4, large_bodies_per_address_max=2)
    async with running(node, ApiConfig(limits=limits)) as server:
        sending = [asyncio.create_task(_send_slowly(server)) for _ in range(3)]
        done, waiting = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        small = await server.ask("POST", "/v1/transactions", json={"transactions": []})

    assert [one.result() for one in done] == [503]
    assert small.code == "request.malformed"


async def test_who_sends_signatures_that_do_not_hold_has_to_wait(node: MemoryNode) -> None:
    """Anybody may name anybody as the sender, and each signature costs a check."""
    limits = LimitsConfig(untaken=Rate(per_s=0.01, burst=4))
    good = [node.signed("access.revoke", REVOKE, DOCTOR) for _ in range(6)]
    forged = [node.signed("access.revoke", REVOKE, NURSE, sender=account_of(DOCTOR))[:-1] + b"\x01"]
    async with running(node, ApiConfig(limits=limits)) as server:

        async def send(items: list[bytes], **options: Any) -> Answer:
            rows = [{"signed": base64.b64encode(one).decode()} for one in items]
            body = {"transactions": rows}
            return await server.ask("POST", "/v1/transactions", json=body, **options)

        taken = [(await send([one])).status for one in good]
        spoilt = [await send(forged * 3) for _ in range(2)]
        after = await send([good[0]])
        with_session = await send([good[0]], by=DOCTOR)

    assert set(taken) == {202}
    assert [one.status for one in spoilt] == [200, 200]
    assert {row["definite"] for row in spoilt[0].json} == {True}
    assert after.code == "limit.rate"
    assert with_session.status == 200


async def _dribble(server: Server, path: str) -> None:
    async def drops() -> AsyncIterator[bytes]:
        yield b"."
        await asyncio.Event().wait()

    headers = {"Content-Length": "100000"}
    await server.ask("PUT", path, by=DOCTOR, headers=headers, data=drops())


async def _uploads_open(server: Server, count: int) -> None:
    while server.api.api.uploads.total < count:
        await server.get("/v1/health/live")


async def _send_slowly(server: Server) -> int:
    async def drops() -> AsyncIterator[bytes]:
        yield b"."
        await asyncio.Event().wait()

    headers = {"Content-Length": str(5 << 20), "Content-Type": MSGPACK}
    answer = await server.ask("POST", "/v1/transactions", headers=headers, data=drops())
    return answer.status
