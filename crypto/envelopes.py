"""Who can open a record: seal keys, envelopes for one recipient each, sidecars they travel in.

An envelope is 64 bytes, data key || opening, encrypted to one seal key of one account: HPKE base
mode (RFC 9180: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; 145 bytes, an encapsulated key
of 65, then 64 + 16), or RSA-OAEP-3072 with SHA-256 throughout (384 bytes). Neither says who made
it, which is why its digest stands in a signed transaction, and neither takes associated data:
everything it is for goes into HPKE's `info`, and SHA-256(info) is OAEP's label. An envelope moved
to another record, seal, recipient or chain does not open.

A sidecar is 32 random bytes and a payload; the chain holds its digest only. Once the bytes are
destroyed, the digest on the immutable chain says nothing: nobody can try guesses without the salt.
"""

import enum
import functools
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, TypeAlias, assert_never

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from crypto.errors import InvalidEnvelope, InvalidKey, SidecarMismatch
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import Bytes16, Size, encode
from crypto.sealed_format import SealSecrets

P256_KEY_BYTES: Final = 65
RSA_KEY_BYTES: Final = 422
"""DER of a SubjectPublicKeyInfo with a 3072-bit modulus and exponent 65537: always this long."""

RSA_BITS: Final = 3072
RSA_EXPONENT: Final = 65_537
HPKE_OVERHEAD_BYTES: Final = 81
RSA_WRAPPED_BYTES: Final = 384
ENVELOPE_PLAINTEXT_BYTES: Final = 64
ENVELOPE_BYTES_MAX: Final = RSA_WRAPPED_BYTES
SALT_BYTES: Final = 32
KEY_ID_BYTES: Final = 16
KEYS_CACHED_MAX: Final = 8192

_PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class SealScheme(enum.Enum):
    """How keys are sealed to an account; the numbers are none of a signature scheme's.

    So no seal key encodes like a sign key, and neither can be passed off as the other.
    """

    P256 = 11
    RSA_3072 = 12


class EnvelopeKind(enum.Enum):
    """What an envelope's key opens; part of what the envelope is bound to."""

    RECORD = 1
    DIRECTORY = 2
    REQUEST = 3
    PROFILE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SealKey:
    """A public key that secrets may be sealed to; valid by construction.

    `data` is 65 bytes, an uncompressed point on P-256, or the 422-byte DER SubjectPublicKeyInfo of
    a 3072-bit RSA key with exponent 65537.
    """

    WIRE_BYTES_MAX: ClassVar[int] = 440

    scheme: SealScheme
    data: Annotated[bytes, Size(P256_KEY_BYTES, RSA_KEY_BYTES)]

    def __post_init__(self) -> None:
        try:
            _load_public(self.scheme, self.data)
        except InvalidKey as problem:
            raise ValueError(str(problem)) from problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPrivateKey:
    """A private seal key; `secret` is the 32-byte P-256 scalar or the PKCS #8 DER of an RSA key.

    Raises `InvalidKey` for a secret that is none. It never travels; a keystore holds it.
    """

    scheme: SealScheme
    secret: bytes = field(repr=False)
    _loaded: _PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_loaded", _load_private(self.scheme, self.secret))

    @property
    def loaded(self) -> _PrivateKey:
        """The back end's form of the key."""
        return self._loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeInfo:
    """Everything an envelope is for; whoever opens it must know all of it beforehand."""

    chain_id: ChainId
    kind: EnvelopeKind
    pseudonym: AccountId
    record_id: RecordId
    version_id: VersionId
    seal_id: SealId
    recipient: AccountId
    recipient_key_id: Bytes16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """Bytes beside a transaction: `digest` goes on chain, `content` is salt || payload."""

    digest: Digest
    content: bytes


def make_seal_private_key(scheme: SealScheme) -> SealPrivateKey:
    """Return a fresh random key; an RSA key takes about 0.2 s."""
    match scheme:
        case SealScheme.P256:
            scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
            secret = scalar.to_bytes(32, "big")
        case SealScheme.RSA_3072:
            key = rsa.generate_private_key(RSA_EXPONENT, RSA_BITS)
            secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        case _:
            assert_never(scheme)
    return SealPrivateKey(scheme=scheme, secret=secret)


def seal_public_key(private: SealPrivateKey) -> SealKey:
    """Return the public half."""
    loaded = private.loaded
    if isinstance(loaded, rsa.RSAPrivateKey):
        data = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        data = loaded.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return SealKey(scheme=private.scheme, data=data)


def seal_key_id(key: SealKey) -> bytes:
    """Return the 16-byte name of a seal key."""
    return digest(Domain.KEY_ID, encode(key))[:KEY_ID_BYTES]


def seal_envelope(recipient: SealKey, keys: SealSecrets, info: EnvelopeInfo) -> bytes:
    """Return the data key and the opening, sealed to one recipient for one purpose."""
    assert info.kind is EnvelopeKind.RECORD, "other kinds are notes"
    plaintext = keys.dek + keys.opening
    assert len(plaintext) == ENVELOPE_PLAINTEXT_BYTES, "data key and opening have 32 bytes each"
    return wrap(recipient, plaintext, info)


def open_envelope(private: SealPrivateKey, envelope: bytes, info: EnvelopeInfo) -> SealSecrets:
    """Return what the envelope holds; raise `InvalidEnvelope`.

    Opening proves neither sender nor content: only `open_stream` shows whether these are the keys.
    """
    assert info.kind is EnvelopeKind.RECORD, "other kinds are notes"
    plaintext = unwrap(private, envelope, info)
    if len(plaintext) != ENVELOPE_PLAINTEXT_BYTES:
        raise InvalidEnvelope(f"{len(plaintext)} bytes inside where data key and opening belong")
    return SealSecrets(dek=plaintext[:32], opening=plaintext[32:])


def wrap(recipient: SealKey, plaintext: bytes, info: EnvelopeInfo) -> bytes:
    """Encrypt up to 64 bytes to a seal key, bound to `info`."""
    assert len(plaintext) <= ENVELOPE_PLAINTEXT_BYTES, "an envelope holds keys only"
    bound = envelope_info_bytes(info)
    public = _load_public(recipient.scheme, recipient.data)
    if isinstance(public, rsa.RSAPublicKey):
        return public.encrypt(plaintext, _oaep(bound))
    return _HPKE.encrypt(plaintext, public, info=bound)


def unwrap(private: SealPrivateKey, wrapped: bytes, info: EnvelopeInfo) -> bytes:
    """Decrypt what `wrap` made for this key and this `info`; raise `InvalidEnvelope`."""
    bound = envelope_info_bytes(info)
    loaded = private.loaded
    try:
        if isinstance(loaded, rsa.RSAPrivateKey):
            return loaded.decrypt(wrapped, _oaep(bound))
        return _HPKE.decrypt(wrapped, loaded, info=bound)
    except (InvalidTag, ValueError) as problem:
        raise InvalidEnvelope("not sealed to this key for this purpose, or damaged") from problem


def wrapped_bytes(scheme: SealScheme, plaintext_bytes: int) -> int:
    """Return the size of a wrapped plaintext."""
    return (
        RSA_WRAPPED_BYTES
        if scheme is SealScheme.RSA_3072
        else plaintext_bytes + HPKE_OVERHEAD_BYTES
    )


def envelope_info_bytes(info: EnvelopeInfo) -> bytes:
    """Return HPKE's `info`: the domain and the canonical encoding of every field."""
    return Domain.ENVELOPE.value + encode(info)


def make_sidecar(payload: bytes, salt: bytes | None = None) -> Sidecar:
    """Return a payload as a sidecar; the salt is drawn unless a test vector gives it."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    assert len(salt) == SALT_BYTES, "a sidecar's salt has 32 bytes"
    content = salt + payload
    return Sidecar(digest=sidecar_digest(content), content=content)


def sidecar_digest(content: bytes) -> Digest:
    """Return what the chain holds of a sidecar with this content."""
    return digest(Domain.SIDECAR, content)


def check_sidecar(expected: Digest, content: bytes) -> None:
    """Raise `SidecarMismatch` unless these are the bytes behind a digest on chain."""
    if len(content) < SALT_BYTES:
        raise SidecarMismatch(f"{len(content)} bytes are less than a sidecar's salt")
    if sidecar_digest(content) != expected:
        raise SidecarMismatch(f"not the sidecar {expected.hex()[:16]}")


def sidecar_payload(content: bytes) -> bytes:
    """Return what a checked sidecar carries."""
    assert len(content) >= SALT_BYTES, "the sidecar was checked"
    return content[SALT_BYTES:]


_HPKE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _oaep(bound: bytes) -> padding.OAEP:
    """OAEP as WebCrypto has it: one hash for the label and for the mask."""
    label = hashlib.sha256(bound).digest()
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)


@functools.lru_cache(maxsize=KEYS_CACHED_MAX)
def _load_public(scheme: SealScheme, data: bytes) -> _PublicKey:
    match scheme:
        case SealScheme.P256:
            return _load_point(data)
        case SealScheme.RSA_3072:
            return _load_rsa(data)
        case _:
            assert_never(scheme)


def _load_point(data: bytes) -> ec.EllipticCurvePublicKey:
    if len(data) != P256_KEY_BYTES or data[0] != 4:
        raise InvalidKey("a P-256 seal key is 65 bytes, an uncompressed point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError as problem:
        raise InvalidKey("the P-256 seal key is not a point on the curve") from problem


def _load_rsa(data: bytes) -> rsa.RSAPublicKey:
    try:
        key = load_der_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise InvalidKey("an RSA seal key is a DER SubjectPublicKeyInfo") from problem
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != RSA_BITS:
        raise InvalidKey(f"an RSA seal key has exactly {RSA_BITS} bits")
    if key.public_numbers().e != RSA_EXPONENT:
        raise InvalidKey(f"an RSA seal key has the exponent {RSA_EXPONENT}")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != data:
        raise InvalidKey("an RSA seal key is spelled in one way only")
    return key


def _load_private(scheme: SealScheme, secret: bytes) -> _PrivateKey:
    match scheme:
        case SealScheme.P256:
            return _load_scalar(secret)
        case SealScheme.RSA_3072:
            return _load_pkcs8(secret)
        case _:
            assert_never(scheme)


def _load_scalar(secret: bytes) -> ec.EllipticCurvePrivateKey:
    if len(secret) != 32:
        raise InvalidKey("a private P-256 seal key is 32 bytes")
    try:
        return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    except ValueError as problem:
        raise InvalidKey("the private P-256 seal key is outside 1 .. order - 1") from problem


def _load_pkcs8(secret: bytes) -> rsa.RSAPrivateKey:
    try:
        key = load_der_private_key(secret, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise InvalidKey("a private RSA seal key is PKCS #8 in DER") from problem
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != RSA_BITS:
        raise InvalidKey(f"a private RSA seal key has exactly {RSA_BITS} bits")
    if key.public_key().public_numbers().e != RSA_EXPONENT:
        raise InvalidKey(f"a private RSA seal key has the exponent {RSA_EXPONENT}")
    return key
