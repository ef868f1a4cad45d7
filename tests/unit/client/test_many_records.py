"""Handing on and sealing afresh go on where they stopped, page by page, over many records."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client.access import grant_access
from client.handing_on import PAGE_ENVELOPES, hand_on_keys, pending_versions, reseal_records
from client.lookup import RECORDS_PROVEN_AT_ONCE, list_records
from client.records import get_record, put_record
from ledger.identity_payloads import Suspend
from tests.unit.client.people_of_north import Town, make_town
from tests.unit.client.small_node import SmallNode, serve

COUNT = RECORDS_PROVEN_AT_ONCE + 3


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with serve(node := SmallNode()) as url:
        town = await make_town(node, url, tmp_path / "homes")
        async with town.acting("doctor") as doctor:
            for number in range(COUNT):
                path = tmp_path / f"{number}.bin"
                path.write_bytes(b"%d" % number)
                await put_record(doctor, town.account("ada"), path, category="documents")
        yield town


async def test_a_grant_reaches_every_record_and_tells_how_far_it_is(
    town: Town, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    async with town.acting("ada") as ada:
        granted = await grant_access(
            ada,
            grantee=town.account("south-doctor"),
            progress=lambda done, total: told.append((done, total)),
        )
        again = await hand_on_keys(ada, town.account("ada"))
    async with town.acting("south-doctor") as reader:
        listed = await list_records(reader, town.account("ada"))
        last = await get_record(reader, listed[-1].version.record_id, tmp_path / "received")

    assert granted.keys.envelopes == COUNT <= PAGE_ENVELOPES
    assert again.envelopes == 0
    assert told == [(RECORDS_PROVEN_AT_ONCE, COUNT), (COUNT, COUNT)]
    assert len(listed) == COUNT
    assert last.path.read_bytes() == b"%d" % (COUNT - 1)


async def test_a_right_that_ended_without_the_patient_waits_for_fresh_seals(town: Town) -> None:
    async with town.acting("ada") as ada:
        await grant_access(ada, grantee=town.account("south-doctor"))
        payload = Suspend(account_id=town.account("south-doctor"), reason="left")
        signed = town.node.chain.signed("identity.suspend", payload, "first admin of south")
        town.node.take(signed, ())
        waiting = [one async for one in pending_versions(ada, town.account("ada"))]

        done = await reseal_records(ada, town.account("ada"))

        left = [one async for one in pending_versions(ada, town.account("ada"))]
    assert len(waiting) == COUNT
    assert all(one.gap.surplus == (town.account("south-doctor"),) for one in waiting)
    assert (done.resealed, done.failed, left) == (COUNT, [], [])
