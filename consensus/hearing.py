"""Hearing before voting: what a start of a replica must be told before it signs anything new.

A journal cannot tell that it is an old copy of itself, nor a process that another runs with its
key. Others can. Every start draws a boot id, makes it durable and says it in each status; whoever
hears a new one answers with an `Echo`: the last starts of that replica that spoke here, its
highest vote known here, and the proof of what is decided. A start listens until

- q - 1 others have answered it (without them there is no quorum, so waiting costs no progress);
- `listen_heartbeats` more have passed: a stranger that runs with our key at present is shown our
  statement in this time by whoever hears us both, falls silent, and its answer comes back;
- it has decided what any of them has proven to be decided.

It may repeat what the journal holds meanwhile, byte for byte. Whatever it is shown that its journal
does not know, a later vote or another start, raises the fence. All of it carries our own
signature, so nobody can fence another with a lie.
"""

from typing import Final

from consensus.boots import Boot
from consensus.decision import stop_agreeing
from consensus.effects import Broadcast, Effect, Ignore, Send
from consensus.evidence import signed_vote
from consensus.fence import collect_proof, on_own_vote, raise_fence
from consensus.messages import STARTS_KEPT, Echo, Status, ViewChange, Vote
from consensus.peers import note_position, peer_of
from consensus.records import BOOTS_KEPT
from consensus.soundness import commit_fault
from consensus.state import ReplicaState, height_of, make_status
from crypto.evidence import SignedVote
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, CommitCertificate, VoteType, prepared_digest

ECHOES_MAX: Final = 4
"""Echoes that one member gets between two heartbeats: enough for two starts of it in turn."""

STRANGER: Final = "another process has used our key: it may have voted"
TWIN: Final = "another process runs with our key: stop it, then restart this node"

_PHASES: Final = (VoteType.VIEW_CHANGE, VoteType.PRE_PREPARE, VoteType.PREPARE, VoteType.COMMIT)
"""The order in which a replica casts its votes in one view."""


def bare_vote(vote: Vote) -> SignedVote:
    """Return a vote without what travels beside it; of a new-view, its proposal."""
    if not isinstance(vote, ViewChange):
        return signed_vote(vote)
    return SignedVote(
        epoch=vote.epoch,
        height=vote.height,
        view=vote.view,
        vote=VoteType.VIEW_CHANGE,
        digest=prepared_digest(vote.prepared),
        signer=vote.signer,
        signature=vote.signature,
    )


def note_vote(state: ReplicaState, vote: Vote) -> None:
    """Remember the highest vote of another member, also when its height is decided."""
    peer = peer_of(state, vote.signer)
    if peer is None:
        return
    heard = bare_vote(vote)
    if peer.last_vote is None or _place(heard) > _place(peer.last_vote):
        peer.last_vote = heard


def answer_boot(state: ReplicaState, sender: ReplicaId, status: Status) -> list[Effect]:
    """Remember which start of a member speaks, and tell it what is known of the others."""
    peer, boot = peer_of(state, sender), status.boot
    if peer is None or boot is None or boot.replica != sender:
        return []
    is_other = not peer.boots or peer.boots[-1].boot_id != boot.boot_id
    others = tuple(one for one in peer.boots if one.boot_id != boot.boot_id)
    peer.boots = (*others[-(STARTS_KEPT - 1) :], boot)
    if not (is_other or status.is_listening or status.is_fenced):
        return []
    if peer.echoes >= ECHOES_MAX:
        return []
    peer.echoes += 1
    return [Send(to=sender, message=make_echo(state, sender))]


def make_echo(state: ReplicaState, replica: ReplicaId) -> Echo:
    """Say what is remembered of a member to the start of it that spoke last."""
    peer = state.peers[replica]
    assert peer.boots, "only a start that spoke is answered"
    return Echo(
        boot_id=peer.boots[-1].boot_id,
        boots=peer.boots,
        vote=peer.last_vote,
        height=height_of(state),
        certificate=state.tip.certificate,
    )


def on_echo(state: ReplicaState, sender: ReplicaId, echo: Echo) -> list[Effect]:
    """Learn what another member remembers of us."""
    if peer_of(state, sender) is None:
        return [Ignore(sender=sender, kind="Echo", reason="not a member")]
    effects: list[Effect] = []
    me = state.config.replica
    for boot in echo.boots:
        if boot.replica == me and boot.boot_id != state.config.boot_id:
            effects += _on_other_start(state, boot)
    if echo.vote is not None and echo.vote.signer == me:
        effects += on_own_vote(state, sender, "Echo", echo.vote)
    note_position(state, sender, echo.height, FIRST_VIEW)
    collect_proof(state, sender, echo.height, echo.certificate)
    listening, proof = state.listening, echo.certificate
    if listening is None or echo.boot_id != state.config.boot_id:
        return effects
    listening.answered[sender] = None
    if proof is not None and (listening.proof is None or _reach(proof) > _reach(listening.proof)):
        listening.proof = proof
    return effects


def take_proof(state: ReplicaState) -> list[Effect] | None:
    """Decide by the certificate that an echo has shown, once its height has come."""
    listening, instance = state.listening, state.instance
    if listening is None or listening.proof is None or instance.certificate is not None:
        return None
    if commit_fault(state, listening.proof) is not None:
        return None
    instance.certificate = listening.proof
    return stop_agreeing(state)


def stop_listening(state: ReplicaState) -> list[Effect] | None:
    """Sign again once enough others were heard, for long enough, and nothing decided is missing."""
    listening, members = state.listening, state.members
    if listening is None:
        return None
    answered = sum(replica in members.order for replica in listening.answered)
    if answered < members.quorum.strong - 1:
        return None
    if listening.heard_at is None:
        listening.heard_at = state.heartbeats
    if state.heartbeats < listening.heard_at + _heartbeats_to_wait(state):
        return None
    if listening.proof is not None and _is_ahead(state, listening.proof):
        return None
    state.listening = None
    return []


def _is_ahead(state: ReplicaState, proof: CommitCertificate) -> bool:
    """Whether a decided block is above ours; one of an epoch before ours was lost at a restart."""
    return proof.height > state.tip.height and proof.epoch >= state.members.epoch


def _reach(proof: CommitCertificate) -> tuple[int, int]:
    return proof.epoch, proof.height


def _heartbeats_to_wait(state: ReplicaState) -> int:
    """Nobody can hear a stranger of a replica that is alone."""
    return state.config.listen_heartbeats if state.members.quorum.n > 1 else 0


def _on_other_start(state: ReplicaState, other: Boot) -> list[Effect]:
    """Another start of this replica was heard: one before us, or a stranger with our key?"""
    boots, config = state.boots, state.config
    if other.epoch < state.members.epoch:
        return []  # Whatever was signed in an epoch that is over contradicts nothing.
    is_alive = other.seen == config.boot_id
    is_ours = other.boot_id in boots.earlier or other.number + BOOTS_KEPT < boots.number
    if is_ours and not is_alive:
        return []
    is_news = boots.seen != other.boot_id
    boots.seen = other.boot_id
    boots.has_twin = boots.has_twin or is_alive
    if not is_ours and len(boots.strangers) < BOOTS_KEPT:
        boots.strangers[other.boot_id] = other.number
    effects = raise_fence(
        state, TWIN if is_alive else STRANGER, epoch=None if is_alive else other.epoch
    )
    if is_news:  # The stranger, if it lives, shall know that we do.
        effects.append(Broadcast(message=make_status(state, with_proof=False)))
    return effects


def _place(vote: SignedVote) -> tuple[int, int, int, int]:
    """Order votes as they are cast: epochs ascend with heights, and after a restart above them."""
    return vote.epoch, vote.height, vote.view, _PHASES.index(vote.vote)
