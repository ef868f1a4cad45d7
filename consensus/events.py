"""What may happen to a replica: the only things `consensus.core.handle` is told."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from consensus.blocks import Block
from consensus.membership import Pace
from consensus.messages import Message, Suspicion
from crypto.hashing import Digest
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import Height, View


class TimerKind(enum.Enum):
    """What a timer is for; at most one of each kind runs."""

    PROPOSE = "propose"  # The primary's: gathering delay, or the wait for an idle block.
    VIEW_CHANGE = "view_change"
    FETCH = "fetch"  # Until whoever was asked for a block has answered.
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """One setting of a timer; an expiry with another serial is of an earlier setting: stale."""

    kind: TimerKind
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived:
    """A message arrived from `sender`, as its connection proves.

    Every signature in it is valid (`consensus.verification`); a block's fields repeat its header,
    its payload leads to the header's transaction root, and bodies are those of the payload.
    """

    sender: ReplicaId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerExpired:
    """The delay of a `SetTimer` has passed."""

    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalMade:
    """The block that `RequestProposal` asked for."""

    height: Height
    view: View
    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalChecked:
    """The verdict that `CheckProposal` asked for.

    `refusal` is the reason of a refused block; None: the block is valid, executable here, and its
    bodies and sidecars are at hand.
    """

    height: Height
    view: View
    digest: Digest
    refusal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockExecuted:
    """A decided block is durable and executed; `validators` are those of `height + 2`.

    So is `pace`, None where it never changes. `is_mute`: this node does not hold the key that they
    name for it.
    """

    height: Height
    digest: Digest
    validators: ValidatorSet
    pace: Pace | None = None
    is_mute: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogChanged:
    """Whether the pool holds a transaction that a block could take now.

    Sent before the `BlockExecuted` that changes it, so that the next height starts informed.
    """

    waiting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLagged:
    """Our own process was asleep or busy for `lag_ms`: the primary is not to blame for it."""

    lag_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimarySuspected:
    """The shell measured that the base primary is slow, or leaves out what waits (rule 13)."""

    primary: ReplicaId
    reason: Suspicion


Event: TypeAlias = (
    MessageReceived
    | TimerExpired
    | ProposalMade
    | ProposalChecked
    | BlockExecuted
    | BacklogChanged
    | LoopLagged
    | PrimarySuspected
)
