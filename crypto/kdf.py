"""HKDF-SHA256 (RFC 5869), its two steps apart: one key in, many bound to a purpose out."""

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand


def hkdf_extract(salt: bytes, key_material: bytes) -> bytes:
    """Return the 32-byte pseudorandom key; an empty salt means 32 zero bytes (RFC 5869 §2.2)."""
    return hmac.digest(salt, key_material, "sha256")


def hkdf_expand(pseudorandom_key: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes (1 to 8160) bound to `info` (RFC 5869 §2.3)."""
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=info).derive(pseudorandom_key)
