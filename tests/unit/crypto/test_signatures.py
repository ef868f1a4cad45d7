import hashlib
from typing import Literal

import pytest
from ecdsa import NIST256p
from ecdsa import SigningKey as OtherSigningKey
from ecdsa import VerifyingKey as OtherVerifyingKey
from ecdsa.util import sigdecode_string, sigencode_string
from hypothesis import given
from hypothesis import strategies as st

from crypto import signatures
from crypto.errors import DecodeError, HighS, InvalidKey, InvalidSignature
from crypto.hashing import ChainId, Domain
from crypto.schema import decode, encode
from crypto.signatures import (
    ED25519_ORDER,
    ED25519_PRIME,
    ED25519_SMALL_ORDER_Y,
    P256_HALF_ORDER,
    P256_ORDER,
    PublicKey,
    Scheme,
    SignatureJob,
    SigningKey,
    account_id,
    check_job,
    check_signature,
    check_signature_form,
    decode_jobs,
    encode_jobs,
    is_valid_many,
    key_id,
    make_signing_key,
    public_key,
    remember_valid,
    sign,
    sign_preimage,
    signature_preimage,
)

CHAIN = ChainId(bytes(range(32)))
OTHER_CHAIN = ChainId(bytes(32))
p256_secrets = st.integers(1, P256_ORDER - 1).map(lambda scalar: scalar.to_bytes(32, "big"))
schemes = st.sampled_from(Scheme)


def make_job(scheme: Scheme, payload: bytes = b"payload") -> SignatureJob:
    key = make_signing_key(scheme)
    preimage = signature_preimage(Domain.VOTE, CHAIN, payload)
    return SignatureJob(scheme, public_key(key).data, sign_preimage(key, preimage), preimage)


@pytest.mark.parametrize("scheme", Scheme)
def test_a_signature_holds_for_its_payload_domain_and_chain_only(scheme: Scheme) -> None:
    key = make_signing_key(scheme)
    public = public_key(key)

    signature = sign(key, Domain.VOTE, CHAIN, b"payload")

    check_signature(public, signature, Domain.VOTE, CHAIN, b"payload")
    for domain, chain, payload in (
        (Domain.SESSION, CHAIN, b"payload"),
        (Domain.VOTE, OTHER_CHAIN, b"payload"),
        (Domain.VOTE, CHAIN, b"other"),
    ):
        with pytest.raises(InvalidSignature):
            check_signature(public, signature, domain, chain, payload)


@pytest.mark.parametrize("scheme", Scheme)
def test_signing_twice_gives_the_same_bytes(scheme: Scheme) -> None:
    key = make_signing_key(scheme)

    once, again = (sign(key, Domain.VOTE, CHAIN, b"payload") for _ in range(2))

    assert once == again


@given(secret=p256_secrets, preimage=st.binary(max_size=300))
def test_our_p256_signatures_convince_the_other_implementation(
    secret: bytes, preimage: bytes
) -> None:
    key = SigningKey(scheme=Scheme.P256, secret=secret)

    signature = sign_preimage(key, preimage)

    other = OtherVerifyingKey.from_string(public_key(key).data, curve=NIST256p)
    assert other.verify(signature, preimage, hashfunc=hashlib.sha256, sigdecode=sigdecode_string)
    assert int.from_bytes(signature[32:], "big") <= P256_HALF_ORDER


@given(secret=p256_secrets, preimage=st.binary(max_size=300))
def test_the_other_implementations_p256_signatures_convince_us_in_their_low_form_only(
    secret: bytes, preimage: bytes
) -> None:
    other = OtherSigningKey.from_string(secret, curve=NIST256p)
    data = other.get_verifying_key().to_string("uncompressed")
    made = other.sign(preimage, hashfunc=hashlib.sha256, sigencode=sigencode_string)
    s = int.from_bytes(made[32:], "big")
    low, high = (made[:32] + one.to_bytes(32, "big") for one in sorted((s, P256_ORDER - s)))

    answers = is_valid_many([SignatureJob(Scheme.P256, data, one, preimage) for one in (low, high)])

    assert answers == [True, False]
    assert public_key(SigningKey(scheme=Scheme.P256, secret=secret)).data == data
    with pytest.raises(HighS):
        check_job(SignatureJob(Scheme.P256, data, high, preimage))


@given(secret=p256_secrets, preimage=st.binary(max_size=64), bit=st.integers(0, 511))
def test_both_implementations_refuse_a_flipped_bit(
    secret: bytes, preimage: bytes, bit: int
) -> None:
    key = SigningKey(scheme=Scheme.P256, secret=secret)
    signature = bytearray(sign_preimage(key, preimage))
    signature[bit // 8] ^= 1 << (bit % 8)
    job = SignatureJob(Scheme.P256, public_key(key).data, bytes(signature), preimage)

    answer = is_valid_many([job])

    assert answer == [False]


@given(scheme=schemes, seed=st.binary(min_size=32, max_size=32), preimage=st.binary(max_size=99))
def test_a_key_made_of_a_secret_signs_for_its_public_key(
    scheme: Scheme, seed: bytes, preimage: bytes
) -> None:
    key = SigningKey(scheme=scheme, secret=b"\x01" + seed[1:])

    signature = sign_preimage(key, preimage)

    check_job(SignatureJob(scheme, public_key(key).data, signature, preimage))


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("length", [0, 31, 33, 65])
def test_a_secret_of_another_length_is_no_key(scheme: Scheme, length: int) -> None:
    with pytest.raises(InvalidKey):
        SigningKey(scheme=scheme, secret=bytes([1]) * length)


@pytest.mark.parametrize("scalar", [0, P256_ORDER, 2**256 - 1])
def test_a_scalar_outside_the_group_order_is_no_key(scalar: int) -> None:
    with pytest.raises(InvalidKey):
        SigningKey(scheme=Scheme.P256, secret=scalar.to_bytes(32, "big"))


def test_a_secret_is_not_shown() -> None:
    key = make_signing_key(Scheme.P256)

    assert key.secret.hex() not in repr(key)
    assert str(key.secret) not in repr(key)


def test_small_order_ordinates_are_those_of_the_eight_torsion_points() -> None:
    p = ED25519_PRIME
    d = -121665 * pow(121666, -1, p) % p

    quarter_turns = {y for y in ED25519_SMALL_ORDER_Y if y not in (0, 1, p - 1)}

    # Doubling a point of order 8 gives y = 0, that is x^2 = -y^2: d y^4 + 2 y^2 - 1 = 0.
    assert len(quarter_turns) == 2
    assert all((d * pow(y, 4, p) + 2 * y * y - 1) % p == 0 for y in quarter_turns)
    assert sum(quarter_turns) == p


@pytest.mark.parametrize("y", [*ED25519_SMALL_ORDER_Y, ED25519_PRIME, ED25519_PRIME + 1])
@pytest.mark.parametrize("sign_bit", [0, 1])
def test_points_of_small_order_and_second_spellings_are_no_keys(y: int, sign_bit: int) -> None:
    data = (y | sign_bit << 255).to_bytes(32, "little")

    with pytest.raises(ValueError, match="Ed25519"):
        PublicKey(scheme=Scheme.ED25519, data=data)
    with pytest.raises(InvalidSignature, match="R is"):
        check_signature_form(Scheme.ED25519, data + bytes(32))


def test_a_point_outside_the_prime_order_group_is_no_key() -> None:
    from nacl.bindings import crypto_core_ed25519_add

    good = public_key(make_signing_key(Scheme.ED25519)).data
    order_8 = ED25519_SMALL_ORDER_Y[3].to_bytes(32, "little")
    mixed = crypto_core_ed25519_add(good, order_8)

    with pytest.raises(ValueError, match="prime-order"):
        PublicKey(scheme=Scheme.ED25519, data=mixed)


@pytest.mark.parametrize("scheme", Scheme)
def test_every_altered_scalar_form_is_refused_before_any_arithmetic(scheme: Scheme) -> None:
    good = make_job(scheme).signature
    order = P256_ORDER if scheme is Scheme.P256 else ED25519_ORDER
    endian: Literal["big", "little"] = "big" if scheme is Scheme.P256 else "little"

    for scalar in (order, order + 1, 2**256 - 1):
        with pytest.raises(InvalidSignature):
            check_signature_form(scheme, good[:32] + scalar.to_bytes(32, endian))
    for length in (0, 63, 65):
        with pytest.raises(InvalidSignature):
            check_signature_form(scheme, (good + good)[:length])


@pytest.mark.parametrize("r", [0, P256_ORDER])
def test_an_r_outside_the_order_is_refused(r: int) -> None:
    with pytest.raises(InvalidSignature):
        check_signature_form(Scheme.P256, r.to_bytes(32, "big") + (1).to_bytes(32, "big"))


@pytest.mark.parametrize(
    "data",
    [
        bytes(65),
        b"\x04" + bytes(64),
        b"\x02" + bytes([7]) * 32,
        b"\x04" + bytes([7]) * 64,
        b"",
    ],
)
def test_bytes_that_are_no_point_are_no_p256_key(data: bytes) -> None:
    answers = is_valid_many([SignatureJob(Scheme.P256, data, make_job(Scheme.P256).signature, b"")])

    assert answers == [False]
    with pytest.raises(ValueError, match="P-256"):
        PublicKey(scheme=Scheme.P256, data=data)


@pytest.mark.parametrize("scheme", Scheme)
def test_a_public_key_travels_and_a_wrong_one_does_not(scheme: Scheme) -> None:
    public = public_key(make_signing_key(scheme))
    encoded = encode(public)
    broken = encoded[:-1] + bytes([encoded[-1] ^ 1])

    assert decode(PublicKey, encoded) == public
    if scheme is Scheme.P256:
        with pytest.raises(DecodeError, match="not a point"):
            decode(PublicKey, broken)


@pytest.mark.parametrize("length", [0, 31, 33, 65])
def test_an_ed25519_key_has_32_bytes(length: int) -> None:
    job = make_job(Scheme.ED25519)

    assert is_valid_many([job._replace(key=(job.key * 3)[:length])]) == [False]
    with pytest.raises(ValueError, match="32 bytes"):
        PublicKey(scheme=Scheme.ED25519, data=(job.key * 3)[:length])


def test_account_and_key_ids_name_the_key_with_its_scheme() -> None:
    keys = [public_key(make_signing_key(scheme)) for scheme in (*Scheme, *Scheme)]

    assert len({account_id(key) for key in keys}) == 4
    assert len({key_id(key) for key in keys}) == 4
    assert {len(account_id(key)) for key in keys} == {32}
    assert {len(key_id(key)) for key in keys} == {16}


@given(st.lists(schemes, max_size=5))
def test_jobs_travel_to_a_worker_as_bytes(kinds: list[Scheme]) -> None:
    jobs = [make_job(scheme) for scheme in kinds]

    arrived = decode_jobs(encode_jobs(jobs))

    assert arrived == jobs
    assert is_valid_many(arrived) == [True] * len(jobs)


@given(st.binary(max_size=200))
def test_garbage_is_no_batch_of_jobs(garbage: bytes) -> None:
    try:
        jobs = decode_jobs(garbage)
    except DecodeError:
        return
    assert encode_jobs(jobs) == garbage


def test_a_remembered_job_is_valid_without_a_second_look() -> None:
    job = make_job(Scheme.P256)
    wrong = job._replace(signature=make_job(Scheme.P256).signature)

    remember_valid(wrong)  # A lie that only a broken caller could tell: it shows the lookup.

    check_job(wrong)
    with pytest.raises(InvalidSignature):
        check_job(wrong._replace(preimage=b"other"))
    signatures._VALID.clear()
    with pytest.raises(InvalidSignature):
        check_job(wrong)


def test_remembered_jobs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "VALID_REMEMBERED_MAX", 3)
    signatures._VALID.clear()
    jobs = [SignatureJob(Scheme.P256, b"", b"", bytes([index])) for index in range(5)]

    for job in (*jobs, *jobs[3:]):
        remember_valid(job)

    assert list(signatures._VALID) == jobs[2:], "and what is known already displaces nothing"
    signatures._VALID.clear()
