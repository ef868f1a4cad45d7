"""A start listens before it signs: what it waits for, what it is shown, what that does to it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consensus.boots import NOBODY
from consensus.core import handle
from consensus.effects import Effect
from consensus.events import BacklogChanged, TimerKind
from consensus.hearing import ECHOES_MAX, bare_vote
from consensus.messages import (
    Blocks,
    Commit,
    Echo,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    Vote,
)
from consensus.records import BOOTS_KEPT, Booted, FenceLifted, FenceRaised, Record
from consensus.restore import restore
from consensus.state import ReplicaState, make_status
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height
from tests.unit.consensus.replicas import (
    boot,
    certified,
    commit,
    committed,
    config_of,
    decide_next,
    decided,
    echo,
    execute,
    expire,
    genesis_of,
    hand,
    hand_all,
    hear,
    make_block,
    others_of,
    pre_prepare,
    prepare,
    propose_to,
    reasons,
    replica,
    sent,
    start_journal,
    status,
    view_change,
    written,
)

BLOCK = make_block("a")
NOW, BEFORE, STRANGER = b"the present one.", b"the one before..", b"a stranger's...."


def start(
    me: int = 3, *, n: int = 4, records: Sequence[Record] = (), listen_heartbeats: int = 0
) -> tuple[ReplicaState, list[Effect]]:
    """Start a replica for the second time; nobody has answered it yet."""
    booted = Booted(number=1, boot_id=BEFORE, earlier=())
    return restore(
        config_of(me, listen_heartbeats=listen_heartbeats, boot_id=NOW),
        genesis_of(n),
        (start_journal(me), booted, *records),
        is_journal_whole=True,
        waiting=False,
    )


def is_listening(state: ReplicaState) -> bool:
    return state.listening is not None


def test_a_start_makes_its_boot_id_durable_before_it_says_it() -> None:
    _, effects = start()

    assert written(effects) == [Booted(number=2, boot_id=NOW, earlier=(BEFORE,))]
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds.index("Persist") < kinds.index("Broadcast")
    (said,) = sent(effects, Status)
    assert said.boot == boot(3, NOW, number=2)
    assert said.is_listening


def test_only_the_last_boot_ids_are_known() -> None:
    earlier = tuple(b"boot %011d" % one for one in range(BOOTS_KEPT))
    last = Booted(number=40, boot_id=b"number forty....", earlier=earlier)

    state, effects = start(records=(last,))

    (booted,) = [one for one in written(effects) if isinstance(one, Booted)]
    assert booted.number == 41
    assert booted.earlier == (*earlier[1:], b"number forty....")
    assert state.boots.number == 41


@pytest.mark.parametrize("n", range(1, 11))
def test_a_start_signs_nothing_before_q_minus_1_others_have_answered_it(n: int) -> None:
    state, _ = start(0, n=n)
    needed = state.members.quorum.strong - 1

    for count, other in enumerate(others_of(state)):
        assert is_listening(state) == (count < needed)
        hand(state, other, echo(NOW))

    assert not is_listening(state)


def test_a_listening_replica_is_silent_and_follows_once_it_was_heard() -> None:
    state, _ = start()

    before = [
        *hand(state, 0, pre_prepare(0, BLOCK)),
        *hand_all(state, view_change(1, 4), view_change(2, 4)),
        *handle(state, BacklogChanged(waiting=True)),
    ]
    after = hear(state)

    assert [sent(before, kind) for kind in (PrePrepare, Prepare, Commit, ViewChange)] == [[]] * 4
    assert written(before) == []
    assert [vote.view for vote in sent(after, ViewChange)] == [4]


def test_answers_to_another_start_do_not_count() -> None:
    state, _ = start()

    for other in others_of(state):
        hand(state, other, echo(BEFORE))
        hand(state, other, status(1))

    assert is_listening(state)


def test_answers_of_one_member_count_once() -> None:
    state, _ = start()

    for _ in range(9):
        hand(state, 0, echo(NOW))

    assert is_listening(state)


def test_a_start_listens_for_some_heartbeats_more_so_that_word_of_a_twin_gets_around() -> None:
    state, _ = start(listen_heartbeats=3)
    expire(state, TimerKind.STATUS)
    hear(state)

    for _ in range(3):
        assert is_listening(state)
        expire(state, TimerKind.STATUS)

    assert not is_listening(state)
    assert TimerKind.VIEW_CHANGE in state.timers


def test_a_replica_alone_has_nobody_to_hear() -> None:
    state, _ = start(0, n=1, listen_heartbeats=3)

    assert not is_listening(state)
    assert TimerKind.PROPOSE in state.timers


def test_votes_of_the_journal_are_repeated_while_listening() -> None:
    first = replica(me=3)
    records = written(propose_to(first, BLOCK))

    state, effects = start(records=records)

    assert is_listening(state)
    assert sent(effects, Prepare) == [prepare(3, BLOCK)]


def test_nothing_is_signed_before_what_others_have_proven_is_decided_here_too() -> None:
    """A restored disk stands at heights where its votes are forgotten and the others are not."""
    state, _ = start()
    answer = echo(NOW, height=2, certificate=committed(BLOCK))

    hand(state, 0, answer)
    hand(state, 1, echo(NOW))

    assert is_listening(state)
    effects = hand(state, 0, Proposal(block=BLOCK, bodies=b"bodies"))
    assert decided(effects) == [BLOCK]
    execute(state)
    assert not is_listening(state)


def test_a_vote_that_the_journal_does_not_hold_raises_the_fence_before_anything_is_signed() -> None:
    """Attack 24: an old copy of the disk."""
    state, _ = start()

    effects = hand(state, 0, echo(NOW, vote=commit(3, BLOCK)))
    effects += hear(state)

    assert reasons(effects)[0] == "our own vote, forgotten"
    assert [type(record) for record in written(effects)] == [FenceRaised]
    assert state.fence is not None
    assert state.fence.signed_height == 1


def test_a_start_that_the_journal_does_not_know_raises_the_fence() -> None:
    state, _ = start()

    effects = hand(state, 0, echo(NOW, boots=(boot(3, STRANGER, number=2),)))

    assert [type(record) for record in written(effects)] == [FenceRaised]
    assert state.boots.strangers == {STRANGER: 2}


def test_a_start_of_our_own_past_raises_nothing() -> None:
    booted = Booted(number=40, boot_id=b"number forty....", earlier=())
    state, _ = start(records=(booted,))

    hand(state, 0, echo(NOW, boots=(boot(3, b"number forty....", number=40),)))
    hand(state, 1, echo(NOW, boots=(boot(3, b"long ago........", number=3),)))
    hand(state, 2, echo(NOW, boots=(boot(3, NOW, number=41),)))

    assert state.fence is None


def test_what_was_said_in_an_epoch_that_is_over_raises_nothing() -> None:
    decided_state = replace(genesis_of(4), epoch=Epoch(1))
    state, _ = restore(
        config_of(3, boot_id=NOW),
        decided_state,
        (start_journal(3),),
        is_journal_whole=True,
        waiting=False,
    )

    hand(state, 0, echo(NOW, boots=(boot(3, STRANGER, number=9),), vote=commit(3, BLOCK)))

    assert state.fence is None


def test_nobody_else_s_vote_or_start_moves_us() -> None:
    state, _ = start()

    hand(state, 0, echo(NOW, boots=(boot(1, STRANGER, number=9),), vote=commit(1, BLOCK)))

    assert state.fence is None


def test_whoever_hears_a_new_start_says_what_it_knows_of_it() -> None:
    state = replica(me=1)
    hand(state, 3, status(1, boot=boot(3, BEFORE)))
    hand(state, 3, commit(3, BLOCK))

    effects = hand(state, 3, status(1, boot=boot(3, NOW, number=2)))

    assert sent(effects, Echo) == [
        echo(NOW, boots=(boot(3, BEFORE), boot(3, NOW, number=2)), vote=commit(3, BLOCK))
    ]


def test_the_highest_vote_is_remembered_after_its_height_is_decided() -> None:
    state = replica(me=1)
    hand(state, 3, prepare(3, BLOCK))
    first = decide_next(state, "first")

    effects = hand(state, 3, status(1, is_listening=True, boot=boot(3, NOW)))

    (answer,) = sent(effects, Echo)
    assert answer.vote == bare_vote(commit(3, first))
    assert (answer.height, answer.certificate) == (2, state.tip.certificate)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (prepare(3, BLOCK), commit(3, BLOCK)),
        (commit(3, BLOCK), view_change(3, 1)),
        (view_change(3, 1), prepare(3, BLOCK, view=1)),
        (commit(3, BLOCK, view=7), prepare(3, make_block("far", height=900))),
    ],
)
def test_of_two_votes_the_later_is_remembered(earlier: Vote, later: Vote) -> None:
    one, other = replica(me=1), replica(me=1)
    for state, votes in ((one, (earlier, later)), (other, (later, earlier))):
        for vote in votes:
            hand(state, 3, vote)

    kept = [state.peers[ReplicaId(3)].last_vote for state in (one, other)]

    assert kept == [bare_vote(later)] * 2


def test_a_running_replica_is_answered_only_when_another_start_speaks() -> None:
    state = replica(me=1)
    hand(state, 3, status(1, boot=boot(3, NOW)))
    expire(state, TimerKind.STATUS)

    effects = hand(state, 3, status(1, boot=boot(3, NOW)))

    assert sent(effects, Echo) == []


def test_however_often_a_member_asks_it_gets_few_echoes_between_heartbeats() -> None:
    state = replica(me=1)

    effects = [
        effect
        for number in range(50)
        for effect in hand(state, 3, status(1, is_listening=True, boot=boot(3, b"%016d" % number)))
    ]

    assert len(sent(effects, Echo)) == ECHOES_MAX


def test_a_statement_of_another_member_is_not_remembered() -> None:
    state = replica(me=1)

    effects = hand(state, 3, status(1, is_listening=True, boot=boot(2, NOW)))

    assert sent(effects, Echo) == []
    assert state.peers[ReplicaId(3)].boots == ()


def say(speaker: ReplicaState, listener: ReplicaState) -> list[Effect]:
    """One heartbeat: the listener hears where the speaker stands, and the speaker its echo."""
    me, other = speaker.config.replica, listener.config.replica
    answers = sent(hand(listener, me, make_status(speaker, with_proof=False)), Echo)
    return [effect for one in answers for effect in hand(speaker, other, one)]


def test_a_copy_and_its_original_fall_silent_when_one_peer_hears_both() -> None:
    """Attack 24: the original runs and is reachable; the copy signs nothing at all."""
    peer, original = replica(me=1), replica(me=3)
    say(original, peer)
    records = (start_journal(3), Booted(number=1, boot_id=original.config.boot_id, earlier=()))
    copy, _ = restore(
        config_of(3, listen_heartbeats=3, boot_id=NOW),
        genesis_of(4),
        records,
        is_journal_whole=True,
        waiting=False,
    )

    said = []
    for _ in range(4):
        said += [*say(copy, peer), *say(original, peer)]
        expire(peer, TimerKind.STATUS)

    assert original.fence is not None
    assert copy.fence is not None
    assert original.boots.has_twin
    assert copy.boots.has_twin
    assert is_listening(copy), "it was fenced before it could sign anything"
    assert [sent(said, kind) for kind in (Prepare, Commit, ViewChange)] == [[], [], []]


def test_a_crashed_start_is_no_twin_of_the_next_however_late_its_words_arrive() -> None:
    """Found by seed 104: delayed words about a crashed incarnation fenced three of six."""
    peer, (state, _) = replica(me=1), start()
    late = status(1, boot=boot(3, BEFORE))

    for _ in range(10):
        hand(peer, 3, late)
        say(state, peer)
        hand(peer, 3, late)
        expire(peer, TimerKind.STATUS)

    assert state.fence is None


def fenced_by_a_stranger(*, is_alive: bool) -> ReplicaState:
    """Fenced at height 1, and told that the others stand there as well."""
    state, _ = start()
    seen = NOW if is_alive else NOBODY
    hand(state, 0, echo(NOW, boots=(boot(3, STRANGER, number=7, seen=seen),)))
    hear(state)
    return state


def follow(state: ReplicaState, heights: int) -> list[Effect]:
    """Let the others decide some more blocks, which this replica fetches and executes."""
    effects: list[Effect] = []
    for number in range(heights):
        tip = state.tip
        block = make_block(
            f"block {number}",
            height=tip.height + 1,
            parent=tip.digest,
            parent_certificate=tip.certificate,
            is_empty=True,
        )
        effects += hand(state, 0, Blocks(blocks=(certified(block),)))
        effects += execute(state)
    return effects


def test_a_stranger_that_has_ended_is_a_start_of_our_own_once_the_fence_falls() -> None:
    state = fenced_by_a_stranger(is_alive=False)

    effects = follow(state, 3)

    assert written(effects) == [
        FenceLifted(height=Height(3)),
        Booted(number=8 + BOOTS_KEPT, boot_id=NOW, earlier=(BEFORE, STRANGER)),
    ]
    hand(state, 1, echo(NOW, boots=(boot(3, STRANGER, number=7),)))
    assert state.fence is None


def test_one_liar_that_kept_all_our_starts_cannot_fence_us_again_and_again() -> None:
    """A replica that lost its journal knows none of them; each could be shown at another time."""
    state = fenced_by_a_stranger(is_alive=False)
    follow(state, 3)

    for number in range(7, 0, -1):
        other = boot(3, b"start number %03d" % number, number=number)
        hand(state, 1, echo(NOW, boots=(other,)))

    assert state.fence is None


def test_a_start_after_those_that_were_shown_is_a_stranger_still() -> None:
    state = fenced_by_a_stranger(is_alive=False)
    follow(state, 3)

    hand(state, 1, echo(NOW, boots=(boot(3, b"start number 008", number=8),)))

    assert state.fence is not None


def test_while_a_twin_lives_the_fence_does_not_fall() -> None:
    state = fenced_by_a_stranger(is_alive=True)

    effects = follow(state, 9)

    assert written(effects) == []
    assert state.fence is not None


def test_the_fence_does_not_fall_before_the_start_was_heard() -> None:
    state, _ = start(listen_heartbeats=3)
    hand(state, 0, echo(NOW, boots=(boot(3, STRANGER, number=2),)))
    hear(state)

    early = follow(state, 5)
    for _ in range(3):
        expire(state, TimerKind.STATUS)

    assert written(early) == []
    assert state.fence is None


def test_an_echo_of_a_stranger_is_ignored() -> None:
    state = replica(4, me=1)

    effects = hand(state, 9, echo(NOW))

    assert reasons(effects) == ["not a member"]
