"""The one door: an event comes in, what the world must do about it goes out.

`handle` is a pure function of state and event. A handler files what it is told; then `advance`
takes every step that is now allowed, in a fixed order, until none is. A restarted replica, a late
message and a new height thereby all follow the same path.
"""

from collections.abc import Callable
from typing import Final, assert_never

from consensus import (
    catch_up,
    complaints,
    decision,
    evidence,
    fence,
    hearing,
    normal_case,
    proposing,
    timers,
    view_change,
)
from consensus.effects import Effect, Ignore
from consensus.events import (
    BacklogChanged,
    BlockExecuted,
    Event,
    LoopLagged,
    MessageReceived,
    PrimarySuspected,
    ProposalChecked,
    ProposalMade,
    Timer,
    TimerExpired,
    TimerKind,
)
from consensus.invariants import check_invariants
from consensus.mailbox import put
from consensus.membership import Membership
from consensus.messages import (
    Blocks,
    Commit,
    Complaint,
    Contradiction,
    Echo,
    Fetch,
    FetchProposal,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    Vote,
)
from consensus.peers import note_position
from consensus.state import ReplicaState, height_of
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, Height

STEPS: Final[tuple[Callable[[ReplicaState], list[Effect] | None], ...]] = (
    hearing.take_proof,
    hearing.stop_listening,
    fence.lift_if_passed,
    decision.decide_fetched,
    decision.decide_if_committed,
    catch_up.check_proposed_if_committed,
    timers.start_first_view,
    complaints.leave_if_complained,
    view_change.join_if_others_left,
    view_change.adopt_new_view,
    normal_case.accept_pre_prepare,
    normal_case.check_proposal,
    normal_case.prepare_if_valid,
    view_change.lead_if_chosen,
    normal_case.commit_if_prepared,
    timers.start_joined_view,
    catch_up.fetch_if_missing,
)


def handle(state: ReplicaState, event: Event) -> list[Effect]:
    """Advance the replica by one event; return what the world must do about it, in order."""
    match event:
        case MessageReceived():
            effects = on_message(state, event.sender, event.message)
        case TimerExpired():
            effects = on_timer(state, event.timer)
        case ProposalMade():
            effects = proposing.on_proposal_made(state, event)
        case ProposalChecked():
            effects = normal_case.on_proposal_checked(state, event)
        case BlockExecuted():
            effects = decision.on_block_executed(state, event)
        case BacklogChanged():
            effects = timers.on_backlog(state, waiting=event.waiting)
        case PrimarySuspected():
            effects = complaints.on_suspected(state, event)
        case LoopLagged():
            effects = timers.on_lag(state, event.lag_ms)
        case _:
            assert_never(event)
    effects = [*effects, *advance(state)]
    check_invariants(state)
    return effects


def advance(state: ReplicaState) -> list[Effect]:
    """Take the first step that is allowed, and again, until none is.

    It ends: each step sets what forbids it to be taken again, or raises the view or the height.
    """
    effects: list[Effect] = []
    while (taken := _next_step(state)) is not None:
        effects += taken
    return effects


def _next_step(state: ReplicaState) -> list[Effect] | None:
    for step in STEPS:
        taken = step(state)
        if taken is not None:
            return taken
    return None


def on_message(state: ReplicaState, sender: ReplicaId, message: Message) -> list[Effect]:
    if sender == state.config.replica:
        return [Ignore(sender=sender, kind=type(message).__name__, reason="from ourselves")]
    reports = evidence.examine(state, sender, message)
    return [*reports, *_on_message(state, sender, message)]


def _on_message(state: ReplicaState, sender: ReplicaId, message: Message) -> list[Effect]:
    match message:
        case PrePrepare() | Prepare() | Commit() | ViewChange() | NewView():
            return on_vote(state, sender, message)
        case Status():
            return catch_up.on_status(state, sender, message)
        case Fetch():
            return catch_up.on_fetch(state, sender, message)
        case Blocks():
            return catch_up.on_blocks(state, sender, message)
        case FetchProposal():
            return catch_up.on_fetch_proposal(state, sender, message)
        case Proposal():
            return catch_up.on_proposal(state, sender, message)
        case Complaint():
            return complaints.on_complaint(state, sender, message)
        case Contradiction():
            return []  # What it proves is reported already.
        case Echo():
            return hearing.on_echo(state, sender, message)
        case _:
            assert_never(message)


def on_vote(state: ReplicaState, sender: ReplicaId, vote: Vote) -> list[Effect]:
    """File a vote of the present or the next height until its turn comes (rule 15)."""
    kind = type(vote).__name__
    if vote.signer == state.config.replica:
        return fence.on_own_vote(state, sender, kind, hearing.bare_vote(vote))
    if vote.signer != sender:
        return [Ignore(sender=sender, kind=kind, reason="another's vote")]
    hearing.note_vote(state, vote)
    height = height_of(state)
    if vote.height < height:
        ignored = Ignore(sender=sender, kind=kind, reason="a decided height")
        if vote.height == state.tip.height and isinstance(vote, Prepare | Commit):
            return [ignored]  # One of the votes beyond the quorum: its sender decides with us.
        return [ignored, *catch_up.answer_late(state, sender)]
    note_position(state, sender, vote.height, vote.view)
    members = _members_at(state, vote.height)
    if members is None:
        return [Ignore(sender=sender, kind=kind, reason="a height too far ahead")]
    if vote.epoch != members.epoch or sender not in members.order:
        return [Ignore(sender=sender, kind=kind, reason="not a member of that height's epoch")]
    if isinstance(vote, PrePrepare) and vote.view != FIRST_VIEW:
        return [Ignore(sender=sender, kind=kind, reason="a proposal without its new-view")]
    is_present = vote.height == height
    mailbox = state.instance.mailbox if is_present else state.next_mailbox
    view = state.instance.view if is_present else FIRST_VIEW
    reason = put(mailbox, vote, own_view=view)
    if reason is not None:
        return [Ignore(sender=sender, kind=kind, reason=reason)]
    return evidence.contradict(state, vote)


def on_timer(state: ReplicaState, timer: Timer) -> list[Effect]:
    if not timers.take_expiry(state, timer):
        return [Ignore(sender=None, kind=timer.kind.value, reason="a timer that was replaced")]
    match timer.kind:
        case TimerKind.PROPOSE:
            return proposing.on_propose_timer(state)
        case TimerKind.VIEW_CHANGE:
            return view_change.on_view_timer(state)
        case TimerKind.FETCH:
            return catch_up.on_fetch_timer(state)
        case TimerKind.STATUS:
            return catch_up.on_heartbeat(state)
        case _:
            assert_never(timer.kind)


def _members_at(state: ReplicaState, height: Height) -> Membership | None:
    """Return whose votes are kept for a height, if it is the present or the next.

    The members of the next are known once the tip is executed; until then they are taken to be
    the present ones, and what was kept falls away if they turn out not to be.
    """
    if height == height_of(state):
        return state.members
    if height == height_of(state) + 1:
        return state.next_members or state.members
    return None
