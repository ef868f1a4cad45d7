"""Golden vectors: the code makes the bytes of the day the formats were frozen, and opens them."""

import hashlib
import hmac
import io
import json
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.cid import decode_cid_text, encode_cid_text
from crypto.directory import Directory
from crypto.envelopes import (
    EnvelopeInfo,
    SealKey,
    SealPrivateKey,
    SealScheme,
    check_sidecar,
    open_envelope,
    seal_public_key,
    sidecar_payload,
)
from crypto.hashing import ChainId, Digest
from crypto.keystore import KeystoreContent, entry_seal_keys, entry_sign_key, unlock_keystore
from crypto.notes import open_note
from crypto.record_ids import RecordId, SealContext, SealId, VersionId
from crypto.schema import decode, encode
from crypto.sealed import open_stream
from crypto.sealed_format import SealSecrets
from crypto.unixfs import LeafIndex, check_leaf_index
from tests.vectors.make_sealing_vectors import make_all

FOLDER = Path(__file__).parents[2] / "vectors"
NAMES = ["sealed.json", "envelopes.json", "cid.json", "keystore.json"]


def read(name: str) -> dict[str, Any]:
    vectors: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return vectors


SHOWN = [record for record in read("sealed.json")["records"] if "file_base64" in record]


def test_the_code_makes_the_very_vectors_that_are_kept() -> None:
    made = make_all()

    assert sorted(made) == sorted(NAMES)
    for name in NAMES:
        assert made[name] == read(name), name


@pytest.mark.parametrize("vector", SHOWN, ids=[vector["name"] for vector in SHOWN])
def test_a_kept_sealed_record_opens(vector: dict[str, Any]) -> None:
    sink = io.BytesIO()

    opened = open_stream(
        io.BytesIO(b64decode(vector["file_base64"])),
        sink,
        context=SealContext(
            chain_id=ChainId(bytes.fromhex(vector["chain_id"])),
            record_id=RecordId(bytes.fromhex(vector["record_id"])),
            version_id=VersionId(bytes.fromhex(vector["version_id"])),
            seal_id=SealId(bytes.fromhex(vector["seal_id"])),
        ),
        keys=SealSecrets(
            dek=bytes.fromhex(vector["dek"]), opening=bytes.fromhex(vector["opening"])
        ),
        cid=decode_cid_text(vector["cid"]),
        commitment=Digest(bytes.fromhex(vector["commitment"])),
    )

    assert sink.getvalue().hex() == vector["content_hex"]
    assert opened.content_root.hex() == vector["content_root"]


@pytest.mark.parametrize("vector", SHOWN, ids=[vector["name"] for vector in SHOWN])
def test_a_kept_sealed_record_opens_by_the_book(vector: dict[str, Any]) -> None:
    """A second reader, made of docs/wire-sealed.md and nothing of the room's own code."""
    file = b64decode(vector["file_base64"])
    header_end = 10 + int.from_bytes(file[8:10], "big")
    parameters, key_commitment = msgpack.unpackb(file[10:header_end])
    _, suite, chunk_bytes, kdf_salt, nonce_prefix = parameters
    names = ("chain_id", "record_id", "version_id", "seal_id")
    place = msgpack.packb(parameters) + b"".join(bytes.fromhex(vector[name]) for name in names)
    prk = hmac.digest(kdf_salt, bytes.fromhex(vector["dek"]), "sha256")

    def expand(label: bytes) -> bytes:
        return hmac.digest(prk, label + place + b"\x01", "sha256")

    inside = AESGCM(expand(b"medledger/sealed-chunk-key/v1")).decrypt(
        nonce_prefix + bytes(4) + b"\x01", file[header_end:], None
    )
    block_end = 12 + int.from_bytes(inside[:4], "big")
    stored_end = block_end + int.from_bytes(inside[4:12], "big")
    version, content_type, file_name, content_bytes, authored_ms, compression = msgpack.unpackb(
        inside[12:block_end]
    )
    stored = inside[block_end:stored_end]
    content = zlib.decompress(stored, 31) if compression else stored
    leaves = [hashlib.sha256(inside[12:block_end]).digest()]
    leaves += [hashlib.sha256(content).digest()] if content else []
    heads = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    root = heads[0] if len(heads) == 1 else hashlib.sha256(b"\x01" + heads[0] + heads[1]).digest()
    committed = b"".join(bytes.fromhex(vector[name]) for name in (*names[:3], "opening")) + root

    assert file[:8] == b"\x89MLSR\r\n\x1a"
    assert (parameters[0], suite, chunk_bytes, version) == (1, 1, 65_536, 1)
    assert expand(b"medledger/sealed-key-commitment/v1") == key_commitment
    assert content_type == vector["content_type"]
    assert file_name == vector["file_name"]
    assert authored_ms == vector["authored_ms"]
    assert content.hex() == vector["content_hex"]
    assert content_bytes == len(content)
    assert len(inside) == 16_384
    assert not any(inside[stored_end:])
    digest = hashlib.sha256(b"medledger/record-commitment/v1" + committed).hexdigest()
    assert digest == vector["commitment"]


@pytest.mark.parametrize("scheme", list(SealScheme))
def test_kept_envelopes_and_notes_open(scheme: SealScheme) -> None:
    vectors = read("envelopes.json")
    envelope = next(one for one in vectors["envelopes"] if one["scheme"] == scheme.name)
    note = next(one for one in vectors["notes"] if one["scheme"] == scheme.name)
    private = SealPrivateKey(scheme=scheme, secret=bytes.fromhex(envelope["private"]))
    prefix = len(b"medledger/envelope/v1")

    keys = open_envelope(
        private,
        bytes.fromhex(envelope["envelope"]),
        decode(EnvelopeInfo, bytes.fromhex(envelope["info"])[prefix:], bytes_max=512),
    )
    content = open_note(
        private,
        bytes.fromhex(note["note"]),
        decode(EnvelopeInfo, bytes.fromhex(note["info"])[prefix:], bytes_max=512),
    )

    assert (keys.dek.hex(), keys.opening.hex()) == (envelope["dek"], envelope["opening"])
    assert content.hex() == note["content"]
    assert len(decode(Directory, content).categories) == 2
    kept_key = decode(SealKey, bytes.fromhex(envelope["encoded_key"]))
    assert seal_public_key(private) == kept_key


def test_the_kept_sidecar_is_checked() -> None:
    vector = read("envelopes.json")["sidecar"]
    content = bytes.fromhex(vector["content"])

    check_sidecar(Digest(bytes.fromhex(vector["digest"])), content)

    assert sidecar_payload(content).hex() == vector["payload"]


def test_the_kept_leaf_index_is_checked() -> None:
    vector = read("cid.json")["leaf_index"]

    index = decode(LeafIndex, bytes.fromhex(vector["encoded"]))

    check_leaf_index(index.cid, index)
    assert encode_cid_text(index.cid) == vector["cid"]
    assert index.size_bytes == vector["size_bytes"]


@pytest.mark.parametrize("kdf", ["argon2id", "pbkdf2-sha256"])
def test_a_kept_keystore_opens(kdf: str) -> None:
    vectors = read("keystore.json")
    file = bytes.fromhex(vectors["files"][kdf])

    content: KeystoreContent = unlock_keystore(file, vectors["passphrase"], name=kdf)

    assert encode(content).hex() == vectors["content"]
    person, node = content.accounts
    assert [key.scheme for key in entry_seal_keys(person)] == list(SealScheme)
    assert entry_sign_key(node).secret.hex() == bytes(range(33, 65)).hex()
