"""Golden vectors of records and access: the bytes of the day these formats were frozen."""

import hashlib
import json
from typing import Any

import msgpack
import pytest
from ecdsa import NIST256p, VerifyingKey
from ecdsa.util import sigdecode_string
from nacl.signing import VerifyKey

from crypto.schema import decode
from crypto.signatures import Scheme, public_key
from ledger.contracts import access, records
from tests.unit.ledger.small_consortium import signing_key
from tests.vectors.make_contract_vectors import FILE, vectors, wire_values

STORED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
RECORD = {name: bytes.fromhex(value) for name, value in STORED["record"].items()}


def test_the_stored_vectors_are_what_we_write_today() -> None:
    assert vectors() == STORED, "a format changed: see tests/vectors/make_contract_vectors.py"


@pytest.mark.parametrize("name", STORED["wire"])
def test_a_stored_value_decodes_to_what_it_was_made_of(name: str) -> None:
    value = wire_values()[name]

    assert decode(type(value), bytes.fromhex(STORED["wire"][name])) == value


def test_every_payload_of_both_families_has_a_vector() -> None:
    names = {name.split(",")[0] for name in STORED["wire"]}

    payloads = {kind.payload.__name__ for kind in (*records.KINDS, *access.KINDS)}

    assert payloads <= names


def test_a_stored_put_is_what_the_page_says_field_by_field() -> None:
    """Read by msgpack alone, in the order of docs/wire.md."""
    (
        version, pseudonym, record_id, random, version_id, category, tags, level, commitment,
        signature, (seal_id, cid, size_bytes, envelopes, receipts),
    ) = msgpack.unpackb(RECORD["put"])  # fmt: skip
    chain_id, author = RECORD["chain_id"], RECORD["author"]

    assert version == 1
    assert level == "R"
    assert [len(part) for part in (pseudonym, version_id, category, seal_id, cid)] == [
        32, 16, 16, 16, 36,
    ]  # fmt: skip
    assert tags == sorted(tags)
    assert envelopes == sorted(envelopes)
    record = hashlib.sha256(b"medledger/record-id/v1" + chain_id + author + random)
    assert record_id == record.digest()[:16]
    statement = pseudonym + record_id + version_id + author + commitment
    author_key = VerifyingKey.from_string(RECORD["author_key"][1:], NIST256p, hashlib.sha256)
    preimage = b"medledger/record-author/v1" + chain_id + statement
    assert author_key.verify(signature, preimage, hashlib.sha256, sigdecode_string)
    assert [validator for validator, _ in receipts] == [0, 2]
    payload = cid + size_bytes.to_bytes(8, "big") + (0).to_bytes(2, "big")
    assert payload == RECORD["storage_receipt_payload"]


def test_a_stored_storage_receipt_is_the_validators_by_another_library() -> None:
    key = VerifyKey(public_key(signing_key("node 0", Scheme.ED25519)).data)
    preimage = (
        b"medledger/storage-receipt/v1" + RECORD["chain_id"] + RECORD["storage_receipt_payload"]
    )

    assert key.verify(preimage, RECORD["storage_receipt"]) == preimage


def test_state_keys_are_what_their_tables_say() -> None:
    a, b, c, d, e, f = (bytes([value]) * 16 for value in (0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF))
    time_ms = bytes(range(1, 9))
    cid = msgpack.unpackb(RECORD["put"])[-1][1]

    expected = {
        "record": b"records/record/" + b,
        "version": b"records/version/" + b + c,
        "seal": b"records/seal/" + cid,
        "patient": b"records/patient/" + a * 2 + time_ms + b,
        "read": b"records/read/" + a * 2 + b + c + d + e * 2 + b"\x01\x02",
        "grants": b"access/grants/" + a * 2,
        "ended": b"access/ended/" + a * 2 + bytes(255 - one for one in time_ms) + f * 2,
        "requests": b"access/requests/" + a * 2,
        "requester": b"access/requester/" + a * 2,
    }

    assert {name: bytes.fromhex(key) for name, key in STORED["keys"].items()} == expected
