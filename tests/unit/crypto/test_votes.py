"""Votes and certificates with real Ed25519 keys: what passes, and everything that must not."""

from dataclasses import replace
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError, InvalidCertificate
from crypto.hashing import ChainId, Digest, Domain
from crypto.schema import decode, encode, from_plain, to_plain
from crypto.signatures import Scheme, SigningKey, public_key, sign_preimage
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from crypto.votes import (
    NO_DIGEST,
    CommitCertificate,
    Height,
    PreparedCertificate,
    View,
    VoteType,
    certificate_digest,
    check_commit_certificate,
    check_prepared_certificate,
    prepared_digest,
    vote_preimage,
)

CHAIN = ChainId(bytes(range(32)))
OTHER_CHAIN = ChainId(bytes(32))
EPOCH = Epoch(3)
HEIGHT = Height(41)
VIEW = View(2)
BLOCK = Digest(b"\x07" * 32)
# Stable indexes with a gap: a member has left.
INDEXES = tuple(ReplicaId(index) for index in (0, 1, 2, 4, 5, 6))
KEYS = {
    index: SigningKey(scheme=Scheme.ED25519, secret=bytes([index + 1]) * 32) for index in INDEXES
}
STRANGER = SigningKey(scheme=Scheme.ED25519, secret=b"\x99" * 32)


def make_set(indexes: tuple[ReplicaId, ...] = INDEXES) -> ValidatorSet:
    return ValidatorSet(
        members=tuple(
            Validator(
                index=index,
                org=f"hospital-{index}",
                vote_key=public_key(KEYS[index]).data,
                tls_pin=bytes([index]) * 32,
            )
            for index in indexes
        )
    )


SIX = make_set()


def sign_vote(
    signer: ReplicaId,
    vote: VoteType,
    *,
    chain_id: ChainId = CHAIN,
    epoch: Epoch = EPOCH,
    height: Height = HEIGHT,
    view: View = VIEW,
    digest: Digest = BLOCK,
    key: SigningKey | None = None,
) -> tuple[ReplicaId, bytes]:
    preimage = vote_preimage(chain_id, epoch, vote, height, view, digest)
    return signer, sign_preimage(key or KEYS[signer], preimage)


def make_commit(
    signers: tuple[ReplicaId, ...] = INDEXES[:4], vote: VoteType = VoteType.COMMIT
) -> CommitCertificate:
    return CommitCertificate(
        epoch=EPOCH,
        height=HEIGHT,
        view=VIEW,
        digest=BLOCK,
        signatures=tuple(sign_vote(signer, vote) for signer in signers),
    )


def make_prepared(
    primary: ReplicaId = INDEXES[1],
    backups: tuple[ReplicaId, ...] = (INDEXES[0], INDEXES[2], INDEXES[3]),
    primary_vote: VoteType = VoteType.PRE_PREPARE,
) -> PreparedCertificate:
    return PreparedCertificate(
        epoch=EPOCH,
        height=HEIGHT,
        view=VIEW,
        digest=BLOCK,
        primary=primary,
        primary_signature=sign_vote(primary, primary_vote)[1],
        signatures=tuple(sign_vote(signer, VoteType.PREPARE) for signer in backups),
    )


def test_four_of_six_commits_decide() -> None:
    certificate = make_commit()

    check_commit_certificate(certificate, SIX, CHAIN, epoch=EPOCH)


def test_any_four_members_decide_whatever_the_gaps_between_their_indexes() -> None:
    certificate = make_commit(INDEXES[2:])

    check_commit_certificate(certificate, SIX, CHAIN, epoch=EPOCH)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 6])
def test_a_certificate_has_exactly_a_quorum_of_votes(count: int) -> None:
    certificate = make_commit(INDEXES[:count])

    with pytest.raises(InvalidCertificate, match="exactly 4"):
        check_commit_certificate(certificate, SIX, CHAIN, epoch=EPOCH)


def test_one_wrong_signature_spoils_a_certificate() -> None:
    good = make_commit()
    for position, (signer, _) in enumerate(good.signatures):
        signatures = list(good.signatures)
        signatures[position] = sign_vote(signer, VoteType.COMMIT, key=STRANGER)
        spoilt = replace(good, signatures=tuple(signatures))

        with pytest.raises(InvalidCertificate, match="wrong signature"):
            check_commit_certificate(spoilt, SIX, CHAIN, epoch=EPOCH)


def test_a_signer_outside_the_set_does_not_count() -> None:
    five = make_set(INDEXES[:5])
    certificate = make_commit(INDEXES[2:])

    with pytest.raises(InvalidCertificate, match="replica 6 is not a member"):
        check_commit_certificate(certificate, five, CHAIN, epoch=EPOCH)


def test_no_certificate_counts_in_another_epoch_even_with_the_same_members() -> None:
    with pytest.raises(InvalidCertificate, match="epoch 3 where 4"):
        check_commit_certificate(make_commit(), SIX, CHAIN, epoch=Epoch(4))
    with pytest.raises(InvalidCertificate, match="epoch 3 where 4"):
        check_prepared_certificate(make_prepared(), SIX, CHAIN, epoch=Epoch(4))


def test_no_certificate_counts_on_another_chain() -> None:
    with pytest.raises(InvalidCertificate):
        check_commit_certificate(make_commit(), SIX, OTHER_CHAIN, epoch=EPOCH)
    with pytest.raises(InvalidCertificate):
        check_prepared_certificate(make_prepared(), SIX, OTHER_CHAIN, epoch=EPOCH)


@pytest.mark.parametrize(
    "change",
    [
        {"height": Height(42)},
        {"view": View(0)},
        {"digest": Digest(b"\x08" * 32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_certificate_proves_only_what_its_votes_name(change: dict[str, Any]) -> None:
    forged = replace(make_commit(), **change)

    with pytest.raises(InvalidCertificate):
        check_commit_certificate(forged, SIX, CHAIN, epoch=EPOCH)


@pytest.mark.parametrize("vote", [vote for vote in VoteType if vote is not VoteType.COMMIT])
def test_only_commits_decide(vote: VoteType) -> None:
    with pytest.raises(InvalidCertificate):
        check_commit_certificate(make_commit(vote=vote), SIX, CHAIN, epoch=EPOCH)


def test_the_primarys_vote_and_three_prepares_of_six_prepare() -> None:
    check_prepared_certificate(make_prepared(), SIX, CHAIN, epoch=EPOCH)


def test_the_primary_cannot_prepare_beside_its_own_pre_prepare() -> None:
    with pytest.raises(ValueError, match="pre-prepare alone"):
        make_prepared(primary=INDEXES[0])


def test_a_prepare_does_not_stand_for_the_primarys_vote() -> None:
    certificate = make_prepared(primary_vote=VoteType.PREPARE)

    with pytest.raises(InvalidCertificate, match="wrong signature"):
        check_prepared_certificate(certificate, SIX, CHAIN, epoch=EPOCH)


def test_a_prepared_certificate_counts_the_primary_among_exactly_a_quorum() -> None:
    with pytest.raises(InvalidCertificate, match="3 votes"):
        check_prepared_certificate(
            make_prepared(backups=(INDEXES[0], INDEXES[2])), SIX, CHAIN, epoch=EPOCH
        )


def test_a_repeated_signer_does_not_decode() -> None:
    """S1: one vote shown three times is one vote (attack 1)."""
    good = make_commit()
    plain = list(to_plain(good))
    plain[-1] = (plain[-1][0],) * 4

    with pytest.raises(DecodeError, match="once each"):
        from_plain(CommitCertificate, tuple(plain))


@given(st.lists(st.sampled_from(range(4)), min_size=2, max_size=8))
def test_no_permutation_or_repetition_of_votes_makes_another_certificate(order: list[int]) -> None:
    good = make_commit()
    plain = list(to_plain(good))
    plain[-1] = tuple(plain[-1][position] for position in order)

    if order == sorted(set(order)):
        decoded = from_plain(CommitCertificate, tuple(plain))
        assert len(decoded.signatures) == len(set(order))
    else:
        with pytest.raises(DecodeError):
            from_plain(CommitCertificate, tuple(plain))


def test_no_vote_of_one_kind_chain_epoch_height_or_view_is_one_of_another() -> None:
    """Attack 31: the preimages of any two different slots differ, and none hides another."""
    preimages = {
        vote_preimage(chain, Epoch(epoch), vote, Height(height), View(view), BLOCK)
        for chain, epoch, vote, height, view in product(
            (CHAIN, OTHER_CHAIN), (0, 1, 256), VoteType, (0, 1, 256), (0, 1, 256)
        )
    }

    assert len(preimages) == 2 * 3 * len(VoteType) * 3 * 3
    assert len({len(preimage) for preimage in preimages}) == 1
    assert all(preimage.startswith(Domain.VOTE.value) for preimage in preimages)


def test_the_layout_of_a_vote_is_frozen() -> None:
    preimage = vote_preimage(
        CHAIN, Epoch(0x0102), VoteType.COMMIT, Height(0x030405), View(6), BLOCK
    )

    assert preimage == (
        b"medledger/vote/v1"
        + CHAIN
        + bytes.fromhex("0000000000000102 03 0000000000030405 0000000000000006")
        + BLOCK
    )


def test_certificates_survive_the_wire_byte_for_byte() -> None:
    commit, prepared = make_commit(), make_prepared()

    assert decode(CommitCertificate, encode(commit)) == commit
    assert decode(PreparedCertificate, encode(prepared)) == prepared


def test_a_view_change_signs_which_certificate_it_reports() -> None:
    one = make_prepared()
    other = replace(one, view=View(3))

    assert prepared_digest(None) == NO_DIGEST
    assert len({prepared_digest(one), prepared_digest(other), NO_DIGEST}) == 3
    assert certificate_digest(make_commit()) != certificate_digest(make_commit(INDEXES[2:]))


def test_a_set_lists_its_members_once_each_in_ascending_order() -> None:
    members = SIX.members[:3]

    for order in permutations(members):
        if list(order) != list(members):
            with pytest.raises(ValueError, match="ascending"):
                ValidatorSet(members=order)
    with pytest.raises(ValueError, match="once each"):
        ValidatorSet(members=(members[0], members[0]))


def test_two_members_may_not_share_a_vote_key() -> None:
    one, two = SIX.members[:2]

    with pytest.raises(ValueError, match="share a vote key"):
        ValidatorSet(members=(one, replace(two, vote_key=one.vote_key)))


def test_members_are_found_by_their_stable_index() -> None:
    assert [SIX.member(ReplicaId(index)) for index in range(8)] == [
        *SIX.members[:3],
        None,
        *SIX.members[3:],
        None,
    ]


def test_the_digest_of_a_set_names_every_field_of_every_member() -> None:
    one = SIX.members[0]
    variants = [
        SIX,
        ValidatorSet(members=SIX.members[1:]),
        ValidatorSet(members=(replace(one, org="other"), *SIX.members[1:])),
        ValidatorSet(members=(replace(one, vote_key=bytes(32)), *SIX.members[1:])),
        ValidatorSet(members=(replace(one, tls_pin=b"\x01" * 32), *SIX.members[1:])),
    ]

    assert len({variant.digest() for variant in variants}) == len(variants)
    assert decode(ValidatorSet, encode(SIX)) == SIX
