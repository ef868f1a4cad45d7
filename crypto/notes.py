"""Sealed notes: small texts for one recipient, inside sidecars (directories, requests, profiles).

A note is a fresh key, wrapped like an envelope of its own kind, and the content under AES-256-GCM.
The content is padded to PADME sizes of at least 512 bytes, because the length of a request's text
or of a name is a hint too. The key is used once, so the nonce is zero; the same `info` that the
wrapped key is bound to is the associated data of the content.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.envelopes import (
    HPKE_OVERHEAD_BYTES,
    RSA_WRAPPED_BYTES,
    EnvelopeInfo,
    EnvelopeKind,
    SealKey,
    SealPrivateKey,
    unwrap,
    wrap,
)
from crypto.errors import DecodeError, InvalidEnvelope, InvalidNote
from crypto.hashing import ChainId, Domain
from crypto.padding import padme
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import Size, decode, encode

NOTE_CONTENT_BYTES_MAX: Final = 16 * 1024
NOTE_PADDED_BYTES_MIN: Final = 512

_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_LENGTH_BYTES: Final = 4
_NONCE: Final = bytes(12)
_CIPHERTEXT_BYTES_MAX: Final = padme(_LENGTH_BYTES + NOTE_CONTENT_BYTES_MAX) + _TAG_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedNote:
    """A note as it travels inside a sidecar."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = _CIPHERTEXT_BYTES_MAX + RSA_WRAPPED_BYTES + 16

    wrapped_key: Annotated[bytes, Size(_KEY_BYTES + HPKE_OVERHEAD_BYTES, RSA_WRAPPED_BYTES)]
    ciphertext: Annotated[bytes, Size(NOTE_PADDED_BYTES_MIN + _TAG_BYTES, _CIPHERTEXT_BYTES_MAX)]


def make_note_info(
    *,
    chain_id: ChainId,
    kind: EnvelopeKind,
    pseudonym: AccountId,
    recipient: AccountId,
    recipient_key_id: bytes,
) -> EnvelopeInfo:
    """Return what a note is bound to; the three ids of a record are zeros, as it is about none."""
    return EnvelopeInfo(
        chain_id=chain_id,
        kind=kind,
        pseudonym=pseudonym,
        record_id=RecordId(bytes(16)),
        version_id=VersionId(bytes(16)),
        seal_id=SealId(bytes(16)),
        recipient=recipient,
        recipient_key_id=recipient_key_id,
    )


def seal_note(recipient: SealKey, content: bytes, info: EnvelopeInfo) -> bytes:
    """Return `content` (at most 16 KiB) sealed to one recipient, as a sidecar's payload."""
    assert info.kind is not EnvelopeKind.RECORD, "records have envelopes, not notes"
    key = secrets.token_bytes(_KEY_BYTES)
    return encrypt_note(key, wrap(recipient, key, info), content, info)


def open_note(private: SealPrivateKey, note: bytes, info: EnvelopeInfo) -> bytes:
    """Return the content of a note; raise `InvalidNote`."""
    assert info.kind is not EnvelopeKind.RECORD, "records have envelopes, not notes"
    try:
        sealed = decode(SealedNote, note)
        key = unwrap(private, sealed.wrapped_key, info)
    except (DecodeError, InvalidEnvelope) as problem:
        raise InvalidNote(f"the note does not open: {problem}") from problem
    if len(key) != _KEY_BYTES:
        raise InvalidNote("the wrapped key has another length")
    try:
        padded = AESGCM(key).decrypt(_NONCE, sealed.ciphertext, _bound(info))
    except InvalidTag as problem:
        raise InvalidNote("the content is damaged or of another note") from problem
    return _unpad(padded)


def encrypt_note(key: bytes, wrapped_key: bytes, content: bytes, info: EnvelopeInfo) -> bytes:
    """Encrypt under a key that was wrapped already; `key` must never be used twice."""
    assert len(content) <= NOTE_CONTENT_BYTES_MAX, "a note's content keeps its bound"
    framed = len(content).to_bytes(_LENGTH_BYTES, "big") + content
    padded = framed.ljust(_padded_bytes(len(content)), b"\x00")
    ciphertext = AESGCM(key).encrypt(_NONCE, padded, _bound(info))
    return encode(SealedNote(wrapped_key=wrapped_key, ciphertext=ciphertext))


def _padded_bytes(content_bytes: int) -> int:
    return padme(max(_LENGTH_BYTES + content_bytes, NOTE_PADDED_BYTES_MIN))


def _bound(info: EnvelopeInfo) -> bytes:
    return Domain.NOTE.value + encode(info)


def _unpad(padded: bytes) -> bytes:
    content_bytes = int.from_bytes(padded[:_LENGTH_BYTES], "big")
    if content_bytes > NOTE_CONTENT_BYTES_MAX or len(padded) != _padded_bytes(content_bytes):
        raise InvalidNote("the content has not its padded size")
    end = _LENGTH_BYTES + content_bytes
    if padded.count(0, end) != len(padded) - end:
        raise InvalidNote("the padding is not zeros")
    return padded[_LENGTH_BYTES:end]
