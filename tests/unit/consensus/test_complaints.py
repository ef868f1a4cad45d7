"""Rule 13 at one replica: complaints stand, count once a member, and move a primary together."""

from consensus.core import handle
from consensus.effects import Effect
from consensus.events import PrimarySuspected, TimerKind
from consensus.fence import raise_fence
from consensus.invariants import retained, retained_max
from consensus.messages import Complaint, Suspicion, ViewChange, complaint_preimage
from consensus.state import Departure, ReplicaState
from crypto.validators import Epoch, ReplicaId
from tests.simulation.ideal import CHAIN, make_signer, make_validators
from tests.unit.consensus.replicas import (
    accept,
    commit,
    decide_next,
    execute,
    expire,
    hand,
    hand_all,
    make_block,
    new_view,
    pre_prepare,
    propose_to,
    reasons,
    refuse,
    replica,
    sent,
    view_change,
)

CENSORING, SLOW = Suspicion.CENSORING, Suspicion.SLOW


def complaint(
    signer: int, *, about: int = 0, reason: Suspicion = CENSORING, epoch: int = 0
) -> Complaint:
    preimage = complaint_preimage(CHAIN, Epoch(epoch), ReplicaId(about), reason)
    return Complaint(
        epoch=Epoch(epoch),
        primary=ReplicaId(about),
        reason=reason,
        signer=ReplicaId(signer),
        signature=make_signer(signer)(preimage),
    )


def suspect(state: ReplicaState, *, about: int = 0, reason: Suspicion = CENSORING) -> list[Effect]:
    return handle(state, PrimarySuspected(primary=ReplicaId(about), reason=reason))


def complain(state: ReplicaState, *signers: int) -> None:
    for one in signers:
        hand(state, one, complaint(one))


def test_a_suspicion_becomes_a_signed_complaint_to_all() -> None:
    state = replica(me=3)

    effects = suspect(state)

    assert sent(effects, Complaint) == [complaint(3)]
    assert sent(effects, ViewChange) == [], "one replica alone moves nobody, itself included"


def test_a_complaint_is_made_once_and_repeated_with_every_heartbeat() -> None:
    state = replica(me=3)
    suspect(state)

    again = suspect(state, reason=SLOW)
    heartbeat = expire(state, TimerKind.STATUS)

    assert sent(again, Complaint) == []
    assert sent(heartbeat, Complaint) == [complaint(3)]


def test_a_weak_quorum_of_complaints_makes_us_leave_before_we_vote() -> None:
    state = replica(me=3)
    suspect(state, reason=SLOW)

    effects = hand(state, 1, complaint(1))

    assert [one.view for one in sent(effects, ViewChange)] == [1]
    assert state.view_changes == {Departure.COMPLAINT_SLOW: 1}, "our own reason is counted"


def test_complaints_of_others_suffice() -> None:
    state = replica(me=3)

    hand(state, 1, complaint(1))
    effects = hand(state, 2, complaint(2))

    assert len(sent(effects, ViewChange)) == 1
    assert state.view_changes == {Departure.COMPLAINT_CENSORING: 1}


def test_the_primary_steps_down_before_it_proposes() -> None:
    state = replica(me=0)

    effects = [*hand(state, 1, complaint(1)), *hand(state, 2, complaint(2))]

    assert len(sent(effects, ViewChange)) == 1


def test_who_has_voted_stays_for_this_height_and_leaves_the_next_at_once() -> None:
    state = replica(me=3)
    block = make_block("a")
    propose_to(state, block)
    during = [*hand(state, 1, complaint(1)), *hand(state, 2, complaint(2))]
    hand_all(state, *(commit(one, block) for one in (0, 1, 2)))

    after = execute(state)

    assert sent(during, ViewChange) == []
    assert [(one.height, one.view) for one in sent(after, ViewChange)] == [(2, 1)]


def test_a_complaint_falls_when_another_is_base() -> None:
    state = replica(me=3)
    complain(state, 1, 2)
    fresh = make_block("fresh", view=1, proposer=1)
    leavers = [view_change(one, 1) for one in (1, 2, 3)]
    hand(state, 1, new_view(fresh, view=1, leavers=leavers, signer=1))
    accept(state, fresh)
    hand_all(state, *(commit(one, fresh, view=1) for one in (0, 1, 2)))

    effects = execute(state)

    assert state.complaints == {}
    assert sent(effects, ViewChange) == []


def test_a_block_of_the_old_primary_that_may_be_decided_keeps_the_complaint() -> None:
    """What was prepared is proposed again; its proposer stays base, and is left again at once."""
    state = replica(me=3)
    decide_next(state, "one")
    complain(state, 1, 2)

    assert state.instance.view == 1
    assert set(state.complaints) == {1, 2}


def test_only_complaints_of_members_about_the_base_are_kept() -> None:
    state = replica(me=3)

    effects = [
        *hand(state, 1, complaint(1, about=2)),
        *hand(state, 1, complaint(2)),
        *hand(state, 1, complaint(1, epoch=5)),
        *hand(state, 9, complaint(9)),
    ]
    hand(state, 1, complaint(1))
    effects += hand(state, 1, complaint(1, reason=SLOW))

    assert reasons(effects) == [
        "not about the base",
        "another's complaint",
        "not a member of this epoch",
        "not a member of this epoch",
        "known already",
    ]
    assert set(state.complaints) == {1}
    assert retained(state) <= retained_max(state.members.quorum)


def test_complaints_do_not_cross_epochs() -> None:
    state = replica(n=4, me=3)
    hand(state, 1, complaint(1))
    block = make_block("a")
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 1, 2)))
    execute(state, validators=make_validators(5))
    second = make_block(
        "b", height=2, parent=block.digest, parent_certificate=state.tip.certificate
    )
    propose_to(state, second)
    hand_all(state, *(commit(one, second) for one in (0, 1, 2)))

    assert state.members.epoch == 1
    assert state.complaints == {}


def test_nothing_is_signed_behind_a_fence_and_nobody_complains_about_itself() -> None:
    fenced, primary = replica(me=3), replica(me=0)
    raise_fence(fenced, "a test")

    assert sent(suspect(fenced), Complaint) == []
    assert sent(suspect(primary), Complaint) == []
    assert sent(suspect(replica(me=3), about=2), Complaint) == []


def test_every_way_out_of_a_view_is_counted() -> None:
    silent, invalid, joining, unsound = (replica(me=3) for _ in range(4))

    expire(silent, TimerKind.VIEW_CHANGE)
    hand(invalid, 0, pre_prepare(0, make_block("a")))
    refuse(invalid, make_block("a"))
    hand_all(joining, view_change(1, 2), view_change(2, 3))
    hand(unsound, 0, pre_prepare(0, make_block("a", proposer=2)))

    assert silent.view_changes == {Departure.TIMER: 1}
    assert invalid.view_changes == {Departure.REFUSED: 1}
    assert joining.view_changes == {Departure.JOINED: 1}
    assert unsound.view_changes == {Departure.UNSOUND: 1}


def test_a_new_view_above_ours_is_counted_as_followed() -> None:
    state = replica(me=3)
    leavers = [view_change(one, 1) for one in (0, 1, 2)]

    hand(state, 1, new_view(make_block("x", view=1, proposer=1), view=1, leavers=leavers, signer=1))

    assert state.view_changes == {Departure.FOLLOWED: 1}
