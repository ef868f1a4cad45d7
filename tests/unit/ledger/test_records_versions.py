"""`records.version`: the next version of a record, and nothing else of it."""

from dataclasses import replace

import pytest

from crypto.record_ids import RecordId, VersionId
from ledger.access_payloads import AccessLevel
from ledger.records_state import get_record, get_version, record_versions
from tests.unit.ledger.record_samples import (
    DOCTOR,
    NURSE,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
    field_of,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def test_a_version_follows_the_one_it_names(world: Hospitals, record_id: RecordId) -> None:
    first = world.latest(record_id)
    new = world.make_version(record_id, NURSE)

    receipt = world.accept("records.version", new, NURSE)

    record, second = world.record(record_id), world.latest(record_id)
    assert (record.latest, record.version_count) == (new.version_id, 2)
    assert (second.ordinal, second.previous) == (2, first.version_id)
    assert (second.author, second.author_org) == (account_of(NURSE), NORTH)
    assert field_of(receipt, "ordinal") == 2
    assert get_version(world.chain.state, record_id, first.version_id) == first


def test_a_version_changes_nothing_that_the_rules_look_at(
    world: Hospitals, record_id: RecordId
) -> None:
    before = world.record(record_id)

    world.accept("records.version", world.make_version(record_id, NURSE), NURSE)

    after = world.record(record_id)
    assert after.facts == before.facts
    assert (after.tx_id, after.time_ms) == (before.tx_id, before.time_ms)


def test_versions_are_listed_latest_first(world: Hospitals, record_id: RecordId) -> None:
    for _ in range(3):
        world.accept("records.version", world.make_version(record_id), DOCTOR)

    record = world.record(record_id)
    ordinals = [one.ordinal for one in record_versions(world.chain.state, record, limit=9)]
    two = [one.ordinal for one in record_versions(world.chain.state, record, limit=2)]

    assert ordinals == [4, 3, 2, 1]
    assert two == [4, 3]


def test_of_two_versions_after_the_same_one_the_second_conflicts(
    world: Hospitals, record_id: RecordId
) -> None:
    mine, yours = world.make_version(record_id), world.make_version(record_id, NURSE)
    world.accept("records.version", mine, DOCTOR)

    receipt = world.submit("records.version", yours, NURSE)

    assert receipt.code == "records.conflict"
    assert field_of(receipt, "latest") == mine.version_id


def test_in_one_block_the_first_of_two_versions_wins(world: Hospitals, record_id: RecordId) -> None:
    mine, yours = world.make_version(record_id), world.make_version(record_id, NURSE)
    transactions = [
        world.chain.transaction(
            "records.version", new, by, sidecars=tuple(one.sidecar for one in new.seal.envelopes)
        )
        for new, by in ((mine, DOCTOR), (yours, NURSE))
    ]

    result = world.chain.apply(*transactions)

    assert [receipt.code for receipt in result.receipts] == ["ok", "records.conflict"]


def test_a_version_id_is_used_once_in_a_record(world: Hospitals, record_id: RecordId) -> None:
    first = world.latest(record_id).version_id
    world.accept("records.version", world.make_version(record_id), DOCTOR)
    new = replace(world.make_version(record_id), version_id=first)

    receipt = world.submit("records.version", new, DOCTOR)

    assert receipt.code == "records.version_exists"


def test_a_record_nobody_put_has_no_next_version(world: Hospitals, record_id: RecordId) -> None:
    new = replace(world.make_version(record_id), record_id=RecordId(b"\x00" * 16))

    receipt = world.submit("records.version", new, DOCTOR)

    assert receipt.code == "records.unknown_record"


def test_another_hospital_amends_with_a_read_write_grant_only(
    world: Hospitals, record_id: RecordId
) -> None:
    without = world.submit(
        "records.version", world.make_version(record_id, SOUTH_DOCTOR), SOUTH_DOCTOR
    )
    world.grant(world.terms(SOUTH_DOCTOR, level=AccessLevel.READ_WRITE))

    world.accept("records.version", world.make_version(record_id, SOUTH_DOCTOR), SOUTH_DOCTOR)

    assert without.code == "access.denied"
    assert world.latest(record_id).author_org == SOUTH
    assert world.record(record_id).facts.author_org == NORTH


def test_the_author_of_a_version_signs_it(world: Hospitals, record_id: RecordId) -> None:
    new = world.make_version(record_id)
    forged = replace(new, version_id=VersionId(b"\x09" * 16))

    receipt = world.submit("records.version", forged, DOCTOR)

    assert receipt.code == "records.author_signature"


def test_a_version_for_a_suspended_patient_is_refused(
    world: Hospitals, record_id: RecordId
) -> None:
    new = world.make_version(record_id)
    world.suspend(PATIENT)

    receipt = world.submit("records.version", new, DOCTOR)

    assert receipt.code == "patient.suspended"


def test_a_version_needs_todays_recipients(world: Hospitals, record_id: RecordId) -> None:
    new = world.make_version(record_id)
    world.grant(world.terms(SOUTH_DOCTOR))

    receipt = world.submit("records.version", new, DOCTOR)

    assert receipt.code == "recipients.stale"
    assert field_of(receipt, "missing") == account_of(SOUTH_DOCTOR)
    record = get_record(world.chain.state, record_id)
    assert record is not None
    assert record.version_count == 1
