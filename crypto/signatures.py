"""Signatures of people and nodes: ECDSA P-256 over SHA-256, and Ed25519.

One back end per scheme and strict checks in front of it, because two libraries that disagree
about one odd signature would fork the ledger. P-256 signatures are raw r || s (32 bytes each,
big-endian) with s at most half the group order; the mirrored s is refused. Ed25519 is RFC 8032
with S < L, canonical A and R, neither of small order, and A in the prime-order subgroup.

What is signed is always domain || chain id || payload, so a signature made for one purpose or one
chain is none for another.
"""

import functools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar, Final, NamedTuple, assert_never

from cryptography.exceptions import InvalidSignature as OpensslRefuses
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl import bindings as sodium
from nacl.exceptions import BadSignatureError

from crypto.encoding import pack, unpack
from crypto.errors import HighS, InvalidKey, InvalidSignature
from crypto.hashing import ChainId, Domain, digest
from crypto.record_ids import AccountId
from crypto.schema import Count, Size, codec, encode

SECRET_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 16

P256_KEY_BYTES: Final = 65
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_HALF_ORDER: Final = P256_ORDER // 2

ED25519_KEY_BYTES: Final = 32
ED25519_PRIME: Final = 2**255 - 19
ED25519_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
ED25519_SMALL_ORDER_Y: Final = (
    0,  # order 4
    1,  # the neutral point
    ED25519_PRIME - 1,  # order 2
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,  # order 8
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,  # order 8
)
"""y of every point whose order divides 8; with y < p, the sign bit makes no other spelling."""

KEYS_CACHED_MAX: Final = 8192
"""Loaded keys kept per process: checking a new P-256 key costs 8 us, a new Ed25519 key 41 us."""

VALID_REMEMBERED_MAX: Final = 16_384
"""Jobs known to be valid per process: workers found them so before the ledger asks."""

JOBS_MAX: Final = 4096
JOBS_BYTES_MAX: Final = 16 << 20


class Scheme(Enum):
    """Signature schemes; the number is part of every encoded key."""

    P256 = 1
    ED25519 = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that may have signed something: a valid point of its scheme's group.

    `data` is 65 bytes uncompressed (SEC 1) for P-256, 32 bytes (RFC 8032) for Ed25519.
    """

    WIRE_BYTES_MAX: ClassVar[int] = 80

    scheme: Scheme
    data: Annotated[bytes, Size(ED25519_KEY_BYTES, P256_KEY_BYTES)]

    def __post_init__(self) -> None:
        try:
            if self.scheme is Scheme.P256:
                _load_p256(self.data)
            else:
                _load_ed25519(self.data)
        except InvalidKey as problem:
            raise ValueError(str(problem)) from problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key: `secret` is the P-256 scalar (big-endian) or the Ed25519 seed, 32 bytes.

    Raises `InvalidKey` for a secret that is none. It never travels and has no encoding.
    """

    scheme: Scheme
    secret: bytes = field(repr=False)
    _loaded: "ec.EllipticCurvePrivateKey | bytes" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_loaded", _load_secret(self.scheme, self.secret))

    @property
    def loaded(self) -> "ec.EllipticCurvePrivateKey | bytes":
        """The back end's form of the key: an OpenSSL key, or seed || public key."""
        return self._loaded


class SignatureJob(NamedTuple):
    """One signature to check, as plain bytes that may travel to a worker process."""

    scheme: Scheme
    key: bytes
    signature: bytes
    preimage: bytes


def make_signing_key(scheme: Scheme) -> SigningKey:
    """Return a fresh random key."""
    while True:
        try:
            return SigningKey(scheme=scheme, secret=secrets.token_bytes(SECRET_BYTES))
        except InvalidKey:  # A P-256 scalar of zero or above the order: one in 2^32.
            continue


def public_key(key: SigningKey) -> PublicKey:
    loaded = key.loaded
    if isinstance(loaded, bytes):
        return PublicKey(scheme=key.scheme, data=loaded[SECRET_BYTES:])
    point = loaded.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return PublicKey(scheme=key.scheme, data=point)


def account_id(key: PublicKey) -> AccountId:
    """Return the id of the account whose first sign key this is."""
    return AccountId(digest(Domain.ACCOUNT, encode(key)))


def key_id(key: PublicKey) -> bytes:
    """Return the 16-byte name of a sign key."""
    return digest(Domain.KEY_ID, encode(key))[:KEY_ID_BYTES]


def signature_preimage(domain: Domain, chain_id: ChainId, payload: bytes) -> bytes:
    """Return the bytes that are signed."""
    return domain.value + chain_id + payload


def sign(key: SigningKey, domain: Domain, chain_id: ChainId, payload: bytes) -> bytes:
    """Return the 64-byte signature; the same input gives the same bytes (RFC 6979, RFC 8032)."""
    return sign_preimage(key, signature_preimage(domain, chain_id, payload))


def sign_preimage(key: SigningKey, preimage: bytes) -> bytes:
    """Sign bytes that already open with their domain, as votes do."""
    loaded = key.loaded
    if isinstance(loaded, bytes):
        return sodium.crypto_sign(preimage, loaded)[:SIGNATURE_BYTES]
    r, s = decode_dss_signature(loaded.sign(preimage, _ECDSA_DETERMINISTIC))
    return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


def check_signature(
    public: PublicKey, signature: bytes, domain: Domain, chain_id: ChainId, payload: bytes
) -> None:
    """Raise `InvalidSignature` unless `public` signed `payload` for this domain and chain."""
    preimage = signature_preimage(domain, chain_id, payload)
    check_job(SignatureJob(public.scheme, public.data, signature, preimage))


def check_job(job: SignatureJob) -> None:
    """Raise `InvalidSignature` or `InvalidKey` unless the job's key signed its preimage."""
    if job in _VALID:
        return
    check_signature_form(job.scheme, job.signature)
    match job.scheme:
        case Scheme.P256:
            _check_p256(job.key, job.signature, job.preimage)
        case Scheme.ED25519:
            _check_ed25519(job.key, job.signature, job.preimage)
        case _:
            assert_never(job.scheme)


def remember_valid(job: SignatureJob) -> None:
    """Let `check_job` answer at once for a job that a worker process has found valid.

    The answer is the same without it; only the time differs. What is known already displaces
    nothing: a peer may send one valid vote as often as it likes.
    """
    if job in _VALID:
        return
    if len(_VALID) >= VALID_REMEMBERED_MAX:
        del _VALID[next(iter(_VALID))]
    _VALID[job] = None


def check_signature_form(scheme: Scheme, signature: bytes) -> None:
    """Raise `InvalidSignature` (`HighS`) for bytes that no key's canonical signature can be."""
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature(f"{len(signature)} bytes where a signature has {SIGNATURE_BYTES}")
    match scheme:
        case Scheme.P256:
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            if not 0 < r < P256_ORDER or not 0 < s < P256_ORDER:
                raise InvalidSignature("r or s is outside 1 .. order - 1")
            if s > P256_HALF_ORDER:
                raise HighS("s is above half the group order; send order - s instead")
        case Scheme.ED25519:
            if int.from_bytes(signature[32:], "little") >= ED25519_ORDER:
                raise InvalidSignature("S is not below the group order")
            if not _is_strict_point(signature[:32]):
                raise InvalidSignature("R is not canonical or of small order")
        case _:
            assert_never(scheme)


def is_valid_many(jobs: Sequence[SignatureJob]) -> list[bool]:
    """Return one answer per job, in order; a bad key or signature is False, never an error."""
    return [_is_valid(job) for job in jobs]


def encode_jobs(jobs: Sequence[SignatureJob]) -> bytes:
    """Return the message that hands jobs to a worker process."""
    return pack([(job[0].value, job[1], job[2], job[3]) for job in jobs])


def decode_jobs(encoded: bytes) -> list[SignatureJob]:
    """Return the jobs of a message, or raise `DecodeError`."""
    plain = unpack(encoded, bytes_max=JOBS_BYTES_MAX)
    return [SignatureJob(*job) for job in codec(_JOBS).from_plain(plain)]


_JOBS = Annotated[
    tuple[
        tuple[
            Scheme,
            Annotated[bytes, Size(0, P256_KEY_BYTES)],
            Annotated[bytes, Size(0, SIGNATURE_BYTES)],
            Annotated[bytes, Size(0, 1 << 20)],
        ],
        ...,
    ],
    Count(0, JOBS_MAX),
]

_VALID: Final[dict[SignatureJob, None]] = {}

_CURVE: Final = ec.SECP256R1()
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_ECDSA_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


def _is_valid(job: SignatureJob) -> bool:
    try:
        check_job(job)
    except (InvalidSignature, InvalidKey):
        return False
    return True


def _check_p256(key: bytes, signature: bytes, preimage: bytes) -> None:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        _load_p256(key).verify(encode_dss_signature(r, s), preimage, _ECDSA)
    except OpensslRefuses as problem:
        raise InvalidSignature(f"not signed by the P-256 key {key.hex()[2:18]}") from problem


def _check_ed25519(key: bytes, signature: bytes, preimage: bytes) -> None:
    try:
        sodium.crypto_sign_open(signature + preimage, _load_ed25519(key))
    except BadSignatureError as problem:
        raise InvalidSignature(f"not signed by the Ed25519 key {key.hex()[:16]}") from problem


@functools.lru_cache(maxsize=KEYS_CACHED_MAX)
def _load_p256(data: bytes) -> ec.EllipticCurvePublicKey:
    if len(data) != P256_KEY_BYTES or data[0] != 4:
        raise InvalidKey("a P-256 key is 65 bytes, an uncompressed point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
    except ValueError as problem:
        raise InvalidKey("the P-256 key is not a point on the curve") from problem


@functools.lru_cache(maxsize=KEYS_CACHED_MAX)
def _load_ed25519(data: bytes) -> bytes:
    if len(data) != ED25519_KEY_BYTES:
        raise InvalidKey("an Ed25519 key is 32 bytes")
    if not _is_strict_point(data) or not sodium.crypto_core_ed25519_is_valid_point(data):
        raise InvalidKey("the Ed25519 key is not a canonical point of the prime-order group")
    return data


def _is_strict_point(encoded: bytes) -> bool:
    """Whether y is canonical (below the prime) and not that of a point of small order."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    return y < ED25519_PRIME and y not in ED25519_SMALL_ORDER_Y


def _load_secret(scheme: Scheme, secret: bytes) -> "ec.EllipticCurvePrivateKey | bytes":
    if len(secret) != SECRET_BYTES:
        raise InvalidKey(f"a secret key is {SECRET_BYTES} bytes")
    match scheme:
        case Scheme.P256:
            scalar = int.from_bytes(secret, "big")
            if not 0 < scalar < P256_ORDER:
                raise InvalidKey("the P-256 secret is outside 1 .. order - 1")
            return ec.derive_private_key(scalar, _CURVE)
        case Scheme.ED25519:
            return sodium.crypto_sign_seed_keypair(secret)[1]
        case _:
            assert_never(scheme)
