"""Attacks on restarts of a chain: nothing of the epoch before counts in the one after."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from consensus.events import TimerKind
from consensus.messages import Blocks, Commit, Complaint, Prepare, PrePrepare, Suspicion, ViewChange
from consensus.records import (
    FenceLifted,
    FenceRaised,
    PreparedRecord,
    ProposalRecord,
    Record,
    Restarted,
    ViewChangeRecord,
)
from consensus.restore import Decided, restore
from consensus.state import ReplicaState, Tip
from consensus.votes import VOTE_TYPES, vote_record
from crypto.validators import RESTART_EPOCHS, Epoch, ReplicaId
from crypto.votes import Height, vote_preimage
from tests.simulation.ideal import CHAIN, make_signer
from tests.unit.consensus.replicas import (
    accept,
    boot,
    certified,
    commit,
    committed,
    config_of,
    delay_of,
    echo,
    execute,
    expire,
    genesis_of,
    hand,
    hand_all,
    hear,
    make_block,
    pre_prepare,
    prepare,
    prepared,
    replica,
    sent,
    start_journal,
    status,
    view_change,
    written,
)

LATER = Epoch(RESTART_EPOCHS)
FIRST = make_block("first")
OLD = make_block("old", height=2, parent=FIRST.digest, parent_certificate=committed(FIRST))
NEW = make_block("new", height=2, parent=FIRST.digest, parent_certificate=committed(FIRST))
ORDER = Restarted(epoch=LATER, height=Height(1), digest=FIRST.digest)
STATED = FenceRaised(reason="its operator stated its tip")

VOTED = (
    ProposalRecord(block=OLD),
    vote_record(prepare(3, OLD)),
    PreparedRecord(certificate=prepared(OLD)),
    vote_record(commit(3, OLD)),
)


Voice = TypeVar("Voice", PrePrepare, Prepare, Commit)


def later(vote: Voice) -> Voice:
    """The same vote, cast in the epoch after the restart."""
    preimage = vote_preimage(
        CHAIN, LATER, VOTE_TYPES[type(vote)], vote.height, vote.view, vote.digest
    )
    return replace(vote, epoch=LATER, signature=make_signer(vote.signer)(preimage))


def start(decided: Decided, records: Sequence[Record], *, me: int = 3) -> ReplicaState:
    state, _ = restore(
        config_of(me),
        decided,
        (start_journal(me), *records),
        is_journal_whole=True,
        waiting=False,
    )
    return state


AT_FIRST = replace(
    genesis_of(4),
    tip=Tip(
        height=FIRST.height,
        digest=FIRST.digest,
        proposer=ReplicaId(0),
        transaction_count=1,
        certificate=committed(FIRST),
    ),
    epoch=LATER,
)
"""The first block is decided, and the restart is right above it."""


def at_first(records: Sequence[Record]) -> ReplicaState:
    state = start(AT_FIRST, records)
    hear(state)
    return state


def below(records: Sequence[Record] = ()) -> ReplicaState:
    """A replica that has yet to decide the block above which the chain goes on."""
    state = start(genesis_of(4), (*records, STATED, ORDER))
    hear(state)
    return state


def follow_first(state: ReplicaState) -> list[Record]:
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))
    return written(execute(state))


def test_who_voted_above_the_restart_in_the_old_epoch_votes_there_again_in_the_new() -> None:
    state = at_first((*VOTED, STATED, ORDER))

    hand(state, 0, later(pre_prepare(0, NEW)))
    effects = accept(state, NEW)

    assert [one.epoch for one in sent(effects, Prepare)] == [LATER]


def test_a_certificate_of_the_old_epoch_is_reported_to_nobody_in_the_new() -> None:
    state = at_first((*VOTED, STATED, ORDER))

    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert [(one.epoch, one.prepared) for one in sent(effects, ViewChange)] == [(LATER, None)]


def test_a_view_of_the_old_epoch_is_left_behind_with_it() -> None:
    state = at_first((ViewChangeRecord(message=view_change(3, 5, height=2)), STATED, ORDER))

    assert state.instance.view == 0


def test_a_decision_of_the_old_epoch_above_the_restart_does_not_count_in_the_new() -> None:
    state = below()
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))  # Decided, not executed yet.
    hand(state, 1, status(3, certificate=committed(OLD)))

    execute(state)

    assert state.members.epoch == LATER
    assert state.instance.certificate is None


def test_votes_of_the_old_epoch_are_not_counted_in_the_new() -> None:
    state = below()
    hand_all(state, *(commit(one, OLD) for one in (0, 1)))
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))
    execute(state)

    hand_all(state, later(commit(2, OLD)))

    assert state.instance.certificate is None


def test_a_lost_decision_of_the_old_epoch_lets_nobody_listen_for_ever() -> None:
    state = start(AT_FIRST, (STATED, ORDER))

    hand(state, 0, echo(state.config.boot_id, height=3, certificate=committed(OLD)))
    hand(state, 1, echo(state.config.boot_id, height=2, certificate=committed(FIRST)))

    assert state.listening is None


def test_a_wrong_proof_beside_a_block_of_a_restart_fences_nobody() -> None:
    state = replica(me=3)
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))
    execute(state)
    commits = [later(commit(one, NEW)) for one in (0, 1, 2)]
    signatures = tuple((one.signer, one.signature) for one in commits)
    certificate = replace(committed(NEW), epoch=LATER, signatures=signatures)
    spoilt = replace(NEW, parent_certificate=None)

    effects = hand(state, 0, Blocks(blocks=(replace(certified(spoilt), certificate=certificate),)))

    assert state.fence is None
    assert written(effects) == []


def test_a_living_twin_keeps_the_fence_up_at_a_restart() -> None:
    state = below()
    other = boot(3, b"another start...", number=9, seen=state.config.boot_id)
    hand(state, 0, echo(state.config.boot_id, boots=(other,)))

    records = follow_first(state)

    assert records == []
    assert state.fence is not None


def test_votes_and_starts_from_before_a_restart_keep_no_fence_up() -> None:
    state = below()
    before = boot(3, b"a start before..", number=9)
    hand(state, 0, echo(state.config.boot_id, boots=(before,), vote=commit(3, OLD)))

    records = follow_first(state)

    assert records == [FenceLifted(height=Height(1))]


def test_a_vote_that_was_forgotten_after_the_restart_keeps_the_fence_up_for_good() -> None:
    state = below()

    effects = hand(state, 0, later(commit(3, NEW)))

    (raised,) = written(effects)
    assert isinstance(raised, FenceRaised)
    assert follow_first(state) == []
    again = start(genesis_of(4), (STATED, ORDER, raised))
    hear(again)
    assert follow_first(again) == []


def test_a_fence_that_fell_after_a_restart_does_not_fall_at_it_again() -> None:
    """The ledger was lost long after the restart, and is fetched anew from its first block."""
    ahead = make_block("ahead", height=9)
    records = (STATED, ORDER, FenceLifted(height=Height(1)), ProposalRecord(block=ahead))
    state = start(genesis_of(4), records)
    hear(state)
    assert state.fence is not None

    records_at_the_restart = follow_first(state)

    assert records_at_the_restart == []
    assert state.members.epoch == LATER
    assert state.fence is not None


def test_what_was_voted_above_a_restart_before_it_is_no_journal_ahead_of_the_blocks() -> None:
    state = below((ProposalRecord(block=make_block("lost", height=9)),))

    records = follow_first(state)

    assert records == [FenceLifted(height=Height(1))]


def test_a_ledger_put_back_below_the_restart_keeps_no_fence_up_there() -> None:
    """The journal knows votes up to the restart's block: all of them of the epoch before it."""
    order = replace(ORDER, height=Height(2), digest=OLD.digest)
    state = start(genesis_of(4), (*VOTED, STATED, order))
    hear(state)
    follow_first(state)

    hand(state, 0, Blocks(blocks=(certified(OLD),)))
    records = written(execute(state))

    assert records == [FenceLifted(height=Height(2))]


def test_complaints_of_the_old_epoch_move_nobody_in_the_new() -> None:
    state = below()
    for one in (1, 2):
        complaint = Complaint(
            epoch=Epoch(0),
            primary=ReplicaId(0),
            reason=Suspicion.SLOW,
            signer=ReplicaId(one),
            signature=bytes(64),
        )
        hand(state, one, complaint)

    follow_first(state)

    assert state.instance.view == 0
    assert state.complaints == {}


def test_who_began_anew_at_a_lower_height_is_counted_in_the_view_it_is_in() -> None:
    state = replica(me=3)
    hand(state, 1, status(7))
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand_all(state, view_change(1, 1), view_change(2, 1))

    assert delay_of(effects, TimerKind.VIEW_CHANGE) != []
