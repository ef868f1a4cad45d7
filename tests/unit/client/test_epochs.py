"""A light client follows the validators through their changes, each certified by the set before."""

from dataclasses import replace

import pytest

from client.epochs import take_known_link, take_link
from client.errors import CertificateRejected
from client.trust import FOUNDING_EPOCH, check_header
from crypto.signatures import Scheme, public_key
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from crypto.votes import Height
from ledger.blocks import Header
from ledger.exchange import EpochLink, SealedHeader
from tests.unit.client.certified_state import CertifiedState
from tests.unit.ledger.certified_headers import certify, founding_voters
from tests.unit.ledger.small_consortium import signing_key

NEXT = Epoch(1)


def next_set(certified: CertifiedState) -> ValidatorSet:
    """The founders without the last of them, and a new one in his place."""
    newcomer = Validator(
        index=ReplicaId(9),
        org="north",
        vote_key=public_key(signing_key("node 9", Scheme.ED25519)).data,
        tls_pin=bytes(32),
    )
    return ValidatorSet(members=(*certified.trust.validators.members[:3], newcomer))


def link_to(certified: CertifiedState, validators: ValidatorSet, **changes: object) -> EpochLink:
    header = certified.header(certified.tree().root, next_validators=validators.digest(), **changes)
    return EpochLink(sealed_header=certified.sealed(header), validators=validators)


def sealed_by(header: Header, signers: tuple[int, ...]) -> SealedHeader:
    certificate = certify(header, founding_voters(signers))
    return SealedHeader(header=header, certificate=certificate)


def header_of_next_epoch(certified: CertifiedState, validators: ValidatorSet) -> Header:
    return certified.header(
        certified.tree().root,
        epoch=NEXT,
        height=Height(certified.hospitals.chain.height + 2),
        validators=validators.digest(),
        next_validators=validators.digest(),
    )


def test_the_old_validators_prove_the_new_ones_and_only_these_count_from_then_on() -> None:
    certified = CertifiedState()
    validators = next_set(certified)
    header = header_of_next_epoch(certified, validators)

    with pytest.raises(CertificateRejected):
        check_header(certified.trust, sealed_by(header, (0, 1, 9)))
    take_link(certified.trust, link_to(certified, validators))

    assert certified.trust.epoch == NEXT
    assert certified.trust.validators == validators
    assert check_header(certified.trust, sealed_by(header, (0, 1, 9))) == header
    with pytest.raises(CertificateRejected):
        check_header(certified.trust, sealed_by(header, (0, 1, 3)))


def test_a_header_of_an_epoch_before_is_still_judged_by_its_own_validators() -> None:
    certified = CertifiedState()
    before = certified.sealed(certified.header(certified.tree().root))
    take_link(certified.trust, link_to(certified, next_set(certified)))

    assert check_header(certified.trust, before) == before.header


def test_validators_that_the_last_header_does_not_name_are_refused() -> None:
    certified = CertifiedState()
    honest = link_to(certified, next_set(certified))
    forged = ValidatorSet(members=next_set(certified).members[1:])

    with pytest.raises(CertificateRejected):
        take_link(certified.trust, replace(honest, validators=forged))

    assert certified.trust.epoch == FOUNDING_EPOCH


def test_a_header_that_is_not_the_last_of_its_epoch_proves_no_change() -> None:
    certified = CertifiedState()
    validators = certified.trust.validators

    with pytest.raises(CertificateRejected):
        take_link(certified.trust, link_to(certified, validators))


def test_new_validators_cannot_vote_themselves_in() -> None:
    certified = CertifiedState()
    validators = next_set(certified)
    header = certified.header(certified.tree().root, next_validators=validators.digest())

    with pytest.raises(CertificateRejected):
        take_link(
            certified.trust,
            EpochLink(sealed_header=sealed_by(header, (0, 1, 9)), validators=validators),
        )


def test_an_epoch_cannot_be_skipped() -> None:
    certified = CertifiedState()
    validators = next_set(certified)
    later = header_of_next_epoch(certified, validators)

    with pytest.raises(CertificateRejected):
        take_link(
            certified.trust,
            EpochLink(sealed_header=sealed_by(later, (0, 1, 9)), validators=validators),
        )


def test_a_change_that_is_known_may_be_told_again_and_no_other_in_its_place() -> None:
    certified = CertifiedState()
    honest = link_to(certified, next_set(certified))
    founders = certified.trust.validators
    other = link_to(certified, ValidatorSet(members=founders.members[:3]))
    take_known_link(certified.trust, honest)

    take_known_link(certified.trust, honest)
    with pytest.raises(CertificateRejected, match="this home has seen"):
        take_known_link(certified.trust, other)

    assert certified.trust.sets == {FOUNDING_EPOCH: founders, NEXT: honest.validators}
    assert certified.trust.links == [honest]
