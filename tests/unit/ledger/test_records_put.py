"""`records.put`: who may write what for whom, and what a record must bring along."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.cid import RAW, make_cid
from crypto.hashing import ChainId, Digest, Domain
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import Scheme, sign
from crypto.validators import ReplicaId
from ledger.access_payloads import AccessLevel, Categories
from ledger.contract import SidecarPlace
from ledger.receipts import Receipt
from ledger.records_payloads import Confidentiality, StorageReceipt
from ledger.records_state import get_record, is_blob_live, patient_records, seal_key
from tests.unit.ledger.record_samples import (
    AUDITOR,
    CATEGORIES,
    DEVICE,
    DOCTOR,
    NURSE,
    OTHER_CATEGORIES,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
    field_of,
    sidecars_of,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of, seed, signing_key


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def refused(world: Hospitals, receipt: Receipt) -> str:
    """The refusal's code; a refused put leaves no record behind."""
    assert not receipt.accepted
    records = list(patient_records(world.chain.state, account_of(PATIENT), limit=10))
    assert not records, "a refused put wrote a record"
    return receipt.code


def test_a_put_writes_record_version_and_seal_with_the_facts_of_its_block(
    world: Hospitals,
) -> None:
    put = world.make_put(tags=(b"\x01" * 16, b"\x02" * 16), level=Confidentiality.VERY_RESTRICTED)

    receipt = world.accept("records.put", put, DOCTOR)

    record = world.record(put.record_id)
    version, seal = world.latest(put.record_id), world.seal(put.record_id)
    assert record.facts.pseudonym == account_of(PATIENT)
    assert record.facts.author == account_of(DOCTOR)
    assert record.facts.author_org == NORTH
    assert record.facts.tags == put.tags
    assert record.facts.level is Confidentiality.VERY_RESTRICTED
    assert (record.tx_id, record.height, record.time_ms) == (
        receipt.tx_id,
        receipt.height,
        world.time_ms,
    )
    assert (version.ordinal, version.previous, version.former) == (1, None, ())
    assert version.commitment == put.commitment
    assert version.author_key_id == world.account(DOCTOR).sign_key_id
    assert seal.envelopes == put.seal.envelopes
    assert (seal.stored_by, seal.is_safe) == ((0, 2), True)
    assert is_blob_live(world.chain.state, put.seal.cid)


def test_the_event_of_a_put_stands_in_the_log_of_the_patient(world: Hospitals) -> None:
    receipt = world.accept("records.put", world.make_put(), DOCTOR)

    (event,) = receipt.events
    assert (event.kind, event.subject) == ("record.put", account_of(PATIENT))
    assert field_of(receipt, "author") == account_of(DOCTOR)
    assert field_of(receipt, "recipients") == 2
    assert field_of(receipt, "is_safe") == 1


def test_every_envelope_is_kept_alive_by_the_entry_of_its_seal(world: Hospitals) -> None:
    put = world.make_put()
    transaction = world.chain.transaction("records.put", put, DOCTOR, sidecars=sidecars_of(put))

    result = world.chain.apply(transaction)

    key = seal_key(put.seal.cid)
    assert result.sidecars == tuple(
        SidecarPlace(envelope.sidecar, key) for envelope in put.seal.envelopes
    )
    entry = result.writes[key]
    assert entry is not None
    assert all(bytes(envelope.sidecar) in entry for envelope in put.seal.envelopes)


@pytest.mark.parametrize("author", [DOCTOR, NURSE, DEVICE, PATIENT])
def test_staff_devices_and_the_patient_write_for_patients_of_their_hospital(
    world: Hospitals, author: str
) -> None:
    record_id = world.put(author)

    assert world.record(record_id).facts.author == account_of(author)


@pytest.mark.parametrize("author", [SOUTH_DOCTOR, OTHER_PATIENT])
def test_nobody_else_writes_for_a_patient(world: Hospitals, author: str) -> None:
    put = world.make_put(author, PATIENT)

    receipt = world.submit("records.put", put, author)

    assert refused(world, receipt) == "access.denied"
    assert field_of(receipt, "rule") == "default"


@pytest.mark.parametrize("author", [AUDITOR, "first admin of north"])
def test_a_role_that_does_not_treat_does_not_write(world: Hospitals, author: str) -> None:
    put = world.make_put(author, PATIENT)

    assert refused(world, world.submit("records.put", put, author)) == "access.purpose"


def test_a_read_write_grant_lets_another_hospital_write_in_its_scope(world: Hospitals) -> None:
    scope = Categories(categories=CATEGORIES[:1])
    world.grant(world.terms(SOUTH_DOCTOR, scope, level=AccessLevel.READ_WRITE))

    inside = world.submit("records.put", put := world.make_put(SOUTH_DOCTOR), SOUTH_DOCTOR)
    outside = world.submit(
        "records.put", world.make_put(SOUTH_DOCTOR, category=CATEGORIES[1]), SOUTH_DOCTOR
    )

    assert inside.accepted
    assert world.record(put.record_id).facts.author_org == SOUTH
    assert outside.code == "access.denied"


def test_a_read_grant_does_not_let_anybody_write(world: Hospitals) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.submit("records.put", world.make_put(SOUTH_DOCTOR), SOUTH_DOCTOR)

    assert receipt.code == "access.denied"


def test_nobody_writes_in_the_name_of_another(world: Hospitals) -> None:
    receipt = world.submit_for("records.put", world.make_put(), DOCTOR, NURSE)

    assert refused(world, receipt) == "access.not_delegated"


def test_a_pseudonym_nobody_registered_has_no_records(world: Hospitals) -> None:
    put = replace(world.make_put(), pseudonym=AccountId(b"\x07" * 32))

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "patient.unknown"


def test_an_account_that_is_no_patient_has_no_records(world: Hospitals) -> None:
    put = replace(world.make_put(), pseudonym=account_of(NURSE))

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "patient.unknown"


def test_nothing_is_written_for_a_suspended_patient(world: Hospitals) -> None:
    put = world.make_put()
    world.suspend(PATIENT)

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "patient.suspended"


def test_a_suspended_doctor_writes_nothing(world: Hospitals) -> None:
    put = world.make_put()
    world.suspend(DOCTOR)

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "identity.suspended"


def test_a_record_id_is_its_authors_or_it_is_refused(world: Hospitals) -> None:
    foreign = world.make_put(NURSE).record_id
    put = replace(world.make_put(), record_id=foreign)

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "records.id_mismatch"


def test_a_record_id_is_used_once(world: Hospitals) -> None:
    first = world.make_put()
    world.accept("records.put", first, DOCTOR)
    again = replace(world.make_put(), record_id=first.record_id, record_random=first.record_random)

    receipt = world.submit("records.put", again, DOCTOR)

    assert receipt.code == "records.record_exists"


def test_a_category_is_one_of_the_patients_own(world: Hospitals) -> None:
    put = world.make_put(category=OTHER_CATEGORIES[0])

    assert refused(world, world.submit("records.put", put, DOCTOR)) == "records.unknown_category"


def test_the_author_signs_each_part_of_the_statement(world: Hospitals) -> None:
    put = world.make_put()
    other = replace(put, commitment=Digest(seed("another content")))

    assert refused(world, world.submit("records.put", other, DOCTOR)) == "records.author_signature"


def test_the_authors_statement_is_signed_by_the_sender(world: Hospitals) -> None:
    put = world.make_put()
    facts_signed_by_a_colleague = world.make_put(NURSE).author_signature
    forged = replace(put, author_signature=facts_signed_by_a_colleague)

    receipt = world.submit("records.put", forged, DOCTOR)

    assert refused(world, receipt) == "records.author_signature"


def test_a_statement_signed_with_a_replaced_key_is_refused(world: Hospitals) -> None:
    put = world.make_put()
    world.rotate(DOCTOR, sign_label="doctor, second key")

    receipt = world.submit("records.put", put, "doctor, second key", sender=account_of(DOCTOR))

    assert refused(world, receipt) == "records.author_signature"


def test_bytes_that_another_seal_has_cannot_be_claimed(world: Hospitals) -> None:
    """Who once held a key could otherwise list the same bytes as a record of the own."""
    taken = world.make_put(patient=OTHER_PATIENT)
    world.accept("records.put", taken, DOCTOR)
    put = world.make_put()
    seal = replace(
        put.seal,
        cid=taken.seal.cid,
        size_bytes=taken.seal.size_bytes,
        storage_receipts=taken.seal.storage_receipts,
    )

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "records.blob_taken"
    assert field_of(receipt, "cid") == taken.seal.cid


def test_a_missing_recipient_is_named(world: Hospitals) -> None:
    put = world.make_put()
    seal = replace(put.seal, envelopes=put.seal.envelopes[:1])
    missing = put.seal.envelopes[1].recipient

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "recipients.stale"
    assert (field_of(receipt, "missing_count"), field_of(receipt, "surplus_count")) == (1, 0)
    assert field_of(receipt, "missing") == missing
    assert f"missing for {missing.hex()[:16]}" in world.last_refusal


def test_a_surplus_recipient_is_named(world: Hospitals) -> None:
    put = world.make_put()
    envelope = world.envelope(account_of(SOUTH_DOCTOR))
    envelopes = sorted([*put.seal.envelopes, envelope], key=lambda one: one.recipient)
    seal = replace(put.seal, envelopes=tuple(envelopes))

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "recipients.stale"
    assert field_of(receipt, "surplus") == account_of(SOUTH_DOCTOR)
    assert f"surplus for {account_of(SOUTH_DOCTOR).hex()[:16]}" in world.last_refusal


def test_an_envelope_to_a_replaced_key_counts_for_nobody(world: Hospitals) -> None:
    put = world.make_put()
    first, *others = put.seal.envelopes
    seal = replace(put.seal, envelopes=(replace(first, key_id=b"\x00" * 16), *others))

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "recipients.stale"
    assert field_of(receipt, "missing") == field_of(receipt, "surplus") == first.recipient


def test_a_grant_made_meanwhile_makes_the_recipients_stale(world: Hospitals) -> None:
    put = world.make_put()
    world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.submit("records.put", put, DOCTOR)

    assert refused(world, receipt) == "recipients.stale"


def test_fewer_receipts_than_f_plus_one_leave_a_record_unsafe(world: Hospitals) -> None:
    put = world.make_put()
    seal = replace(put.seal, storage_receipts=put.seal.storage_receipts[:1])

    receipt = world.accept("records.put", replace(put, seal=seal), DOCTOR)

    assert not world.seal(put.record_id).is_safe
    assert field_of(receipt, "is_safe") == 0


@pytest.mark.parametrize(
    "change",
    [
        {"validator": ReplicaId(3)},  # Signed by another validator.
        {"validator": ReplicaId(9)},  # There is no such validator.
        {"signature": b"\x01" * 64},
    ],
)
def test_a_receipt_that_is_not_the_validators_is_refused(
    world: Hospitals, change: dict[str, Any]
) -> None:
    put = world.make_put()
    one, two = put.seal.storage_receipts
    seal = replace(put.seal, storage_receipts=(one, replace(two, **change)))

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "storage.receipt_invalid"
    assert field_of(receipt, "validator") == seal.storage_receipts[1].validator


@pytest.mark.parametrize("part", ["cid", "size", "validator", "chain", "domain"])
def test_a_receipt_speaks_of_one_blob_one_size_one_validator_and_one_chain(
    world: Hospitals, part: str
) -> None:
    put = world.make_put()
    cid, size_bytes = put.seal.cid, put.seal.size_bytes
    payload = (
        (make_cid(RAW, b"\x00" * 32) if part == "cid" else cid)
        + (size_bytes + (part == "size")).to_bytes(8, "big")
        + (1 if part == "validator" else 0).to_bytes(2, "big")
    )
    chain_id = world.chain.chain_id if part != "chain" else ChainId(b"\x00" * 32)
    domain = Domain.VOTE if part == "domain" else Domain.STORAGE_RECEIPT
    key = signing_key("node 0", Scheme.ED25519)
    forged = StorageReceipt(
        validator=ReplicaId(0),
        signature=sign(key, domain, chain_id, payload),
    )
    seal = replace(put.seal, storage_receipts=(forged,))

    receipt = world.submit("records.put", replace(put, seal=seal), DOCTOR)

    assert refused(world, receipt) == "storage.receipt_invalid"


def test_sidecars_listed_are_those_of_the_envelopes(world: Hospitals) -> None:
    put = world.make_put()

    receipt = world.submit("records.put", put, DOCTOR, sidecars=sidecars_of(put)[:1])

    assert refused(world, receipt) == "transaction.sidecars"


def test_a_refused_put_frees_its_ids_and_bytes_for_another_try(world: Hospitals) -> None:
    put = world.make_put()
    short = replace(put, seal=replace(put.seal, envelopes=put.seal.envelopes[:1]))
    assert not world.submit("records.put", short, DOCTOR).accepted

    world.accept("records.put", put, DOCTOR)

    assert get_record(world.chain.state, put.record_id) is not None


def test_a_patients_records_are_listed_in_the_order_they_were_put(world: Hospitals) -> None:
    put = [world.put() for _ in range(5)]
    world.put(patient=OTHER_PATIENT)

    first = list(patient_records(world.chain.state, account_of(PATIENT), limit=3))
    rest = list(
        patient_records(world.chain.state, account_of(PATIENT), after=first[-1][0], limit=3)
    )

    assert [record.facts.record_id for _, record in (*first, *rest)] == put


def test_the_largest_put_stays_below_the_limit_of_a_payload(world: Hospitals) -> None:
    put = world.make_put(tags=tuple(bytes([n]) * 16 for n in range(16)))
    envelopes = tuple(
        world.envelope(AccountId(n.to_bytes(32, "big")), b"\xff" * 16) for n in range(256)
    )
    receipts = tuple(
        StorageReceipt(validator=ReplicaId(60_000 + n), signature=b"\xff" * 64) for n in range(64)
    )
    largest = replace(
        put,
        seal=replace(put.seal, size_bytes=1 << 40, envelopes=envelopes, storage_receipts=receipts),
    )

    assert len(encode(largest)) < 32 << 10
