"""The primary's part: when to ask for a block, and how to propose one (rules 2, 6, 14).

In view 0 the right to propose comes from the chain alone; above, from a quorum of view-changes,
kept as `basis`. A block follows as soon as something waits, after a small gathering delay; after
a non-empty block in any case, so that its results are certified; else as an idle heartbeat.
"""

from consensus.blocks import Block
from consensus.effects import Broadcast, Effect, Ignore, Persist, RequestProposal
from consensus.events import ProposalMade, TimerKind
from consensus.messages import NewView
from consensus.records import NewViewRecord, ProposalRecord, Record
from consensus.soundness import fresh_fault
from consensus.state import ReplicaState, height_of, is_primary, may_vote
from consensus.timers import cancel_timer
from consensus.votes import keep_own, make_pre_prepare, vote_record
from crypto.votes import FIRST_VIEW


def on_propose_timer(state: ReplicaState) -> list[Effect]:
    """Propose now: the gathering delay, or the wait for something to order, is over."""
    instance = state.instance
    if not may_vote(state) or not is_primary(state):
        return []
    if instance.view != FIRST_VIEW or instance.proposal is not None or instance.is_requested:
        return []
    return request_proposal(state)


def request_proposal(state: ReplicaState) -> list[Effect]:
    """Ask the shell for a block of this view."""
    state.instance.is_requested = True
    return [
        RequestProposal(
            height=height_of(state),
            view=state.instance.view,
            epoch=state.members.epoch,
            parent=state.tip.digest,
            parent_certificate=state.tip.certificate,
        )
    ]


def on_proposal_made(state: ReplicaState, event: ProposalMade) -> list[Effect]:
    """Propose the block that was asked for, unless the view has passed meanwhile."""
    instance = state.instance
    slot = (height_of(state), instance.view)
    if (event.height, event.view) != slot or not instance.is_requested or not may_vote(state):
        return [Ignore(sender=None, kind="ProposalMade", reason="too late for its view")]
    if instance.proposal is not None:
        return [Ignore(sender=None, kind="ProposalMade", reason="proposed already")]

    instance.valid[event.block.digest] = None
    return propose(state, event.block)


def propose(state: ReplicaState, block: Block) -> list[Effect]:
    """Vote for a block as the primary of this view, durably, and show it to the others."""
    instance = state.instance
    pre_prepare = make_pre_prepare(state, block)
    instance.proposal = pre_prepare
    instance.blocks[block.digest] = block
    records: list[Record] = []
    if block.digest not in instance.durable:
        records.append(ProposalRecord(block=block))
        instance.durable[block.digest] = None
    if instance.chosen is None:
        assert fresh_fault(state, pre_prepare) is None, "our own block stands on our tip"
    stop = cancel_timer(state, TimerKind.PROPOSE)
    if instance.view == FIRST_VIEW:
        keep_own(state, pre_prepare)
        records.append(vote_record(pre_prepare))
        return [*stop, Persist(records=tuple(records)), Broadcast(message=pre_prepare)]

    new_view = NewView(view_changes=instance.basis, pre_prepare=pre_prepare)
    keep_own(state, new_view)
    records.append(NewViewRecord(message=new_view))
    return [*stop, Persist(records=tuple(records)), Broadcast(message=new_view)]
