"""Rights come from the patient alone and end with the account, by word and with their hour."""

from pathlib import Path

import pytest

from client.access import grant_access, revoke_access
from client.connection import Client, act
from client.errors import Refused
from client.http import open_node
from client.lookup import FoundVersion, find_version
from client.people import restore_person, suspend_person
from client.reading import get_record
from client.records import put_record
from client.session import open_session
from client.transactions import Signed, hand_in, sign_payload
from crypto.record_ids import RecordId
from ledger.access_payloads import AccessGrant
from ledger.accounts import Role
from ledger.purposes import TREAT
from ledger.records_payloads import RecordRead
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting_after,
    ask,
    block_at,
    check_one_history,
    register,
    wait_height,
)
from tests.integration.rights import now_ms, terms_for


async def test_rights_end_with_the_account_and_with_their_hour_and_nobody_else_gives_them(
    four: Consortium, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_bytes(b"allergic to penicillin\n")
    await register(four, "ada", HOSPITALS[0], Role.DOCTOR)
    await register(four, "bob", HOSPITALS[1], Role.DOCTOR)
    await register(four, "anna", HOSPITALS[0], Role.PATIENT, writers=["ada"])
    since = four.registered_height
    async with (
        acting_after(four, "ada", HOSPITALS[0], since) as ada,
        acting_after(four, "anna", HOSPITALS[0], since) as anna,
        acting_after(four, "bob", HOSPITALS[1], since) as bob,
        acting_after(four, "admin-hospital-b", HOSPITALS[1], since) as admin,
    ):
        put = await put_record(ada, anna.actor.account, note, category="problems")
        anna.height = bob.height = admin.height = ada.height
        for impostor in (bob, ada, admin):
            with pytest.raises(Refused) as given_by_others:
                await give_oneself(impostor, anna)
            assert given_by_others.value.code == "access.not_patient"

        granted = await grant_access(anna, grantee=bob.actor.account)
        bob.height = admin.height = anna.height
        await get_record(bob, put.record_id, tmp_path / "read")
        found = await find_version(bob, put.record_id)
        admin.height = (await suspend_person(admin, bob.actor.account)).height
        async with open_node(bob.node.url) as without_session:
            with pytest.raises(Refused) as suspended:
                await hand_in(without_session, read_entry(bob, found))
        assert suspended.value.code == "identity.suspended"
        with pytest.raises(Refused) as in_session:
            await get_record(bob, put.record_id, tmp_path / "again")
        assert in_session.value.code == "session.account"
        restored = await restore_person(admin, bob.actor.account)

        anna.height = restored.height
        await revoke_access(anna, granted.grant_id, reseal=False)
        await check_end_to_the_millisecond(four, anna, bob, put.record_id)
    check_one_history(four.members)


async def give_oneself(impostor: Client, patient: Client) -> None:
    terms = terms_for(impostor.actor.account)
    payload = AccessGrant(pseudonym=patient.actor.account, terms=terms)
    await act(impostor, "access.grant", payload)


async def check_end_to_the_millisecond(
    consortium: Consortium, anna: Client, bob: Client, record_id: RecordId
) -> None:
    """Reads are entered in blocks before the right's end, and in none at or after it."""
    until_ms = now_ms() + 3_000
    terms = terms_for(bob.actor.account, until_ms=until_ms)
    granted = await act(
        anna, "access.grant", AccessGrant(pseudonym=anna.actor.account, terms=terms)
    )
    wait_height(consortium.members, granted.height + 1)
    bob.height = granted.height
    await open_session(bob.node, bob.trust, bob.actor, node_index=bob.node_index)
    found = await find_version(bob, record_id)
    permitted: list[int] = []
    refused: list[int] = []
    while len(refused) < 3:
        signed = read_entry(bob, found)
        code = await code_of(bob, signed)
        decided = ask(consortium.members[1], f"/v1/transactions/{signed.tx_id.hex()}")["receipt"]
        made_ms = time_of_block(consortium, decided["height"])
        assert code == decided["code"]
        (permitted if code == "ok" else refused).append(made_ms)
        assert code in {"ok", "access.denied"}
    assert permitted
    assert max(permitted) < until_ms <= min(refused)


async def code_of(client: Client, signed: Signed) -> str:
    """Hand a transaction in and return the code of its receipt."""
    try:
        return (await hand_in(client.node, signed)).code
    except Refused as refusal:
        return refusal.code


def read_entry(client: Client, found: FoundVersion) -> Signed:
    payload = RecordRead(
        record_id=found.version.record_id,
        version_id=found.version.version_id,
        seal_id=found.seal.seal_id,
        purpose=TREAT,
        serving_node=client.node_index,
    )
    return sign_payload(client.trust, client.actor, "records.read", payload)


def time_of_block(consortium: Consortium, height: int) -> int:
    return int(block_at(consortium.members[1], height)["header"]["time_ms"])
