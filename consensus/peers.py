"""What is known about the other members: claims, never facts, and no more than a few words each."""

from typing import Final

from consensus.state import Peer, ReplicaState
from crypto.validators import ReplicaId
from crypto.votes import Height, View

FAILURES_MAX: Final = 1 << 20
FETCHES_MAX: Final = 16
"""Fetches of one member, or of all strangers together, that are served between two heartbeats."""


def is_member(state: ReplicaState, replica: ReplicaId) -> bool:
    """Whether a replica votes at the height being agreed or at the next."""
    if replica in state.members.order:
        return True
    return state.next_members is not None and replica in state.next_members.order


def peer_of(state: ReplicaState, replica: ReplicaId) -> Peer | None:
    """Return what is known about another member; None for anybody else."""
    if replica == state.config.replica or not is_member(state, replica):
        return None
    return state.peers.setdefault(replica, Peer())


def forget_leavers(state: ReplicaState) -> None:
    """Drop what is known about replicas that are no longer members."""
    for replica in sorted(state.peers):
        if not is_member(state, replica):
            del state.peers[replica]


def note_position(state: ReplicaState, replica: ReplicaId, height: Height, view: View) -> None:
    """Remember the highest position that a member was heard to claim."""
    peer = peer_of(state, replica)
    if peer is not None and (height, view) > (peer.height, peer.view):
        peer.height, peer.view = height, view


def take_answer(state: ReplicaState, replica: ReplicaId) -> bool:
    """Whether a member may be answered now: once between two heartbeats, however often it asks."""
    peer = peer_of(state, replica)
    if peer is None or peer.was_answered:
        return False
    peer.was_answered = True
    return True


def take_fetch(state: ReplicaState, replica: ReplicaId) -> bool:
    """Whether a fetch is served now: anybody may catch up, nobody may keep us busy."""
    peer = peer_of(state, replica)
    if peer is None:
        state.fetches_of_strangers += 1
        return state.fetches_of_strangers <= FETCHES_MAX
    peer.fetches += 1
    return peer.fetches <= FETCHES_MAX


def note_failure(state: ReplicaState, replica: ReplicaId | None) -> None:
    """Remember that a member did not deliver what it was asked for: others are asked first."""
    peer = None if replica is None else peer_of(state, replica)
    if peer is not None:
        peer.failures = min(peer.failures + 1, FAILURES_MAX)


def note_success(state: ReplicaState, replica: ReplicaId | None) -> None:
    """Remember that a member delivered: it is asked first again."""
    peer = None if replica is None else peer_of(state, replica)
    if peer is not None:
        peer.failures = 0
