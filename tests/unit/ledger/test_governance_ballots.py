"""Who may propose and vote, what a ballot binds, and when a proposal is decided (attack 32)."""

import pytest

from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from ledger.accounts import OrgId, Role
from ledger.governance_payloads import (
    ChangeParameters,
    RemoveValidator,
    SuspendOrganisation,
    Vote,
    Withdraw,
)
from ledger.parameters import Parameters, get_parameters
from ledger.proposals import OPEN_PROPOSALS_MAX, Outcome, get_open_proposals
from tests.unit.ledger.governance_samples import (
    EAST,
    HOSPITALS,
    ISLE,
    WEST,
    Council,
    admin,
    four_hospitals,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, Consortium, account_of

SLOWER = ChangeParameters(parameters=Parameters(idle_block_ms=6_000))
GONE = RemoveValidator(index=ReplicaId(3))


@pytest.fixture
def council() -> Council:
    return Council()


def test_a_proposal_stands_open_under_the_id_of_its_transaction(council: Council) -> None:
    receipt = council.try_propose(SLOWER)

    proposal = council.proposal(receipt.tx_id)
    assert proposal.outcome is Outcome.OPEN
    assert proposal.change == SLOWER
    assert proposal.by == account_of(admin(NORTH))
    assert (proposal.opened_height, proposal.expires_height) == (1, 100)
    assert [one.proposal_id for one in get_open_proposals(council.chain.state)] == [receipt.tx_id]
    assert receipt.events[0].kind == "governance.proposed"
    assert dict(receipt.events[0].fields) == {
        "proposal": receipt.tx_id,
        "by": account_of(admin(NORTH)),
        "by_org": NORTH,
        "expires_height": 100,
        "change": "change_parameters",
    }


def test_half_of_the_members_change_no_parameter_and_one_more_does(council: Council) -> None:
    proposal_id = council.propose(SLOWER)

    council.vote(proposal_id, NORTH)
    council.vote(proposal_id, SOUTH)
    before = get_parameters(council.chain.state)
    receipt = council.vote(proposal_id, WEST)

    assert before == Parameters()
    assert get_parameters(council.chain.state) == SLOWER.parameters
    assert [event.kind for event in receipt.events] == ["governance.voted", "governance.closed"]
    assert dict(receipt.events[0].fields) == {
        "proposal": proposal_id,
        "org": WEST,
        "by": account_of(admin(WEST)),
        "accepts": 1,
    }
    assert dict(receipt.events[1].fields) == {
        "proposal": proposal_id,
        "outcome": "executed",
        "reason": "",
    }
    assert council.proposal(proposal_id).closed_height == council.chain.height
    assert get_open_proposals(council.chain.state) == ()


def test_two_thirds_of_the_members_remove_no_validator_and_more_do() -> None:
    """Of four, three are more than two thirds; of three, two are exactly two thirds."""
    council = Council()
    suspended = council.decide(SuspendOrganisation(org=WEST))
    proposal_id = council.propose(GONE)

    council.vote(proposal_id, NORTH)
    council.vote(proposal_id, SOUTH)
    before = council.indexes
    council.vote(proposal_id, EAST)

    assert suspended.outcome is Outcome.EXECUTED
    assert before == [0, 1, 2, 3]
    assert council.indexes == [0, 1, 2]


def test_enough_ballots_against_close_a_proposal(council: Council) -> None:
    proposal_id = council.propose(SLOWER)

    council.vote(proposal_id, NORTH, accepts=False)
    receipt = council.vote(proposal_id, SOUTH, accepts=False)

    assert council.proposal(proposal_id).outcome is Outcome.REJECTED
    assert receipt.events[-1].fields[1] == ("outcome", "rejected")
    assert council.vote(proposal_id, EAST).code == "governance.closed"


def test_an_organisation_votes_once_whoever_signs(council: Council) -> None:
    proposal_id = council.propose(SLOWER)

    codes = [
        council.vote(proposal_id, NORTH).code,
        council.vote(proposal_id, NORTH).code,
        council.vote(proposal_id, NORTH, by="second admin of north").code,
        council.vote(proposal_id, NORTH, accepts=False).code,
    ]

    assert codes == ["ok", "governance.voted", "governance.voted", "governance.voted"]
    assert [one.org for one in council.proposal(proposal_id).ballots] == [NORTH]


def test_a_ballot_is_for_the_senders_own_organisation(council: Council) -> None:
    proposal_id = council.propose(SLOWER)

    receipt = council.vote(proposal_id, SOUTH, by=admin(NORTH))

    assert receipt.code == "governance.other_org"


def test_a_ballot_binds_the_epoch_of_its_proposal(council: Council) -> None:
    proposal_id = council.propose(SLOWER)
    ballot = Vote(proposal=proposal_id, epoch=Epoch(1), org=NORTH, accepts=True)

    receipt = council.chain.outcome("governance.vote", ballot, admin(NORTH))

    assert receipt.code == "governance.epoch"
    assert receipt.events[0].fields == (("epoch", 0),)


def test_a_ballot_for_one_proposal_is_none_for_its_twin(council: Council) -> None:
    """Two proposals of one change have two ids: no ballot is counted for the other."""
    first, second = council.propose(SLOWER), council.propose(SLOWER)

    for org in (NORTH, SOUTH, EAST):
        council.vote(first, org)

    assert first != second
    assert council.proposal(first).outcome is Outcome.EXECUTED
    assert council.proposal(second).ballots == ()


def test_a_ballot_of_another_chain_is_no_transaction_of_this_one(council: Council) -> None:
    """The id that a ballot names commits to the chain, and so does the ballot's signature."""
    other = Council(chain=Consortium(document=four_hospitals(Parameters(rotate_every=7))))

    assert council.propose(SLOWER) != other.propose(SLOWER)


@pytest.mark.parametrize("epoch", [1, 7])
def test_a_proposal_is_written_in_the_newest_epoch(council: Council, epoch: int) -> None:
    receipt = council.try_propose(SLOWER, epoch=Epoch(epoch))

    assert receipt.code == "governance.epoch"


@pytest.mark.parametrize(
    ("expires_height", "code"),
    [
        (1, "governance.expiry"),
        (2, "ok"),
        (1 + 100_000, "ok"),
        (2 + 100_000, "governance.expiry"),
    ],
)
def test_a_proposal_is_open_for_a_bounded_number_of_blocks(
    council: Council, expires_height: int, code: str
) -> None:
    receipt = council.try_propose(SLOWER, expires_height=expires_height)  # In block 1.

    assert receipt.code == code


def test_a_ballot_counts_below_the_height_of_expiry(council: Council) -> None:
    early = council.propose(SLOWER, expires_height=3)
    late = council.propose(SLOWER, expires_height=4)

    in_time = council.vote(late, NORTH)  # In block 3.

    assert in_time.accepted
    assert council.vote(early, NORTH).code == "governance.expired"
    assert council.vote(late, SOUTH).code == "governance.expired"


def test_what_expired_makes_room_for_the_next_proposal() -> None:
    parameters = Parameters(proposals_per_organisation_max=1)
    council = Council(chain=Consortium(document=four_hospitals(parameters)))
    first = council.propose(SLOWER, expires_height=3)

    too_many = council.try_propose(SLOWER)
    of_others = council.try_propose(SLOWER, SOUTH)
    second = council.propose(SLOWER)

    assert too_many.code == "governance.proposals_of_org_full"
    assert of_others.accepted
    assert council.proposal(first).outcome is Outcome.EXPIRED
    assert council.proposal(first).closed_height == 3
    open_ids = [one.proposal_id for one in get_open_proposals(council.chain.state)]
    assert open_ids == [of_others.tx_id, second]


def test_a_withdrawn_proposal_is_closed_and_makes_room() -> None:
    parameters = Parameters(proposals_per_organisation_max=1)
    council = Council(chain=Consortium(document=four_hospitals(parameters)))
    proposal_id = council.propose(SLOWER)

    by_others = council.withdraw(proposal_id, SOUTH)
    receipt = council.withdraw(proposal_id)

    assert by_others.code == "governance.not_proposer"
    assert receipt.accepted
    assert receipt.events[0].kind == "governance.closed"
    assert receipt.events[0].fields[1] == ("outcome", "withdrawn")
    assert council.proposal(proposal_id).outcome is Outcome.WITHDRAWN
    assert council.withdraw(proposal_id).code == "governance.closed"
    assert council.try_propose(SLOWER).accepted


def test_all_members_together_have_a_bounded_number_of_open_proposals() -> None:
    parameters = Parameters(proposals_per_organisation_max=64)
    council = Council(chain=Consortium(document=four_hospitals(parameters)))
    council.decide(council.new_member(ISLE))
    for number in range(OPEN_PROPOSALS_MAX):
        council.propose(SLOWER, HOSPITALS[number % 4], expires_height=10_000)

    receipt = council.try_propose(SLOWER, ISLE)

    assert receipt.code == "governance.proposals_full"


def test_an_unknown_proposal_is_named(council: Council) -> None:
    nothing = Digest(bytes(32))
    ballot = Vote(proposal=nothing, epoch=Epoch(0), org=NORTH, accepts=True)

    vote = council.chain.outcome("governance.vote", ballot, admin(NORTH))
    withdrawal = council.chain.outcome(
        "governance.withdraw", Withdraw(proposal=nothing), admin(NORTH)
    )

    assert vote.code == withdrawal.code == "governance.unknown_proposal"


@pytest.mark.parametrize("by", ["agent of north", "node 0", "dr. a"])
def test_only_admins_govern(council: Council, by: str) -> None:
    council.chain.register("dr. a", Role.DOCTOR)
    proposal_id = council.propose(SLOWER)
    ballot = Vote(proposal=proposal_id, epoch=Epoch(0), org=NORTH, accepts=True)

    receipt = council.send("governance.vote", ballot, by)

    assert receipt.code == "role.not_allowed"


def test_ballots_of_a_member_that_is_suspended_since_count_for_nothing(council: Council) -> None:
    """And the majority is that of the members that may act."""
    proposal_id = council.propose(SLOWER)
    council.vote(proposal_id, WEST)
    council.vote(proposal_id, NORTH)

    council.decide(SuspendOrganisation(org=WEST))
    still_open = council.proposal(proposal_id).outcome
    council.vote(proposal_id, SOUTH)

    assert still_open is Outcome.OPEN
    assert council.proposal(proposal_id).outcome is Outcome.EXECUTED
    assert len(council.proposal(proposal_id).ballots) == 3


def test_a_change_that_became_impossible_is_closed_with_its_reason(council: Council) -> None:
    first, second = council.propose(GONE), council.propose(GONE, SOUTH)
    for org in HOSPITALS[:3]:
        council.vote(first, org)
    council.wait()

    for org in HOSPITALS[:2]:
        council.vote(second, org)
    receipt = council.vote(second, EAST)

    assert receipt.accepted
    assert dict(receipt.events[-1].fields) == {
        "proposal": second,
        "outcome": "failed",
        "reason": "governance.unknown_node",
    }
    assert council.proposal(second).outcome is Outcome.FAILED
    assert council.proposal(second).reason == "governance.unknown_node"
    assert council.indexes == [0, 1, 2]


def test_votes_about_one_set_change_no_other(council: Council) -> None:
    """Removing one of four and one of four again leaves three, never two."""
    first = council.propose(GONE)
    second = council.propose(RemoveValidator(index=ReplicaId(2)), SOUTH)
    for proposal_id in (first, second):
        for org in HOSPITALS[:2]:
            council.vote(proposal_id, org)

    council.vote(first, EAST)
    in_flight = council.try_propose(RemoveValidator(index=ReplicaId(2)), SOUTH)
    stale = council.vote(second, EAST)

    assert in_flight.code == "governance.in_flight"
    assert stale.events[-1].fields[1:] == (
        ("outcome", "failed"),
        ("reason", "governance.set_changed"),
    )
    assert council.indexes == [0, 1, 2]


def test_the_same_ballots_in_one_block_are_counted_in_their_order(council: Council) -> None:
    proposal_id = council.propose(SLOWER)
    votes = [
        council.chain.transaction(
            "governance.vote",
            Vote(proposal=proposal_id, epoch=Epoch(0), org=OrgId(org), accepts=True),
            admin(org),
        )
        for org in (NORTH, NORTH, SOUTH, EAST, WEST)
    ]

    result = council.chain.apply(*votes)

    assert [one.code for one in result.receipts] == [
        "ok", "governance.voted", "ok", "ok", "governance.closed",
    ]  # fmt: skip
    assert council.proposal(proposal_id).outcome is Outcome.EXECUTED
    assert len(council.proposal(proposal_id).ballots) == 3
