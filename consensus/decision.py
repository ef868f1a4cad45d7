"""Deciding a block, and moving on once it is executed (rules 3, 6, 7).

A commit certificate of any view decides, whenever it arrives. The next height begins at once, so
that its votes are filed, but nothing is signed there before the shell reports the block durable
and executed.
"""

from collections import Counter

from consensus.blocks import Block
from consensus.effects import Decide, Effect, Ignore
from consensus.events import BlockExecuted, TimerKind
from consensus.evidence import contradict_decision, keep_past_votes
from consensus.fence import ask_members_again, raise_fence
from consensus.fetching import pause_fetching, stop_fetching
from consensus.mailbox import Mailbox, views_of, votes_at
from consensus.membership import follow
from consensus.messages import Commit
from consensus.peers import forget_leavers, note_failure, note_success
from consensus.restarting import LEFT_BEHIND, is_restart, skip_epochs, take_restart
from consensus.soundness import block_fault, commit_fault
from consensus.state import Instance, ReplicaState, Tip, height_of, is_executed, primary_at
from consensus.timers import cancel_timer
from crypto.validators import RESTART_EPOCHS, ReplicaId
from crypto.votes import FIRST_VIEW, CommitCertificate, View


def decide_if_committed(state: ReplicaState) -> list[Effect] | None:
    """Decide as soon as a quorum has committed in any view and the block is at hand."""
    instance = state.instance
    effects: list[Effect] = []
    if instance.certificate is None:
        instance.certificate = _commit_quorum(state)
        if instance.certificate is None:
            return None
        effects = stop_agreeing(state)
    certificate = instance.certificate
    if not is_executed(state) or certificate.digest not in instance.valid:
        return effects or None  # The missing block is fetched (`consensus.catch_up`).
    return [*effects, *decide(state, instance.blocks[certificate.digest], certificate, None)]


def decide_fetched(state: ReplicaState) -> list[Effect] | None:
    """Decide the next block that came with its certificate from a peer."""
    if not state.fetched or not is_executed(state):
        return None
    first, *rest = state.fetched
    if first.block.height < height_of(state):
        state.fetched = tuple(rest)
        return []
    fault = block_fault(state, first.block)
    if fault is None and is_restart(state, first.certificate):
        skip_epochs(state, RESTART_EPOCHS)
    fault = fault or commit_fault(state, first.certificate)
    if fault is not None:
        state.fetched = ()
        if first.block.parent != state.tip.digest and is_restart(state, first.certificate):
            return raise_fence(state, LEFT_BEHIND)  # They go on above a block below our tip.
        note_failure(state, state.fetched_from)
        ignored = Ignore(sender=state.fetched_from, kind="Blocks", reason=fault)
        return [ignored, *pause_fetching(state, None)]
    state.fetched = tuple(rest)
    note_success(state, state.fetched_from)
    return decide(state, first.block, first.certificate, first.bodies)


def decide(
    state: ReplicaState, block: Block, certificate: CommitCertificate, bodies: bytes | None
) -> list[Effect]:
    """Make `block` the tip and hand it to the shell; the next height waits for its execution."""
    assert state.next_members is not None, "execute before deciding the next"
    effects = [
        *stop_agreeing(state),
        *stop_fetching(state),
        *contradict_decision(state, certificate),
    ]
    state.tip = Tip(
        height=block.height,
        digest=block.digest,
        proposer=block.proposer,
        transaction_count=block.transaction_count,
        certificate=certificate,
    )
    keep_past_votes(state)
    has_other_members = state.next_members.epoch != state.members.epoch
    state.members, state.next_members = state.next_members, None
    if has_other_members:
        ask_members_again(state)
    state.instance = Instance(mailbox=state.next_mailbox)
    state.next_mailbox = Mailbox()
    state.is_behind = False
    _keep_complaints(state)
    return [*effects, Decide(block=block, certificate=certificate, bodies=bodies)]


def on_block_executed(state: ReplicaState, event: BlockExecuted) -> list[Effect]:
    """The tip is durable and executed: its height's successor may be voted on."""
    assert state.next_members is None, "one block is executed at a time"
    assert (event.height, event.digest) == (state.tip.height, state.tip.digest), "the tip executes"
    state.next_members = follow(
        state.members, event.validators, pace=event.pace, is_mute=event.is_mute
    )
    if state.next_members.epoch != state.members.epoch:
        state.next_mailbox = Mailbox()
    forget_leavers(state)
    return take_restart(state)


def stop_agreeing(state: ReplicaState) -> list[Effect]:
    """Stop what drives the agreement on a height: its block is certain."""
    return [
        *cancel_timer(state, TimerKind.PROPOSE),
        *cancel_timer(state, TimerKind.VIEW_CHANGE),
    ]


def _keep_complaints(state: ReplicaState) -> None:
    """Keep the complaints of members about the base of the new height; others are settled."""
    base, members = primary_at(state, FIRST_VIEW), state.members
    for signer, complaint in list(state.complaints.items()):
        about = (complaint.epoch, complaint.primary)
        if about != (members.epoch, base) or signer not in members.order:
            del state.complaints[signer]


def _commit_quorum(state: ReplicaState) -> CommitCertificate | None:
    quorum = state.members.quorum.strong
    for view in views_of(state.instance.mailbox, Commit):
        commits = votes_at(state.instance.mailbox, Commit, view)
        if len(commits) >= quorum:
            certificate = _certificate_at(state, view, commits, quorum)
            if certificate is not None:
                return certificate
    return None


def _certificate_at(
    state: ReplicaState, view: View, commits: dict[ReplicaId, Commit], quorum: int
) -> CommitCertificate | None:
    counts = Counter(commit.digest for commit in commits.values())
    digest, count = counts.most_common(1)[0]
    if count < quorum:
        return None
    signatures = [
        (signer, commit.signature)
        for signer, commit in sorted(commits.items())
        if commit.digest == digest
    ]
    return CommitCertificate(
        epoch=state.members.epoch,
        height=height_of(state),
        view=view,
        digest=digest,
        signatures=tuple(signatures[:quorum]),
    )
