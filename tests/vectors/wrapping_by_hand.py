"""HPKE and RSA-OAEP put together from their parts, with the randomness as an argument.

The product's back end draws its own randomness, so golden vectors could not be regenerated with it.
This second implementation, written from RFC 9180 and RFC 8017 and made of what a browser also has
(ECDH, HKDF, AES-GCM; modular arithmetic), fixes the randomness and proves the product right: what
it seals opens there, and the reverse.
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEM_ID = b"\x00\x10"  # DHKEM(P-256, HKDF-SHA256)
KEM_SUITE = b"KEM" + KEM_ID
HPKE_SUITE = b"HPKE" + KEM_ID + b"\x00\x01" + b"\x00\x02"  # HKDF-SHA256, AES-256-GCM


def hpke_seal(
    recipient: ec.EllipticCurvePublicKey, ephemeral_scalar: int, plaintext: bytes, info: bytes
) -> bytes:
    """RFC 9180 §6.1, base mode, one message; returns encapsulated key || ciphertext."""
    ephemeral = ec.derive_private_key(ephemeral_scalar, ec.SECP256R1())
    encapsulated = _point(ephemeral.public_key())
    secret = ephemeral.exchange(ec.ECDH(), recipient)
    key, nonce = _schedule(_shared_secret(secret, encapsulated + _point(recipient)), info)
    return encapsulated + AESGCM(key).encrypt(nonce, plaintext, b"")


def hpke_open(private: ec.EllipticCurvePrivateKey, sealed: bytes, info: bytes) -> bytes:
    """RFC 9180 §6.1, the recipient's side."""
    encapsulated = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sealed[:65])
    secret = private.exchange(ec.ECDH(), encapsulated)
    shared = _shared_secret(secret, sealed[:65] + _point(private.public_key()))
    key, nonce = _schedule(shared, info)
    return AESGCM(key).decrypt(nonce, sealed[65:], b"")


def oaep_seal(public: rsa.RSAPublicKey, seed: bytes, plaintext: bytes, label: bytes) -> bytes:
    """RFC 8017 §7.1.1 with SHA-256 for the label and for the mask."""
    size = public.key_size // 8
    padding = bytes(size - len(plaintext) - 66)
    block = hashlib.sha256(label).digest() + padding + b"\x01" + plaintext
    masked_block = _xor(block, _mask(seed, len(block)))
    masked_seed = _xor(seed, _mask(masked_block, 32))
    numbers = public.public_numbers()
    message = int.from_bytes(b"\x00" + masked_seed + masked_block, "big")
    return pow(message, numbers.e, numbers.n).to_bytes(size, "big")


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _shared_secret(secret: bytes, context: bytes) -> bytes:
    extracted = _extract(KEM_SUITE, b"", b"eae_prk", secret)
    return _expand(KEM_SUITE, extracted, b"shared_secret", context, 32)


def _schedule(shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\x00" + _extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    context += _extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = _extract(HPKE_SUITE, shared, b"secret", b"")
    key = _expand(HPKE_SUITE, secret, b"key", context, 32)
    return key, _expand(HPKE_SUITE, secret, b"base_nonce", context, 12)


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    """One block is enough for every length in use."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labelled + b"\x01", "sha256")[:length]


def _mask(seed: bytes, length: int) -> bytes:
    """MGF1, RFC 8017 §B.2.1."""
    blocks = (hashlib.sha256(seed + n.to_bytes(4, "big")).digest() for n in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
