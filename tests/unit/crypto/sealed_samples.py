"""Deterministic ingredients of sealed records, and ways to seal what no honest client would."""

import io
from dataclasses import replace

from crypto.chunks import ChunkSealer
from crypto.content import ContentHasher, make_commitment
from crypto.hashing import ChainId, Digest
from crypto.record_ids import RecordId, SealContext, SealId, VersionId
from crypto.schema import encode
from crypto.sealed import ContentDescription, SealedRecord, open_stream, seal_stream
from crypto.sealed_format import (
    Compression,
    RecordMetadata,
    SealedHeader,
    SealSecrets,
    derive_keys,
    encode_opening_bytes,
    make_parameters,
)
from crypto.sealed_streams import OpenedRecord
from crypto.unixfs import cid_of_stream

CONTEXT = SealContext(
    chain_id=ChainId(b"C" * 32),
    record_id=RecordId(b"R" * 16),
    version_id=VersionId(b"V" * 16),
    seal_id=SealId(b"S" * 16),
)
KEYS = SealSecrets(dek=b"K" * 32, opening=b"O" * 32)
PARAMETERS = make_parameters(kdf_salt=b"s" * 32, nonce_prefix=b"nonce-7")
DICOM = ContentDescription(
    content_type="application/dicom", file_name="chest.dcm", authored_ms=1_795_219_200_000
)
FHIR = replace(DICOM, content_type="application/fhir+json", file_name="bundle.json")


def seal(
    content: bytes, description: ContentDescription = DICOM, keys: SealSecrets = KEYS
) -> tuple[SealedRecord, bytes]:
    sink = io.BytesIO()
    sealed = seal_stream(
        io.BytesIO(content),
        sink,
        description=description,
        context=CONTEXT,
        keys=keys,
        parameters=PARAMETERS,
    )
    return sealed, sink.getvalue()


def unseal(
    sealed: SealedRecord, file: bytes, keys: SealSecrets = KEYS, context: SealContext = CONTEXT
) -> tuple[OpenedRecord, bytes]:
    sink = io.BytesIO()
    opened = open_stream(
        io.BytesIO(file),
        sink,
        context=context,
        keys=keys,
        cid=sealed.cid,
        commitment=sealed.commitment,
    )
    return opened, sink.getvalue()


def seal_inside(inside: bytes) -> bytes:
    """Seal any plaintext, however malformed, as its author could with the data key at hand."""
    chunk_key, key_commitment = derive_keys(KEYS.dek, PARAMETERS, CONTEXT)
    header = SealedHeader(parameters=PARAMETERS, key_commitment=key_commitment)
    sealed = bytearray(encode_opening_bytes(header))
    chunks = ChunkSealer(
        chunk_key=chunk_key,
        nonce_prefix=PARAMETERS.nonce_prefix,
        plaintext_bytes=len(inside),
        emit=sealed.extend,
    )
    chunks.write(inside)
    chunks.finish()
    return bytes(sealed)


def describe_inside(
    stored: bytes,
    *,
    content_bytes: int,
    compression: Compression,
    stored_bytes: int | None = None,
) -> tuple[bytes, bytes]:
    """Return preamble and stored content without padding, and the metadata block."""
    metadata = RecordMetadata(
        content_type=DICOM.content_type,
        file_name=DICOM.file_name,
        content_bytes=content_bytes,
        authored_ms=DICOM.authored_ms,
        compression=compression,
    )
    block = encode(metadata)
    lengths = len(block).to_bytes(4, "big")
    lengths += (len(stored) if stored_bytes is None else stored_bytes).to_bytes(8, "big")
    return lengths + block + stored, block


def claim(file: bytes, metadata_block: bytes, content: bytes) -> SealedRecord:
    """Return what its author would have put on chain for a file made by `seal_inside`."""
    hasher = ContentHasher(metadata_block)
    hasher.update(content)
    root = hasher.finish()
    commitment: Digest = make_commitment(
        chain_id=CONTEXT.chain_id,
        record_id=CONTEXT.record_id,
        version_id=CONTEXT.version_id,
        opening=KEYS.opening,
        content_root=root,
    )
    return SealedRecord(
        cid=cid_of_stream(io.BytesIO(file)),
        size_bytes=len(file),
        commitment=commitment,
        content_root=root,
        metadata=seal(b"")[0].metadata,
    )
