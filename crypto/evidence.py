"""Evidence of equivocation: two votes of one member that no correct replica signs both.

A correct replica signs at most one digest for each (epoch, height, view, type). Whoever holds two
holds a proof that needs nobody's word: both are signatures of the member's own vote key. The two
are kept in ascending order of their digests, so that the same two votes make the same bytes.

A signer may make further signatures for the same vote, and further votes for the same slot, so one
fault can have many evidences. They all share one `Fault`, and whoever counts or orders evidence
does so by that.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from crypto.errors import InvalidEvidence
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.schema import Bytes64, encode
from crypto.signatures import SignatureJob, is_valid_many
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import Height, View, VoteType, vote_job, vote_preimage

SINGLE_VOTES: Final = (VoteType.PRE_PREPARE, VoteType.PREPARE, VoteType.COMMIT)
"""The types that vote for a block: of each, a correct member signs one digest in a view."""


class Fault(NamedTuple):
    """The slot in which a member signed two votes: what one evidence is told from another by."""

    signer: ReplicaId
    epoch: Epoch
    height: Height
    view: View
    vote: VoteType


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVote:
    """One vote as its signer signed it, without what travelled beside it."""

    WIRE_BYTES_MAX: ClassVar[int] = 160

    epoch: Epoch
    height: Height
    view: View
    vote: VoteType
    digest: Digest
    signer: ReplicaId
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two votes of one member for one slot, about different blocks, ascending by digest.

    Nothing is proven before the two signatures are found valid.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 320

    first: SignedVote
    second: SignedVote

    def __post_init__(self) -> None:
        if self.first.vote not in SINGLE_VOTES:
            raise ValueError("a view-change votes for no block")
        if fault_of(self.first) != fault_of(self.second):
            raise ValueError("two votes of different members or slots")
        if self.first.digest >= self.second.digest:
            raise ValueError("two different votes are listed ascending by digest")

    @property
    def fault(self) -> Fault:
        return fault_of(self.first)


def fault_of(vote: SignedVote) -> Fault:
    """Return the slot of a vote."""
    return Fault(vote.signer, vote.epoch, vote.height, vote.view, vote.vote)


def make_evidence(one: SignedVote, other: SignedVote) -> Evidence | None:
    """Return what two votes prove, whichever was heard first; None: they contradict nothing."""
    if one.vote not in SINGLE_VOTES or fault_of(one) != fault_of(other):
        return None
    if one.digest == other.digest:
        return None
    first, second = sorted((one, other), key=lambda vote: vote.digest)
    return Evidence(first=first, second=second)


def evidence_digest(evidence: Evidence, chain_id: ChainId) -> Digest:
    """Return what names these very two votes; the same for whoever reports them."""
    return digest(Domain.EVIDENCE, chain_id, encode(evidence))


def evidence_jobs(
    evidence: Evidence, validators: ValidatorSet, chain_id: ChainId
) -> tuple[SignatureJob, SignatureJob]:
    """Return the two signatures to check, given the members of the evidence's epoch.

    Raises `InvalidEvidence` when the accused is none of them. The caller looks the set up by
    `evidence.fault.epoch`: a vote of one epoch proves nothing about another.
    """
    if validators.member(evidence.fault.signer) is None:
        raise InvalidEvidence(f"replica {evidence.fault.signer} is no member of that epoch")
    first, second = (
        signed_vote_job(vote, validators, chain_id) for vote in (evidence.first, evidence.second)
    )
    return first, second


def check_evidence(evidence: Evidence, validators: ValidatorSet, chain_id: ChainId) -> None:
    """Raise `InvalidEvidence` unless the accused, a member of that epoch, signed both votes."""
    if not all(is_valid_many(evidence_jobs(evidence, validators, chain_id))):
        raise InvalidEvidence(f"replica {evidence.fault.signer} did not sign both votes")


def signed_vote_job(vote: SignedVote, validators: ValidatorSet, chain_id: ChainId) -> SignatureJob:
    """Return the check of one vote; raise `InvalidCertificate` for a signer outside the set."""
    preimage = vote_preimage(chain_id, vote.epoch, vote.vote, vote.height, vote.view, vote.digest)
    return vote_job(vote.signer, vote.signature, preimage, validators)
