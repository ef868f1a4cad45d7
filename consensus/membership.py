"""Whose turn it is: the replica set of one height, its order, and its primary in each view.

The set of height h is the one in the state after block h-2; the epoch rises by one whenever the
set differs from that of h-1. The right to be primary depends on the chain alone: view 0 belongs to
the proposer of the block before, so that a healthy primary stays and a deposed one is gone, and
every `rotate_every` heights to the member after it, so that nobody stays for ever. That number may
change too, by the same rule: the pace of height h is the one in the state after block h-2.
"""

from dataclasses import dataclass, field

from crypto.quorum import QuorumSystem
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import Height, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What the consortium agreed about time and turns: milliseconds, and heights."""

    idle_block_ms: int
    rotate_every: int


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of one height, with what is asked of them many times a block.

    `pace` is that of the height, None the one a replica was configured with. `is_mute` says that
    this replica does not hold the key that the set names for it: it follows, and signs nothing.
    """

    epoch: Epoch
    validators: ValidatorSet
    pace: Pace | None = None
    is_mute: bool = False
    order: tuple[ReplicaId, ...] = field(init=False, compare=False, repr=False)
    quorum: QuorumSystem = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        order = tuple(member.index for member in self.validators.members)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "quorum", QuorumSystem(len(order)))


def follow(
    current: Membership,
    validators: ValidatorSet,
    *,
    pace: Pace | None = None,
    is_mute: bool = False,
) -> Membership:
    """Return the membership of the height after `current`'s; a pace of None stays as it was."""
    pace = pace or current.pace
    if (validators, pace, is_mute) == (current.validators, current.pace, current.is_mute):
        return current
    epoch = Epoch(current.epoch + (validators != current.validators))
    return Membership(epoch, validators, pace, is_mute)


def primary_of(
    members: Membership,
    height: Height,
    view: View,
    *,
    last_proposer: ReplicaId | None,
    rotate_every: int,
) -> ReplicaId:
    """Return whose turn it is; `last_proposer` is the one the header of `height - 1` names."""
    order = members.order
    return order[(_base(order, height, last_proposer, rotate_every) + view) % len(order)]


def _base(
    order: tuple[ReplicaId, ...],
    height: Height,
    last_proposer: ReplicaId | None,
    rotate_every: int,
) -> int:
    """Return the position of the primary of view 0."""
    if last_proposer is None:
        return 0
    if last_proposer in order and height % rotate_every:
        return order.index(last_proposer)
    after = (at for at, member in enumerate(order) if member > last_proposer)
    return next(after, 0)
