"""File format 1 of a sealed record: its header, its keys and what stands first inside.

    magic (8) | header length, u16 big-endian | header (canonical, at most 256 bytes) | chunks

    prk            = HKDF-Extract(kdf_salt, DEK)
    chunk key      = HKDF-Expand(prk, label || parameters || context, 32)
    key commitment = HKDF-Expand(prk, other label || parameters || context, 32)

`parameters` is the header without the commitment, `context` the 80 bytes of `SealContext`. AES-GCM
alone does not commit to its key: without the commitment one file could open to two different
records for two readers. It is compared, in constant time, before any chunk is touched.

The plaintext inside the chunks, before encryption:

    metadata length, u32 | stored length, u64 | metadata (canonical) | stored content | zeros

`stored` is the content as it travels, compressed or not. Its length stands outside the metadata
block, because that block is leaf 0 of the content root and must not depend on which compressor ran.
The zeros fill up to the padded size (`crypto.padding`). `docs/wire-sealed.md` has the byte tables.
"""

import enum
import re
import secrets
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from crypto.errors import (
    CryptoError,
    DecodeError,
    KeyCommitmentMismatch,
    MetadataInvalid,
    NotSealedRecord,
    SealedHeaderInvalid,
    SealedTruncated,
)
from crypto.hashing import Domain, is_equal
from crypto.kdf import hkdf_expand, hkdf_extract
from crypto.padding import padded_bytes
from crypto.record_ids import SealContext, context_bytes
from crypto.schema import U64, Bytes32, Range, Size, decode, encode
from crypto.streams import Readable, read_into
from crypto.unixfs import BLOB_BYTES_MAX

MAGIC: Final = b"\x89MLSR\r\n\x1a"
"""Like PNG's: a transfer that strips bit 7 or rewrites line ends is seen in the first 8 bytes."""

HEADER_BYTES_MAX: Final = 256
METADATA_BYTES_MAX: Final = 1024
CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
CONTENT_BYTES_MAX: Final = BLOB_BYTES_MAX // 2
"""32 GiB: leaves room for padding, tags and stored content that compression made longer."""

PREAMBLE_BYTES: Final = 12

_CONTENT_TYPE: Final = re.compile(
    r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(; ?[a-z0-9-]+=[A-Za-z0-9._+-]+)*"
)


class Suite(enum.Enum):
    """The algorithms of a sealed record; there is one."""

    HKDF_SHA256_AES_256_GCM_STREAM = 1


class Compression(enum.Enum):
    """How the stored content was made from the original."""

    NONE = 0
    GZIP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SealParameters:
    """The header without the key commitment; goes into the derivation of both keys."""

    WIRE_VERSION: ClassVar[int] = 1

    suite: Suite
    chunk_bytes: Annotated[int, Range(CHUNK_BYTES, CHUNK_BYTES)]
    kdf_salt: Bytes32
    nonce_prefix: Annotated[bytes, Size(7, 7)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHeader:
    """What a sealed record says in clear."""

    WIRE_BYTES_MAX: ClassVar[int] = HEADER_BYTES_MAX

    parameters: SealParameters
    key_commitment: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMetadata:
    """The metadata block: leaf 0 of the content root, and the same in every seal of a version.

    `content_bytes` is the exact length of the original; `authored_ms` is the author's clock, Unix
    milliseconds; `file_name` is a bare name, never a path, and may be empty.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = METADATA_BYTES_MAX

    content_type: Annotated[str, Size(3, 127)]
    file_name: Annotated[str, Size(0, 255)]
    content_bytes: Annotated[int, Range(0, CONTENT_BYTES_MAX)]
    authored_ms: U64
    compression: Compression

    def __post_init__(self) -> None:
        check_content_type(self.content_type)
        check_file_name(self.file_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSecrets:
    """What an envelope holds: the data key of one seal and the opening of one version.

    The data key is fresh for every seal; the opening stays the same through all seals of a version.
    """

    dek: bytes = field(repr=False)
    opening: bytes = field(repr=False)


def make_seal_secrets(opening: bytes | None = None) -> SealSecrets:
    """Return a fresh data key, with a fresh opening or, for a new seal, the version's own."""
    return SealSecrets(
        dek=secrets.token_bytes(32),
        opening=secrets.token_bytes(32) if opening is None else opening,
    )


def check_content_type(content_type: str) -> None:
    """Raise `ValueError` unless it is a lower-case media type, with or without parameters."""
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(f"{content_type!r} is not a media type such as application/fhir+json")


def check_file_name(file_name: str) -> None:
    """Raise `ValueError` for a name that means more than a name to some file system."""
    if file_name in (".", "..") or any(letter in '/\\:*?"<>|' for letter in file_name):
        raise ValueError(f"{file_name!r} is not a bare file name")
    if not file_name.isprintable():
        raise ValueError("a file name has no control characters")


def make_parameters(
    kdf_salt: bytes | None = None, nonce_prefix: bytes | None = None
) -> SealParameters:
    """Return fresh parameters; the random parts are drawn unless a test vector gives them."""
    return SealParameters(
        suite=Suite.HKDF_SHA256_AES_256_GCM_STREAM,
        chunk_bytes=CHUNK_BYTES,
        kdf_salt=secrets.token_bytes(32) if kdf_salt is None else kdf_salt,
        nonce_prefix=secrets.token_bytes(7) if nonce_prefix is None else nonce_prefix,
    )


def derive_keys(
    dek: bytes, parameters: SealParameters, context: SealContext
) -> tuple[bytes, bytes]:
    """Return the chunk key and the key commitment that follow from a data key and its place."""
    assert len(dek) == 32, "a data key has 32 bytes"
    pseudorandom_key = hkdf_extract(parameters.kdf_salt, dek)
    place = encode(parameters) + context_bytes(context)
    chunk_key = hkdf_expand(pseudorandom_key, Domain.SEALED_CHUNK_KEY.value + place, 32)
    commitment = hkdf_expand(pseudorandom_key, Domain.SEALED_KEY_COMMITMENT.value + place, 32)
    return chunk_key, commitment


def encode_opening_bytes(header: SealedHeader) -> bytes:
    """Return everything that stands before the first chunk."""
    encoded = encode(header)
    assert len(encoded) <= HEADER_BYTES_MAX, "a header keeps its bound"
    return MAGIC + len(encoded).to_bytes(2, "big") + encoded


def read_header(source: Readable) -> tuple[SealedHeader, bytes]:
    """Read magic and header; return the header and the bytes it was read from."""
    start = _read(source, len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise NotSealedRecord("the file does not begin like a sealed record")
    if len(start) < len(MAGIC) + 2:
        raise SealedTruncated("the file ends inside its first ten bytes")
    header_bytes = int.from_bytes(start[len(MAGIC) :], "big")
    if not 1 <= header_bytes <= HEADER_BYTES_MAX:
        raise SealedHeaderInvalid(f"a header of {header_bytes} bytes; 1..{HEADER_BYTES_MAX} belong")
    encoded = _read(source, header_bytes)
    if len(encoded) < header_bytes:
        raise SealedTruncated("the file ends inside its header")
    try:
        return decode(SealedHeader, encoded), start + encoded
    except DecodeError as problem:
        raise SealedHeaderInvalid(f"not a header of format 1: {problem}") from problem


def open_header(header: SealedHeader, dek: bytes, context: SealContext) -> bytes:
    """Return the chunk key; raise `KeyCommitmentMismatch` for another key, place or header."""
    chunk_key, commitment = derive_keys(dek, header.parameters, context)
    if not is_equal(commitment, header.key_commitment):
        raise KeyCommitmentMismatch("this key, record, version or seal is not the file's own")
    return chunk_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Preamble:
    """What stands first inside; `plaintext_bytes` is the padded size of everything inside."""

    metadata: RecordMetadata
    metadata_block: bytes
    stored_bytes: int

    @property
    def content_offset(self) -> int:
        """Where the stored content begins."""
        return PREAMBLE_BYTES + len(self.metadata_block)

    @property
    def plaintext_bytes(self) -> int:
        """The padded size of everything inside."""
        return padded_bytes(self.content_offset + self.stored_bytes)


def encode_preamble(preamble: Preamble) -> bytes:
    """Return the plaintext bytes before the stored content."""
    lengths = len(preamble.metadata_block).to_bytes(4, "big") + preamble.stored_bytes.to_bytes(
        8, "big"
    )
    return lengths + preamble.metadata_block


def decode_preamble(block: memoryview) -> Preamble:
    """Read the preamble at the start of the first plaintext; raise `MetadataInvalid`."""
    metadata_bytes = int.from_bytes(block[:4], "big")
    stored_bytes = int.from_bytes(block[4:PREAMBLE_BYTES], "big")
    block_end = PREAMBLE_BYTES + metadata_bytes
    if not 1 <= metadata_bytes <= METADATA_BYTES_MAX or len(block) < block_end:
        raise MetadataInvalid(f"a metadata block of {metadata_bytes} bytes")
    if stored_bytes > BLOB_BYTES_MAX:
        raise MetadataInvalid(f"{stored_bytes} stored bytes; at most {BLOB_BYTES_MAX} belong")
    metadata_block = bytes(block[PREAMBLE_BYTES:block_end])
    try:
        metadata = decode(RecordMetadata, metadata_block)
    except CryptoError as problem:
        raise MetadataInvalid(f"not a metadata block of format 1: {problem}") from problem
    if metadata.compression is Compression.NONE and stored_bytes != metadata.content_bytes:
        raise MetadataInvalid("uncompressed content is stored with its own length")
    return Preamble(metadata=metadata, metadata_block=metadata_block, stored_bytes=stored_bytes)


def _read(source: Readable, count: int) -> bytes:
    target = bytearray(count)
    return bytes(target[: read_into(source, memoryview(target))])
