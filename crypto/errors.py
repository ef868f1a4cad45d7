"""Everything that bytes from outside may do wrong to this room, each with a stable code."""

from typing import ClassVar


class CryptoError(Exception):
    """Root of the room's errors; `code` is stable and may be shown to a user or a peer."""

    code: ClassVar[str] = "crypto.error"


class EncodeError(CryptoError):
    """A value that its schema does not allow was about to be encoded."""

    code = "encoding.unencodable"


class DecodeError(CryptoError):
    """A byte string that our own encoder would never have written."""

    code = "encoding.invalid"


class TooLarge(DecodeError):
    """Longer than the limit of its type; nothing of it was parsed."""

    code = "encoding.too_large"


class NotCanonical(DecodeError):
    """Well-formed msgpack, but not the one byte string that stands for this value."""

    code = "encoding.not_canonical"


class InvalidKey(CryptoError):
    """A public or private key of the wrong form, length or curve."""

    code = "key.invalid"


class InvalidSignature(CryptoError):
    """The key did not sign this payload for this purpose, or the signature is not canonical."""

    code = "signature.invalid"


class InvalidCertificate(CryptoError):
    """A certificate without a quorum of distinct, valid signatures of the right members."""

    code = "certificate.invalid"


class InvalidProof(CryptoError):
    """A Merkle or state proof that does not lead to the root it is checked against."""

    code = "proof.invalid"
