"""What replicas say to each other (PBFT §4.2-4.4), and how it becomes bytes.

    tag  message        bytes at most
    1    PrePrepare     block + 256
    2    Prepare        256
    3    Commit         256
    4    ViewChange     certificate + 256
    5    NewView        a quorum of view-changes + pre-prepare
    6    Status         certificate + 512
    7    Fetch          32
    8    Blocks         88 MiB: one block of the largest size, or many small ones
    9    FetchProposal  64
    10   Proposal       block + bodies
    11   Complaint      128
    12   Echo           certificate + 768
    20   Contradiction      384

Every vote names its epoch, so that none counts in another generation of the replica set. The
first byte of a message is its array length, the second its tag, so that the limit of the type is
known before anything is parsed.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias, get_args

from consensus.blocks import BLOCK_BYTES_MAX, BODIES_BYTES_MAX, Block, CertifiedBlock
from consensus.boots import Boot
from crypto.errors import DecodeError
from crypto.evidence import SignedVote
from crypto.hashing import ChainId, Digest, Domain
from crypto.schema import U64, Bytes16, Bytes64, Count, Range, Size, decode, encode
from crypto.validators import MEMBERS_MAX, Epoch, ReplicaId
from crypto.votes import CERTIFICATE_BYTES_MAX, CommitCertificate, Height, PreparedCertificate, View

VOTE_BYTES_MAX: Final = 256
VIEW_CHANGE_BYTES_MAX: Final = CERTIFICATE_BYTES_MAX + VOTE_BYTES_MAX
FETCH_COUNT_MAX: Final = 64
STARTS_KEPT: Final = 2
"""Starts of another member that are remembered, the last that spoke."""


class Suspicion(enum.Enum):
    """Why a primary is complained about; the number is part of what is signed."""

    SLOW = 1
    CENSORING = 2
    EQUIVOCATING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PrePrepare:
    """The primary's proposal and its vote for it; above view 0 it travels inside its new-view."""

    WIRE_TAG: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = BLOCK_BYTES_MAX + VOTE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    signer: ReplicaId
    signature: Bytes64
    block: Block

    def __post_init__(self) -> None:
        if self.block.digest != self.digest or self.block.height != self.height:
            raise ValueError("the block is not the one voted for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """A backup's vote for the order the primary proposed, and its promise to serve the block."""

    WIRE_TAG: ClassVar[int] = 2
    WIRE_BYTES_MAX: ClassVar[int] = VOTE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    signer: ReplicaId
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A vote that says: I hold a prepared certificate for this block, durably."""

    WIRE_TAG: ClassVar[int] = 3
    WIRE_BYTES_MAX: ClassVar[int] = VOTE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    signer: ReplicaId
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChange:
    """A vote that says: I have left the views below, and this is the highest I prepared in.

    `prepared` is the certificate of that view, or None; the signature covers
    `crypto.votes.prepared_digest(prepared)`.
    """

    WIRE_TAG: ClassVar[int] = 4
    WIRE_BYTES_MAX: ClassVar[int] = VIEW_CHANGE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: Annotated[View, Range(1, 2**32 - 1)]
    prepared: PreparedCertificate | None
    signer: ReplicaId
    signature: Bytes64

    def __post_init__(self) -> None:
        prepared = self.prepared
        if prepared is None:
            return
        if (prepared.epoch, prepared.height) != (self.epoch, self.height):
            raise ValueError("the certificate belongs to another height")
        if prepared.view >= self.view:
            raise ValueError("the certificate is of a view that was not left")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewView:
    """Proof that the primary of a view above 0 may propose, and its proposal.

    `view_changes` are a quorum for exactly this epoch, height and view, ascending by signer. It
    needs no signature of its own: each part has one.
    """

    WIRE_TAG: ClassVar[int] = 5
    WIRE_BYTES_MAX: ClassVar[int] = MEMBERS_MAX * VIEW_CHANGE_BYTES_MAX + PrePrepare.WIRE_BYTES_MAX

    view_changes: Annotated[tuple[ViewChange, ...], Count(1, MEMBERS_MAX)]
    pre_prepare: PrePrepare

    def __post_init__(self) -> None:
        signers = [one.signer for one in self.view_changes]
        if signers != sorted(set(signers)):
            raise ValueError("view-changes are listed once for each signer, ascending")
        slot = (self.epoch, self.height, self.view)
        if any((one.epoch, one.height, one.view) != slot for one in self.view_changes):
            raise ValueError("a view-change is for another view than the pre-prepare")

    @property
    def epoch(self) -> Epoch:
        return self.pre_prepare.epoch

    @property
    def height(self) -> Height:
        return self.pre_prepare.height

    @property
    def view(self) -> View:
        return self.pre_prepare.view

    @property
    def digest(self) -> Digest:
        return self.pre_prepare.digest

    @property
    def signer(self) -> ReplicaId:
        return self.pre_prepare.signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A heartbeat: where this replica stands and what it lacks; makes others send that again.

    `height` is being agreed, so `height - 1` is decided; `has_proposal` and `has_committed` are
    about `view`. `certificate`, sent when asked for, proves the decided height. `is_fenced` asks
    for that proof, `is_listening` for an `Echo`. `boot` says which start of this replica speaks;
    None where its epoch is unknown. `clock_ms` is stamped by the shell as the message leaves; the
    core writes 0.
    """

    WIRE_TAG: ClassVar[int] = 6
    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX + 512

    height: Height
    view: View
    has_proposal: bool
    has_committed: bool
    is_fenced: bool
    is_listening: bool
    certificate: CommitCertificate | None
    boot: Boot | None
    clock_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """An answer to a start of another replica: what is remembered of it here.

    `boot_id` is the start that is answered. `boots` are the starts of that replica heard last, and
    `vote` is its highest vote known here: all of them prove themselves by its own signature.
    `height` is being agreed here, and `certificate` proves the one below.
    """

    WIRE_TAG: ClassVar[int] = 12
    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX + 768

    boot_id: Bytes16
    boots: Annotated[tuple[Boot, ...], Count(0, STARTS_KEPT)]
    vote: SignedVote | None
    height: Height
    certificate: CommitCertificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Asks for decided blocks, `count` of them from `from_height` on."""

    WIRE_TAG: ClassVar[int] = 7
    WIRE_BYTES_MAX: ClassVar[int] = 32

    from_height: Height
    count: Annotated[int, Range(1, FETCH_COUNT_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Decided blocks of consecutive heights; none says "I cannot help"."""

    WIRE_TAG: ClassVar[int] = 8
    WIRE_BYTES_MAX: ClassVar[int] = 88 << 20

    blocks: Annotated[tuple[CertifiedBlock, ...], Count(0, FETCH_COUNT_MAX)]

    def __post_init__(self) -> None:
        heights = [one.block.height for one in self.blocks]
        if any(height != heights[0] + offset for offset, height in enumerate(heights)):
            raise ValueError("heights are consecutive")
        for one in self.blocks:
            proven = (one.certificate.height, one.certificate.digest)
            if proven != (one.block.height, one.block.digest):
                raise ValueError("a certificate proves another block")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchProposal:
    """Asks a signer of a certificate for the undecided block that it promised to serve."""

    WIRE_TAG: ClassVar[int] = 9
    WIRE_BYTES_MAX: ClassVar[int] = 64

    height: Height
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An undecided block with its bodies, or without: the signers of its certificate have them."""

    WIRE_TAG: ClassVar[int] = 10
    WIRE_BYTES_MAX: ClassVar[int] = BLOCK_BYTES_MAX + BODIES_BYTES_MAX + 64

    block: Block
    bodies: Annotated[bytes, Size(0, BODIES_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Standing: this primary is slow, censors or lies; it counts while that is base (rule 13).

    The signature covers `complaint_preimage`; it is no vote and decides nothing alone.
    """

    WIRE_TAG: ClassVar[int] = 11
    WIRE_BYTES_MAX: ClassVar[int] = 128

    epoch: Epoch
    primary: ReplicaId
    reason: Suspicion
    signer: ReplicaId
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Votes of others that contradict each other or a decision: who holds more, holds evidence."""

    WIRE_TAG: ClassVar[int] = 20
    WIRE_BYTES_MAX: ClassVar[int] = 384

    votes: Annotated[tuple[SignedVote, ...], Count(1, 2)]


Vote: TypeAlias = PrePrepare | Prepare | Commit | ViewChange | NewView
"""What belongs to one (epoch, height, view) and has a signer."""

Message: TypeAlias = (
    Vote | Status | Fetch | Blocks | FetchProposal | Proposal | Complaint | Echo | Contradiction
)

MESSAGE_KINDS: Final[tuple[type[Message], ...]] = get_args(Message)

_COMPLAINT: Final = struct.Struct(">QHB")

_BY_TAG: Final = {kind.WIRE_TAG: kind for kind in MESSAGE_KINDS}


def complaint_preimage(
    chain_id: ChainId, epoch: Epoch, primary: ReplicaId, reason: Suspicion
) -> bytes:
    """Return the bytes that a complaint signs."""
    fields = _COMPLAINT.pack(epoch, primary, reason.value)
    return Domain.COMPLAINT.value + chain_id + fields


def encode_message(message: Message) -> bytes:
    return encode(message)


def decode_message(encoded: bytes) -> Message:
    """Return the message that `encoded` stands for, or raise `DecodeError`."""
    if len(encoded) < 2 or encoded[1] not in _BY_TAG:
        raise DecodeError("no message of that tag")
    message: Message = decode(_BY_TAG[encoded[1]], encoded)
    return message
