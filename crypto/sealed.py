"""Sealing, opening and re-sealing a record as a stream, with memory that does not grow with it.

Sealing reads the content once: while a block is encrypted, the content root and the content address
are hashed from the same buffers. What must be known before the first chunk (the exact length, and
the stored length of compressed content) comes from the file's size, or from a spool that never
holds plaintext on disk (`crypto.spool`).

Opening verifies everything, but it can only do so while the content streams by: **whoever calls
`open_stream` gives it a private temporary (mode 0600) and shows or renames that only after the call
has returned** and the author's signature over the returned commitment was checked. On any error the
temporary is deleted unseen.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from crypto.chunks import ChunkSealer
from crypto.cid import Cid
from crypto.compression import Deflater, is_compressible
from crypto.content import ContentHasher
from crypto.errors import ContentTooLarge, SourceChanged
from crypto.hashing import Digest
from crypto.record_ids import SealContext
from crypto.schema import encode
from crypto.sealed_format import (
    CONTENT_BYTES_MAX,
    Compression,
    Preamble,
    RecordMetadata,
    SealParameters,
    SealSecrets,
    make_parameters,
)
from crypto.sealed_streams import OpenedRecord, SealReader, SealWriter, commitment_in
from crypto.spool import Spool
from crypto.streams import Readable, SeekableReadable, Writable, read_into

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentDescription:
    """What the author says about the content; becomes part of the metadata block.

    `authored_ms` is Unix time in milliseconds; `file_name` is a bare name and may be empty.
    """

    content_type: str
    file_name: str
    authored_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """What sealing made: `cid`, `size_bytes` and `commitment` go on chain, `content_root` never."""

    cid: Cid
    size_bytes: int
    commitment: Digest
    content_root: bytes
    metadata: RecordMetadata


def seal_stream(
    source: SeekableReadable | Spool,
    sink: Writable,
    *,
    description: ContentDescription,
    context: SealContext,
    keys: SealSecrets,
    parameters: SealParameters | None = None,
    spool_directory: Path | None = None,
) -> SealedRecord:
    """Seal everything from the source's position to its end into `sink`.

    A pipe is spooled first (`spool_encrypted`). `parameters` are drawn unless a test vector gives
    them. Raises `ContentTooLarge`, `SourceChanged`, and `ValueError` or `EncodeError` for a
    description that is not allowed; the sink is worthless then.
    """
    content_bytes = _content_bytes(source)
    metadata = _describe(description, content_bytes)
    metadata_block = encode(metadata)
    content = ContentHasher(metadata_block)
    writer = SealWriter(sink, keys.dek, context, parameters or make_parameters())
    if metadata.compression is Compression.GZIP:
        with Spool(spool_directory) as stored:
            _deflate(source, stored, content, content_bytes)
            writer.start(_preamble(metadata, metadata_block, stored.size_bytes))
            _copy(stored, writer.chunks, None, stored.size_bytes)
    else:
        writer.start(_preamble(metadata, metadata_block, content_bytes))
        _copy(source, writer.chunks, content, content_bytes)
        _check_end(source)
    cid, size_bytes = writer.finish()
    content_root = content.finish()
    return SealedRecord(
        cid=cid,
        size_bytes=size_bytes,
        commitment=commitment_in(context, keys.opening, content_root),
        content_root=content_root,
        metadata=metadata,
    )


def open_stream(
    source: Readable,
    sink: Writable,
    *,
    context: SealContext,
    keys: SealSecrets,
    cid: Cid,
    commitment: Digest,
) -> OpenedRecord:
    """Open a sealed record into a private temporary; show nothing of it before this returns.

    `cid` and `commitment` come from proven state, never from the server's reply. Raises a
    `SealedError` saying what is wrong.
    """
    reader = SealReader(source, sink, keys.dek, context)
    for block in reader.opener.blocks():
        reader.take(block)
    return reader.finish(keys.opening, cid, commitment)


def reseal_stream(
    source: Readable,
    sink: Writable,
    *,
    context: SealContext,
    keys: SealSecrets,
    cid: Cid,
    commitment: Digest,
    new_context: SealContext,
    new_keys: SealSecrets,
    parameters: SealParameters | None = None,
) -> SealedRecord:
    """Seal a version again under a fresh data key, keeping its very plaintext and its commitment.

    Everything is verified as in `open_stream`, so that damage is never passed on; the content is
    inflated for that, but stored again as it was. On a `SealedError` the sink is worthless.
    """
    assert new_keys.dek != keys.dek, "every seal has its own data key"
    assert new_keys.opening == keys.opening, "a new seal keeps the opening, so the commitment stays"
    assert new_context.version_id == context.version_id, "a new seal is of the same version"
    assert new_context.seal_id != context.seal_id, "a new seal has its own name"
    reader = SealReader(source, _Nowhere(), keys.dek, context)
    writer = SealWriter(sink, new_keys.dek, new_context, parameters or make_parameters())
    for block in reader.opener.blocks():
        is_first = reader.preamble is None
        reader.take(block)
        assert reader.preamble is not None, "the first block holds the preamble"
        if is_first:
            writer.open_chunks(reader.preamble)
        writer.chunks.write(block)
    opened = reader.finish(keys.opening, cid, commitment)
    new_cid, size_bytes = writer.finish()
    return SealedRecord(
        cid=new_cid,
        size_bytes=size_bytes,
        commitment=commitment,
        content_root=opened.content_root,
        metadata=opened.metadata,
    )


class _Nowhere:
    """A sink for content that is only verified."""

    __slots__ = ()

    def write(self, piece: memoryview) -> int:
        return len(piece)


def _describe(description: ContentDescription, content_bytes: int) -> RecordMetadata:
    is_gzip = is_compressible(description.content_type)
    return RecordMetadata(
        content_type=description.content_type,
        file_name=unicodedata.normalize("NFC", description.file_name),
        content_bytes=content_bytes,
        authored_ms=description.authored_ms,
        compression=Compression.GZIP if is_gzip else Compression.NONE,
    )


def _preamble(metadata: RecordMetadata, block: bytes, stored_bytes: int) -> Preamble:
    return Preamble(metadata=metadata, metadata_block=block, stored_bytes=stored_bytes)


def _content_bytes(source: SeekableReadable | Spool) -> int:
    """Return how much is left of the source; raise `ContentTooLarge`."""
    if isinstance(source, Spool):
        content_bytes = source.size_bytes
    else:
        start = source.tell()
        content_bytes = source.seek(0, 2) - start
        source.seek(start)
    if content_bytes > CONTENT_BYTES_MAX:
        raise ContentTooLarge(f"{content_bytes} bytes; a record holds at most {CONTENT_BYTES_MAX}")
    return content_bytes


def _copy(source: Readable, chunks: ChunkSealer, content: ContentHasher | None, count: int) -> None:
    """Move exactly `count` bytes from the source into the chunks, hashing them on the way."""
    left_bytes = count
    while left_bytes:
        room = chunks.room()[:left_bytes]
        read_bytes = read_into(source, room)
        if read_bytes < len(room):
            raise SourceChanged(f"the content ended {left_bytes - read_bytes} bytes early")
        if content:
            content.update(room)
        left_bytes -= read_bytes
        chunks.advance(read_bytes)


def _deflate(source: Readable, stored: Spool, content: ContentHasher, count: int) -> None:
    """Compress exactly `count` bytes of the source into `stored`, hashing them on the way."""
    deflater = Deflater(stored.write)
    block = memoryview(bytearray(_BLOCK_BYTES))
    while (read_bytes := read_into(source, block)) > 0:
        content.update(block[:read_bytes])
        deflater.update(block[:read_bytes])
        if content.content_bytes > count:
            break
    if content.content_bytes != count:
        raise SourceChanged("the content grew or shrank while it was being sealed")
    deflater.finish()
    stored.rewind()


def _check_end(source: Readable) -> None:
    if read_into(source, memoryview(bytearray(1))):
        raise SourceChanged("the content grew while it was being sealed")
