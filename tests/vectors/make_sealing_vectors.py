"""Writes the golden vectors of sealed records, envelopes, content addresses and keystores.

Run `python -m tests.vectors.make_sealing_vectors` after a deliberate change of a format, never to
make a test pass: a vector that changes means that old files no longer open. It needs a new version
of that type and a line in CHANGELOG.md. All randomness is an argument; where the product's back end
draws its own (HPKE, OAEP), `wrapping_by_hand` takes its place.
"""

import hashlib
import io
import json
import zlib
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from crypto.chunks import ChunkSealer
from crypto.cid import encode_cid_text
from crypto.compression import is_compressible
from crypto.content import ContentHasher, author_payload, author_preimage, make_commitment
from crypto.directory import Category, Directory
from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    SealPrivateKey,
    SealScheme,
    envelope_info_bytes,
    make_sidecar,
    seal_key_id,
    seal_public_key,
)
from crypto.hashing import ChainId
from crypto.keystore import (
    KDF_BROWSER,
    KDF_CHEAPEST,
    Kdf,
    KeystoreContent,
    lock_keystore,
    make_account_entry,
)
from crypto.notes import encrypt_note, make_note_info
from crypto.record_ids import (
    AccountId,
    SealContext,
    SealId,
    VersionId,
    make_record_id,
)
from crypto.schema import encode
from crypto.sealed import ContentDescription, SealedRecord, seal_stream
from crypto.sealed_format import (
    Compression,
    Preamble,
    RecordMetadata,
    SealedHeader,
    SealSecrets,
    derive_keys,
    encode_opening_bytes,
    encode_preamble,
    make_parameters,
)
from crypto.signatures import Scheme, SigningKey, account_id, public_key
from crypto.tags import TagKind, make_tag
from crypto.unixfs import DagBuilder, cid_of_stream, leaf_bytes, leaf_count, make_leaf_index
from tests.vectors.fixed_keys import ED25519_SEED, P256_SCALAR, P256_SIGN_SCALAR, RSA_3072_PKCS8
from tests.vectors.wrapping_by_hand import hpke_seal, oaep_seal

FOLDER = Path(__file__).parent
MIB = 1 << 20

CHAIN = ChainId(b"\x01" * 32)
PSEUDONYM = AccountId(b"\x02" * 32)
AUTHOR = AccountId(b"\x03" * 32)
RECIPIENT = AccountId(b"\x04" * 32)
CONTEXT = SealContext(
    chain_id=CHAIN,
    record_id=make_record_id(CHAIN, AUTHOR, b"\x05" * 16),
    version_id=VersionId(b"\x06" * 16),
    seal_id=SealId(b"\x07" * 16),
)
KEYS = SealSecrets(dek=b"\x08" * 32, opening=b"\x09" * 32)
PARAMETERS = make_parameters(kdf_salt=b"\x0a" * 32, nonce_prefix=b"\x0b" * 7)
AUTHORED_MS = 1_795_219_200_000
PASSPHRASE = "Gr\u00fc\u00dfe aus K\u00f6ln"
SEAL_PRIVATE = {
    SealScheme.P256: SealPrivateKey(scheme=SealScheme.P256, secret=P256_SCALAR),
    SealScheme.RSA_3072: SealPrivateKey(scheme=SealScheme.RSA_3072, secret=RSA_3072_PKCS8),
}


def make_all() -> dict[str, Any]:
    """Return every vector file by its name."""
    return {
        "sealed.json": make_sealed(),
        "envelopes.json": make_envelopes(),
        "cid.json": make_cids(),
        "keystore.json": make_keystores(),
    }


def numbered_stream(size_bytes: int) -> bytes:
    """SHA-256 of 0, 1, 2, ... as 8 big-endian bytes, side by side, cut at `size_bytes`."""
    blocks = (hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(size_bytes // 32 + 1))
    return b"".join(blocks)[:size_bytes]


def make_sealed() -> dict[str, Any]:
    dicom = ContentDescription(
        content_type="application/dicom", file_name="thorax.dcm", authored_ms=AUTHORED_MS
    )
    fhir = replace(dicom, content_type="application/fhir+json", file_name="Beh\u00f6rde.json")
    bundle = b'{"resourceType": "Bundle", "type": "document"}'
    return {
        "about": "Sealed records, file format 1; content is the numbered stream unless given.",
        "ids": {
            "chain_id": CHAIN.hex(),
            "author": AUTHOR.hex(),
            "random": (b"\x05" * 16).hex(),
            "record_id": CONTEXT.record_id.hex(),
        },
        "records": [
            sealed_vector("empty", b"", dicom, shows_file=True),
            sealed_vector("one chunk", numbered_stream(1000), dicom, shows_file=True),
            sealed_vector("several chunks", numbered_stream(200_000), dicom),
            sealed_vector("several leaves", numbered_stream(2_500_000), dicom),
            sealed_vector("compressed", bundle, fhir, shows_file=True),
        ],
        "author_statement": author_vector(),
    }


def sealed_vector(
    name: str, content: bytes, description: ContentDescription, *, shows_file: bool = False
) -> dict[str, Any]:
    if is_compressible(description.content_type):
        sealed, file = seal_compressed(content, description)
    else:
        sink = io.BytesIO()
        sealed = seal_stream(
            io.BytesIO(content),
            sink,
            description=description,
            context=CONTEXT,
            keys=KEYS,
            parameters=PARAMETERS,
        )
        file = sink.getvalue()
    chunk_key, key_commitment = derive_keys(KEYS.dek, PARAMETERS, CONTEXT)
    vector = {
        "name": name,
        "chain_id": CONTEXT.chain_id.hex(),
        "record_id": CONTEXT.record_id.hex(),
        "version_id": CONTEXT.version_id.hex(),
        "seal_id": CONTEXT.seal_id.hex(),
        "dek": KEYS.dek.hex(),
        "opening": KEYS.opening.hex(),
        "kdf_salt": PARAMETERS.kdf_salt.hex(),
        "nonce_prefix": PARAMETERS.nonce_prefix.hex(),
        "chunk_key": chunk_key.hex(),
        "key_commitment": key_commitment.hex(),
        "content_type": description.content_type,
        "file_name": description.file_name,
        "authored_ms": description.authored_ms,
        "content_bytes": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "metadata_block": encode(sealed.metadata).hex(),
        "content_root": sealed.content_root.hex(),
        "commitment": sealed.commitment.hex(),
        "file_bytes": sealed.size_bytes,
        "file_sha256": hashlib.sha256(file).hexdigest(),
        "cid": encode_cid_text(sealed.cid),
    }
    if shows_file:
        vector |= {"content_hex": content.hex(), "file_base64": b64encode(file).decode()}
    return vector


def seal_compressed(content: bytes, description: ContentDescription) -> tuple[SealedRecord, bytes]:
    """Seal with a gzip member of stored blocks: what a compressor makes differs by its version."""
    metadata = RecordMetadata(
        content_type=description.content_type,
        file_name=description.file_name,
        content_bytes=len(content),
        authored_ms=description.authored_ms,
        compression=Compression.GZIP,
    )
    stored = gzip_of_stored_block(content)
    block = encode(metadata)
    preamble = Preamble(metadata=metadata, metadata_block=block, stored_bytes=len(stored))
    chunk_key, key_commitment = derive_keys(KEYS.dek, PARAMETERS, CONTEXT)
    header = SealedHeader(parameters=PARAMETERS, key_commitment=key_commitment)
    file = bytearray(encode_opening_bytes(header))
    chunks = ChunkSealer(
        chunk_key=chunk_key,
        nonce_prefix=PARAMETERS.nonce_prefix,
        plaintext_bytes=preamble.plaintext_bytes,
        emit=file.extend,
    )
    chunks.write(encode_preamble(preamble) + stored)
    chunks.write_zeros()
    chunks.finish()
    hasher = ContentHasher(block)
    hasher.update(content)
    root = hasher.finish()
    commitment = make_commitment(
        chain_id=CONTEXT.chain_id,
        record_id=CONTEXT.record_id,
        version_id=CONTEXT.version_id,
        opening=KEYS.opening,
        content_root=root,
    )
    sealed = SealedRecord(
        cid=cid_of_stream(io.BytesIO(file)),
        size_bytes=len(file),
        commitment=commitment,
        content_root=root,
        metadata=metadata,
    )
    return sealed, bytes(file)


def gzip_of_stored_block(content: bytes) -> bytes:
    """RFC 1952 around one uncompressed block of RFC 1951."""
    assert len(content) < 1 << 16, "one stored block is enough"
    size = len(content).to_bytes(2, "little")
    block = b"\x01" + size + bytes(byte ^ 0xFF for byte in size) + content
    trailer = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return bytes.fromhex("1f8b08000000000000ff") + block + trailer


def author_vector() -> dict[str, Any]:
    commitment = make_commitment(
        chain_id=CHAIN,
        record_id=CONTEXT.record_id,
        version_id=CONTEXT.version_id,
        opening=KEYS.opening,
        content_root=b"\x0c" * 32,
    )
    payload = author_payload(
        pseudonym=PSEUDONYM,
        record_id=CONTEXT.record_id,
        version_id=CONTEXT.version_id,
        author=AUTHOR,
        commitment=commitment,
    )
    return {
        "pseudonym": PSEUDONYM.hex(),
        "author": AUTHOR.hex(),
        "commitment": commitment.hex(),
        "payload": payload.hex(),
        "preimage": author_preimage(CHAIN, payload).hex(),
    }


def make_envelopes() -> dict[str, Any]:
    return {
        "about": "Envelopes, notes, sidecars, tags; HPKE and OAEP by wrapping_by_hand.py.",
        "envelopes": [envelope_vector(scheme) for scheme in SealScheme],
        "notes": [note_vector(scheme) for scheme in SealScheme],
        "sidecar": sidecar_vector(),
        "tags": [tag_vector(kind) for kind in TagKind],
    }


def wrap_by_hand(scheme: SealScheme, plaintext: bytes, info: EnvelopeInfo) -> bytes:
    bound = envelope_info_bytes(info)
    loaded = SEAL_PRIVATE[scheme].loaded
    if isinstance(loaded, rsa.RSAPrivateKey):
        label = hashlib.sha256(bound).digest()
        return oaep_seal(loaded.public_key(), b"\x0d" * 32, plaintext, label)
    return hpke_seal(loaded.public_key(), int.from_bytes(b"\x0e" * 32, "big"), plaintext, bound)


def envelope_vector(scheme: SealScheme) -> dict[str, Any]:
    public = seal_public_key(SEAL_PRIVATE[scheme])
    info = EnvelopeInfo(
        chain_id=CHAIN,
        kind=EnvelopeKind.RECORD,
        pseudonym=PSEUDONYM,
        record_id=CONTEXT.record_id,
        version_id=CONTEXT.version_id,
        seal_id=CONTEXT.seal_id,
        recipient=RECIPIENT,
        recipient_key_id=seal_key_id(public),
    )
    return {
        "scheme": scheme.name,
        "private": SEAL_PRIVATE[scheme].secret.hex(),
        "public": public.data.hex(),
        "encoded_key": encode(public).hex(),
        "key_id": seal_key_id(public).hex(),
        "info": envelope_info_bytes(info).hex(),
        "pseudonym": PSEUDONYM.hex(),
        "recipient": RECIPIENT.hex(),
        "dek": KEYS.dek.hex(),
        "opening": KEYS.opening.hex(),
        "envelope": wrap_by_hand(scheme, KEYS.dek + KEYS.opening, info).hex(),
    }


def note_vector(scheme: SealScheme) -> dict[str, Any]:
    public = seal_public_key(SEAL_PRIVATE[scheme])
    info = make_note_info(
        chain_id=CHAIN,
        kind=EnvelopeKind.DIRECTORY,
        pseudonym=PSEUDONYM,
        recipient=RECIPIENT,
        recipient_key_id=seal_key_id(public),
    )
    directory = Directory(
        pseudonym=PSEUDONYM,
        tag_key=b"\x0f" * 32,
        categories=(
            Category(name="imaging", category_id=b"\x10" * 16),
            Category(name="other", category_id=b"\x11" * 16),
        ),
    )
    key = b"\x12" * 32
    note = encrypt_note(key, wrap_by_hand(scheme, key, info), encode(directory), info)
    return {
        "scheme": scheme.name,
        "kind": info.kind.name,
        "info": envelope_info_bytes(info).hex(),
        "note_key": key.hex(),
        "content": encode(directory).hex(),
        "note": note.hex(),
    }


def sidecar_vector() -> dict[str, Any]:
    sidecar = make_sidecar(b"payload", b"\x13" * 32)
    return {
        "payload": b"payload".hex(),
        "content": sidecar.content.hex(),
        "digest": sidecar.digest.hex(),
    }


def tag_vector(kind: TagKind) -> dict[str, Any]:
    tag_key, code = b"\x0f" * 32, "http://loinc.org|75618-9"
    tag = make_tag(tag_key, kind, code)
    return {"tag_key": tag_key.hex(), "kind": kind.name, "code": code, "tag": tag.hex()}


def make_cids() -> dict[str, Any]:
    stream = numbered_stream(3 * MIB + 5)
    sizes = (0, 1, 1000, MIB, MIB + 1, 3 * MIB + 5)
    zero_sizes = (2 * MIB, 1024 * MIB, 1024 * MIB + 1, 2048 * MIB - 1, 2048 * MIB, 32 << 30)
    index = make_leaf_index(io.BytesIO(stream))
    return {
        "about": (
            "Content addresses, profile unixfs-v1-2025. Below 2 GiB they equal those of the npm"
            " package ipfs-unixfs-importer 17.1.1; from 2 GiB on that package writes a zero for the"
            " file size where protobuf has a varint, see docs/decisions/0012."
        ),
        "numbered_stream": {
            str(size): encode_cid_text(cid_of_stream(io.BytesIO(stream[:size]))) for size in sizes
        },
        "zeros": {str(size): address_of_zeros(size) for size in zero_sizes},
        "leaf_index": {
            "size_bytes": index.size_bytes,
            "cid": encode_cid_text(index.cid),
            "cid_bytes": index.cid.hex(),
            "encoded": encode(index).hex(),
        },
    }


def address_of_zeros(size_bytes: int) -> str:
    """Address that many zero bytes without hashing them all."""
    dag = DagBuilder()
    digests: dict[int, bytes] = {}
    for position in range(leaf_count(size_bytes)):
        count = leaf_bytes(size_bytes, position)
        if count not in digests:
            digests[count] = hashlib.sha256(bytes(count)).digest()
        dag.add_leaf(digests[count], count)
    return encode_cid_text(dag.finish())


def make_keystores() -> dict[str, Any]:
    sign_keys = {
        "a person": SigningKey(scheme=Scheme.P256, secret=P256_SIGN_SCALAR),
        "a node": SigningKey(scheme=Scheme.ED25519, secret=ED25519_SEED),
    }
    seal_keys: dict[str, tuple[SealPrivateKey, ...]] = {
        "a person": tuple(SEAL_PRIVATE.values()),
        "a node": (),
    }
    content = KeystoreContent(
        accounts=tuple(
            make_account_entry(
                label=label,
                account_id=account_id(public_key(key)),
                sign_key=key,
                seal_keys=seal_keys[label],
                created_ms=AUTHORED_MS,
            )
            for label, key in sign_keys.items()
        )
    )
    kdfs: dict[str, Kdf] = {"argon2id": KDF_CHEAPEST, "pbkdf2-sha256": KDF_BROWSER}
    return {
        "about": "Keystores; the passphrase is NFC, UTF-8.",
        "passphrase": PASSPHRASE,
        "content": encode(content).hex(),
        "files": {
            name: lock_keystore(
                content, PASSPHRASE, kdf=kdf, salt=b"\x14" * 16, nonce=b"\x15" * 12
            ).hex()
            for name, kdf in kdfs.items()
        },
    }


def main() -> None:
    for name, vectors in make_all().items():
        text = json.dumps(vectors, indent=1, ensure_ascii=False)
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
