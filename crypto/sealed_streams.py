"""The two sides of a sealed stream: what goes out under a seal, and what comes out of one.

`SealWriter` counts and addresses the sealed bytes it writes. `SealReader` takes authenticated
plaintext and knows where it stands between preamble, content and padding. `crypto.sealed` puts them
together; nobody else should.
"""

from dataclasses import dataclass

from crypto.chunks import ChunkOpener, ChunkSealer
from crypto.cid import Cid
from crypto.compression import Inflater
from crypto.content import ContentHasher, make_commitment
from crypto.errors import CidMismatch, CommitmentMismatch, PaddingInvalid
from crypto.hashing import Digest, is_equal
from crypto.record_ids import SealContext
from crypto.sealed_format import (
    Compression,
    Preamble,
    RecordMetadata,
    SealedHeader,
    SealParameters,
    decode_preamble,
    derive_keys,
    encode_opening_bytes,
    encode_preamble,
    open_header,
    read_header,
)
from crypto.streams import Readable, Writable, write_all
from crypto.unixfs import CidHasher

_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRecord:
    """What opening verified; the author's signature over `commitment` is the caller's to check."""

    metadata: RecordMetadata
    commitment: Digest
    content_root: bytes


class SealWriter:
    """The sealed side of sealing: header, chunks, content address and size of what goes out."""

    __slots__ = ("_chunk_key", "_cid", "_header", "_sink", "chunks")

    chunks: ChunkSealer

    def __init__(
        self, sink: Writable, dek: bytes, context: SealContext, parameters: SealParameters
    ) -> None:
        self._chunk_key, key_commitment = derive_keys(dek, parameters, context)
        self._header = SealedHeader(parameters=parameters, key_commitment=key_commitment)
        self._sink = sink
        self._cid = CidHasher()

    def start(self, preamble: Preamble) -> None:
        """Write the header and the preamble; the stored content comes next."""
        self.open_chunks(preamble)
        self.chunks.write(encode_preamble(preamble))

    def open_chunks(self, preamble: Preamble) -> None:
        """Write the header; the whole plaintext, the preamble included, comes next."""
        self._emit(memoryview(encode_opening_bytes(self._header)))
        self.chunks = ChunkSealer(
            chunk_key=self._chunk_key,
            nonce_prefix=self._header.parameters.nonce_prefix,
            plaintext_bytes=preamble.plaintext_bytes,
            emit=self._emit,
        )

    def finish(self) -> tuple[Cid, int]:
        """Pad, and return the address and the size of everything written."""
        self.chunks.write_zeros()
        self.chunks.finish()
        size_bytes = self._cid.size_bytes
        return self._cid.finish(), size_bytes

    def _emit(self, sealed: memoryview) -> None:
        self._cid.update(sealed)
        write_all(self._sink, sealed)


class SealReader:
    """The plain side of opening: where the stream stands between preamble, content and padding."""

    __slots__ = (
        "_cid",
        "_content",
        "_context",
        "_inflater",
        "_position",
        "_sink",
        "opener",
        "preamble",
    )

    _content: ContentHasher

    def __init__(self, source: Readable, sink: Writable, dek: bytes, context: SealContext) -> None:
        header, header_bytes = read_header(source)
        chunk_key = open_header(header, dek, context)
        self._cid = CidHasher()
        self._cid.update(header_bytes)
        self._context = context
        self._sink = sink
        self._inflater: Inflater | None = None
        self._position = 0
        self.preamble: Preamble | None = None
        self.opener = ChunkOpener(
            source=source,
            chunk_key=chunk_key,
            nonce_prefix=header.parameters.nonce_prefix,
            on_sealed=self._cid.update,
        )

    def take(self, block: memoryview) -> None:
        """Take the next authenticated plaintext."""
        start = 0 if self.preamble is not None else self._on_first(block)
        assert self.preamble is not None, "the first block holds the preamble"
        if self._position + len(block) > self.preamble.plaintext_bytes:
            raise PaddingInvalid("more is inside than the padded size")
        stored_end = self.preamble.content_offset + self.preamble.stored_bytes
        split = max(start, min(len(block), stored_end - self._position))
        self._on_stored(block[start:split])
        padding = block[split:]
        if padding and padding != memoryview(_ZEROS)[: len(padding)]:
            raise PaddingInvalid("the padding is not zeros")
        self._position += len(block)

    def finish(self, opening: bytes, cid: Cid, commitment: Digest) -> OpenedRecord:
        """Check the totals, the content address and the commitment."""
        if self.preamble is None or self._position != self.preamble.plaintext_bytes:
            raise PaddingInvalid("less is inside than the padded size")
        if self._inflater:
            self._inflater.finish()
        declared_bytes = self.preamble.metadata.content_bytes
        assert self._content.content_bytes == declared_bytes, "preamble and inflater saw to it"
        if not is_equal(self._cid.finish(), cid):
            raise CidMismatch("the file is not the one that the ledger names")
        content_root = self._content.finish()
        opened = commitment_in(self._context, opening, content_root)
        if not is_equal(opened, commitment):
            raise CommitmentMismatch("the content is not what its author committed to")
        return OpenedRecord(
            metadata=self.preamble.metadata, commitment=opened, content_root=content_root
        )

    def _on_first(self, block: memoryview) -> int:
        self.preamble = preamble = decode_preamble(block)
        self.opener.plaintext_bytes_declared = preamble.plaintext_bytes
        self._content = ContentHasher(preamble.metadata_block)
        if preamble.metadata.compression is Compression.GZIP:
            self._inflater = Inflater(preamble.metadata.content_bytes, self._on_content)
        return preamble.content_offset

    def _on_stored(self, stored: memoryview) -> None:
        if self._inflater:
            self._inflater.update(stored)
        else:
            self._on_content(stored)

    def _on_content(self, content: bytes | memoryview) -> None:
        self._content.update(content)
        write_all(self._sink, content)


def commitment_in(context: SealContext, opening: bytes, content_root: bytes) -> Digest:
    """Return the commitment to a content root at the place that a seal is bound to."""
    return make_commitment(
        chain_id=context.chain_id,
        record_id=context.record_id,
        version_id=context.version_id,
        opening=opening,
        content_root=content_root,
    )
