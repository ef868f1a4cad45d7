"""Codes: the short ASCII words in which two nodes name reasons and refusals to each other."""

from typing import Final

CODE_BYTES_MAX: Final = 64
UNREADABLE: Final = "unreadable"
_ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyz0123456789._-"


def is_code(body: bytes) -> bool:
    return 0 < len(body) <= CODE_BYTES_MAX and body.translate(None, _ALPHABET) == b""


def encode_code(code: str) -> bytes:
    """Return the frame body that carries a code of our own."""
    encoded = code.encode("ascii")
    assert is_code(encoded), "a code is short and made of a-z 0-9 . _ -"
    return encoded


def decode_code(body: bytes) -> str:
    """Return the code a peer has sent; anything else reads as `unreadable`."""
    return body.decode("ascii") if is_code(body) else UNREADABLE
