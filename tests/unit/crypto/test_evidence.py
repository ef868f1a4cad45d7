"""Evidence of equivocation: what proves it, whoever found it, and everything that must not."""

from dataclasses import replace
from itertools import product

import pytest

from crypto.errors import DecodeError, InvalidEvidence
from crypto.evidence import (
    SINGLE_VOTES,
    Evidence,
    Fault,
    SignedVote,
    check_evidence,
    evidence_digest,
    evidence_jobs,
    make_evidence,
)
from crypto.hashing import ChainId, Digest
from crypto.schema import decode, encode, from_plain, to_plain
from crypto.signatures import SigningKey, is_valid_many, sign_preimage
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import Height, View, VoteType, vote_preimage
from tests.vectors.make_consensus_vectors import CHAIN, EPOCH, KEYS, VALIDATORS

SLOT = Fault(ReplicaId(1), EPOCH, Height(7), View(2), VoteType.PREPARE)
ONE, OTHER = Digest(b"\x01" * 32), Digest(b"\x02" * 32)


def sign(slot: Fault, about: Digest, *, key: SigningKey | None = None) -> SignedVote:
    preimage = vote_preimage(CHAIN, slot.epoch, slot.vote, slot.height, slot.view, about)
    return SignedVote(
        epoch=slot.epoch,
        height=slot.height,
        view=slot.view,
        vote=slot.vote,
        digest=about,
        signer=slot.signer,
        signature=sign_preimage(key or KEYS[slot.signer], preimage),
    )


def make(slot: Fault = SLOT) -> Evidence:
    evidence = make_evidence(sign(slot, ONE), sign(slot, OTHER))
    assert evidence is not None
    return evidence


@pytest.mark.parametrize("vote", SINGLE_VOTES)
def test_two_votes_of_one_slot_prove_the_fault_of_their_signer(vote: VoteType) -> None:
    slot = SLOT._replace(vote=vote)

    evidence = make(slot)

    check_evidence(evidence, VALIDATORS, CHAIN)
    assert evidence.fault == slot


def test_whoever_heard_which_vote_first_makes_the_same_bytes() -> None:
    one, other = sign(SLOT, ONE), sign(SLOT, OTHER)

    evidence, mirrored = make_evidence(one, other), make_evidence(other, one)

    assert evidence is not None
    assert evidence == mirrored
    assert evidence_digest(evidence, CHAIN) == evidence_digest(make(), CHAIN)


def test_the_digest_names_these_two_votes_and_this_chain() -> None:
    evidence = make()
    of_a_third = make_evidence(sign(SLOT, ONE), sign(SLOT, Digest(b"\x03" * 32)))

    assert of_a_third is not None
    assert evidence_digest(of_a_third, CHAIN) != evidence_digest(evidence, CHAIN)
    assert evidence_digest(evidence, ChainId(bytes(32))) != evidence_digest(evidence, CHAIN)
    assert of_a_third.fault == evidence.fault


@pytest.mark.parametrize(
    "other",
    [
        SLOT._replace(signer=ReplicaId(2)),
        SLOT._replace(epoch=Epoch(3)),
        SLOT._replace(height=Height(8)),
        SLOT._replace(view=View(3)),
        SLOT._replace(vote=VoteType.COMMIT),
    ],
    ids=["signer", "epoch", "height", "view", "type"],
)
def test_votes_of_two_slots_prove_nothing(other: Fault) -> None:
    one, another = sign(SLOT, ONE), sign(other, OTHER)

    assert make_evidence(one, another) is None
    with pytest.raises(ValueError, match="different members or slots"):
        Evidence(first=one, second=another)


def test_one_vote_signed_twice_proves_nothing() -> None:
    vote = sign(SLOT, ONE)
    again = replace(vote, signature=bytes(64))

    assert make_evidence(vote, again) is None
    with pytest.raises(ValueError, match="different votes"):
        Evidence(first=vote, second=again)


def test_view_changes_are_no_evidence_as_they_vote_for_no_block() -> None:
    slot = SLOT._replace(vote=VoteType.VIEW_CHANGE)

    assert make_evidence(sign(slot, ONE), sign(slot, OTHER)) is None


def test_a_second_spelling_of_the_same_two_votes_does_not_decode() -> None:
    evidence = make()
    version, first, second = to_plain(evidence)

    assert from_plain(Evidence, (version, first, second)) == evidence
    with pytest.raises(DecodeError):
        from_plain(Evidence, (version, second, first))


def test_evidence_survives_its_encoding_and_keeps_its_limit() -> None:
    largest = make(
        Fault(ReplicaId(3), Epoch(2**64 - 1), Height(2**64 - 1), View(2**32 - 1), VoteType.COMMIT)
    )

    encoded = encode(largest)

    assert decode(Evidence, encoded) == largest
    assert len(encoded) <= Evidence.WIRE_BYTES_MAX


@pytest.mark.parametrize("at", ["first", "second"])
def test_an_accusation_needs_both_signatures(at: str) -> None:
    evidence = make()
    forged = replace(getattr(evidence, at), signature=bytes(64))

    with pytest.raises(InvalidEvidence, match="did not sign both"):
        check_evidence(replace(evidence, **{at: forged}), VALIDATORS, CHAIN)


def test_votes_of_another_chain_accuse_nobody() -> None:
    with pytest.raises(InvalidEvidence):
        check_evidence(make(), VALIDATORS, ChainId(b"\x99" * 32))


def test_a_stranger_is_not_accused() -> None:
    others = ValidatorSet(members=VALIDATORS.members[2:])

    with pytest.raises(InvalidEvidence, match="no member"):
        evidence_jobs(make(), others, CHAIN)


def test_nobody_can_turn_another_s_votes_into_evidence() -> None:
    """A vote signed for one field is none for another, so no mix of real votes accuses."""
    honest = [
        sign(SLOT._replace(view=View(view), vote=vote), about)
        for view, vote, about in product((0, 1), SINGLE_VOTES, (ONE,))
    ] + [sign(SLOT._replace(height=Height(8)), OTHER)]

    for one, other in product(honest, honest):
        made = make_evidence(
            replace(one, digest=ONE),
            replace(
                other,
                digest=OTHER,
                epoch=one.epoch,
                height=one.height,
                view=one.view,
                vote=one.vote,
            ),
        )
        assert made is not None
        assert not all(is_valid_many(evidence_jobs(made, VALIDATORS, CHAIN)))
