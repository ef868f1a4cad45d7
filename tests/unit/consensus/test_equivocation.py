"""Rule 16 at one replica: two votes of one slot are reported, once, whichever way they come."""

from dataclasses import replace

import pytest

from consensus.effects import Effect, ReportEvidence
from consensus.evidence import PAST_HEIGHTS, REPORTS_MAX, signed_vote
from consensus.invariants import retained, retained_max
from consensus.messages import Commit, Contradiction, Prepare, PrePrepare
from crypto.evidence import Evidence, Fault
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View, VoteType
from tests.unit.consensus.replicas import (
    accept,
    commit,
    committed,
    decide_next,
    decided,
    execute,
    hand,
    hand_all,
    make_block,
    new_view,
    of,
    pre_prepare,
    prepare,
    prepared,
    propose_to,
    reasons,
    replica,
    sent,
    status,
    view_change,
)

A, B, C = make_block("a"), make_block("b"), make_block("c")
FRESH = make_block("fresh", view=1, proposer=1)
OTHER = make_block("other", view=1, proposer=1)


def reported(effects: list[Effect]) -> list[Evidence]:
    return [effect.evidence for effect in of(effects, ReportEvidence)]


def slot(signer: int, vote: VoteType, *, height: int = 1, view: int = 0) -> Fault:
    return Fault(ReplicaId(signer), Epoch(0), Height(height), View(view), vote)


def test_two_proposals_of_the_primary_are_evidence_and_the_first_counts() -> None:
    state = replica(me=3)
    hand(state, 0, pre_prepare(0, A))

    effects = hand(state, 0, pre_prepare(0, B))

    (evidence,) = reported(effects)
    assert evidence.fault == slot(0, VoteType.PRE_PREPARE)
    assert {evidence.first.digest, evidence.second.digest} == {A.digest, B.digest}
    assert state.instance.proposal == pre_prepare(0, A)
    assert reasons(effects) == ["equivocation: the first vote counts"]


@pytest.mark.parametrize(("make", "vote"), [(prepare, VoteType.PREPARE), (commit, VoteType.COMMIT)])
def test_two_votes_of_a_backup_are_evidence(make: type, vote: VoteType) -> None:
    state = replica(me=3)
    hand(state, 2, make(2, A))

    (evidence,) = reported(hand(state, 2, make(2, B)))

    assert evidence.fault == slot(2, vote)


def test_a_slot_is_reported_once_however_many_votes_follow() -> None:
    state = replica(me=3)
    hand(state, 2, prepare(2, A))
    hand(state, 2, prepare(2, B))

    again = [*hand(state, 2, prepare(2, C)), *hand(state, 2, prepare(2, B))]

    assert reported(again) == []


def test_a_repeated_vote_and_one_of_another_view_are_no_evidence() -> None:
    state = replica(me=3)
    hand(state, 2, prepare(2, A))

    effects = [
        *hand(state, 2, prepare(2, A)),
        *hand(state, 2, replace(prepare(2, A), signature=bytes(64))),
        *hand(state, 2, prepare(2, B, view=1)),
        *hand(state, 2, commit(2, B)),
    ]

    assert reported(effects) == []


def test_two_new_views_of_one_view_are_two_proposals_of_its_primary() -> None:
    state = replica(me=3)
    leavers = [view_change(one, 1) for one in (0, 1, 2)]
    hand(state, 1, new_view(FRESH, view=1, leavers=leavers, signer=1))

    (evidence,) = reported(hand(state, 1, new_view(OTHER, view=1, leavers=leavers, signer=1)))

    assert evidence.fault == slot(1, VoteType.PRE_PREPARE, view=1)


def test_a_certificate_in_a_view_change_shows_what_its_signers_told_others() -> None:
    state = replica(me=3)
    hand(state, 0, pre_prepare(0, A))
    hand(state, 1, prepare(1, A))

    effects = hand(state, 2, view_change(2, 1, report=prepared(B, backups=(1, 2))))

    faults = {evidence.fault for evidence in reported(effects)}
    assert faults == {slot(0, VoteType.PRE_PREPARE), slot(1, VoteType.PREPARE)}


def test_a_commit_certificate_of_another_block_accuses_who_committed_to_ours() -> None:
    state = replica(me=3)
    hand(state, 2, commit(2, A))

    effects = hand(state, 1, status(2, certificate=committed(B, signers=(0, 1, 2))))

    assert [evidence.fault for evidence in reported(effects)] == [slot(2, VoteType.COMMIT)]


def test_a_vote_against_the_proposal_makes_us_say_what_we_hold() -> None:
    """The primary showed A to us and B to replica 2: none of us alone has both."""
    state = replica(me=3)
    propose_to(state, A)

    effects = hand(state, 2, prepare(2, B))

    (shown,) = sent(effects, Contradiction)
    assert shown.votes == (signed_vote(pre_prepare(0, A)), signed_vote(prepare(2, B)))
    assert reported(effects) == []


def test_votes_heard_before_the_proposal_are_held_against_it_too() -> None:
    state = replica(me=3)
    hand(state, 2, prepare(2, B))

    effects = hand(state, 0, pre_prepare(0, A))

    assert len(sent(effects, Contradiction)) == 1


def test_we_contradict_once_for_each_voter_in_a_view() -> None:
    state = replica(me=3)
    propose_to(state, A)
    hand(state, 2, prepare(2, B))

    effects = [*hand(state, 2, commit(2, B)), *hand(state, 2, prepare(2, C))]

    assert sent(effects, Contradiction) == []


def test_the_votes_of_another_completes_what_we_hold() -> None:
    state = replica(me=2)
    propose_to(state, B)
    shown = Contradiction(votes=(signed_vote(pre_prepare(0, A)), signed_vote(prepare(3, A))))

    (evidence,) = reported(hand(state, 3, shown))

    assert evidence.fault == slot(0, VoteType.PRE_PREPARE)


def test_a_contradiction_of_our_own_votes_is_left_to_the_fence() -> None:
    state = replica(me=2)
    propose_to(state, A)

    assert reported(hand(state, 3, Contradiction(votes=(signed_vote(prepare(2, B)),)))) == []


def test_whoever_saw_another_block_says_so_when_it_decides() -> None:
    state = replica(me=3)
    propose_to(state, B)
    hand_all(state, *(prepare(one, A) for one in (1, 2)))
    hand_all(state, *(commit(one, A) for one in (0, 1, 2)))
    state.instance.blocks[A.digest] = A

    effects = accept(state, A)

    assert decided(effects) == [A]
    assert sent(effects, Contradiction) == [Contradiction(votes=(signed_vote(pre_prepare(0, B)),))]


def test_a_contradiction_of_a_decided_height_is_still_evidence() -> None:
    state = replica(me=3)
    first = decide_next(state, "one")
    decide_next(state, "two")
    twin = make_block("twin")

    (evidence,) = reported(
        hand(state, 2, Contradiction(votes=(signed_vote(pre_prepare(0, twin)),)))
    )

    assert evidence.fault == slot(0, VoteType.PRE_PREPARE)
    assert first.digest in (evidence.first.digest, evidence.second.digest)


def test_old_contradictions_are_nobody_s_business() -> None:
    state = replica(me=3)
    for height in range(PAST_HEIGHTS + 1):
        decide_next(state, f"block {height}")

    effects = hand(
        state, 2, Contradiction(votes=(signed_vote(pre_prepare(0, make_block("twin"))),))
    )

    assert reported(effects) == []
    assert min(fault.height for fault in state.past_votes) == 2


def test_a_member_that_equivocates_in_every_view_is_reported_a_few_times() -> None:
    state = replica(me=3)
    effects: list[Effect] = []
    for view in range(40):
        effects += hand(state, 2, prepare(2, A, view=view))
        effects += hand(state, 2, prepare(2, B, view=view))

    assert len(reported(effects)) == REPORTS_MAX
    assert "equivocates again and again" in reasons(effects)
    assert retained(state) <= retained_max(state.members.quorum)


def test_what_is_kept_of_past_heights_stays_within_the_bound() -> None:
    state = replica(me=3)
    for height in range(3 * PAST_HEIGHTS):
        for view in range(5):
            for kind in (prepare, commit):
                hand_all(
                    state,
                    *(
                        kind(one, make_block("x", height=height + 1), view=view + 1)
                        for one in (1, 2)
                    ),
                )
        decide_next(state, f"block {height}")

    assert retained(state) <= retained_max(state.members.quorum)
    assert {fault.height for fault in state.past_votes} == set(
        range(2 * PAST_HEIGHTS + 1, 3 * PAST_HEIGHTS + 1)
    )


def test_equivocation_does_not_disturb_the_agreement() -> None:
    state = replica(me=3)
    propose_to(state, A)
    hand(state, 2, prepare(2, A))
    hand(state, 2, prepare(2, B))

    hand(state, 1, prepare(1, A))
    effects = hand_all(state, commit(0, A), commit(2, B), commit(1, A))

    assert decided(effects) == [A]
    execute(state)
    assert state.tip.digest == A.digest


def test_what_is_signed_is_what_travelled() -> None:
    for message in (pre_prepare(0, A), prepare(1, A), commit(2, A)):
        assert isinstance(message, PrePrepare | Prepare | Commit)
        vote = signed_vote(message)

        assert (vote.digest, vote.signer, vote.signature) == (
            message.digest,
            message.signer,
            message.signature,
        )
