"""What a replica writes into its vote journal before it speaks, and reads back when it restarts.

Whatever is signed is in the journal, durable, before it is sent: a restarted replica repeats its
votes byte for byte and never contradicts them. Records of a height are needed until that height
is decided and stored; the journal may forget them then, never earlier.

`init` writes `JournalStarted` as the first record, so a journal without it is a lost one, and its
replica stays behind a fence until the chain has moved on from whatever it may have signed.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, get_args

from consensus.blocks import BLOCK_BYTES_MAX, Block
from consensus.messages import NewView, ViewChange
from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest
from crypto.schema import U64, Bytes16, Bytes64, Count, Size, decode, encode
from crypto.validators import Epoch, ReplicaId
from crypto.votes import CERTIFICATE_BYTES_MAX, Height, PreparedCertificate, View, VoteType

BOOTS_KEPT: Final = 16
"""How many of its last boot ids a replica knows as its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStarted:
    """The journal of this replica of this chain begins; nothing was ever signed before."""

    WIRE_TAG: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    chain_id: ChainId
    replica: ReplicaId


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceRaised:
    """The replica may have signed what it does not remember: it signs nothing for now."""

    WIRE_TAG: ClassVar[int] = 2
    WIRE_BYTES_MAX: ClassVar[int] = 160

    reason: Annotated[str, Size(1, 128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceLifted:
    """Others have decided `height`, beyond whatever this replica may have signed."""

    WIRE_TAG: ClassVar[int] = 3
    WIRE_BYTES_MAX: ClassVar[int] = 32

    height: Height


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """Start number `number` of this replica, under a boot id never used before.

    `earlier` are the last boot ids before it, oldest first: others may still speak of them.
    """

    WIRE_TAG: ClassVar[int] = 9
    WIRE_BYTES_MAX: ClassVar[int] = 32 + 20 * BOOTS_KEPT

    number: U64
    boot_id: Bytes16
    earlier: Annotated[tuple[Bytes16, ...], Count(0, BOOTS_KEPT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """A quorum of operators restarts the chain: it goes on above this block, in `epoch`."""

    WIRE_TAG: ClassVar[int] = 10
    WIRE_BYTES_MAX: ClassVar[int] = 64

    epoch: Epoch
    height: Height
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalRecord:
    """A valid proposal; whoever makes this record durable writes bodies and sidecars first."""

    WIRE_TAG: ClassVar[int] = 4
    WIRE_BYTES_MAX: ClassVar[int] = BLOCK_BYTES_MAX + 64

    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRecord:
    """A pre-prepare of view 0, prepare or commit of this replica."""

    WIRE_TAG: ClassVar[int] = 5
    WIRE_BYTES_MAX: ClassVar[int] = 256

    vote: VoteType
    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRecord:
    """The prepared certificate that a commit of this replica speaks of."""

    WIRE_TAG: ClassVar[int] = 6
    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX + 64

    certificate: PreparedCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChangeRecord:
    """A view-change of this replica, whole."""

    WIRE_TAG: ClassVar[int] = 7
    WIRE_BYTES_MAX: ClassVar[int] = ViewChange.WIRE_BYTES_MAX + 16

    message: ViewChange


@dataclass(frozen=True, slots=True, kw_only=True)
class NewViewRecord:
    """A new-view of this replica, whole."""

    WIRE_TAG: ClassVar[int] = 8
    WIRE_BYTES_MAX: ClassVar[int] = NewView.WIRE_BYTES_MAX + 16

    message: NewView


Record: TypeAlias = (
    JournalStarted
    | FenceRaised
    | FenceLifted
    | ProposalRecord
    | VoteRecord
    | PreparedRecord
    | ViewChangeRecord
    | NewViewRecord
    | Booted
    | Restarted
)

_BY_TAG: Final = {kind.WIRE_TAG: kind for kind in get_args(Record)}


def encode_record(record: Record) -> bytes:
    return encode(record)


def decode_record(encoded: bytes) -> Record:
    """Return the record that `encoded` stands for, or raise `DecodeError`."""
    if len(encoded) < 2 or encoded[1] not in _BY_TAG:
        raise DecodeError("no journal record of that tag")
    record: Record = decode(_BY_TAG[encoded[1]], encoded)
    return record


def record_height(record: Record) -> Height | None:
    """Return the height after whose decision the record may be forgotten; None: keep it."""
    match record:
        case JournalStarted() | FenceRaised() | FenceLifted() | Booted() | Restarted():
            return None
        case ProposalRecord(block=block):
            return block.height
        case VoteRecord(height=height):
            return height
        case PreparedRecord(certificate=certificate):
            return certificate.height
        case ViewChangeRecord(message=message) | NewViewRecord(message=message):
            return message.height
