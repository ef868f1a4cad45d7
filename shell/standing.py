"""How far a node is on its way into the replica set, in one word for its operator."""

import enum

from crypto.signatures import public_key
from ledger.nodes import NodeStanding, get_node
from shell.visits import Visits, has_anchor, is_linked, is_nowhere_welcome


class Stage(enum.Enum):
    """Where a node stands, from outside to inside."""

    FOLLOWING = "following"  # It takes the blocks that there are already.
    UNREACHED = "unreached"  # Nobody is there at the addresses that it knows.
    UNKNOWN = "unknown"  # The members answer only keys that the ledger names, and not this one.
    WAITING = "waiting"  # It has them all; the members have yet to take it, or its keys.
    LEARNING = "learning"  # A learner that says that it is ready as soon as it is.
    VOTING = "voting"
    FENCED = "fenced"  # A member that may have forgotten what it signed.
    REMOVED = "removed"


def stage_of(visits: Visits) -> Stage:
    """Return where the node stands after its tip."""
    replica, keys = visits.replica, visits.following.keys
    entry = get_node(replica.chain.view(), keys.replica)
    is_ours = entry is not None and entry.vote_key == public_key(keys.present.vote).data
    if entry is not None and is_ours and entry.standing is NodeStanding.REMOVED:
        return Stage.REMOVED
    if visits.is_unreached:
        return Stage.UNREACHED
    if entry is None or not is_ours:
        if visits.has_all:
            return Stage.WAITING
        return Stage.UNKNOWN if is_nowhere_welcome(visits) else Stage.FOLLOWING
    if entry.standing is NodeStanding.LEARNER:
        return Stage.LEARNING
    if replica.state.fence is not None:
        return Stage.FENCED
    if replica.state.members.is_mute or keys.replica not in replica.state.members.order:
        return Stage.FOLLOWING
    if not has_anchor(visits) or not is_linked(visits):
        return Stage.FOLLOWING  # A member on the chain as it was when this node went to sleep.
    return Stage.VOTING
