"""Content addresses: CIDv1 over SHA-256, in their one binary and their one text form.

A CID names bytes by their hash. The binary form is 36 bytes: version 1, codec, hash function
(0x12, SHA-256), hash length (0x20), digest. The text form is multibase base32: `b` and 58 lower
case letters and digits. Two codecs occur: `raw` (the digest is of the bytes themselves) and
`dag-pb` (the digest is of a node that lists parts: `crypto.unixfs`). Other tools know further
spellings of the same address; here each address has one, so that equal means equal bytes.
"""

import base64
import binascii
from typing import Annotated, Final, NewType

from crypto.errors import InvalidCid
from crypto.schema import Size

CID_BYTES: Final = 36
CID_TEXT_LENGTH: Final = 59
RAW: Final = 0x55
DAG_PB: Final = 0x70

_HASH_MARK: Final = b"\x12\x20"

Cid = NewType("Cid", Annotated[bytes, Size(CID_BYTES, CID_BYTES)])
"""Binary CIDv1 of sealed bytes; 36 bytes."""


def make_cid(codec: int, sha256: bytes) -> Cid:
    """Return the address of the block whose SHA-256 is given; `codec` is `RAW` or `DAG_PB`."""
    assert codec in (RAW, DAG_PB), "the codec is one this house writes"
    assert len(sha256) == 32, "a SHA-256 has 32 bytes"
    return Cid(bytes((1, codec)) + _HASH_MARK + sha256)


def check_cid(binary: bytes) -> Cid:
    """Return `binary` as a content address; raise `InvalidCid` unless it is one."""
    if len(binary) != CID_BYTES:
        raise InvalidCid(f"{len(binary)} bytes where a content address has {CID_BYTES}")
    if binary[0] != 1 or binary[1] not in (RAW, DAG_PB) or binary[2:4] != _HASH_MARK:
        raise InvalidCid("not version 1, raw or dag-pb, SHA-256")
    return Cid(binary)


def encode_cid_text(cid: Cid) -> str:
    """Return the text form: `b` and base32 in lower case without padding."""
    return "b" + base64.b32encode(check_cid(cid)).decode().rstrip("=").lower()


def decode_cid_text(text: str) -> Cid:
    """Return the address that `text` spells; raise `InvalidCid` for every other spelling."""
    if len(text) != CID_TEXT_LENGTH or not text.startswith("b"):
        raise InvalidCid(f"a content address is `b` and {CID_TEXT_LENGTH - 1} base32 letters")
    padding = "=" * (-len(text[1:]) % 8)
    try:
        binary = base64.b32decode(text[1:].upper() + padding)
    except (binascii.Error, ValueError) as problem:
        raise InvalidCid("not base32") from problem
    cid = check_cid(binary)
    if encode_cid_text(cid) != text:
        raise InvalidCid("not the canonical spelling of this content address")
    return cid


def cid_digest(cid: Cid) -> bytes:
    """Return the SHA-256 inside a content address."""
    return cid[4:]
