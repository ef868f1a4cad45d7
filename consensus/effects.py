"""What a replica asks of the world, in order.

The order of the list is the order of the world: whoever performs it finishes one effect before it
begins the next, so `Persist` before `Send` is "durable before sent", and a crash between any two
effects is a crash that the protocol survives.
"""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.blocks import Block
from consensus.events import Timer
from consensus.messages import Message
from consensus.records import Record
from crypto.evidence import Evidence
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import CommitCertificate, Height, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """Append the records to the vote journal, all of them durable before the next effect.

    A `ProposalRecord` first makes the bodies and sidecars of its block durable.
    """

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a message to one replica, or drop it if that is not connected."""

    to: ReplicaId
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Send a message to every other replica that is connected."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBlocks:
    """Answer a fetch with `Blocks` from storage, as many of `count` as one message holds."""

    to: ReplicaId
    from_height: Height
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendProposal:
    """Answer with `Proposal` if a `ProposalRecord` of that digest was made durable here."""

    to: ReplicaId
    height: Height
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProposal:
    """Make a block on top of the parent and answer `ProposalMade`; empty if nothing waits."""

    height: Height
    view: View
    epoch: Epoch
    parent: Digest
    parent_certificate: CommitCertificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckProposal:
    """Validate a block on top of the executed parent and answer `ProposalChecked`.

    `is_fresh`: the block was made for this view, so its time is compared with the clock; one due
    a little later is answered when it is due. `holders` have promised to have the bodies, and
    `bodies` are those that came along, if any did.
    """

    height: Height
    view: View
    block: Block
    is_fresh: bool
    holders: tuple[ReplicaId, ...]
    bodies: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """The block is decided: make block and certificate durable, execute, say `BlockExecuted`.

    `bodies` is None if the block was checked here before. One that cannot be executed, or leads
    to another root than the certified one, stops the node.
    """

    block: Block
    certificate: CommitCertificate
    bodies: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Start a timer; one of the same kind that runs is replaced."""

    timer: Timer
    delay_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    """Stop a timer."""

    timer: Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEvidence:
    """A member signed two votes for one slot: keep the proof, bring it to the ledger (rule 16).

    At most once for each slot; both signatures were checked.
    """

    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """Something was dropped; log and count it. `sender` is None for events of our own."""

    sender: ReplicaId | None
    kind: str
    reason: str


Effect: TypeAlias = (
    Persist
    | Send
    | Broadcast
    | SendBlocks
    | SendProposal
    | RequestProposal
    | CheckProposal
    | Decide
    | SetTimer
    | CancelTimer
    | ReportEvidence
    | Ignore
)
