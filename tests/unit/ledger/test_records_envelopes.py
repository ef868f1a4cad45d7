"""`records.envelopes` and `records.reseal`: keys for who came later, and keys taken away."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from ledger.listing import pending_seals
from ledger.receipts import Receipt
from ledger.records_payloads import RecordEnvelopes
from ledger.records_state import SealRef, get_seal, is_blob_live, put_seal, put_version
from ledger.state import Overlay
from tests.unit.ledger.record_samples import (
    DOCTOR,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    Hospitals,
    field_of,
    sidecars_of,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of

AGENT = "agent of north"


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def holders(world: Hospitals, record_id: RecordId) -> set[bytes]:
    return {envelope.recipient for envelope in world.seal(record_id).envelopes}


def add(world: Hospitals, page: RecordEnvelopes, by: str) -> Receipt:
    return world.submit("records.envelopes", page, by)


@pytest.mark.parametrize("by", [PATIENT, AGENT])
def test_a_page_hands_keys_of_existing_records_on(world: Hospitals, by: str) -> None:
    records = [world.put() for _ in range(3)]
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR) for record_id in records])

    receipt = add(world, page, by)

    assert receipt.accepted, world.last_refusal
    assert all(account_of(SOUTH_DOCTOR) in holders(world, one) for one in records)
    assert field_of(receipt, "recipient") == account_of(SOUTH_DOCTOR)
    assert field_of(receipt, "envelopes") == 3


def test_a_page_leaves_nothing_pending(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    pseudonym, state = account_of(PATIENT), world.chain.state
    before = [one for _, one in pending_seals(state, pseudonym, time_ms=world.time_ms)]

    add(world, world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)]), PATIENT)

    after = list(pending_seals(state, pseudonym, time_ms=world.time_ms))
    (pending,) = before
    assert [one.account for one in pending.gap.missing] == [account_of(SOUTH_DOCTOR)]
    assert pending.gap.surplus == ()
    assert after == []


def test_envelopes_of_one_seal_may_come_in_one_page(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.grant(world.terms(SOUTH_NURSE))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR), (record_id, SOUTH_NURSE)])

    receipt = add(world, page, PATIENT)

    assert {account_of(SOUTH_DOCTOR), account_of(SOUTH_NURSE)} <= holders(world, record_id)
    assert [event.kind for event in receipt.events] == ["record.envelopes"] * 2


def test_a_page_is_taken_whole_or_not_at_all(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR), (record_id, SOUTH_NURSE)])

    receipt = add(world, page, PATIENT)

    assert receipt.code == "recipients.stale"
    assert field_of(receipt, "surplus") == account_of(SOUTH_NURSE)
    assert account_of(SOUTH_DOCTOR) not in holders(world, record_id)


@pytest.mark.parametrize("by", [DOCTOR, SOUTH_DOCTOR, OTHER_PATIENT, "agent of south"])
def test_only_the_patient_and_the_authors_agent_hand_keys_on(
    world: Hospitals, record_id: RecordId, by: str
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])

    assert add(world, page, by).code == "records.not_custodian"


def test_nobody_hands_keys_on_in_the_name_of_the_patient(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])

    receipt = world.submit_for("records.envelopes", page, AGENT, PATIENT)

    assert receipt.code == "records.not_custodian"


def test_a_second_envelope_for_the_same_key_is_refused(
    world: Hospitals, record_id: RecordId
) -> None:
    page = world.make_page(PATIENT, [(record_id, PATIENT)])

    receipt = add(world, page, PATIENT)

    assert receipt.code == "records.envelope_exists"
    assert field_of(receipt, "recipient") == account_of(PATIENT)


def test_an_envelope_to_a_new_key_replaces_the_one_to_the_old_key(
    world: Hospitals, record_id: RecordId
) -> None:
    (old,) = [
        one for one in world.seal(record_id).envelopes if one.recipient == account_of(PATIENT)
    ]
    world.rotate(PATIENT, seal_label="patient, second key")

    add(world, world.make_page(PATIENT, [(record_id, PATIENT)]), PATIENT)

    envelopes = world.seal(record_id).envelopes
    (new,) = [one for one in envelopes if one.recipient == account_of(PATIENT)]
    assert new.key_id == world.account(PATIENT).seal_key_id != old.key_id
    assert len(envelopes) == 2


def test_an_envelope_to_a_replaced_key_is_refused(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    world.rotate(SOUTH_DOCTOR, seal_label="south doctor, second key")

    assert add(world, page, PATIENT).code == "recipients.stale"


def test_an_envelope_for_a_seal_that_ended_is_refused(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    world.accept("records.reseal", world.make_reseal(record_id), PATIENT)

    receipt = add(world, page, PATIENT)

    assert receipt.code == "records.conflict"
    assert field_of(receipt, "seal") == world.latest(record_id).seal.seal_id


def test_a_page_is_about_one_patient(world: Hospitals, record_id: RecordId) -> None:
    other = world.put(patient=OTHER_PATIENT)
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR), (other, SOUTH_DOCTOR)])

    assert add(world, page, AGENT).code == "records.other_patient"


def test_a_page_names_records_and_versions_that_exist(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    (added,) = page.added

    codes = [
        add(world, replace(page, added=(other,)), PATIENT).code
        for other in (
            replace(added, record_id=RecordId(b"\x00" * 16)),
            replace(added, version_id=VersionId(b"\x00" * 16)),
        )
    ]

    assert codes == ["records.unknown_record", "records.unknown_version"]


def test_a_full_seal_takes_no_more(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    full = [world.envelope(AccountId(bytes([n]) * 32), b"\x00" * 16) for n in range(256)]
    overlay = Overlay(world.chain.state)
    put_seal(overlay, replace(world.seal(record_id), envelopes=tuple(full)))
    world.chain.state.apply(overlay.writes)

    receipt = add(world, world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)]), PATIENT)

    assert receipt.code == "records.envelopes_full"


@pytest.mark.parametrize("by", [PATIENT, AGENT])
def test_a_fresh_seal_takes_the_place_of_the_old_one(
    world: Hospitals, record_id: RecordId, by: str
) -> None:
    before, old = world.latest(record_id), world.seal(record_id)
    reseal = world.make_reseal(record_id)

    receipt = world.accept("records.reseal", reseal, by)

    after = world.latest(record_id)
    assert after.seal == SealRef(seal_id=reseal.seal.seal_id, cid=reseal.seal.cid)
    assert after.former == (before.seal,)
    assert (after.commitment, after.author_signature) == (
        before.commitment,
        before.author_signature,
    )
    assert field_of(receipt, "previous_seal") == old.seal_id


def test_the_bytes_before_a_fresh_seal_stay_until_it_is_confirmed(
    world: Hospitals, record_id: RecordId
) -> None:
    old = world.seal(record_id)

    world.accept("records.reseal", world.make_reseal(record_id), AGENT)

    assert get_seal(world.chain.state, old.cid) == old
    assert is_blob_live(world.chain.state, old.cid)
    assert is_blob_live(world.chain.state, world.seal(record_id).cid)


def test_a_fresh_seal_leaves_out_who_lost_the_right(world: Hospitals, record_id: RecordId) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    add(world, world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)]), PATIENT)
    world.revoke(grant_id)
    pseudonym, state = account_of(PATIENT), world.chain.state
    ((_, pending),) = pending_seals(state, pseudonym, time_ms=world.time_ms)

    world.accept("records.reseal", world.make_reseal(record_id), PATIENT)

    assert pending.gap.surplus == (account_of(SOUTH_DOCTOR),)
    assert account_of(SOUTH_DOCTOR) not in holders(world, record_id)
    assert list(pending_seals(state, pseudonym, time_ms=world.time_ms)) == []


@pytest.mark.parametrize("ending", ["expiry", "suspension"])
def test_a_right_that_ends_without_the_patient_waits_for_a_fresh_seal(
    world: Hospitals, record_id: RecordId, ending: str
) -> None:
    terms = world.terms(SOUTH_DOCTOR)
    world.grant(terms)
    add(world, world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)]), PATIENT)
    time_ms = terms.until_ms if ending == "expiry" else world.time_ms
    if ending == "suspension":
        world.suspend(SOUTH_DOCTOR, SOUTH)

    found = list(pending_seals(world.chain.state, account_of(PATIENT), time_ms=time_ms))

    assert [one.gap.surplus for _, one in found] == [(account_of(SOUTH_DOCTOR),)]


@pytest.mark.parametrize("by", [DOCTOR, SOUTH_DOCTOR, OTHER_PATIENT, "agent of south"])
def test_only_the_patient_and_the_authors_agent_seal_afresh(
    world: Hospitals, record_id: RecordId, by: str
) -> None:
    receipt = world.submit("records.reseal", world.make_reseal(record_id), by)

    assert receipt.code == "records.not_custodian"


def test_of_two_fresh_seals_for_the_same_one_the_second_conflicts(
    world: Hospitals, record_id: RecordId
) -> None:
    mine, yours = world.make_reseal(record_id), world.make_reseal(record_id)
    world.accept("records.reseal", mine, PATIENT)

    receipt = world.submit("records.reseal", yours, AGENT)

    assert receipt.code == "records.conflict"
    assert field_of(receipt, "seal") == mine.seal.seal_id


@pytest.mark.parametrize("former", [0, 1])
def test_a_seal_id_never_comes_back(world: Hospitals, record_id: RecordId, former: int) -> None:
    ids = [world.seal(record_id).seal_id]
    world.accept("records.reseal", world.make_reseal(record_id), PATIENT)
    ids.append(world.seal(record_id).seal_id)
    reseal = world.make_reseal(record_id)
    again = replace(reseal, seal=replace(reseal.seal, seal_id=ids[former]))

    receipt = world.submit("records.reseal", again, PATIENT)

    assert receipt.code == "records.seal_exists"


def test_a_fresh_seal_is_safe_or_refused(world: Hospitals, record_id: RecordId) -> None:
    reseal = world.make_reseal(record_id)
    unsafe = replace(reseal, seal=replace(reseal.seal, storage_receipts=()))

    receipt = world.submit("records.reseal", unsafe, PATIENT)

    assert receipt.code == "storage.unsafe"
    assert world.latest(record_id).former == ()


def test_a_fresh_seal_needs_todays_recipients(world: Hospitals, record_id: RecordId) -> None:
    reseal = world.make_reseal(record_id)
    world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.submit("records.reseal", reseal, PATIENT)

    assert receipt.code == "recipients.stale"


def test_a_fresh_seal_has_bytes_of_its_own(world: Hospitals, record_id: RecordId) -> None:
    old, reseal = world.seal(record_id), world.make_reseal(record_id)
    receipts = tuple(world.receipt(node, old.cid, old.size_bytes) for node in (0, 2))
    same = replace(reseal.seal, cid=old.cid, size_bytes=old.size_bytes, storage_receipts=receipts)

    receipt = world.submit("records.reseal", replace(reseal, seal=same), PATIENT)

    assert receipt.code == "records.blob_taken"


def test_versions_are_sealed_afresh_one_by_one(world: Hospitals, record_id: RecordId) -> None:
    first = world.latest(record_id)
    world.accept("records.version", world.make_version(record_id), DOCTOR)
    reseal = replace(
        world.make_reseal(record_id),
        version_id=first.version_id,
        previous_seal=first.seal.seal_id,
    )

    world.accept("records.reseal", reseal, PATIENT)

    assert world.latest(record_id).former == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"record_id": b"\x00" * 16}, "records.unknown_record"),
        ({"version_id": b"\x00" * 16}, "records.unknown_version"),
    ],
)
def test_a_reseal_names_what_exists(
    world: Hospitals, record_id: RecordId, change: dict[str, Any], code: str
) -> None:
    reseal = replace(world.make_reseal(record_id), **change)

    assert world.submit("records.reseal", reseal, PATIENT).code == code


def test_too_many_unconfirmed_seals_wait_for_a_confirmation(
    world: Hospitals, record_id: RecordId
) -> None:
    version = world.latest(record_id)
    refs = tuple(
        SealRef(seal_id=SealId(n.to_bytes(16, "big")), cid=version.seal.cid) for n in range(256)
    )
    overlay = Overlay(world.chain.state)
    put_version(overlay, replace(version, former=refs))
    world.chain.state.apply(overlay.writes)

    receipt = world.submit("records.reseal", world.make_reseal(record_id), PATIENT)

    assert receipt.code == "records.seals_full"


def test_every_sidecar_of_a_page_and_a_reseal_has_its_place(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])

    first = world.submit("records.envelopes", page, PATIENT, sidecars=())
    reseal = world.make_reseal(record_id)
    second = world.submit("records.reseal", reseal, PATIENT, sidecars=sidecars_of(reseal)[1:])

    assert [first.code, second.code] == ["transaction.sidecars"] * 2
