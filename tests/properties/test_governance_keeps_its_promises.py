"""Whatever members, nodes and thieves of keys send: ballots count once, and the set stays a set."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from ledger.accounts import OrgId, Role, Status, get_account, get_organisations
from ledger.contracts.governance import get_epoch, get_latest_epoch
from ledger.governance_payloads import (
    Change,
    ChangeParameters,
    RemoveValidator,
    RestoreOrganisation,
    SuspendOrganisation,
    Vote,
)
from ledger.nodes import NodeStanding, get_nodes, node_account_id
from ledger.parameters import Parameters
from ledger.proposals import Outcome, get_open_proposals, get_proposal, majority_of
from tests.unit.ledger.governance_samples import HOSPITALS, Council, admin, node_claim

INDEXES = st.integers(0, 6)
ORGS = st.sampled_from(HOSPITALS)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that somebody does; the numbers choose among what there is."""

    act: str
    org: OrgId
    index: int
    accepts: bool
    pick: int


STEPS = st.lists(
    st.builds(
        Step,
        act=st.sampled_from(
            ["remove", "add", "rekey", "suspend", "restore", "parameters", "ready", "wait"]
            + ["vote"] * 16
            + ["withdraw"]
        ),
        org=ORGS,
        index=INDEXES,
        accepts=st.sampled_from([True, True, True, False]),
        pick=st.integers(0, 99),
    ),
    min_size=20,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_is_sent_ballots_count_once_and_the_set_stays_valid(steps: list[Step]) -> None:
    council, made = Council(), list[Digest]()

    for step in steps:
        take(council, made, step)

        check_ballots(council, made)
        check_set(council)


def take(council: Council, made: list[Digest], step: Step) -> None:
    match step.act:
        case "wait":
            council.wait(1)
        case "ready":
            if is_known(council, step.index):
                council.ready(step.index)
        case "vote" | "withdraw" if not made:
            pass
        case "vote":
            proposal_id = made[step.pick % len(made)]
            epoch = Epoch(council.proposal(proposal_id).epoch + (step.pick == 99))
            ballot = Vote(proposal=proposal_id, epoch=epoch, org=step.org, accepts=step.accepts)
            council.send("governance.vote", ballot, admin(step.org))
        case "withdraw":
            council.withdraw(made[step.pick % len(made)], step.org)
        case _:
            receipt = council.try_propose(change_of(council, step), step.org)
            if receipt.accepted:
                made.append(receipt.tx_id)


def is_known(council: Council, index: int) -> bool:
    """Whether the node's first key has an account: no block holds a stranger's transaction."""
    account = node_account_id(node_claim(index).vote_key)
    return get_account(council.chain.state, account) is not None


def change_of(council: Council, step: Step) -> Change:
    match step.act:
        case "remove":
            return RemoveValidator(index=ReplicaId(step.index))
        case "add":
            return council.add(step.index, step.org)
        case "rekey":
            return council.rekey(step.index, step.org, f"key {step.pick % 5}")
        case "suspend":
            return SuspendOrganisation(org=step.org)
        case "restore":
            return RestoreOrganisation(org=step.org)
        case _:
            return ChangeParameters(parameters=Parameters(rotate_every=1 + step.pick))


def check_ballots(council: Council, made: list[Digest]) -> None:
    """One ballot per organisation, and nothing executed without its majority."""
    open_ids = [one.proposal_id for one in get_open_proposals(council.chain.state)]
    for proposal_id in made:
        proposal = get_proposal(council.chain.state, proposal_id)
        assert proposal is not None
        voters = [ballot.org for ballot in proposal.ballots]
        assert voters == sorted(set(voters))
        assert (proposal.outcome is Outcome.OPEN) == (proposal_id in open_ids)
        if proposal.outcome is Outcome.EXECUTED:
            accepts = sum(ballot.accepts for ballot in proposal.ballots)
            rule = majority_of(proposal.change)
            assert accepts >= 1
            assert accepts * rule.denominator > rule.numerator  # Of one member that may act.


def check_set(council: Council) -> None:
    """The set is valid, is what the entries say, and changes in steps of an epoch."""
    state = council.chain.state
    validators = council.validators
    assert decode(ValidatorSet, encode(validators)) == validators
    nodes = list(get_nodes(state))
    voting = [node for node in nodes if node.standing is NodeStanding.VOTING]
    assert [(one.index, one.vote_key, one.tls_pin) for one in voting] == [
        (one.index, one.vote_key, one.tls_pin) for one in validators.members
    ]
    for node in nodes:
        account = get_account(state, node_account_id(node.vote_key))
        assert account is not None
        assert account.role is Role.NODE
        assert (account.status is Status.ACTIVE) == (node.standing is not NodeStanding.REMOVED)
    latest = get_latest_epoch(state)
    entries = [get_epoch(state, epoch) for epoch in range(latest.epoch + 1)]
    firsts = [entry.first_height for entry in entries if entry is not None]
    assert len(firsts) == latest.epoch + 1
    assert all(two - one >= 2 for one, two in pairwise(firsts))
    assert latest.first_height <= council.chain.height + 2
    assert entries[-1] is not None
    assert entries[-1].validators == validators
    assert any(one.status is Status.ACTIVE for one in get_organisations(state))
