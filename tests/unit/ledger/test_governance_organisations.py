"""Members and parameters change by ballot; what a new member brings is checked key by key."""

from dataclasses import replace

import pytest

from crypto.signatures import account_id
from genesis.ceremony import assemble
from ledger.accounts import (
    Role,
    Status,
    get_account,
    get_organisation,
    is_active,
    organisation_key,
)
from ledger.contracts.governance import get_epoch
from ledger.governance_payloads import (
    ChangeParameters,
    RestoreOrganisation,
    SuspendOrganisation,
)
from ledger.parameters import Parameters, get_parameters
from ledger.proposals import Outcome
from tests.unit.ledger.governance_samples import (
    EAST,
    HOSPITALS,
    ISLE,
    WEST,
    Council,
    admin,
    founding_account,
)
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    Consortium,
    account_of,
    invitation,
    statement,
)


@pytest.fixture
def council() -> Council:
    return Council()


def test_a_new_member_has_its_agent_and_admins_and_may_vote(council: Council) -> None:
    proposal = council.decide(council.new_member(ISLE))

    organisation = get_organisation(council.chain.state, ISLE)
    assert proposal.outcome is Outcome.EXECUTED
    assert organisation is not None
    assert organisation.status is Status.ACTIVE
    assert organisation.agent == account_of("agent of isle")
    assert organisation.admins == (account_of(admin(ISLE)),)
    account = get_account(council.chain.state, account_of(admin(ISLE)))
    assert account is not None
    assert account.registered_height == council.chain.height
    assert is_active(council.chain.state, account)
    assert council.vote(council.propose(council.add(9, ISLE), ISLE), ISLE).accepted
    assert council.chain.register("dr. isle", Role.DOCTOR, ISLE) == account_of("dr. isle")


def test_a_new_member_raises_the_majority(council: Council) -> None:
    council.decide(council.new_member(ISLE))
    proposal_id = council.propose(SuspendOrganisation(org=WEST))

    for org in HOSPITALS[:3]:
        council.vote(proposal_id, org)
    three_of_five = council.proposal(proposal_id).outcome
    council.vote(proposal_id, ISLE)

    assert three_of_five is Outcome.OPEN
    assert council.proposal(proposal_id).outcome is Outcome.EXECUTED


def test_every_key_of_a_new_member_agrees(council: Council) -> None:
    change = council.new_member(ISLE)
    other = council.new_member(WEST)

    for forged in (
        replace(change, agent=replace(change.agent, possession=other.agent.possession)),
        replace(change, agent=replace(change.agent, seal_binding=other.agent.seal_binding)),
        replace(change, admins=other.admins),
    ):
        assert council.try_propose(forged).code == "governance.possession"


def test_a_new_member_takes_nobodys_name_or_account(council: Council) -> None:
    taken = council.new_member(WEST)
    twice = council.new_member(ISLE)
    twice = replace(twice, admins=(*twice.admins, twice.admins[0]))
    of_others = replace(
        council.new_member(ISLE),
        admins=(founding_account(council.chain.chain_id, ISLE, admin(WEST), Role.HOSPITAL_ADMIN),),
    )

    assert council.try_propose(taken).code == "governance.org_exists"
    assert council.try_propose(twice).code == "governance.account_exists"
    receipt = council.try_propose(of_others)
    assert receipt.code == "governance.account_exists"
    assert receipt.events[0].fields == (("account", account_of(admin(WEST))),)


def test_so_many_members_and_no_more(council: Council) -> None:
    north = get_organisation(council.chain.state, NORTH)
    assert north is not None
    entry = council.chain.state.entries()[organisation_key(NORTH)]
    council.chain.state.apply({organisation_key(f"x{number}"): entry for number in range(996)})

    receipt = council.try_propose(council.new_member(ISLE))

    assert receipt.code == "governance.orgs_full"


def test_a_suspended_member_does_nothing_and_its_node_votes_on(council: Council) -> None:
    proposal = council.decide(SuspendOrganisation(org=WEST))

    refused = council.try_propose(SuspendOrganisation(org=NORTH), WEST)
    assert proposal.outcome is Outcome.EXECUTED
    assert refused.code == "organisation.suspended"
    assert council.indexes == [0, 1, 2, 3]
    assert get_epoch(council.chain.state, 1) is None


def test_a_restored_member_may_act_again(council: Council) -> None:
    council.decide(SuspendOrganisation(org=WEST))

    proposal = council.decide(RestoreOrganisation(org=WEST))

    assert proposal.outcome is Outcome.EXECUTED
    assert council.try_propose(SuspendOrganisation(org=NORTH), WEST).accepted


def test_a_member_is_suspended_and_restored_in_turns(council: Council) -> None:
    council.decide(SuspendOrganisation(org=WEST))

    assert council.try_propose(SuspendOrganisation(org=WEST)).code == "governance.org_suspended"
    assert council.try_propose(RestoreOrganisation(org=EAST)).code == "governance.org_active"
    for change in (SuspendOrganisation(org=ISLE), RestoreOrganisation(org=ISLE)):
        assert council.try_propose(change).code == "governance.unknown_org"


def test_the_last_active_member_stays() -> None:
    alone = assemble(invitation(), [statement(NORTH, (0,))])
    council = Council(chain=Consortium(document=alone))

    receipt = council.try_propose(SuspendOrganisation(org=NORTH))

    assert receipt.code == "governance.last_org"


def test_parameters_are_proposed_whole_and_hold_from_the_next_block(council: Council) -> None:
    wanted = Parameters(tx_window_ms_max=120_000, read_entry_ms=1_000)

    proposal = council.decide(ChangeParameters(parameters=wanted))

    assert proposal.outcome is Outcome.EXECUTED
    assert get_parameters(council.chain.state) == wanted


def test_parameters_in_force_and_protocols_that_nobody_knows_are_not_proposed(
    council: Council,
) -> None:
    same = ChangeParameters(parameters=Parameters())
    unknown = ChangeParameters(parameters=Parameters(protocol_version=2))

    assert council.try_propose(same).code == "governance.no_change"
    assert council.try_propose(unknown).code == "governance.protocol_version"


def test_an_accounts_id_is_that_of_its_first_key(council: Council) -> None:
    change = council.new_member(ISLE)

    council.decide(change, SOUTH)

    for founder in (change.agent, *change.admins):
        account = get_account(council.chain.state, account_id(founder.sign_key))
        assert account is not None
        assert (account.org, account.role) == (ISLE, founder.role)
