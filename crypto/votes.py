"""Votes and certificates: what replicas sign, and the proofs that enough of them did.

A vote is an Ed25519 signature over fixed-width, big-endian fields:

    domain || chain id (32) || epoch (8) || type (1) || height (8) || view (8) || digest (32)

Blocks and justifications travel beside votes and are never signed inside one. The digest of a
view-change is that of the prepared certificate it reports, or zeros: else a new primary could show
the vote without the certificate.

A certificate is a map from signer to signature with exactly a quorum of entries, all of them
checked, in the ascending order of the signers; a repeated signer does not decode. The functions
that check one first check its form, then hand out one job per signature, so that a caller may
check many at once elsewhere.
"""

import enum
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, NewType

from crypto.errors import InvalidCertificate
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.schema import U32, U64, Bytes64, Count, encode
from crypto.signatures import Scheme, SignatureJob, is_valid_many
from crypto.validators import MEMBERS_MAX, Epoch, ReplicaId, ValidatorSet

Height = NewType("Height", U64)
"""Position of a block in the chain; the genesis state is height 0, the first block height 1."""

View = NewType("View", U32)
"""Number of a primary's turn within one height; every height starts at view 0."""

GENESIS_HEIGHT: Final = Height(0)
FIRST_VIEW: Final = View(0)

NO_DIGEST: Final = Digest(bytes(32))
"""What a vote about nothing signs."""

CERTIFICATE_BYTES_MAX: Final = 128 + MEMBERS_MAX * 72

_FIELDS: Final = struct.Struct(">QBQQ32s")

Signatures = Annotated[tuple[tuple[ReplicaId, Bytes64], ...], Count(0, MEMBERS_MAX)]


class VoteType(enum.Enum):
    """What a vote says; the number is part of what is signed."""

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    VIEW_CHANGE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCertificate:
    """Proof that a quorum agreed on the order of one block: no other is prepared in that view.

    `primary_signature` is the primary's pre-prepare; `signatures` are prepares of others,
    ascending by signer. Together they are a quorum.
    """

    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    primary: ReplicaId
    primary_signature: Bytes64
    signatures: Signatures

    def __post_init__(self) -> None:
        signers = _ascending(self.signatures)
        if self.primary in signers:
            raise ValueError("the primary votes with its pre-prepare alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitCertificate:
    """Proof that a block is decided: commits of a quorum, ascending by signer."""

    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX

    epoch: Epoch
    height: Height
    view: View
    digest: Digest
    signatures: Signatures

    def __post_init__(self) -> None:
        _ascending(self.signatures)


def vote_preimage(
    chain_id: ChainId, epoch: Epoch, vote: VoteType, height: Height, view: View, digest: Digest
) -> bytes:
    """Return the bytes that a vote signs."""
    fields = _FIELDS.pack(epoch, vote.value, height, view, digest)
    return Domain.VOTE.value + chain_id + fields


def certificate_digest(certificate: CommitCertificate) -> Digest:
    """Return what a header commits to as its parent's certificate."""
    return digest(Domain.CERTIFICATE, encode(certificate))


def prepared_digest(prepared: PreparedCertificate | None) -> Digest:
    """Return what a view-change signs about the certificate it reports."""
    if prepared is None:
        return NO_DIGEST
    return digest(Domain.PREPARED_CERTIFICATE, encode(prepared))


def check_commit_certificate(
    certificate: CommitCertificate, validators: ValidatorSet, chain_id: ChainId, *, epoch: Epoch
) -> None:
    """Raise `InvalidCertificate` unless a quorum of the epoch's set decided this.

    The caller compares height and digest with what it wants proven.
    """
    jobs = commit_certificate_jobs(certificate, validators, chain_id, epoch=epoch)
    _check_all(jobs, "commit", certificate.height)


def check_prepared_certificate(
    certificate: PreparedCertificate, validators: ValidatorSet, chain_id: ChainId, *, epoch: Epoch
) -> None:
    """Raise `InvalidCertificate` unless a quorum of the epoch's set prepared this.

    Whose turn it was to be primary depends on the chain: the caller compares.
    """
    jobs = prepared_certificate_jobs(certificate, validators, chain_id, epoch=epoch)
    _check_all(jobs, "prepared", certificate.height)


def commit_certificate_jobs(
    certificate: CommitCertificate, validators: ValidatorSet, chain_id: ChainId, *, epoch: Epoch
) -> tuple[SignatureJob, ...]:
    """Check the form and return the signatures that are left to check."""
    _check_form(certificate.epoch, epoch, len(certificate.signatures), validators)
    preimage = vote_preimage(
        chain_id,
        epoch,
        VoteType.COMMIT,
        certificate.height,
        certificate.view,
        certificate.digest,
    )
    return tuple(_jobs(certificate.signatures, preimage, validators))


def prepared_certificate_jobs(
    certificate: PreparedCertificate, validators: ValidatorSet, chain_id: ChainId, *, epoch: Epoch
) -> tuple[SignatureJob, ...]:
    """Check the form and return the signatures that are left to check."""
    _check_form(certificate.epoch, epoch, 1 + len(certificate.signatures), validators)
    pre_prepare, prepare = (
        vote_preimage(
            chain_id, epoch, vote, certificate.height, certificate.view, certificate.digest
        )
        for vote in (VoteType.PRE_PREPARE, VoteType.PREPARE)
    )
    primary = ((certificate.primary, certificate.primary_signature),)
    return (
        *_jobs(primary, pre_prepare, validators),
        *_jobs(certificate.signatures, prepare, validators),
    )


def vote_job(
    signer: ReplicaId, signature: bytes, preimage: bytes, validators: ValidatorSet
) -> SignatureJob:
    """Return the check of one vote; raise `InvalidCertificate` for a signer outside the set."""
    member = validators.member(signer)
    if member is None:
        raise InvalidCertificate(f"replica {signer} is not a member of this epoch")
    return SignatureJob(Scheme.ED25519, member.vote_key, signature, preimage)


def _check_form(claimed: Epoch, epoch: Epoch, votes: int, validators: ValidatorSet) -> None:
    if claimed != epoch:
        raise InvalidCertificate(f"a certificate of epoch {claimed} where {epoch} is due")
    quorum = validators.quorum.strong
    if votes != quorum:
        raise InvalidCertificate(f"{votes} votes where a quorum has exactly {quorum}")


def _jobs(
    signatures: Iterable[tuple[ReplicaId, bytes]], preimage: bytes, validators: ValidatorSet
) -> Iterator[SignatureJob]:
    for signer, signature in signatures:
        yield vote_job(signer, signature, preimage, validators)


def _check_all(jobs: tuple[SignatureJob, ...], title: str, height: Height) -> None:
    if not all(is_valid_many(jobs)):
        raise InvalidCertificate(f"a wrong signature in the {title} certificate of height {height}")


def _ascending(signatures: tuple[tuple[ReplicaId, bytes], ...]) -> list[ReplicaId]:
    signers = [signer for signer, _ in signatures]
    if signers != sorted(set(signers)):
        raise ValueError("signers are listed once each, ascending")
    return signers
