"""How old may be what a node knows about rights while it serves: one bound, kept without trust.

A right that has ended is in a decided block. A node that does not have that block yet has a tip
from before it, so the age of the tip bounds what it can have missed, whoever its peers are and
whatever they say; an idle chain decides a block every `idle_block_ms`. What peers say only makes it
stop earlier: it serves while f + 1 members have lately been no further than itself.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from consensus.messages import Status
from crypto.quorum import QuorumSystem
from crypto.validators import ReplicaId, ValidatorSet
from shell.replica import Replica

HEARD_MS: Final = 10_000
"""For how long a peer's word about its height counts."""

STALL_MS: Final = 10_000
"""How much longer than an idle block's delay a block may take before this node stops serving."""


def is_fresh(replica: Replica) -> bool:
    """Whether this node may serve what only a right opens."""
    chain = replica.chain
    return is_fresh_at(
        replica.clock.now_ms(),
        tip_height=chain.tip.height,
        tip_time_ms=chain.tip.time_ms,
        idle_block_ms=chain.parameters().idle_block_ms,
        quorum=chain.quorum(),
        heard=words_of_members(replica.statuses, chain.next_set),
    )


def words_of_members(
    statuses: Mapping[int, tuple[Status, int]], validators: ValidatorSet
) -> list[tuple[Status, int]]:
    """Return the heartbeats of members: a learner is a peer too, and is behind by its nature."""
    return [
        heard
        for peer_id, heard in statuses.items()
        if validators.member(ReplicaId(peer_id)) is not None
    ]


def max_staleness_ms(idle_block_ms: int) -> int:
    """Return for how long after a right's end bytes may still be served, clock errors apart."""
    return idle_block_ms + STALL_MS


def is_fresh_at(
    now_ms: int,
    *,
    tip_height: int,
    tip_time_ms: int,
    idle_block_ms: int,
    quorum: QuorumSystem,
    heard: Iterable[tuple[Status, int]],
) -> bool:
    """Judge the age of the tip, and what peers said; `heard` is each status with its arrival."""
    if now_ms - tip_time_ms > max_staleness_ms(idle_block_ms):
        return False
    agreeing = sum(
        now_ms - at_ms <= HEARD_MS and status.height <= tip_height + 1 for status, at_ms in heard
    )
    return agreeing >= min(quorum.weak, quorum.n - 1)
