"""Starting a replica from what is durable: the executed tip and the vote journal (rules 6, 18, 19).

The restored replica stands where its journal says it stood, repeats its votes byte for byte and
asks the others for what it has forgotten. Without a trustworthy journal it starts behind a fence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.catch_up import on_heartbeat
from consensus.core import advance
from consensus.effects import Broadcast, Effect, Persist
from consensus.errors import ForeignJournal
from consensus.fence import raise_fence
from consensus.invariants import check_invariants
from consensus.mailbox import put
from consensus.membership import Membership, Pace, follow
from consensus.messages import Commit, Prepare, PrePrepare, Vote
from consensus.records import (
    BOOTS_KEPT,
    Booted,
    FenceLifted,
    FenceRaised,
    JournalStarted,
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    Record,
    Restarted,
    ViewChangeRecord,
    VoteRecord,
    record_height,
)
from consensus.restarting import in_force
from consensus.soundness import choose
from consensus.state import Boots, Config, Fence, Listening, Own, ReplicaState, Tip, height_of
from consensus.view_change import forget_blocks
from crypto.validators import Epoch, ValidatorSet
from crypto.votes import FIRST_VIEW, Height, VoteType


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What storage holds: the last decided block, executed, and the members after it.

    `epoch` and `validators` are those of `tip.height + 1`, `next_validators` those of the height
    after that, and so are the paces. `is_mute` and `is_next_mute`: this node does not hold the key
    that they name for it.
    """

    tip: Tip
    epoch: Epoch
    validators: ValidatorSet
    next_validators: ValidatorSet
    pace: Pace | None = None
    next_pace: Pace | None = None
    is_mute: bool = False
    is_next_mute: bool = False


def restore(
    config: Config,
    decided: Decided,
    records: Sequence[Record],
    *,
    is_journal_whole: bool,
    waiting: bool,
    moved: str | None = None,
) -> tuple[ReplicaState, list[Effect]]:
    """Return the replica and what it does first.

    `records` is the journal in order, and empty for a lost one; `is_journal_whole` is False if
    some of it was cut away; `waiting` says that the pool holds something; `moved` says why the
    directory is not the one that last ran, if it is not. Raises `ForeignJournal` for the journal
    of another chain or replica.
    """
    records = in_force(records)
    members = Membership(decided.epoch, decided.validators, decided.pace, decided.is_mute)
    state = ReplicaState(
        config=config,
        tip=decided.tip,
        members=members,
        next_members=follow(
            members, decided.next_validators, pace=decided.next_pace, is_mute=decided.is_next_mute
        ),
        boots=_next_boot(records),
        has_backlog=waiting,
        listening=Listening(),
    )
    for record in records:
        _replay(state, record)
    _resume(state)
    effects = _fence_off(state, records, is_journal_whole=is_journal_whole)
    if moved is not None:
        effects += raise_fence(state, moved)
    effects += [
        Persist(records=(_booted(state),)),
        *_repeat(state),
        *on_heartbeat(state),
        *advance(state),
    ]
    check_invariants(state)
    return state, effects


def _next_boot(records: Sequence[Record]) -> Boots:
    """Return the start that follows the last one in the journal."""
    last = next((one for one in reversed(records) if isinstance(one, Booted)), None)
    if last is None:
        return Boots(number=1)
    return Boots(number=last.number + 1, earlier=(*last.earlier, last.boot_id)[-BOOTS_KEPT:])


def _booted(state: ReplicaState) -> Booted:
    """Return the record of this start: durable before anything is sent."""
    boots = state.boots
    return Booted(number=boots.number, boot_id=state.config.boot_id, earlier=boots.earlier)


def _replay(state: ReplicaState, record: Record) -> None:
    """Take back what one record says about the height being agreed."""
    instance, own = state.instance, state.instance.own
    if record_height(record) not in (None, height_of(state)):
        return
    match record:
        case JournalStarted():
            mine = (state.config.chain_id, state.config.replica)
            if (record.chain_id, record.replica) != mine:
                raise ForeignJournal(f"the journal is that of replica {record.replica}")
        case Booted():
            pass  # Only the last one counts (`_next_boot`).
        case Restarted(height=height):
            if height > state.tip.height:
                state.restart = record
                if state.fence is not None:
                    state.fence.falls_at_restart = True
            else:
                state.fence = None  # The shell has numbered the epochs by it.
        case FenceRaised(reason=reason):
            state.fence = Fence(reason=reason)
        case FenceLifted():
            state.fence = None
        case ProposalRecord(block=block):
            instance.blocks[block.digest] = block
            instance.valid[block.digest] = instance.durable[block.digest] = None
        case VoteRecord():
            _replay_vote(state, record)
        case PreparedRecord(certificate=certificate):
            instance.prepared = certificate
        case ViewChangeRecord(message=view_change):
            own.view_change = view_change
            if view_change.prepared is not None:
                instance.prepared = view_change.prepared
        case NewViewRecord(message=new_view):
            own.new_view = new_view


def _replay_vote(state: ReplicaState, record: VoteRecord) -> None:
    own, replica = state.instance.own, state.config.replica
    match record.vote:
        case VoteType.PRE_PREPARE:
            own.pre_prepare = PrePrepare(
                epoch=record.epoch,
                height=record.height,
                view=record.view,
                digest=record.digest,
                signer=replica,
                signature=record.signature,
                block=state.instance.blocks[record.digest],
            )
        case VoteType.PREPARE:
            own.prepare = Prepare(
                epoch=record.epoch,
                height=record.height,
                view=record.view,
                digest=record.digest,
                signer=replica,
                signature=record.signature,
            )
        case VoteType.COMMIT:
            own.commit = Commit(
                epoch=record.epoch,
                height=record.height,
                view=record.view,
                digest=record.digest,
                signer=replica,
                signature=record.signature,
            )
        case VoteType.VIEW_CHANGE:
            raise AssertionError("view-changes are journaled whole")


def _resume(state: ReplicaState) -> None:
    """Stand in the highest view that the journal speaks of, with our own proposal if any."""
    instance, own = state.instance, state.instance.own
    votes = _votes(own)
    instance.view = max((vote.view for vote in votes), default=FIRST_VIEW)
    if own.new_view is not None and own.new_view.view == instance.view:
        instance.basis = own.new_view.view_changes
        instance.chosen = choose(instance.basis)
        instance.proposal = own.new_view.pre_prepare
        instance.blocks[own.new_view.digest] = own.new_view.pre_prepare.block
    elif own.pre_prepare is not None and instance.view == FIRST_VIEW:
        instance.proposal = own.pre_prepare
    for vote in votes:
        put(instance.mailbox, vote, own_view=instance.view)
    forget_blocks(state)


def _fence_off(
    state: ReplicaState, records: Sequence[Record], *, is_journal_whole: bool
) -> list[Effect]:
    """Raise the fence if the journal cannot be all that was ever signed."""
    if not any(isinstance(record, JournalStarted | FenceRaised) for record in records):
        return raise_fence(state, "the vote journal is missing")
    if not is_journal_whole:
        return raise_fence(state, "the vote journal was cut")
    highest = _highest(state, records)
    if highest > height_of(state):
        reason = "the vote journal is ahead of the stored blocks"
        return raise_fence(state, reason, signed_height=Height(highest))
    return []


def _highest(state: ReplicaState, records: Sequence[Record]) -> Height:
    """Return the highest height that the journal speaks of.

    Before a restart that is yet to come it speaks of the epoch before, up to the restart's block:
    the fence that falls there stands until then.
    """
    fence = state.fence
    if fence is not None and fence.falls_at_restart:
        later = 1 + max(at for at, one in enumerate(records) if isinstance(one, Restarted))
        records = records[later:]
    above = [height for record in records if (height := record_height(record)) is not None]
    return max(above, default=height_of(state))


def _repeat(state: ReplicaState) -> list[Effect]:
    """Send again what was sent in the present view, byte for byte."""
    if state.fence is not None:
        return []
    view = state.instance.view
    return [Broadcast(message=vote) for vote in _votes(state.instance.own) if vote.view == view]


def _votes(own: Own) -> list[Vote]:
    """Return our votes in the order in which they were cast."""
    votes = (own.view_change, own.new_view, own.pre_prepare, own.prepare, own.commit)
    return [vote for vote in votes if vote is not None]
