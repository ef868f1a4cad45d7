import hashlib
from dataclasses import fields, replace
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    SealKey,
    SealPrivateKey,
    SealScheme,
    check_sidecar,
    envelope_info_bytes,
    make_seal_private_key,
    make_sidecar,
    open_envelope,
    seal_envelope,
    seal_key_id,
    seal_public_key,
    sidecar_payload,
    wrap,
    wrapped_bytes,
)
from crypto.errors import DecodeError, InvalidEnvelope, InvalidKey, SidecarMismatch
from crypto.hashing import ChainId, Digest
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import decode, encode
from crypto.sealed_format import SealSecrets
from crypto.signatures import PublicKey, Scheme
from tests.vectors.wrapping_by_hand import hpke_open, hpke_seal, oaep_seal

KEYS = SealSecrets(dek=b"K" * 32, opening=b"O" * 32)
INFO = EnvelopeInfo(
    chain_id=ChainId(b"C" * 32),
    kind=EnvelopeKind.RECORD,
    pseudonym=AccountId(b"P" * 32),
    record_id=RecordId(b"R" * 16),
    version_id=VersionId(b"V" * 16),
    seal_id=SealId(b"S" * 16),
    recipient=AccountId(b"A" * 32),
    recipient_key_id=b"k" * 16,
)
PRIVATE = {scheme: make_seal_private_key(scheme) for scheme in SealScheme}
SCHEMES = pytest.mark.parametrize("scheme", list(SealScheme))


@SCHEMES
def test_an_envelope_opens_for_its_recipient(scheme: SealScheme) -> None:
    private = PRIVATE[scheme]

    envelope = seal_envelope(seal_public_key(private), KEYS, INFO)

    assert open_envelope(private, envelope, INFO) == KEYS
    assert len(envelope) == wrapped_bytes(scheme, 64)
    assert len(envelope) == {SealScheme.P256: 145, SealScheme.RSA_3072: 384}[scheme]


@SCHEMES
def test_the_same_keys_are_sealed_differently_each_time(scheme: SealScheme) -> None:
    recipient = seal_public_key(PRIVATE[scheme])

    assert seal_envelope(recipient, KEYS, INFO) != seal_envelope(recipient, KEYS, INFO)


@SCHEMES
@pytest.mark.parametrize("name", [field.name for field in fields(EnvelopeInfo)])
def test_an_envelope_opens_nowhere_else(scheme: SealScheme, name: str) -> None:
    envelope = seal_envelope(seal_public_key(PRIVATE[scheme]), KEYS, INFO)
    values = {field.name: getattr(INFO, field.name) for field in fields(EnvelopeInfo)}
    if name == "kind":
        # Another kind is no envelope but a note, which is bound to its own kind below.
        elsewhere = INFO
        envelope = wrap(
            seal_public_key(PRIVATE[scheme]),
            KEYS.dek + KEYS.opening,
            replace(INFO, kind=EnvelopeKind.REQUEST),
        )
    else:
        elsewhere = EnvelopeInfo(**values | {name: bytes(len(values[name]))})

    with pytest.raises(InvalidEnvelope):
        open_envelope(PRIVATE[scheme], envelope, elsewhere)


@SCHEMES
def test_every_flipped_byte_of_an_envelope_is_refused(scheme: SealScheme) -> None:
    envelope = seal_envelope(seal_public_key(PRIVATE[scheme]), KEYS, INFO)
    refused = 0

    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1 << position % 8
        with pytest.raises(InvalidEnvelope):
            open_envelope(PRIVATE[scheme], bytes(changed), INFO)
        refused += 1

    assert refused == len(envelope)


@SCHEMES
def test_an_envelope_of_another_length_is_refused(scheme: SealScheme) -> None:
    private = PRIVATE[scheme]
    envelope = seal_envelope(seal_public_key(private), KEYS, INFO)
    short = wrap(seal_public_key(private), KEYS.dek, INFO)

    for other in (b"", envelope[:-1], envelope + b"\x00", bytes(145), bytes(384), short):
        with pytest.raises(InvalidEnvelope):
            open_envelope(private, other, INFO)


@SCHEMES
def test_an_envelope_for_another_key_is_refused(scheme: SealScheme) -> None:
    other = make_seal_private_key(scheme)
    envelope = seal_envelope(seal_public_key(other), KEYS, INFO)

    with pytest.raises(InvalidEnvelope):
        open_envelope(PRIVATE[scheme], envelope, INFO)


def test_an_envelope_is_rfc_9180_as_a_browser_composes_it() -> None:
    private = PRIVATE[SealScheme.P256]
    loaded = cast("ec.EllipticCurvePrivateKey", private.loaded)
    info = b"medledger/envelope/v1" + encode(INFO)

    ours = seal_envelope(seal_public_key(private), KEYS, INFO)
    theirs = hpke_seal(loaded.public_key(), 12345, KEYS.dek + KEYS.opening, info)

    assert hpke_open(loaded, ours, info) == KEYS.dek + KEYS.opening
    assert open_envelope(private, theirs, INFO) == KEYS


def test_an_rsa_envelope_is_rfc_8017_with_one_hash_and_the_hashed_info_as_label() -> None:
    private = PRIVATE[SealScheme.RSA_3072]
    loaded = cast("rsa.RSAPrivateKey", private.loaded)
    label = hashlib.sha256(envelope_info_bytes(INFO)).digest()

    theirs = oaep_seal(loaded.public_key(), b"s" * 32, KEYS.dek + KEYS.opening, label)

    assert open_envelope(private, theirs, INFO) == KEYS


@SCHEMES
def test_a_seal_key_has_one_encoding_and_one_id(scheme: SealScheme) -> None:
    key = seal_public_key(PRIVATE[scheme])

    encoded = encode(key)

    assert decode(SealKey, encoded) == key
    assert len(encoded) <= SealKey.WIRE_BYTES_MAX
    assert seal_key_id(key) == hashlib.sha256(b"medledger/key-id/v1" + encoded).digest()[:16]


def test_no_seal_key_encodes_like_a_sign_key() -> None:
    seal = seal_public_key(PRIVATE[SealScheme.P256])
    sign = PublicKey(scheme=Scheme.P256, data=seal.data)

    assert encode(seal) != encode(sign)
    assert {scheme.value for scheme in SealScheme}.isdisjoint({scheme.value for scheme in Scheme})
    with pytest.raises(DecodeError):
        decode(SealKey, encode(sign))


def spki(key: object) -> bytes:
    public = cast("rsa.RSAPublicKey", key)
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


POINT = seal_public_key(PRIVATE[SealScheme.P256]).data
RSA = seal_public_key(PRIVATE[SealScheme.RSA_3072]).data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        POINT[:-1],
        POINT + b"\x00",
        b"\x02" + POINT[1:33],
        b"\x06" + POINT[1:],
        POINT[:-1] + bytes([POINT[-1] ^ 1]),
        b"\x04" + bytes(64),
        b"\x04" + b"\xff" * 64,
        bytes(65),
        RSA,
    ],
)
def test_a_p256_key_that_is_no_uncompressed_point_on_the_curve_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="P-256 seal key"):
        SealKey(scheme=SealScheme.P256, data=data)


def test_an_rsa_key_of_another_size_exponent_kind_or_spelling_is_refused() -> None:
    numbers = cast("rsa.RSAPrivateKey", PRIVATE[SealScheme.RSA_3072].loaded).public_key()
    modulus = numbers.public_numbers().n
    others = {
        "2048 bits": spki(rsa.generate_private_key(65_537, 2048).public_key()),
        "4096 bits": spki(rsa.generate_private_key(65_537, 4096).public_key()),
        "3071 bits": spki(rsa.RSAPublicNumbers(65_537, modulus >> 1 | 1).public_key()),
        "exponent 3": spki(rsa.RSAPublicNumbers(3, modulus).public_key()),
        "another kind": spki(ec.generate_private_key(ec.SECP256R1()).public_key()),
        "signatures only": spki(ed25519.Ed25519PrivateKey.generate().public_key()),
        "trailing": RSA + b"\x00",
        "cut": RSA[:-1],
        "no null parameters": RSA.replace(bytes.fromhex("300d06092a864886f70d0101010500"), b""),
        "pss": RSA.replace(
            bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a")
        ),
        "unknown algorithm": RSA.replace(bytes.fromhex("2a864886f70d010101"), b"\x2a" * 9),
        "pkcs1": numbers.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "point": POINT,
        "empty": b"",
    }

    for data in others.values():
        with pytest.raises(ValueError, match="RSA seal key"):
            SealKey(scheme=SealScheme.RSA_3072, data=data)


@given(position=st.integers(0, len(RSA) - 1), value=st.integers(0, 255))
@settings(max_examples=300)
def test_damaged_rsa_keys_are_refused_by_name_or_are_other_keys(position: int, value: int) -> None:
    damaged = bytearray(encode(seal_public_key(PRIVATE[SealScheme.RSA_3072])))
    damaged[position + len(damaged) - len(RSA)] = value

    try:
        key = decode(SealKey, bytes(damaged))
    except DecodeError:
        return
    assert encode(key) == bytes(damaged)


@SCHEMES
def test_a_private_key_is_the_same_after_storing(scheme: SealScheme) -> None:
    private = PRIVATE[scheme]

    again = SealPrivateKey(scheme=scheme, secret=private.secret)

    assert seal_public_key(again) == seal_public_key(private)
    assert private.secret.hex() not in repr(private)
    assert repr(private.secret) not in repr(private)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), b"\xff" * 32, bytes(33)])
def test_a_private_p256_key_that_is_none_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidKey):
        SealPrivateKey(scheme=SealScheme.P256, secret=secret)


def test_a_private_rsa_key_that_is_none_is_refused() -> None:
    def pkcs8(key: object) -> bytes:
        private = cast("rsa.RSAPrivateKey", key)
        return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    others = [
        b"",
        b"\x30\x00",
        pkcs8(rsa.generate_private_key(65_537, 2048)),
        pkcs8(rsa.generate_private_key(3, 3072)),
        pkcs8(ec.generate_private_key(ec.SECP256R1())),
        pkcs8(ed25519.Ed25519PrivateKey.generate()),
        PRIVATE[SealScheme.RSA_3072].secret[:-1],
    ]

    for secret in others:
        with pytest.raises(InvalidKey):
            SealPrivateKey(scheme=SealScheme.RSA_3072, secret=secret)


@given(payload=st.binary(max_size=500))
def test_a_sidecar_is_checked_and_gives_its_payload_back(payload: bytes) -> None:
    sidecar = make_sidecar(payload)

    check_sidecar(sidecar.digest, sidecar.content)

    assert sidecar_payload(sidecar.content) == payload
    assert len(sidecar.content) == 32 + len(payload)


def test_the_same_payload_makes_another_sidecar_each_time() -> None:
    assert make_sidecar(b"yes").digest != make_sidecar(b"yes").digest


def test_a_sidecars_digest_is_over_domain_salt_and_payload() -> None:
    sidecar = make_sidecar(b"payload", b"s" * 32)

    preimage = b"medledger/sidecar/v1" + b"s" * 32 + b"payload"
    assert sidecar.digest == hashlib.sha256(preimage).digest()


def test_every_flipped_or_missing_byte_of_a_sidecar_is_refused() -> None:
    sidecar = make_sidecar(b"payload of a sidecar")

    for position in range(len(sidecar.content)):
        changed = bytearray(sidecar.content)
        changed[position] ^= 1
        with pytest.raises(SidecarMismatch):
            check_sidecar(sidecar.digest, bytes(changed))
        with pytest.raises(SidecarMismatch):
            check_sidecar(sidecar.digest, sidecar.content[:position])
    with pytest.raises(SidecarMismatch):
        check_sidecar(sidecar.digest, sidecar.content + b"\x00")
    with pytest.raises(SidecarMismatch):
        check_sidecar(Digest(bytes(32)), sidecar.content)
