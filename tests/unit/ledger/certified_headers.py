"""Commit certificates of headers by real votes, for tests of whoever reads them."""

from collections.abc import Iterable

from crypto.signatures import Scheme, SigningKey, sign_preimage
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import CommitCertificate, VoteType, vote_preimage
from ledger.blocks import Header, header_digest
from tests.unit.ledger.small_consortium import signing_key, vote_key_of

Voter = tuple[ReplicaId, SigningKey]


def certify(
    header: Header, voters: Iterable[Voter], *, vote: VoteType = VoteType.COMMIT
) -> CommitCertificate:
    """The votes of `voters` for a header; other votes than commits prove nothing."""
    digest = header_digest(header)
    preimage = vote_preimage(
        header.chain_id, header.epoch, vote, header.height, header.view, digest
    )
    return CommitCertificate(
        epoch=header.epoch,
        height=header.height,
        view=header.view,
        digest=digest,
        signatures=tuple((index, sign_preimage(key, preimage)) for index, key in voters),
    )


def founding_key(index: int) -> SigningKey:
    """The vote key with which a node began."""
    return signing_key(f"node {index}", Scheme.ED25519)


def founding_voters(indices: Iterable[int]) -> list[Voter]:
    return [(ReplicaId(index), founding_key(index)) for index in indices]


def lowest_voters(validators: ValidatorSet) -> list[Voter]:
    """The lowest members that make a quorum, with the keys they have in this set."""
    members = validators.members[: validators.quorum.strong]
    return [(member.index, vote_key_of(member)) for member in members]
