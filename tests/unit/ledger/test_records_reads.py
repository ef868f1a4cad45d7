"""`records.read` and serving: who reads says so first, and reads no longer than the right lasts."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.hashing import Digest
from crypto.record_ids import RecordId, SealId, VersionId
from crypto.validators import ReplicaId
from ledger.access_payloads import AccessRevoke
from ledger.accounts import Role
from ledger.purposes import HRESCH
from ledger.records_state import ReadEntry, get_read_entry, seal_reads
from ledger.serving import decide_serving
from tests.unit.ledger.record_samples import (
    AUDITOR,
    DOCTOR,
    HOUR_MS,
    NURSE,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
    field_of,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of

READ_ENTRY_MS = 600_000


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def entry_of(world: Hospitals, record_id: RecordId, reader: str, node: int = 1) -> ReadEntry:
    version = world.latest(record_id)
    entry = get_read_entry(
        world.chain.state,
        pseudonym=world.record(record_id).facts.pseudonym,
        record_id=record_id,
        version_id=version.version_id,
        seal_id=version.seal.seal_id,
        reader=account_of(reader),
        serving_node=ReplicaId(node),
    )
    assert entry is not None
    return entry


def test_a_read_entry_names_reader_seal_purpose_node_and_expiry(
    world: Hospitals, record_id: RecordId
) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.read(record_id, SOUTH_DOCTOR)

    entry = entry_of(world, record_id, SOUTH_DOCTOR)
    assert (entry.reader_org, entry.reader_role) == (SOUTH, Role.DOCTOR)
    assert (entry.purpose, entry.rule, entry.because) == ("TREAT", "grant", (grant_id,))
    assert (entry.tx_id, entry.count) == (receipt.tx_id, 1)
    assert entry.first_ms == entry.last_ms == world.time_ms
    assert entry.expires_ms == world.time_ms + READ_ENTRY_MS


def test_a_read_stands_in_the_log_of_the_patient(world: Hospitals, record_id: RecordId) -> None:
    receipt = world.read(record_id, DOCTOR)

    (event,) = receipt.events
    assert (event.kind, event.subject) == ("record.read", account_of(PATIENT))
    assert field_of(receipt, "reader") == account_of(DOCTOR)
    assert field_of(receipt, "rule") == "treatment"
    assert field_of(receipt, "node") == 1


def test_reading_again_extends_the_entry_and_counts(world: Hospitals, record_id: RecordId) -> None:
    world.read(record_id, DOCTOR)
    first_ms = world.time_ms

    world.read(record_id, DOCTOR)

    entry = entry_of(world, record_id, DOCTOR)
    assert (entry.count, entry.first_ms, entry.last_ms) == (2, first_ms, world.time_ms)
    assert entry.expires_ms == world.time_ms + READ_ENTRY_MS


@pytest.mark.parametrize("reader", [PATIENT, DOCTOR, NURSE, "agent of north"])
def test_the_patient_and_those_who_treat_at_the_authors_hospital_read(
    world: Hospitals, record_id: RecordId, reader: str
) -> None:
    assert world.read(record_id, reader).accepted


@pytest.mark.parametrize("reader", [SOUTH_DOCTOR, OTHER_PATIENT, "agent of south"])
def test_nobody_else_reads(world: Hospitals, record_id: RecordId, reader: str) -> None:
    receipt = world.read(record_id, reader)

    assert receipt.code == "access.denied"
    assert field_of(receipt, "rule") == "default"


def test_an_auditor_may_not_claim_to_treat(world: Hospitals, record_id: RecordId) -> None:
    assert world.read(record_id, AUDITOR).code == "access.purpose"


def test_an_auditor_sees_no_content(world: Hospitals, record_id: RecordId) -> None:
    assert world.read(record_id, AUDITOR, purpose="HOPERAT").code == "access.denied"


def test_a_grant_for_treatment_is_none_for_research(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.read(record_id, SOUTH_DOCTOR, purpose=HRESCH)

    assert receipt.code == "access.denied"


def test_a_read_is_refused_from_the_very_millisecond_the_grant_ends(
    world: Hospitals, record_id: RecordId
) -> None:
    until_ms = world.time_ms + HOUR_MS
    world.grant(world.terms(SOUTH_DOCTOR, until_ms=until_ms))
    last = world.chain.transaction("records.read", world.make_read(record_id), SOUTH_DOCTOR)
    first = world.chain.transaction("records.read", world.make_read(record_id), SOUTH_DOCTOR)

    before = world.chain.apply(last, after_ms=until_ms - 1 - world.time_ms)
    at = world.chain.apply(first, after_ms=1)

    assert world.time_ms == until_ms
    assert before.receipts[0].accepted
    assert at.receipts[0].code == "access.denied"


def test_revoke_and_read_in_one_block_are_decided_by_their_order(
    world: Hospitals, record_id: RecordId
) -> None:
    for read_first in (True, False):
        grant_id = world.grant(world.terms(SOUTH_DOCTOR))
        revoke = world.chain.transaction(
            "access.revoke",
            AccessRevoke(pseudonym=account_of(PATIENT), grant=grant_id),
            PATIENT,
        )
        read = world.chain.transaction("records.read", world.make_read(record_id), SOUTH_DOCTOR)
        order = (read, revoke) if read_first else (revoke, read)

        result = world.chain.apply(*order)

        codes = {receipt.tx_id: receipt.code for receipt in result.receipts}
        assert codes[revoke.tx_id] == "ok"
        assert codes[read.tx_id] == ("ok" if read_first else "access.denied")


def test_a_suspended_doctor_reads_nothing(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.suspend(SOUTH_DOCTOR, SOUTH)

    assert world.read(record_id, SOUTH_DOCTOR).code == "identity.suspended"


def test_nobody_reads_in_the_name_of_another(world: Hospitals, record_id: RecordId) -> None:
    receipt = world.submit_for("records.read", world.make_read(record_id), DOCTOR, PATIENT)

    assert receipt.code == "access.not_delegated"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"record_id": RecordId(b"\x00" * 16)}, "records.unknown_record"),
        ({"version_id": VersionId(b"\x00" * 16)}, "records.unknown_version"),
        ({"seal_id": SealId(b"\x00" * 16)}, "records.seal_ended"),
        ({"serving_node": ReplicaId(9)}, "records.unknown_node"),
    ],
)
def test_a_read_names_what_exists(
    world: Hospitals, record_id: RecordId, change: dict[str, Any], code: str
) -> None:
    read = replace(world.make_read(record_id), **change)

    assert world.submit("records.read", read, DOCTOR).code == code


def test_an_old_version_is_read_like_the_latest(world: Hospitals, record_id: RecordId) -> None:
    old = world.make_read(record_id)
    world.accept("records.version", world.make_version(record_id), DOCTOR)

    assert world.submit("records.read", old, NURSE).accepted


def test_a_node_serves_what_an_entry_names_until_it_expires(
    world: Hospitals, record_id: RecordId
) -> None:
    world.read(record_id, DOCTOR)
    entry = entry_of(world, record_id, DOCTOR)

    def serve(node: int, time_ms: int) -> tuple[bool, str]:
        decision = decide_serving(world.chain.state, entry, serving_node=node, time_ms=time_ms)
        return decision.permitted, decision.code

    assert serve(1, entry.expires_ms - 1) == (True, "ok")
    assert serve(1, entry.expires_ms) == (False, "serving.entry_expired")
    assert serve(2, entry.last_ms) == (False, "serving.other_node")


def test_a_node_stops_serving_when_the_right_ends(world: Hospitals, record_id: RecordId) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    world.read(record_id, SOUTH_DOCTOR)
    entry = entry_of(world, record_id, SOUTH_DOCTOR)
    before = decide_serving(world.chain.state, entry, serving_node=1, time_ms=world.time_ms)

    world.revoke(grant_id)

    after = decide_serving(world.chain.state, entry, serving_node=1, time_ms=world.time_ms)
    assert before.because == (Digest(grant_id),)
    assert (after.permitted, after.code) == (False, "access.denied")


def test_a_node_stops_serving_a_seal_that_has_been_replaced(
    world: Hospitals, record_id: RecordId
) -> None:
    world.read(record_id, DOCTOR)
    entry = entry_of(world, record_id, DOCTOR)

    world.accept("records.reseal", world.make_reseal(record_id), PATIENT)

    decision = decide_serving(world.chain.state, entry, serving_node=1, time_ms=world.time_ms)
    assert (decision.permitted, decision.code) == (False, "records.seal_ended")


def test_entries_of_two_readers_and_two_nodes_stand_side_by_side(
    world: Hospitals, record_id: RecordId
) -> None:
    world.read(record_id, DOCTOR)
    world.read(record_id, DOCTOR, serving_node=ReplicaId(2))
    world.read(record_id, NURSE)

    counts = [
        entry_of(world, record_id, reader, node).count
        for reader, node in ((DOCTOR, 1), (DOCTOR, 2), (NURSE, 1))
    ]
    assert counts == [1, 1, 1]


def test_the_readers_of_a_seal_are_found_without_those_of_others(
    world: Hospitals, record_id: RecordId
) -> None:
    other = world.put()
    for which, reader in ((record_id, DOCTOR), (record_id, NURSE), (other, NURSE)):
        world.read(which, reader)
    version = world.latest(record_id)

    entries = seal_reads(
        world.chain.state,
        pseudonym=account_of(PATIENT),
        record_id=record_id,
        version_id=version.version_id,
        seal_id=version.seal.seal_id,
        limit=9,
    )

    assert {entry.reader for entry in entries} == {account_of(DOCTOR), account_of(NURSE)}
