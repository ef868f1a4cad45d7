"""What the consortium decided, in plain words."""

import pytest

from crypto.validators import ReplicaId
from ledger.governance_payloads import (
    Change,
    ChangeParameters,
    RemoveValidator,
    SuspendOrganisation,
)
from ledger.log import sentence
from ledger.parameters import Parameters
from ledger.receipts import Receipt
from tests.unit.ledger.governance_samples import ISLE, WEST, Council
from tests.unit.ledger.small_consortium import NORTH, SOUTH


@pytest.fixture
def council() -> Council:
    return Council()


def told(council: Council, receipt: Receipt) -> list[str]:
    assert receipt.accepted, receipt.code
    return [sentence(council.chain.state, event) for event in receipt.events]


def test_a_removal_reads_like_a_story(council: Council) -> None:
    proposed = council.try_propose(RemoveValidator(index=ReplicaId(3)))
    short = proposed.tx_id.hex()[:8]

    lines = told(council, proposed)
    lines += told(council, council.vote(proposed.tx_id, NORTH))
    lines += told(council, council.vote(proposed.tx_id, WEST, accepts=False))
    council.vote(proposed.tx_id, SOUTH)
    lines += told(council, council.vote(proposed.tx_id, "east"))

    assert lines == [
        f"Proposal {short} by north: remove validator 3; open below block 100.",
        f"north voted for proposal {short}.",
        f"west voted against proposal {short}.",
        f"east voted for proposal {short}.",
        "Epoch 1 begins at block 7 with 3 validators.",
        f"Proposal {short} is executed.",
    ]


def test_every_class_of_change_is_named(council: Council) -> None:
    def words(change: Change, org: str = NORTH) -> str:
        (line,) = told(council, council.try_propose(change, org))
        return line.split(": ")[1].split(";")[0]

    assert words(council.new_member(ISLE)) == "add organisation isle"
    assert words(SuspendOrganisation(org=WEST)) == "suspend organisation west"
    assert words(council.add(4)) == "add validator 4 of north"
    assert words(council.rekey(3, WEST, "other"), WEST) == "rekey validator 3 of west"
    changed = ChangeParameters(parameters=Parameters(rotate_every=7))
    assert words(changed) == "change parameters"


def test_a_fault_names_the_node_and_its_slot(council: Council) -> None:
    (line,) = told(council, council.report(council.evidence(3, height=1, view=2)))

    assert line == (
        "Node 3 of west signed two different prepare votes at height 1, view 2, epoch 0."
    )


def test_a_learner_says_how_far_it_is(council: Council) -> None:
    council.decide(council.add(4))

    lines = told(council, council.ready(4))

    assert lines[1] == "Learner 4 of north has executed block 4 and is ready to vote."
