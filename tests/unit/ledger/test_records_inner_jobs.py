"""Signatures inside record payloads: workers can check beforehand what the handler will check."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.record_ids import AccountId, RecordId
from crypto.signatures import SignatureJob, is_valid_many
from crypto.validators import ReplicaId
from ledger.contracts import KINDS
from ledger.records_payloads import StorageReceipt
from ledger.state import MemoryState
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, Hospitals, sidecars_of


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def jobs_of(world: Hospitals, kind: str, payload: Any, by: str) -> tuple[SignatureJob, ...]:
    transaction = world.chain.transaction(kind, payload, by, sidecars=sidecars_of(payload))
    inner_jobs = KINDS[kind].inner_jobs
    assert inner_jobs is not None
    return inner_jobs(world.chain.state, transaction)


def test_a_put_has_the_authors_signature_and_the_receipts_inside(world: Hospitals) -> None:
    jobs = jobs_of(world, "records.put", world.make_put(), DOCTOR)

    assert is_valid_many(jobs) == [True] * 3
    assert jobs[0].key == world.account(DOCTOR).sign_key.data


def test_a_version_and_a_reseal_have_theirs(world: Hospitals) -> None:
    record_id = world.put()

    version = jobs_of(world, "records.version", world.make_version(record_id), DOCTOR)
    reseal = jobs_of(world, "records.reseal", world.make_reseal(record_id), PATIENT)

    assert is_valid_many(version) == [True] * 3
    assert is_valid_many(reseal) == [True] * 2


def test_a_wrong_signature_inside_is_found_by_workers_too(world: Hospitals) -> None:
    put = world.make_put()
    forged = replace(put, author_signature=b"\x01" * 64)

    jobs = jobs_of(world, "records.put", forged, DOCTOR)

    assert is_valid_many(jobs) == [False, True, True]


def test_what_the_state_cannot_tell_is_left_to_the_handler(world: Hospitals) -> None:
    put = world.make_put()
    stranger = StorageReceipt(validator=ReplicaId(9), signature=b"\x01" * 64)
    seal = replace(put.seal, storage_receipts=(*put.seal.storage_receipts, stranger))
    record_id = world.put()
    unknown = replace(world.make_version(record_id), record_id=RecordId(b"\x00" * 16))

    with_stranger = jobs_of(world, "records.put", replace(put, seal=seal), DOCTOR)
    without_record = jobs_of(world, "records.version", unknown, DOCTOR)

    assert len(with_stranger) == 3
    assert without_record == ()


def test_nothing_is_guessed_for_a_sender_nobody_knows(world: Hospitals) -> None:
    put = world.make_put()
    transaction = world.chain.transaction(
        "records.put", put, DOCTOR, sender=AccountId(b"\x00" * 32), sidecars=sidecars_of(put)
    )
    inner_jobs = KINDS["records.put"].inner_jobs
    assert inner_jobs is not None

    assert inner_jobs(MemoryState(), transaction) == ()
