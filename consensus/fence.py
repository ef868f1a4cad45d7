"""The fence (rule 19): a replica that may not remember what it signed signs nothing.

It is raised when the journal is missing or was cut, when somebody shows a vote of ours that the
journal does not hold, and when others keep hearing our key with another boot id. Behind it the
replica follows decisions and answers questions. It asks n - q + f others for proof of what they
have decided; with H the highest of that, whatever it may have signed is at most at H + 2: it
signed at x only after x - 1 was decided, by a quorum that had decided x - 2, and every n - q + f
others hold a correct one of that quorum. So it votes again after deciding H + 3. Where f = 0
nobody may forget: there all others are asked, and fewer than a quorum of them cannot go on alone.
"""

from typing import Final

from consensus.effects import Effect, Ignore, Persist
from consensus.events import TimerKind
from consensus.messages import Commit, NewView, Prepare, PrePrepare, Status, ViewChange, Vote
from consensus.peers import peer_of
from consensus.records import FenceLifted, FenceRaised
from consensus.state import Fence, Own, ReplicaState, height_of
from consensus.timers import cancel_timer
from crypto.quorum import QuorumSystem
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, GENESIS_HEIGHT, Height

FENCE_HEIGHTS: Final = 3
DOUBTS_MAX: Final = 3
"""Statuses in a row that must list another boot id: one may be a late word about our past."""
HEARTBEATS_OF_GRACE: Final = 60
"""How long what others say about our boot id may still be about the time before we started."""


def raise_fence(
    state: ReplicaState, reason: str, *, signed_height: Height = GENESIS_HEIGHT
) -> list[Effect]:
    """Sign nothing from now on, restarts included; we are known to have signed as high as said."""
    if state.fence is not None:
        state.fence.signed_height = max(state.fence.signed_height, signed_height)
        return []
    state.fence = Fence(reason=reason, signed_height=signed_height)
    return [
        *cancel_timer(state, TimerKind.PROPOSE),
        *cancel_timer(state, TimerKind.VIEW_CHANGE),
        Persist(records=(FenceRaised(reason=reason),)),
    ]


def lift_if_passed(state: ReplicaState) -> list[Effect]:
    """Vote again once others have decided beyond whatever we may have signed."""
    fence = state.fence
    if fence is None or fence.lift_height is None:
        return []
    if state.tip.height < max(fence.lift_height, fence.signed_height):
        return []
    state.fence = None
    return [Persist(records=(FenceLifted(height=state.tip.height),))]


def collect_proof(state: ReplicaState, sender: ReplicaId, status: Status) -> None:
    """Note the decided height that another member proves; at height 0 there is nothing to prove."""
    fence = state.fence
    if fence is None or fence.lift_height is not None or peer_of(state, sender) is None:
        return
    if status.certificate is not None:
        fence.proven[sender] = status.certificate.height
    elif status.height == GENESIS_HEIGHT + 1:
        fence.proven.setdefault(sender, GENESIS_HEIGHT)
    if len(fence.proven) >= others_needed(state.members.quorum):
        highest = max(state.tip.height, *fence.proven.values())
        fence.lift_height = Height(highest + FENCE_HEIGHTS)


def on_own_vote(state: ReplicaState, sender: ReplicaId, vote: Vote) -> list[Effect]:
    """Somebody shows us a vote with our signature: do we remember it?"""
    kind = type(vote).__name__
    if vote.height < height_of(state):
        return [Ignore(sender=sender, kind=kind, reason="our own vote, of a decided height")]
    if vote.height == height_of(state) and _is_remembered(state.instance.own, vote):
        return [Ignore(sender=sender, kind=kind, reason="our own vote, remembered")]
    ignored = Ignore(sender=sender, kind=kind, reason="our own vote, forgotten")
    reason = "a peer holds a vote of ours that the journal does not"
    return [ignored, *raise_fence(state, reason, signed_height=vote.height)]


def note_boot(state: ReplicaState, sender: ReplicaId, status: Status) -> list[Effect]:
    """Learn whose boot ids a peer hears: does it hear our key from somewhere else?"""
    peer = peer_of(state, sender)
    if peer is None:
        return []
    peer.boot_id = status.boot_id
    for replica, boot_id in status.heard:
        if replica != state.config.replica:
            continue
        if boot_id == state.config.boot_id:
            peer.knows_boot, peer.doubts = True, 0
        elif peer.knows_boot and state.heartbeats > HEARTBEATS_OF_GRACE:
            peer.doubts = min(peer.doubts + 1, DOUBTS_MAX)
    doubters = sum(one.doubts >= DOUBTS_MAX for one in state.peers.values())
    if doubters < state.members.quorum.weak or state.fence is not None:
        return []
    for one in state.peers.values():
        one.doubts = 0
    return raise_fence(state, "others hear our key with another boot id")


def others_needed(quorum: QuorumSystem) -> int:
    return quorum.n - quorum.strong + quorum.f if quorum.f else quorum.n - 1


def _is_remembered(own: Own, vote: Vote) -> bool:
    """Whether we hold that very vote, or a later one of its kind: votes of a kind only ascend."""
    match vote:
        case PrePrepare():  # Above view 0 it was said inside our new-view.
            kept: Vote | None = own.pre_prepare if vote.view == FIRST_VIEW else own.new_view
        case Prepare():
            kept = own.prepare
        case Commit():
            kept = own.commit
        case ViewChange():
            kept = own.view_change
        case NewView():
            kept = own.new_view
    if kept is None or kept.view < vote.view:
        return False
    return kept.view > vote.view or _about(kept) == _about(vote)


def _about(vote: Vote) -> object:
    return vote.prepared if isinstance(vote, ViewChange) else vote.digest
