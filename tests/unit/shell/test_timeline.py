"""What is marked, measured and remembered of a block on its way, on a clock that a test moves."""

from dataclasses import dataclass

from consensus.blocks import Block
from consensus.effects import Broadcast, CheckProposal, Decide, Effect
from consensus.messages import Commit, Prepare
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import FIRST_VIEW, CommitCertificate, Height
from shell.timeline import (
    PHASES,
    WINDOW_S,
    Peak,
    Timeline,
    note_effect,
    note_executed,
    note_message,
    note_refusal,
    since_ms,
)

DIGEST = Digest(bytes(range(32)))
SIGNATURE = bytes(64)


@dataclass(slots=True)
class Hand:
    """A clock that stands still until it is moved."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def block(height: int, transactions: int = 2) -> Block:
    return Block(
        height=Height(height),
        view=FIRST_VIEW,
        proposer=ReplicaId(1),
        parent=DIGEST,
        digest=DIGEST,
        header=b"header",
        parent_certificate=None,
        payload=bytes(32 * transactions),
    )


def commit(height: int, signer: int) -> Commit:
    return Commit(
        epoch=Epoch(0),
        height=Height(height),
        view=FIRST_VIEW,
        digest=DIGEST,
        signer=ReplicaId(signer),
        signature=SIGNATURE,
    )


def effects_of(height: int) -> tuple[Effect, ...]:
    """What a backup's core asks for while a block is agreed, as far as it is noted."""
    prepare = Prepare(
        epoch=Epoch(0),
        height=Height(height),
        view=FIRST_VIEW,
        digest=DIGEST,
        signer=ReplicaId(0),
        signature=SIGNATURE,
    )
    certificate = CommitCertificate(
        epoch=Epoch(0), height=Height(height), view=FIRST_VIEW, digest=DIGEST, signatures=()
    )
    return (
        CheckProposal(
            height=Height(height),
            view=FIRST_VIEW,
            block=block(height),
            is_fresh=True,
            holders=(),
            bodies=None,
        ),
        Broadcast(message=prepare),
        Broadcast(message=commit(height, 0)),
        Decide(block=block(height), certificate=certificate, bodies=None),
    )


def agree(timeline: Timeline, hand: Hand, height: int) -> None:
    """One second for each phase."""
    for effect in effects_of(height):
        hand.now_s += 1.0
        note_effect(timeline, effect)
    hand.now_s += 1.0
    note_executed(timeline, block(height), [3_000, 400], [1, 2])


def test_each_phase_is_measured_from_the_one_before() -> None:
    hand = Hand()
    timeline = Timeline(clock_s=hand)

    agree(timeline, hand, 1)

    assert {phase: held.total for phase, held in timeline.phases.items()} == dict.fromkeys(
        PHASES, 1
    )
    assert (timeline.blocks, timeline.transactions) == (1, 2)
    assert (timeline.latency.total, sum(timeline.latency.counts)) == (3.4, 2)
    assert timeline.marks == {}
    assert since_ms(timeline, timeline.executed_s) == 0


def test_a_member_whose_commits_stay_away_is_counted_after_one_block_of_grace() -> None:
    hand = Hand()
    timeline = Timeline(clock_s=hand)
    for height in (1, 2, 3):
        note_message(timeline, 1, commit(height, 1))
        agree(timeline, hand, height)

    assert timeline.votes_missing == {2: 2}


def test_a_fetched_block_blames_nobody_for_votes_that_were_not_sent_to_us() -> None:
    hand = Hand()
    timeline = Timeline(clock_s=hand)
    for height in (1, 2, 3):
        note_effect(timeline, effects_of(height)[-1])
        note_executed(timeline, block(height), [], [1, 2])

    assert timeline.votes_missing == {}
    assert timeline.blocks == 3


def test_what_a_guest_sends_is_not_kept() -> None:
    timeline = Timeline()

    note_message(timeline, -5, commit(9, 1))

    assert timeline.commits == {}


def test_a_refusal_is_counted_by_its_code_and_remembered_with_its_proposer() -> None:
    hand = Hand()
    timeline = Timeline(clock_s=hand)
    note_refusal(timeline, block(7), 2, "bodies.missing: 1 transactions, first 00")
    hand.now_s += 4.0

    refusal = timeline.refusal

    assert refusal is not None
    assert (refusal.height, refusal.view, refusal.proposer) == (7, 2, 1)
    assert since_ms(timeline, refusal.at_s) == 4_000
    assert timeline.refusals == {"bodies.missing": 1}


def test_a_peak_is_the_largest_of_the_window_and_forgets_the_old() -> None:
    hand = Hand()
    peak = Peak(hand)
    for value_ms in (5, 900, 20, 30):
        peak.note(value_ms)
        hand.now_s += 1.0

    first = peak.value_ms()
    hand.now_s += WINDOW_S - 1.5
    second = peak.value_ms()
    hand.now_s += WINDOW_S

    assert (first, second, peak.value_ms()) == (900, 30, 0)


def test_a_peak_keeps_few_values_however_many_are_noted() -> None:
    hand = Hand()
    peak = Peak(hand)
    for value_ms in range(10_000):
        peak.note(value_ms)

    assert len(peak.noted) == 1
