"""Complaints about a primary that is slow, censors or equivocates, and makes progress (rule 13).

The core has no clock: the shell measures, keeps proofs, and says `PrimarySuspected`. A complaint
stands while its primary is base, is repeated with every heartbeat, and falls with the base. Once a
weak quorum complains, at least one of them with reason, every replica leaves view 0 of each height
before it votes there: what is decided then is the block of another primary, which is base from
then on.
One replica alone, mistaken or faulty, moves nobody, and does not leave alone either: it would be
missing from the quorum of view 0 (decision 0089).
"""

from consensus.effects import Broadcast, Effect, Ignore
from consensus.events import PrimarySuspected
from consensus.messages import Complaint, Suspicion, complaint_preimage
from consensus.state import Departure, ReplicaState, may_vote, primary_at
from consensus.view_change import leave_view
from consensus.votes import has_voted
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, View


def on_suspected(state: ReplicaState, event: PrimarySuspected) -> list[Effect]:
    """Complain to all about the present base, once; nothing is signed behind a fence."""
    me = state.config.replica
    if event.primary == me or event.primary != primary_at(state, FIRST_VIEW):
        return [Ignore(sender=None, kind="PrimarySuspected", reason="not the base")]
    is_silenced = state.fence is not None or state.members.is_mute
    if is_silenced or me not in state.members.order:
        return [Ignore(sender=None, kind="PrimarySuspected", reason="we sign nothing")]
    if me in state.complaints:
        return [Ignore(sender=None, kind="PrimarySuspected", reason="complained already")]

    epoch = state.members.epoch
    preimage = complaint_preimage(state.config.chain_id, epoch, event.primary, event.reason)
    complaint = Complaint(
        epoch=epoch,
        primary=event.primary,
        reason=event.reason,
        signer=me,
        signature=state.config.sign(epoch, preimage),
    )
    state.complaints[me] = complaint
    return [Broadcast(message=complaint)]


def on_complaint(state: ReplicaState, sender: ReplicaId, complaint: Complaint) -> list[Effect]:
    """Keep another's complaint about the present base, one for each member."""
    reason = None
    if complaint.signer != sender:
        reason = "another's complaint"
    elif complaint.epoch != state.members.epoch or sender not in state.members.order:
        reason = "not a member of this epoch"
    elif complaint.primary != primary_at(state, FIRST_VIEW):
        reason = "not about the base"
    elif sender in state.complaints:
        reason = "known already"
    if reason is not None:
        return [Ignore(sender=sender, kind="Complaint", reason=reason)]

    state.complaints[sender] = complaint
    return []


def leave_if_complained(state: ReplicaState) -> list[Effect] | None:
    """Leave view 0 before voting in it, while a weak quorum complains about its primary."""
    if state.instance.view != FIRST_VIEW or not may_vote(state) or has_voted(state):
        return None
    if len(state.complaints) < state.members.quorum.weak:
        return None
    return leave_view(state, View(FIRST_VIEW + 1), _DEPARTURES[_reason(state)])


_DEPARTURES = {
    Suspicion.SLOW: Departure.COMPLAINT_SLOW,
    Suspicion.CENSORING: Departure.COMPLAINT_CENSORING,
    Suspicion.EQUIVOCATING: Departure.COMPLAINT_EQUIVOCATING,
}


def _reason(state: ReplicaState) -> Suspicion:
    """Return why: our own reason, else that of the first who complains."""
    first = min(state.complaints)
    return state.complaints.get(state.config.replica, state.complaints[first]).reason
