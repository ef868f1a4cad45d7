"""Nodes come as learners, vote when they are ready, change keys and go; one change at a time."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.schema import encode
from crypto.signatures import Scheme, public_key
from crypto.validators import MEMBERS_MAX, ReplicaId
from genesis.ceremony import assemble
from ledger.accounts import Role, Status, get_account, is_active
from ledger.contracts.governance import get_epoch, get_latest_epoch
from ledger.governance_payloads import (
    AddValidator,
    RekeyValidator,
    RemoveValidator,
    SuspendOrganisation,
)
from ledger.identity_payloads import Restore, Suspend
from ledger.nodes import NodeStanding, node_account_id, node_key
from ledger.parameters import Parameters
from ledger.proposals import Outcome
from tests.unit.ledger.governance_samples import (
    HOSPITALS,
    ISLE,
    WEST,
    Council,
    admin,
    four_hospitals,
    node_claim,
)
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    Consortium,
    invitation,
    rotation,
    seed,
    signing_key,
    statement,
)


@pytest.fixture
def council() -> Council:
    return Council()


def test_founding_nodes_have_accounts_that_sign_with_their_vote_keys(council: Council) -> None:
    for member in council.validators.members:
        account = get_account(council.chain.state, node_account_id(member.vote_key))

        assert account is not None
        assert (account.role, account.org) == (Role.NODE, member.org)
        assert account.sign_key.data == member.vote_key
        assert account.seal_key is None
        assert is_active(council.chain.state, account)
        assert council.node(member.index).standing is NodeStanding.VOTING


def test_a_node_that_is_added_learns_before_it_votes(council: Council) -> None:
    proposal = council.decide(council.add(4))

    assert proposal.outcome is Outcome.EXECUTED
    assert council.node(4).standing is NodeStanding.LEARNER
    assert council.node(4).changed_height == council.chain.height
    assert council.indexes == [0, 1, 2, 3]
    assert council.epoch == 0
    account = get_account(council.chain.state, node_account_id(council.node(4).vote_key))
    assert account is not None
    assert is_active(council.chain.state, account)


def test_a_ready_learner_votes_two_blocks_later(council: Council) -> None:
    council.decide(council.add(4))

    receipt = council.ready(4)

    latest = get_latest_epoch(council.chain.state)
    assert receipt.accepted
    assert council.indexes == [0, 1, 2, 3, 4]
    assert (latest.epoch, latest.first_height) == (1, council.chain.height + 2)
    assert [event.kind for event in receipt.events] == ["governance.epoch", "validator.ready"]
    assert dict(receipt.events[0].fields) == {
        "epoch": 1,
        "first_height": council.chain.height + 2,
        "validators": 5,
        "digest": council.validators.digest(),
    }
    assert dict(receipt.events[1].fields) == {
        "index": 4,
        "org": NORTH,
        "height": council.chain.height - 1,
    }
    assert council.node(4).standing is NodeStanding.VOTING


def test_only_the_learner_itself_is_ready_and_only_near_the_tip() -> None:
    parameters = Parameters(ready_blocks_max=10)
    council = Council(chain=Consortium(document=four_hospitals(parameters)))
    council.decide(council.add(4))
    council.wait(20)
    tip = council.chain.height

    by_another = council.ready(4, by="node 0")
    of_another = council.ready(0)
    of_nobody = council.ready(5, by="node 0")
    by_an_admin = council.ready(4, by=admin(NORTH))
    far_behind = council.ready(4, height=council.chain.height + 1 - 11)
    ahead = council.ready(4, height=council.chain.height + 1)
    at_the_bound = council.ready(4, height=council.chain.height + 1 - 10)

    assert by_another.code == "validator.other_node"
    assert of_another.code == "validator.not_learner"
    assert of_nobody.code == "governance.unknown_node"
    assert by_an_admin.code == "role.not_allowed"
    assert far_behind.code == "validator.behind"
    assert ahead.code == "validator.behind"
    assert at_the_bound.accepted
    assert tip + 7 == council.chain.height
    assert council.ready(4).code == "validator.not_learner"


def test_two_learners_do_not_become_ready_at_once(council: Council) -> None:
    council.decide(council.add(4))
    council.decide(council.add(5, SOUTH), SOUTH)

    codes = [council.ready(4).code, council.ready(5).code, council.ready(5).code]

    assert codes == ["ok", "governance.in_flight", "ok"]
    assert council.indexes == [0, 1, 2, 3, 4, 5]
    assert get_latest_epoch(council.chain.state).epoch == 2


def test_a_learner_that_is_never_ready_can_be_removed(council: Council) -> None:
    council.decide(council.add(4))

    proposal = council.decide(RemoveValidator(index=ReplicaId(4)))

    assert proposal.outcome is Outcome.EXECUTED
    assert council.node(4).standing is NodeStanding.REMOVED
    assert council.epoch == 0
    assert council.ready(4).code == "identity.suspended"


def test_a_removed_node_is_out_of_the_set_and_signs_nothing_more(council: Council) -> None:
    removed = council.node(3)

    proposal = council.decide(RemoveValidator(index=ReplicaId(3)))

    latest = get_latest_epoch(council.chain.state)
    assert proposal.outcome is Outcome.EXECUTED
    assert council.indexes == [0, 1, 2]
    assert (latest.epoch, latest.first_height) == (1, council.chain.height + 2)
    assert council.node(3).standing is NodeStanding.REMOVED
    assert council.ready(3, by="node 3").code == "identity.suspended"
    account = get_account(council.chain.state, node_account_id(removed.vote_key))
    assert account is not None
    assert account.status is Status.SUSPENDED


def test_the_last_validator_stays() -> None:
    alone = assemble(invitation(), [statement(NORTH, (0,))])
    council = Council(chain=Consortium(document=alone))

    receipt = council.try_propose(RemoveValidator(index=ReplicaId(0)))

    assert receipt.code == "governance.last_validator"


def test_only_nodes_in_place_are_removed(council: Council) -> None:
    council.decide(RemoveValidator(index=ReplicaId(3)))
    council.wait()

    codes = [council.try_propose(RemoveValidator(index=ReplicaId(index))).code for index in (3, 9)]

    assert codes == ["governance.unknown_node"] * 2


def test_a_node_changes_its_keys_and_keeps_its_index(council: Council) -> None:
    before = council.node(3)

    proposal = council.decide(council.rekey(3, WEST, "node 3, second"), WEST)

    after = council.node(3)
    member = council.validators.member(ReplicaId(3))
    assert proposal.outcome is Outcome.EXECUTED
    assert member is not None
    assert member.vote_key == after.vote_key != before.vote_key
    assert member.tls_pin == after.tls_pin == seed("tls node 3, second")
    assert after.former_tls_pin == before.tls_pin
    assert after.former_until_height == council.chain.height + Parameters().tls_overlap_blocks
    assert council.indexes == [0, 1, 2, 3]
    assert get_latest_epoch(council.chain.state).epoch == 1
    assert council.ready(3, by="node 3").code == "identity.suspended"
    assert council.ready(3, by="node 3, second").code == "validator.not_learner"


def test_a_learner_may_change_its_keys_too(council: Council) -> None:
    council.decide(council.add(4))

    council.decide(council.rekey(4, NORTH, "node 4, second"))

    assert council.epoch == 0
    assert council.ready(4, by="node 4").code == "identity.suspended"
    assert council.ready(4, by="node 4, second").accepted


def test_a_new_address_alone_begins_no_epoch(council: Council) -> None:
    moved = replace(node_claim(3, WEST), p2p_address="node.west.example:7000")

    proposal = council.decide(RekeyValidator(node=council.statement(moved)), WEST)

    assert proposal.outcome is Outcome.EXECUTED
    assert council.node(3).p2p_address == "node.west.example:7000"
    assert council.node(3).former_tls_pin is None
    assert get_latest_epoch(council.chain.state).epoch == 0


def test_a_new_tls_key_alone_keeps_the_vote_key_and_its_account(council: Council) -> None:
    claim = replace(node_claim(3, WEST), tls_pin=seed("another"))

    council.decide(RekeyValidator(node=council.statement(claim)), WEST)

    assert council.node(3).former_tls_pin == seed("tls 3")
    assert get_latest_epoch(council.chain.state).epoch == 1
    assert council.ready(3).code == "validator.not_learner"


def test_a_claim_is_signed_by_the_vote_key_it_names(council: Council) -> None:
    good = council.statement(node_claim(4))

    for claim in (
        replace(good.claim, index=ReplicaId(5)),
        replace(good.claim, tls_pin=bytes(32)),
        replace(good.claim, p2p_address="127.0.0.1:9"),
        replace(good.claim, vote_key=node_claim(5).vote_key),
        replace(good.claim, vote_key=bytes(32)),
    ):
        forged = AddValidator(node=replace(good, claim=claim))
        assert council.try_propose(forged).code == "governance.possession"


def test_a_claim_made_for_another_chain_is_none_here(council: Council) -> None:
    founding = council.chain.document.statements[0].body.nodes[0]

    receipt = council.try_propose(RekeyValidator(node=founding), founding.claim.org)

    assert receipt.code == "governance.possession"


def test_a_hospital_proposes_the_keys_of_its_own_nodes(council: Council) -> None:
    add = council.try_propose(council.add(4, NORTH), SOUTH)
    rekey = council.try_propose(council.rekey(3, WEST, "of south"), SOUTH)
    taken_over = council.try_propose(council.rekey(3, SOUTH, "of south"), SOUTH)

    assert add.code == rekey.code == "governance.not_own_node"
    assert taken_over.code == "governance.other_node"


def test_a_new_node_takes_nothing_from_others(council: Council) -> None:
    def refused(**changes: Any) -> str:
        claim = replace(node_claim(4), **changes)
        keys = "node 3" if "vote_key" in changes else "node 4"
        return council.try_propose(AddValidator(node=council.statement(claim, keys=keys))).code

    assert refused(index=ReplicaId(3)) == "governance.index_taken"
    assert refused(tls_pin=seed("tls 3")) == "governance.tls_pin_taken"
    assert refused(p2p_address="127.0.0.1:7003") == "governance.address_taken"
    assert refused(vote_key=node_claim(3).vote_key) == "governance.vote_key_used"


def test_a_vote_key_never_comes_back(council: Council) -> None:
    council.decide(council.rekey(3, WEST, "node 3, second"), WEST)
    council.wait()

    back = council.try_propose(council.rekey(3, WEST, "node 3"), WEST)

    assert back.code == "governance.vote_key_used"


def test_a_former_tls_key_is_nobody_elses(council: Council) -> None:
    council.decide(council.rekey(3, WEST, "node 3, second"), WEST)
    claim = replace(node_claim(4), tls_pin=seed("tls 3"))

    receipt = council.try_propose(AddValidator(node=council.statement(claim)))

    assert receipt.code == "governance.tls_pin_taken"


def test_an_index_is_never_given_away_twice(council: Council) -> None:
    council.decide(RemoveValidator(index=ReplicaId(3)))
    claim = node_claim(3, WEST, keys="another")

    receipt = council.try_propose(AddValidator(node=council.statement(claim, keys="another")), WEST)

    assert receipt.code == "governance.index_taken"


def test_nothing_changes_by_a_proposal_of_what_is(council: Council) -> None:
    same = RekeyValidator(node=council.statement(node_claim(3, WEST)))

    assert council.try_propose(same, WEST).code == "governance.no_change"


def test_a_node_belongs_to_an_active_member(council: Council) -> None:
    council.decide(council.new_member(ISLE))
    add, rekey = council.add(4, ISLE), council.rekey(3, WEST, "node 3, second")
    proposals = [council.propose(add, ISLE), council.propose(rekey, WEST)]

    council.decide(SuspendOrganisation(org=ISLE), voters=HOSPITALS)
    council.decide(SuspendOrganisation(org=WEST))
    for proposal_id in proposals:
        for org in HOSPITALS[:3]:
            council.vote(proposal_id, org)

    assert [council.proposal(one).reason for one in proposals] == ["governance.org_suspended"] * 2


def test_so_many_nodes_and_no_more(council: Council) -> None:
    entry = council.node(3)
    more = {
        node_key(index): encode(
            replace(
                entry,
                index=ReplicaId(index),
                standing=NodeStanding.LEARNER,
                p2p_address=f"127.0.0.1:{index + 1}",
                tls_pin=seed(str(index)),
            )
        )
        for index in range(100, 100 + MEMBERS_MAX - 4)
    }
    council.chain.state.apply(more)

    receipt = council.try_propose(council.add(4))

    assert receipt.code == "governance.nodes_full"


def test_a_hospital_admin_moves_no_nodes_account(council: Council) -> None:
    account = node_account_id(council.node(0).vote_key)
    council.chain.time_ms += 1

    suspend = council.send("identity.suspend", Suspend(account_id=account, reason=""), admin(NORTH))
    restore = council.send("identity.restore", Restore(account_id=account, reason=""), admin(NORTH))

    assert suspend.code == restore.code == "identity.node"


def test_a_node_rotates_its_key_by_ballot_only(council: Council) -> None:
    next_key = signing_key("next", Scheme.ED25519)
    account = node_account_id(public_key(signing_key("node 0", Scheme.ED25519)).data)
    rotate = rotation(council.chain.chain_id, "node 0", next_key=next_key)

    receipt = council.chain.outcome(
        "identity.rotate_key", rotate, "node 0", sender=account, scheme=Scheme.ED25519
    )

    assert receipt.code == "identity.node"


def test_the_set_of_every_epoch_stays(council: Council) -> None:
    first = council.validators
    council.grow(4)
    second = council.validators
    council.decide(RemoveValidator(index=ReplicaId(0)))
    third = council.validators

    entries = [get_epoch(council.chain.state, epoch) for epoch in range(4)]

    assert [entry and entry.validators for entry in entries] == [first, second, third, None]
    heights = [entry.first_height for entry in entries if entry is not None]
    assert heights[0] == 1
    assert heights == sorted(heights)
