"""Evidence of equivocation is ordered once per slot and names the member for ever."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.evidence import Evidence
from crypto.schema import encode
from crypto.signatures import is_valid_many
from crypto.validators import ReplicaId
from crypto.votes import VoteType
from ledger.contracts import KINDS
from ledger.governance_payloads import Change, Propose, RemoveValidator
from ledger.nodes import node_key
from ledger.parameters import Parameters
from ledger.proposals import EVIDENCE_PER_NODE_MAX, get_evidence
from tests.unit.ledger.governance_samples import WEST, Council, admin, four_hospitals
from tests.unit.ledger.small_consortium import NORTH, Consortium, account_of


@pytest.fixture
def council() -> Council:
    return Council()


def test_a_fault_is_recorded_under_the_member_and_told(council: Council) -> None:
    evidence = council.evidence(3, height=1, view=2)

    receipt = council.report(evidence)

    assert receipt.accepted
    assert receipt.events[0].kind == "governance.evidence"
    fields = dict(receipt.events[0].fields)
    assert (fields["index"], fields["org"], fields["vote"]) == (3, WEST, "prepare")
    assert (fields["epoch"], fields["height"], fields["view"]) == (0, 1, 2)
    entry = next(get_evidence(council.chain.state, 3))
    assert entry.digests == (evidence.first.digest, evidence.second.digest)
    assert (entry.tx_id, entry.reported_height) == (receipt.tx_id, 1)
    assert council.node(3).evidence_count == 1
    assert council.node(2).evidence_count == 0


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ("node 1", "ok"),
        ("first admin of north", "ok"),
        ("agent of north", "role.not_allowed"),
    ],
)
def test_nodes_and_admins_report(council: Council, by: str, code: str) -> None:
    assert council.report(council.evidence(3, height=1), by).code == code


def test_a_slot_is_recorded_once_whoever_reports_it(council: Council) -> None:
    """Its signer can make more signatures and more votes; the fault is one."""
    first = council.evidence(3, height=1)

    codes = [
        council.report(first).code,
        council.report(first, "node 2").code,
        council.report(council.evidence(3, height=1, view=1)).code,
        council.report(council.evidence(3, height=1, vote=VoteType.COMMIT)).code,
    ]

    assert codes == ["ok", "evidence.known", "ok", "ok"]
    assert council.node(3).evidence_count == 3
    assert len(list(get_evidence(council.chain.state, 3))) == 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"forged": True}, "evidence.invalid"),
        ({"keys": "node 2"}, "evidence.invalid"),
        ({"index": 9}, "evidence.invalid"),
        ({"epoch": 1}, "evidence.epoch"),
    ],
)
def test_what_proves_nothing_is_refused(
    council: Council, changes: dict[str, Any], code: str
) -> None:
    options: dict[str, Any] = {"index": 3, "height": 1, **changes}

    receipt = council.report(council.evidence(**options))

    assert receipt.code == code


def test_evidence_has_an_age() -> None:
    parameters = Parameters(evidence_blocks_max=10)
    council = Council(chain=Consortium(document=four_hospitals(parameters)))
    council.wait(11)  # The next block is 12.

    codes = [council.report(council.evidence(3, height=height)).code for height in (1, 3, 15)]

    assert codes == ["evidence.age", "ok", "evidence.age"]


def test_a_node_that_has_gone_or_changed_keys_is_named_for_its_old_votes(council: Council) -> None:
    council.decide(council.rekey(3, WEST, "node 3, second"), WEST)
    council.wait()
    council.decide(RemoveValidator(index=ReplicaId(2)))
    council.wait()
    height = council.chain.height

    of_old_key = council.report(council.evidence(3, height=1))
    of_gone = council.report(council.evidence(2, height=1))
    old_key_in_new_epoch = council.report(council.evidence(3, height=height, epoch=2))
    before_its_epoch = council.report(council.evidence(3, height=1, epoch=1, keys="node 3, second"))
    of_new_key = council.report(council.evidence(3, height=height, epoch=2, keys="node 3, second"))

    assert of_old_key.accepted
    assert of_gone.accepted
    assert old_key_in_new_epoch.code == "evidence.invalid"
    assert before_its_epoch.code == "evidence.epoch"
    assert of_new_key.accepted
    assert council.node(2).evidence_count == 1


def test_so_many_faults_of_one_node_and_no_more(council: Council) -> None:
    full = replace(council.node(3), evidence_count=EVIDENCE_PER_NODE_MAX)
    council.chain.state.apply({node_key(3): encode(full)})

    receipt = council.report(council.evidence(3, height=1))

    assert receipt.code == "evidence.full"


def test_workers_can_check_both_votes_before(council: Council) -> None:
    evidence = council.evidence(3, height=1)

    assert jobs_of(council, evidence) == [True, True]
    assert jobs_of(council, council.evidence(3, height=1, forged=True)) == [True, False]


def test_nothing_is_guessed_about_an_epoch_or_member_nobody_knows(council: Council) -> None:
    assert jobs_of(council, council.evidence(3, height=1, epoch=7)) == []
    assert jobs_of(council, council.evidence(9, height=1)) == []


def test_workers_can_check_the_proofs_in_a_proposal(council: Council) -> None:
    inner_jobs = KINDS["governance.propose"].inner_jobs
    assert inner_jobs is not None

    def answers(change: Change) -> list[bool]:
        payload = Propose(epoch=council.epoch, expires_height=9, change=change)
        transaction = council.chain.transaction("governance.propose", payload, admin(NORTH))
        return is_valid_many(inner_jobs(council.chain.state, transaction))

    assert answers(council.add(4)) == [True]
    assert answers(council.new_member(WEST)) == [True] * 4
    assert answers(RemoveValidator(index=ReplicaId(3))) == []


def jobs_of(council: Council, evidence: Evidence) -> list[bool]:
    inner_jobs = KINDS["governance.evidence"].inner_jobs
    assert inner_jobs is not None
    transaction = council.chain.transaction("governance.evidence", evidence, admin(NORTH))
    assert transaction.body.sender == account_of(admin(NORTH))
    return is_valid_many(inner_jobs(council.chain.state, transaction))
