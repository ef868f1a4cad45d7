"""What a passphrase is: the one byte string that a person's typing stands for, and its policy.

The same text can be typed as different code points (an umlaut as one or as two): it is brought to
normal form C before it becomes bytes, or a keystore made on one machine would not open on another.
"""

import secrets
import unicodedata
from typing import Final

from crypto.errors import WeakPassphrase
from crypto.words import WORDS

CHARACTERS_MIN: Final = 12
BYTES_MAX: Final = 1024
WORDS_GENERATED: Final = 9


def passphrase_bytes(passphrase: str) -> bytes:
    """Return NFC, UTF-8; raise `WeakPassphrase` for what cannot be a passphrase at all."""
    try:
        encoded = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError as problem:
        raise WeakPassphrase("the passphrase is not text") from problem
    if len(encoded) > BYTES_MAX:
        raise WeakPassphrase(f"the passphrase has {len(encoded)} bytes; at most {BYTES_MAX} fit")
    return encoded


def check_passphrase(passphrase: str) -> None:
    """Raise `WeakPassphrase` unless a new keystore may be locked with it."""
    characters = len(passphrase_bytes(passphrase).decode())
    if characters < CHARACTERS_MIN:
        raise WeakPassphrase(
            f"the passphrase has {characters} characters; choose at least {CHARACTERS_MIN},"
            " or have one generated"
        )


def make_passphrase() -> str:
    """Return nine random words, 81 bits."""
    return "-".join(secrets.choice(WORDS) for _ in range(WORDS_GENERATED))
