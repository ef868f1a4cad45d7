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


class HighS(InvalidSignature):
    """The second, mirrored spelling of an ECDSA signature: s is above half the group order."""

    code = "signature.high_s"


class InvalidCertificate(CryptoError):
    """A certificate without a quorum of distinct, valid signatures of the right members."""

    code = "certificate.invalid"


class InvalidEvidence(CryptoError):
    """Two votes that do not prove that a member of their epoch signed both."""

    code = "evidence.invalid"


class InvalidProof(CryptoError):
    """A Merkle or state proof that does not lead to the root it is checked against."""

    code = "proof.invalid"


class InvalidCid(CryptoError):
    """Not the binary or text form of a content address that this house writes."""

    code = "cid.invalid"


class InvalidLeafIndex(CryptoError):
    """A list of leaf digests that does not lead to the content address it claims."""

    code = "cid.leaf_index"


class LeafMismatch(CryptoError):
    """The bytes of one leaf are not those the content address stands for."""

    code = "cid.leaf"


class SealedError(CryptoError):
    """A sealed record that must not be shown; the subclass says what is wrong with it."""

    code = "sealed.error"


class NotSealedRecord(SealedError):
    """The file does not begin like a sealed record."""

    code = "sealed.magic"


class SealedHeaderInvalid(SealedError):
    """The header is not one that this version writes."""

    code = "sealed.header"


class KeyCommitmentMismatch(SealedError):
    """The key, the seal context or the header is not the one this file was sealed with."""

    code = "sealed.key_commitment"


class SealedTruncated(SealedError):
    """The file ends before its last chunk does."""

    code = "sealed.truncated"


class ChunkTampered(SealedError):
    """A chunk fails authentication."""

    code = "sealed.chunk"


class TrailingBytes(SealedError):
    """Something follows the last chunk."""

    code = "sealed.trailing"


class MetadataInvalid(SealedError):
    """The metadata block is not one that this version writes."""

    code = "sealed.metadata"


class PaddingInvalid(SealedError):
    """The padding is not zeros up to the one padded size."""

    code = "sealed.padding"


class LengthMismatch(SealedError):
    """The content is shorter or longer than its metadata declares."""

    code = "sealed.length"


class CompressionInvalid(SealedError):
    """The stored bytes are not one whole gzip member."""

    code = "sealed.compression"


class CommitmentMismatch(SealedError):
    """The content is not the content that the ledger's commitment stands for."""

    code = "sealed.commitment"


class CidMismatch(SealedError):
    """The sealed bytes are not those that the ledger's content address stands for."""

    code = "sealed.cid"


class SourceChanged(SealedError):
    """The file grew or shrank while it was being sealed; nothing of the result is usable."""

    code = "sealed.source_changed"


class ContentTooLarge(SealedError):
    """More content than one record may hold."""

    code = "sealed.too_large"


class SpoolDamaged(SealedError):
    """The encrypted temporary file changed under us."""

    code = "sealed.spool"


class InvalidEnvelope(CryptoError):
    """The envelope does not open with this key for this purpose."""

    code = "envelope.invalid"


class InvalidNote(CryptoError):
    """The sealed note does not open with this key for this purpose."""

    code = "note.invalid"


class SidecarMismatch(CryptoError):
    """The bytes are not the sidecar that the ledger's digest stands for."""

    code = "sidecar.digest"


class KeystoreError(CryptoError):
    """A keystore that cannot be used; the subclass says why."""

    code = "keystore.error"


class KeystoreCorrupt(KeystoreError):
    """The file is damaged, or is not a keystore of this version."""

    code = "keystore.corrupt"


class KeystoreParameters(KeystoreError):
    """The file asks for a key derivation that is too weak or too expensive to run."""

    code = "keystore.parameters"


class KeystoreExposed(KeystoreError):
    """Other users of this machine may read the file."""

    code = "keystore.exposed"


class WrongPassphrase(KeystoreError):
    """The file is whole, but this passphrase does not open it."""

    code = "keystore.passphrase"


class WeakPassphrase(KeystoreError):
    """The passphrase is too short, too long or not text."""

    code = "keystore.weak_passphrase"
