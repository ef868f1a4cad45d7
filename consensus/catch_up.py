"""Being behind, and helping those who are (rules 10, 11): heartbeats, fetches, answers.

Whatever is said about a higher height is only a hint to fetch; blocks come with certificates and
from anybody. Of several who claim to be ahead, the one that has failed us least is asked, and one
that does not deliver in time is asked last from then on. A block that a certificate names but
that this replica lacks is fetched by digest from the certificate's signers, who promised to have
it.
"""

from dataclasses import replace
from typing import Final

from consensus.blocks import Block
from consensus.decision import decide, stop_agreeing
from consensus.effects import Broadcast, Effect, Ignore, Send, SendBlocks, SendProposal
from consensus.events import TimerKind
from consensus.fence import collect_proof
from consensus.fetching import stop_fetching
from consensus.hearing import answer_boot
from consensus.mailbox import Mailbox, views_of, votes_at, votes_of
from consensus.messages import (
    Blocks,
    Commit,
    Fetch,
    FetchProposal,
    Message,
    NewView,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    Vote,
)
from consensus.peers import note_failure, note_position, take_answer, take_fetch
from consensus.soundness import block_fault, commit_fault
from consensus.state import Fetching, ReplicaState, height_of, is_executed, make_status, may_vote
from consensus.timers import set_timer
from consensus.view_change import check_block, signers_of
from crypto.hashing import Digest
from crypto.validators import ReplicaId
from crypto.votes import GENESIS_HEIGHT

FETCH_COUNT: Final = 32


def on_heartbeat(state: ReplicaState) -> list[Effect]:
    """Say where we stand; notice that others have been ahead since the last time."""
    height = height_of(state)
    state.heartbeats += 1
    state.fetches_of_strangers = 0
    for peer in state.peers.values():
        peer.was_answered, peer.fetches, peer.echoes = False, 0, 0
    state.is_behind = state.height_at_heartbeat == height and bool(_ahead(state, 1))
    state.height_at_heartbeat = height
    complaint = state.complaints.get(state.config.replica)
    repeated = [] if complaint is None else [Broadcast(message=complaint)]
    return [
        set_timer(state, TimerKind.STATUS, state.config.status_ms),
        Broadcast(message=make_status(state, with_proof=False)),
        *repeated,
    ]


def on_status(state: ReplicaState, sender: ReplicaId, status: Status) -> list[Effect]:
    """Learn from a heartbeat, and send its sender what it lacks of ours."""
    note_position(state, sender, status.height, status.view)
    effects = answer_boot(state, sender, status)
    collect_proof(state, sender, status.height, status.certificate)
    certificate = status.certificate
    is_open = state.instance.certificate is None
    if is_open and certificate is not None and commit_fault(state, certificate) is None:
        state.instance.certificate = certificate
        effects += stop_agreeing(state)
    return [*effects, *_answer(state, sender, status)]


def answer_late(state: ReplicaState, sender: ReplicaId) -> list[Effect]:
    """Prove to somebody who still talks about a decided height that it is decided."""
    if not take_answer(state, sender):
        return []
    return [Send(to=sender, message=make_status(state, with_proof=True))]


def on_fetch(state: ReplicaState, sender: ReplicaId, fetch: Fetch) -> list[Effect]:
    """Serve decided blocks, or say that we cannot."""
    if not take_fetch(state, sender):
        return [Ignore(sender=sender, kind="Fetch", reason="asks too often")]
    if GENESIS_HEIGHT < fetch.from_height <= state.tip.height:
        return [SendBlocks(to=sender, from_height=fetch.from_height, count=fetch.count)]
    return [Send(to=sender, message=Blocks(blocks=()))]


def on_fetch_proposal(state: ReplicaState, sender: ReplicaId, fetch: FetchProposal) -> list[Effect]:
    """Serve the block that we promised to have; a decided one with its certificate."""
    if fetch.height == height_of(state):
        if not take_fetch(state, sender):
            return [Ignore(sender=sender, kind="FetchProposal", reason="asks too often")]
        return [SendProposal(to=sender, height=fetch.height, digest=fetch.digest)]
    return on_fetch(state, sender, Fetch(from_height=fetch.height, count=1))


def on_blocks(state: ReplicaState, sender: ReplicaId, message: Blocks) -> list[Effect]:
    """Take decided blocks; they are checked against the chain one by one as their turn comes."""
    height = height_of(state)
    effects: list[Effect] = []
    useful = tuple(one for one in message.blocks if one.block.height >= height)
    if useful and useful[0].block.height > height:
        useful = ()
    asked = state.fetching
    if asked is not None and asked.peer == sender:
        if useful:  # Whether it helps is seen when it is decided (`consensus.decision`).
            effects += stop_fetching(state)
        else:  # The timer goes on: a peer that only pretends to be ahead sets the pace of nothing.
            note_failure(state, sender)
            state.fetching = replace(asked, peer=None)
    if not useful:
        return [*effects, Ignore(sender=sender, kind="Blocks", reason="of no use here")]
    if state.fetched:
        return [*effects, Ignore(sender=sender, kind="Blocks", reason="busy with others")]
    state.fetched, state.fetched_from = useful, sender
    return effects


def on_proposal(state: ReplicaState, sender: ReplicaId, message: Proposal) -> list[Effect]:
    """Take the block of a certificate: decide it, or propose it again."""
    asked, block, instance = state.fetching, message.block, state.instance
    if asked is None or asked.digest != block.digest:
        return [Ignore(sender=sender, kind="Proposal", reason="not asked for")]
    fault = block_fault(state, block)
    if fault is not None:
        return [Ignore(sender=sender, kind="Proposal", reason=fault)]
    effects = stop_fetching(state)
    instance.supplier = sender
    certificate = instance.certificate
    if certificate is not None and message.bodies:
        return [*effects, *decide(state, block, certificate, message.bodies)]
    instance.blocks[block.digest] = block
    return [*effects, *(check_block(state, block, bodies=message.bodies or None) or [])]


def on_fetch_timer(state: ReplicaState) -> list[Effect]:
    """Whoever was asked did not deliver in time: ask somebody else."""
    asked = state.fetching
    if asked is not None and asked.peer is not None:
        note_failure(state, asked.peer)
    elif asked is not None and asked.digest is not None:
        state.instance.checking.pop(asked.digest, None)
    state.fetching = None
    return []


def check_proposed_if_committed(state: ReplicaState) -> list[Effect] | None:
    """Take a decided block out of the proposal that brought it: a busy replica is a little late.

    Nothing is signed for it any more; the shell only has to have its bodies.
    """
    instance = state.instance
    certificate = instance.certificate
    if certificate is None or certificate.digest in instance.blocks or not is_executed(state):
        return None
    for block in _proposed_blocks(instance.mailbox):
        if block.digest == certificate.digest and block_fault(state, block) is None:
            instance.blocks[block.digest] = block
            return check_block(state, block)
    return None


def fetch_if_missing(state: ReplicaState) -> list[Effect] | None:
    """Ask for what this replica cannot go on without; one question at a time."""
    wanted = _wanted(state)
    if wanted is None:
        return stop_fetching(state) if state.fetching is not None else None
    digest, candidates = wanted
    height, asked = height_of(state), state.fetching
    if asked is not None and (asked.height, asked.digest) == (height, digest):
        return None
    if digest is not None and digest in state.instance.checking:
        peer = None  # The shell may finish first: it has most of the block already.
    else:
        peer = _least_failing(state, candidates)
        if peer is None:
            return None
    state.fetching = Fetching(peer=peer, height=height, digest=digest)
    timer = set_timer(state, TimerKind.FETCH, state.config.fetch_ms)
    if peer is None:
        return [timer]
    question: Message = Fetch(from_height=height, count=FETCH_COUNT)
    if digest is not None:
        question = FetchProposal(height=height, digest=digest)
    return [Send(to=peer, message=question), timer]


def _wanted(state: ReplicaState) -> tuple[Digest | None, list[ReplicaId]] | None:
    """Return what is missing, a block by digest or decided blocks, and who should have it."""
    instance = state.instance
    if not is_executed(state) or state.fetched:
        return None
    if instance.certificate is not None:
        return instance.certificate.digest, [one for one, _ in instance.certificate.signatures]
    chosen = instance.chosen
    if chosen is not None and chosen.digest not in instance.blocks and may_vote(state):
        return chosen.digest, list(signers_of(chosen))
    ahead = _ahead(state, 1 if state.is_behind else 2)
    return (None, ahead) if ahead else None


def _proposed_blocks(mailbox: Mailbox) -> list[Block]:
    pre_prepares = [
        vote
        for view in views_of(mailbox, PrePrepare)
        for _, vote in sorted(votes_at(mailbox, PrePrepare, view).items())
    ]
    pre_prepares += [
        vote.pre_prepare
        for view in views_of(mailbox, NewView)
        for _, vote in sorted(votes_at(mailbox, NewView, view).items())
    ]
    return [vote.block for vote in pre_prepares]


def _ahead(state: ReplicaState, heights: int) -> list[ReplicaId]:
    least = height_of(state) + heights
    return [replica for replica, peer in sorted(state.peers.items()) if peer.height >= least]


def _least_failing(state: ReplicaState, candidates: list[ReplicaId]) -> ReplicaId | None:
    def failures(replica: ReplicaId) -> tuple[int, ReplicaId]:
        peer = state.peers.get(replica)
        return (0 if peer is None else peer.failures, replica)

    others = [replica for replica in candidates if replica != state.config.replica]
    return min(others, key=failures, default=None)


def _answer(state: ReplicaState, sender: ReplicaId, status: Status) -> list[Effect]:
    height = height_of(state)
    if status.height < height or status.is_fenced:
        return answer_late(state, sender)
    if status.height > height or state.fence is not None or not take_answer(state, sender):
        return []
    messages = [*_lacking(state, status), *_forgotten(state, sender, status)]
    return [Send(to=sender, message=message) for message in messages]


def _lacking(state: ReplicaState, status: Status) -> list[Vote]:
    """Return our votes that somebody at the same height has not seen, or may not have."""
    instance, own = state.instance, state.instance.own
    votes: list[Vote | None] = [own.commit]  # Of any view: a late quorum decides too.
    if status.view < instance.view or (status.view == instance.view and not status.has_committed):
        votes.append(own.prepare)
        if status.view < instance.view or not status.has_proposal:
            votes += [own.view_change, own.new_view, own.pre_prepare]
    useful = [vote for vote in votes if vote is not None]
    return [vote for vote in useful if vote.view == instance.view or isinstance(vote, Commit)]


def _forgotten(state: ReplicaState, sender: ReplicaId, status: Status) -> list[Vote]:
    """Return one vote of the sender's own that it does not seem to know of (rule 19)."""
    votes = votes_of(state.instance.mailbox, sender)
    return [vote for vote in votes if _is_news(vote, status)][-1:]


def _is_news(vote: Vote, status: Status) -> bool:
    if vote.view != status.view or isinstance(vote, ViewChange):
        return vote.view > status.view
    return not (status.has_committed if isinstance(vote, Commit) else status.has_proposal)
