"""The walk of a record between real clients and a real API: put, grant, read, revoke, explain."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client.access import (
    approve_request,
    deny_request,
    explain_access,
    grant_access,
    list_grants,
    list_requests,
    read_log,
    request_access,
    revoke_access,
)
from client.directories import category_scope, share_directory
from client.errors import KeyPending, LocalError, Refused
from client.handing_on import hand_on_keys
from client.lookup import find_version, find_versions, list_records
from client.people import find_organisation, list_organisations, rotate_keys, suspend_person
from client.records import get_record, put_record, put_version
from ledger.access_payloads import AccessLevel
from ledger.accounts import Role
from ledger.explain import KeyState
from tests.unit.client.people_of_north import Town, make_town
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import SOUTH

NOTE = b'{"resourceType": "Observation"}' * 2_000


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    node = SmallNode()
    async with serve(node) as url:
        yield await make_town(node, url, tmp_path)


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.json"
    path.write_bytes(NOTE)
    return path


async def test_a_record_is_put_granted_read_elsewhere_and_revoked(
    town: Town, note: Path, tmp_path: Path
) -> None:
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
    assert put.is_safe
    async with town.acting("ada") as ada:
        granted = await grant_access(ada, grantee=town.account("south-doctor"))
    assert granted.keys.envelopes == 1
    assert not granted.keys.failed

    async with town.acting("south-doctor") as reader:
        opened = await get_record(reader, put.record_id, tmp_path / "received")
    assert opened.path.read_bytes() == NOTE
    assert opened.path.name == "note.json"
    assert opened.path.stat().st_mode & 0o077 == 0

    async with town.acting("ada") as ada:
        revoked = await revoke_access(ada, granted.grant_id)
        assert [entry.reader for entry in revoked.opened] == [town.account("south-doctor")]
        assert (revoked.keys.resealed, revoked.keys.failed) == (1, [])
        found = await find_version(ada, put.record_id)
        mine = await get_record(ada, put.record_id, tmp_path / "mine")
    assert found.envelope_for(town.account("south-doctor")) is None
    assert found.seal.cid != put.cid
    assert mine.path.read_bytes() == NOTE

    async with town.acting("south-doctor") as reader:
        with pytest.raises(Refused) as refusal:
            await get_record(reader, put.record_id, tmp_path / "again")
    assert refusal.value.code == "access.denied"
    assert not list((tmp_path / "again").glob("*"))


async def test_every_step_stands_in_the_patients_log_in_plain_words(
    town: Town, note: Path, tmp_path: Path
) -> None:
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
    async with town.acting("ada") as ada:
        granted = await grant_access(ada, grantee=town.account("south-doctor"))
    async with town.acting("south-doctor") as reader:
        await get_record(reader, put.record_id, tmp_path / "received")
    async with town.acting("ada") as ada:
        await revoke_access(ada, granted.grant_id, reseal=False)

        log = await read_log(ada, town.account("ada"))

    assert [line.kind for line in log] == [
        "identity.registered",
        "record.put",
        "access.granted",
        "record.envelopes",
        "record.read",
        "access.revoked",
    ]
    assert "read record" in log[4].sentence
    assert [line.height for line in log] == sorted(line.height for line in log)


async def test_who_wrote_before_a_grant_and_after_it_is_read_alike(
    town: Town, note: Path, tmp_path: Path
) -> None:
    async with town.acting("ada") as ada:
        scope = await category_scope(ada, town.account("ada"), ["laboratory"])
        await grant_access(ada, grantee=town.account("south-doctor"), scope=scope)
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
        hidden = await put_record(doctor, town.account("ada"), note, category="genetics")

    async with town.acting("south-doctor") as reader:
        opened = await get_record(reader, put.record_id, tmp_path / "received")
        listed = await list_records(reader, town.account("ada"))
        with pytest.raises(Refused):
            await get_record(reader, hidden.record_id, tmp_path / "received")

    assert opened.path.read_bytes() == NOTE
    assert [one.version.record_id for one in listed] == [put.record_id]


async def test_a_request_is_answered_by_the_patient(town: Town, note: Path, tmp_path: Path) -> None:
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
    async with town.acting("south-doctor") as reader:
        asked = await request_access(reader, town.account("ada"))
        again = await request_access(reader, town.account("ada"))

    async with town.acting("ada") as ada:
        waiting = await list_requests(ada, town.account("ada"))
        await deny_request(ada, again.tx_id)
        granted = await approve_request(ada, asked.tx_id)
        grants = await list_grants(ada, town.account("ada"))

    assert {one.request_id for one in waiting} == {asked.tx_id, again.tx_id}
    assert [one.grant_id for one in grants] == [granted.grant_id]
    async with town.acting("south-doctor") as reader:
        opened = await get_record(reader, put.record_id, tmp_path / "received")
    assert opened.path.read_bytes() == NOTE


async def test_versions_follow_each_other_and_each_can_be_read(
    town: Town, note: Path, tmp_path: Path
) -> None:
    corrected = tmp_path / "corrected.json"
    corrected.write_bytes(b"corrected")
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
        second = await put_version(doctor, put.record_id, corrected)
    async with town.acting("ada") as ada:
        versions = await find_versions(ada, put.record_id)
        latest = await get_record(ada, put.record_id, tmp_path / "latest")
        first = await get_record(ada, put.record_id, tmp_path / "first", version_id=put.version_id)

    assert [one.version.version_id for one in versions] == [second.version_id, put.version_id]
    assert latest.path.read_bytes() == b"corrected"
    assert first.path.read_bytes() == NOTE


async def test_a_doctor_reads_at_home_with_the_key_agents_help(
    town: Town, note: Path, tmp_path: Path
) -> None:
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
        with pytest.raises(KeyPending):
            await get_record(doctor, put.record_id, tmp_path / "alone")

        agent = town.keys("agent")
        own = doctor.wallet.content
        both = town.wallets["agent"].content.accounts
        doctor.wallet.content = type(own)(accounts=(*own.accounts, *both))
        opened = await get_record(doctor, put.record_id, tmp_path / "received")

    assert agent.account in put.recipients
    assert opened.path.read_bytes() == NOTE


async def test_explain_tells_rules_from_keys(town: Town, note: Path) -> None:
    reader = town.account("south-doctor")
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
    async with town.acting("ada") as ada:
        before = await explain_access(ada, put.record_id, requester=reader)
        granted = await grant_access(ada, grantee=reader)
        during = await explain_access(ada, put.record_id, requester=reader)
        await revoke_access(ada, granted.grant_id, reseal=False)
        after = await explain_access(ada, put.record_id, requester=reader)

    assert (before.decision.permitted, before.key) == (False, KeyState.NONE)
    assert (during.decision.permitted, during.key) == (True, KeyState.HELD)
    assert (after.decision.permitted, after.key) == (False, KeyState.HELD)
    assert any("was revoked" in sentence for sentence in after.sentences)


async def test_a_patient_with_a_new_seal_key_gets_keys_from_the_agent(
    town: Town, note: Path, tmp_path: Path
) -> None:
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")
    async with town.acting("ada") as ada:
        await rotate_keys(ada)
        await get_record(ada, put.record_id, tmp_path / "with the old key")
    async with town.acting("agent") as agent:
        done = await hand_on_keys(agent, town.account("ada"))
    async with town.acting("ada") as ada:
        await get_record(ada, put.record_id, tmp_path / "with the new key")
        found = await find_version(ada, put.record_id)

    ref = found.envelope_for(town.account("ada"))
    assert (done.envelopes, done.failed) == (1, [])
    assert ref is not None
    assert town.keys("ada").seal_key_named(ref.key_id) == town.keys("ada").seal_key


async def test_a_doctor_without_the_directory_is_told_whom_to_ask(town: Town, note: Path) -> None:
    await town.enrol("second-doctor", Role.DOCTOR)
    async with town.acting("second-doctor") as second:
        with pytest.raises(LocalError, match="share it"):
            await put_record(second, town.account("ada"), note, category="laboratory")
    async with town.acting("agent") as agent:
        await share_directory(agent, town.account("ada"), [town.account("second-doctor")])
    async with town.acting("second-doctor") as second:
        put = await put_record(second, town.account("ada"), note, category="laboratory")

    assert put.is_safe


async def test_a_suspended_doctor_loses_the_session_at_once(town: Town, note: Path) -> None:
    async with town.acting("doctor") as doctor:
        async with town.acting("admin-north") as admin:
            await suspend_person(admin, town.account("doctor"), reason="left")

        with pytest.raises(Refused) as refusal:
            await put_record(doctor, town.account("ada"), note, category="laboratory")

    assert refusal.value.code == "session.account"


async def test_a_writer_from_elsewhere_puts_for_the_patient(town: Town, note: Path) -> None:
    async with town.acting("ada") as ada:
        await grant_access(ada, grantee=town.account("south-doctor"), level=AccessLevel.READ_WRITE)
        await share_directory(ada, town.account("ada"), [town.account("south-doctor")])
    async with town.acting("south-doctor") as writer:
        put = await put_record(writer, town.account("ada"), note, category="imaging")

    assert set(put.recipients) >= {town.account("ada"), town.account("south-doctor")}


async def test_too_few_promises_make_a_put_unsafe_and_it_says_so(town: Town, note: Path) -> None:
    town.node.keeps_at = (1,)
    async with town.acting("doctor") as doctor:
        put = await put_record(doctor, town.account("ada"), note, category="laboratory")

    assert not put.is_safe


async def test_organisations_are_proven_and_known_without_an_account(town: Town) -> None:
    async with town.acting("doctor") as doctor:
        found = await list_organisations(doctor)
        doctor.keys, doctor.node.token, doctor.node.renew = None, "", None
        south = await find_organisation(doctor, SOUTH)

    assert [one.org for one in found] == ["north", "south"]
    assert south in found
