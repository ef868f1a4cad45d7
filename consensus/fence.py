"""The fence (rule 19): a replica that may not remember what it signed signs nothing.

It is raised when the journal is missing or was cut, when the directory is not where it last ran
(`shell.restart`), when somebody shows a vote of ours that the journal does not hold, and when
somebody shows a start of ours that it does not know (`consensus.hearing`). Behind it the replica
follows decisions and answers questions. It asks n - q + f others for proof of what they have
decided; with H the highest of that, whatever it may have signed is at most at H + 2: it signed at x
only after x - 1 was decided, by a quorum that had decided x - 2, and every n - q + f others hold a
correct one of that quorum. So it votes again after deciding H + 3. Those others are members of the
height being agreed: where the set changes it asks again, for it may have voted in that one. Where
f = 0 nobody may forget: there all others are asked, and fewer than a quorum of them cannot go on
alone.
"""

from typing import Final, assert_never

from consensus.boots import NOBODY
from consensus.effects import Effect, Ignore, Persist
from consensus.events import TimerKind
from consensus.messages import ViewChange, Vote
from consensus.peers import peer_of
from consensus.records import BOOTS_KEPT, Booted, FenceLifted, FenceRaised, Record
from consensus.state import Fence, Own, ReplicaState, height_of, is_executed
from consensus.timers import cancel_timer
from crypto.evidence import SignedVote
from crypto.hashing import Digest
from crypto.quorum import QuorumSystem
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    FIRST_VIEW,
    GENESIS_HEIGHT,
    CommitCertificate,
    Height,
    VoteType,
    prepared_digest,
)

FENCE_HEIGHTS: Final = 3


def raise_fence(
    state: ReplicaState,
    reason: str,
    *,
    signed_height: Height = GENESIS_HEIGHT,
    epoch: Epoch | None = None,
) -> list[Effect]:
    """Sign nothing from now on, restarts included; we are known to have signed as high as said.

    `epoch` is the latest in which we may have signed what is forgotten, None if nobody knows: a
    fence that was to fall at a restart of the chain stays, unless that was before it.
    """
    fence, restart = state.fence, state.restart
    if fence is not None:
        fence.signed_height = max(fence.signed_height, signed_height)
        is_before = epoch is not None and restart is not None and epoch < restart.epoch
        if not fence.falls_at_restart or is_before:
            return []
    state.fence = Fence(reason=reason, signed_height=signed_height)
    return [
        *cancel_timer(state, TimerKind.PROPOSE),
        *cancel_timer(state, TimerKind.VIEW_CHANGE),
        Persist(records=(FenceRaised(reason=reason),)),
    ]


def lift_if_passed(state: ReplicaState) -> list[Effect] | None:
    """Vote again once others have decided beyond whatever we may have signed.

    Not while this start still listens, and not before it is over if a stranger with our key was
    found alive: of the two at least one must stay silent, so both do until one has ended.
    """
    fence, boots = state.fence, state.boots
    if fence is None or fence.lift_height is None or not is_executed(state):
        return None
    if state.listening is not None or boots.has_twin:
        return None
    if state.tip.height < max(fence.lift_height, fence.signed_height):
        return None
    state.fence = None
    records: list[Record] = [FenceLifted(height=state.tip.height)]
    if boots.strangers:  # They have ended: from now on they are starts of our own.
        # Starts that are shown later with numbers up to theirs are earlier ones as well.
        boots.number = max(boots.number, *boots.strangers.values()) + BOOTS_KEPT + 1
        boots.earlier = (*boots.earlier, *boots.strangers)[-BOOTS_KEPT:]
        boots.strangers, boots.seen, boots.said = {}, NOBODY, None
        records.append(
            Booted(number=boots.number, boot_id=state.config.boot_id, earlier=boots.earlier)
        )
    return [Persist(records=tuple(records))]


def collect_proof(
    state: ReplicaState,
    sender: ReplicaId,
    height: Height,
    certificate: CommitCertificate | None,
) -> None:
    """Note the decided height that another member proves; at height 0 there is nothing to prove.

    `height` is being agreed there, `certificate` proves the one below.
    """
    fence = state.fence
    if fence is None or fence.lift_height is not None or peer_of(state, sender) is None:
        return
    if certificate is not None:
        fence.proven[sender] = certificate.height
    elif height == GENESIS_HEIGHT + 1:
        fence.proven.setdefault(sender, GENESIS_HEIGHT)
    proven = [fence.proven[one] for one in state.members.order if one in fence.proven]
    if len(proven) >= others_needed(state.members.quorum):
        highest = max(state.tip.height, *proven)
        fence.lift_height = Height(highest + FENCE_HEIGHTS)


def ask_members_again(state: ReplicaState) -> None:
    """Take proofs of the members alone from here on: others vote now, and have voted with us.

    Those of former members say nothing about what we signed since, in this set and forgotten.
    """
    fence = state.fence
    if fence is not None:
        fence.lift_height = None
        fence.proven = {
            replica: height
            for replica, height in fence.proven.items()
            if replica in state.members.order
        }


def on_own_vote(
    state: ReplicaState, sender: ReplicaId, kind: str, vote: SignedVote
) -> list[Effect]:
    """Somebody shows us a vote with our signature: do we remember it?"""
    if vote.height < height_of(state):
        return [Ignore(sender=sender, kind=kind, reason="our own vote, of a decided height")]
    if vote.epoch < state.members.epoch:
        return [Ignore(sender=sender, kind=kind, reason="our own vote, of an epoch that is over")]
    if vote.height == height_of(state) and _is_remembered(state.instance.own, vote):
        return [Ignore(sender=sender, kind=kind, reason="our own vote, remembered")]
    ignored = Ignore(sender=sender, kind=kind, reason="our own vote, forgotten")
    reason = "a peer holds a vote of ours that the journal does not"
    fenced = raise_fence(state, reason, signed_height=vote.height, epoch=vote.epoch)
    return [ignored, *fenced]


def others_needed(quorum: QuorumSystem) -> int:
    """Return how many others must prove what they have decided before the fence has a goal."""
    return quorum.n - quorum.strong + quorum.f if quorum.f else quorum.n - 1


def _is_remembered(own: Own, vote: SignedVote) -> bool:
    """Whether we hold that very vote, or a later one of its kind: votes of a kind only ascend."""
    match vote.vote:
        case VoteType.PRE_PREPARE:  # Above view 0 it was said inside our new-view.
            kept: Vote | None = own.pre_prepare if vote.view == FIRST_VIEW else own.new_view
        case VoteType.PREPARE:
            kept = own.prepare
        case VoteType.COMMIT:
            kept = own.commit
        case VoteType.VIEW_CHANGE:
            kept = own.view_change
        case _:
            assert_never(vote.vote)
    if kept is None or kept.view < vote.view:
        return False
    return kept.view > vote.view or _about(kept) == vote.digest


def _about(vote: Vote) -> Digest:
    return prepared_digest(vote.prepared) if isinstance(vote, ViewChange) else vote.digest
