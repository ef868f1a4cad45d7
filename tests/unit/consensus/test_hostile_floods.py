"""B1 and X1: whatever peers send, in whatever order, nothing raises and little is kept."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.effects import Effect, Send
from consensus.events import TimerKind
from consensus.evidence import signed_vote
from consensus.invariants import retained, retained_max
from consensus.mailbox import VIEWS_KEPT, Mailbox, count_votes, put
from consensus.messages import (
    Blocks,
    Commit,
    Complaint,
    Contradiction,
    Fetch,
    FetchProposal,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Suspicion,
    ViewChange,
)
from consensus.state import ReplicaState
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View
from tests.unit.consensus.replicas import (
    accept,
    boot,
    certified,
    commit,
    committed,
    decide_next,
    execute,
    expire,
    hand,
    make_block,
    new_view,
    pre_prepare,
    prepare,
    prepared,
    refuse,
    replica,
    sent,
    status,
    view_change,
)

HEIGHTS = (0, 1, 2, 3, 4, 7, 2**64 - 2)
VIEWS = (0, 1, 2, 3, 4, 9, 2**32 - 1)
NAMES = ("a", "b", "c", "one")
PEERS = (0, 2, 3, 1, 9)  # Our own index and a stranger's are among them.


def invent_message(draw: random.Random) -> Message:
    """Any message that decodes; signatures count as checked, as a faulty member's own are."""
    height, view = draw.choice(HEIGHTS), draw.choice(VIEWS)
    signer = draw.choice(PEERS)
    block = make_block(
        draw.choice(NAMES),
        height=height,
        view=draw.choice(VIEWS),
        proposer=draw.choice(PEERS),
        parent=draw.choice((make_block().parent, Digest(b"p" * 32))),
        parent_certificate=draw.choice((None, committed(make_block("one", height=1)))),
    )
    leavers = draw.sample((0, 1, 2, 3), draw.randint(1, 4))
    report = None
    if draw.random() < 0.4 and view:
        report = prepared(
            block, primary=draw.choice((0, 1)), backups=(2, 3), view=draw.randrange(min(view, 4))
        )
    kind = draw.randrange(12)
    match kind:
        case 0:
            return pre_prepare(signer, block, view=view)
        case 1:
            return prepare(signer, block, view=view)
        case 2:
            return commit(signer, block, view=view)
        case 3:
            return view_change(signer, max(view, 1), report=report if view else None, height=height)
        case 4:
            changes = [view_change(one, max(view, 1), height=height) for one in leavers]
            return new_view(block, view=max(view, 1), leavers=changes, signer=signer)
        case 5:
            return status(
                max(height, 1),
                view,
                has_proposal=draw.random() < 0.5,
                has_committed=draw.random() < 0.5,
                is_fenced=draw.random() < 0.5,
                certificate=committed(block) if draw.random() < 0.3 else None,
                is_listening=draw.random() < 0.5,
                boot=boot(signer, draw.randbytes(16), number=draw.randrange(9)),
            )
        case 6:
            return Fetch(from_height=Height(height), count=draw.randint(1, 64))
        case 7:
            return FetchProposal(height=Height(height), digest=block.digest)
        case 8:
            return Proposal(block=block, bodies=draw.choice((b"", b"bodies")))
        case 9:
            votes = (prepare(signer, block, view=view), commit(draw.choice(PEERS), block))
            return Contradiction(votes=tuple(signed_vote(vote) for vote in votes))
        case 10:
            return Complaint(
                epoch=Epoch(draw.choice((0, 1))),
                primary=ReplicaId(draw.choice(PEERS)),
                reason=draw.choice(list(Suspicion)),
                signer=ReplicaId(signer),
                signature=bytes(64),
            )
        case _:
            return Blocks(blocks=(certified(block),) * draw.randint(0, 1))


def stir(state: ReplicaState, draw: random.Random) -> list[Effect]:
    """Let something else happen: a timer, a verdict, an execution."""
    choice = draw.randrange(6)
    if choice < 3 and state.timers:
        return expire(state, draw.choice(sorted(state.timers, key=lambda kind: kind.value)))
    if state.next_members is None:
        return execute(state)
    block = next(iter(state.instance.blocks.values()), None)
    if block is None:
        return []
    return accept(state, block) if choice < 5 else refuse(state, block)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), n=st.sampled_from((1, 2, 4, 7)))
def test_no_flood_of_messages_raises_or_fills_the_memory(seed: int, n: int) -> None:
    draw = random.Random(seed)
    state = replica(n, me=min(1, n - 1))
    limit = retained_max(state.members.quorum)
    most = 0

    for _ in range(400):
        hand(state, draw.choice(PEERS), invent_message(draw))
        if draw.random() < 0.2:
            stir(state, draw)
        most = max(most, retained(state))

    assert most <= limit


def test_ten_thousand_far_votes_of_one_peer_fill_only_its_own_places() -> None:
    """Attack 17: the far future is a hint, not a store."""
    state = replica(4, me=1)
    honest = [prepare(0, make_block("a")), prepare(2, make_block("a"))]
    for vote in honest:
        hand(state, vote.signer, vote)
    before = retained(state)

    for number in range(10_000):
        view, height = number % 4_000 + 1, number % 3 + 1
        hand(state, 3, commit(3, make_block("x", height=height), view=view))
        hand(state, 3, view_change(3, view, height=height))

    kept = count_votes(state.instance.mailbox) + count_votes(state.next_mailbox)
    assert kept <= before + 2 * 2 * VIEWS_KEPT
    assert set(state.instance.mailbox.by_kind[Prepare][View(0)]) == {0, 2}


def test_one_peer_cannot_displace_the_votes_of_another() -> None:
    mailbox = Mailbox()
    block = make_block("a")
    put(mailbox, prepare(0, block), own_view=View(0))

    for view in range(1, 50):
        put(mailbox, prepare(3, block, view=view), own_view=View(0))

    assert 0 in mailbox.by_kind[Prepare][View(0)]
    assert count_votes(mailbox) == 1 + VIEWS_KEPT


def test_of_one_signer_the_own_view_and_the_highest_are_kept() -> None:
    mailbox = Mailbox()
    block = make_block("a")

    for view in (2, 1, 7, 5, 9, 3):
        put(mailbox, prepare(3, block, view=view), own_view=View(2))

    assert sorted(mailbox.by_kind[Prepare]) == [2, 7, 9]


def test_statuses_of_strangers_are_not_remembered() -> None:
    state = replica(4, me=1)

    for stranger in range(10, 1_000):
        hand(state, stranger, status(9))
        hand(state, stranger, commit(stranger, make_block("a")))

    assert set(state.peers) <= {0, 2, 3}
    assert count_votes(state.instance.mailbox) == 0


def test_a_thousand_questions_between_two_heartbeats_get_few_answers() -> None:
    state = replica(4, me=1)
    decide_next(state, "one")

    effects = [effect for _ in range(1_000) for effect in hand(state, 3, view_change(3, 1))]

    assert len([effect for effect in effects if isinstance(effect, Send)]) == 1


@pytest.mark.parametrize("kind", [PrePrepare, Prepare, Commit, ViewChange, NewView])
def test_a_flood_makes_this_replica_sign_nothing_twice(kind: type[Message]) -> None:
    """S2 under a flood: of each slot at most one digest leaves."""
    draw = random.Random(7)
    state = replica(4, me=1)
    said: dict[tuple[int, int], object] = {}

    for _ in range(3_000):
        effects = hand(state, draw.choice(PEERS), invent_message(draw))
        if draw.random() < 0.2:
            effects += stir(state, draw)
        for message in sent(effects, kind):
            assert isinstance(message, PrePrepare | Prepare | Commit | ViewChange | NewView)
            if message.signer != 1:
                continue
            about = message.prepared if isinstance(message, ViewChange) else message.digest
            assert said.setdefault((message.height, message.view), about) == about


def test_a_view_at_the_end_of_the_range_is_never_left_upwards() -> None:
    state = replica(4, me=1)
    top = 2**32 - 1
    for sender in (0, 2):
        hand(state, sender, view_change(sender, top))
    assert state.instance.view == top
    hand(state, 3, view_change(3, top))

    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert effects == []
    assert state.instance.view == top
