"""A promise made just before the set changed is still one: no record is refused for it."""

from dataclasses import replace

import pytest

from crypto.validators import ReplicaId
from ledger.governance_payloads import Change, RemoveValidator
from ledger.proposals import Outcome
from ledger.records_payloads import RecordPut
from tests.unit.ledger.governance_samples import Council
from tests.unit.ledger.record_samples import DOCTOR, Hospitals
from tests.unit.ledger.small_consortium import NORTH, SOUTH


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def pass_change(world: Hospitals, change: Change, org: str = SOUTH) -> None:
    council = Council(chain=world.chain)
    proposal = council.decide(change, org, voters=(NORTH, SOUTH))
    assert proposal.outcome is Outcome.EXECUTED
    council.wait()


def put_kept_by(world: Hospitals, *nodes: int) -> RecordPut:
    put = world.make_put()
    receipts = tuple(world.receipt(node, put.seal.cid, put.seal.size_bytes) for node in nodes)
    return replace(put, seal=replace(put.seal, storage_receipts=receipts))


def test_a_promise_under_the_key_before_counts(world: Hospitals) -> None:
    put = put_kept_by(world, 0, 2)
    pass_change(world, Council(chain=world.chain).rekey(2, SOUTH, "node 2, second"))

    world.accept("records.put", put, DOCTOR)

    assert world.seal(put.record_id).is_safe


def test_a_promise_of_who_has_just_gone_is_taken_and_makes_nothing_safe(world: Hospitals) -> None:
    put = put_kept_by(world, 3)
    pass_change(world, RemoveValidator(index=ReplicaId(3)))

    world.accept("records.put", put, DOCTOR)

    assert not world.seal(put.record_id).is_safe


def test_a_promise_of_long_ago_is_refused(world: Hospitals) -> None:
    put = put_kept_by(world, 0, 3)
    pass_change(world, RemoveValidator(index=ReplicaId(3)))
    pass_change(world, Council(chain=world.chain).rekey(2, SOUTH, "node 2, second"))

    receipt = world.submit("records.put", put, DOCTOR)

    assert receipt.code == "storage.receipt_invalid"
