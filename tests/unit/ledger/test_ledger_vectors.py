import hashlib
import json
from typing import Any

import msgpack
import pytest

from crypto.schema import decode
from crypto.signatures import (
    Scheme,
    SigningKey,
    account_id,
    check_job,
    key_id,
    public_key,
)
from ledger.transactions import decode_transaction, signature_job
from tests.unit.ledger.small_consortium import Consortium
from tests.vectors.make_ledger_vectors import FILE, vectors, wire_values

STORED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
CHAIN_ID = bytes.fromhex(STORED["digests"]["chain id"])


def sha256(domain: str, *parts: bytes) -> str:
    return hashlib.sha256(f"medledger/{domain}/v1".encode() + b"".join(parts)).hexdigest()


def test_the_stored_vectors_are_what_we_write_today() -> None:
    assert vectors() == STORED, "a format changed: see tests/vectors/make_ledger_vectors.py"
    assert len(STORED["wire"]) > 20


@pytest.mark.parametrize("name", STORED["wire"])
def test_a_stored_wire_value_decodes_to_what_it_was_made_of(name: str) -> None:
    value = wire_values(Consortium())[name]

    assert decode(type(value), bytes.fromhex(STORED["wire"][name]), bytes_max=1 << 20) == value


@pytest.mark.parametrize("vector", STORED["keys"], ids=lambda vector: vector["scheme"])
def test_a_stored_secret_gives_the_stored_names(vector: dict[str, str]) -> None:
    scheme = Scheme[vector["scheme"]]
    public = public_key(SigningKey(scheme=scheme, secret=bytes.fromhex(vector["secret"])))

    encoded = bytes.fromhex(vector["public_key"])
    assert msgpack.packb([scheme.value, public.data]) == encoded
    assert account_id(public).hex() == vector["account_id"] == sha256("account", encoded)
    assert key_id(public).hex() == vector["key_id"] == sha256("key-id", encoded)[:32]


@pytest.mark.parametrize("vector", STORED["transactions"], ids=lambda vector: vector["scheme"])
def test_a_stored_transaction_is_signed_and_named_as_the_page_says(
    vector: dict[str, str],
) -> None:
    signed, body = bytes.fromhex(vector["signed"]), bytes.fromhex(vector["body"])

    transaction = decode_transaction(signed, Consortium().chain_id)

    check_job(signature_job(transaction))
    version, inner, (scheme, key), signature = msgpack.unpackb(signed)
    assert (version, inner, scheme) == (1, body, Scheme[vector["scheme"]].value)
    assert (key, signature) == (transaction.key.data, transaction.signature)
    assert vector["tx_id"] == sha256("transaction-body", CHAIN_ID, body)
    assert vector["signed_hash"] == sha256("signed-transaction", CHAIN_ID, signed)
    assert vector["payload"] == msgpack.unpackb(body)[4].hex()


def test_stored_digests_follow_from_the_page_alone() -> None:
    wire = {name: bytes.fromhex(value) for name, value in STORED["wire"].items()}
    digests = STORED["digests"]

    def leaf(data: bytes) -> bytes:
        return hashlib.sha256(b"\x00" + data).digest()

    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    a, b, c = (leaf(hashlib.sha256(label.encode()).digest()) for label in "abc")
    receipts = [
        leaf(bytes.fromhex(sha256("receipt", CHAIN_ID, wire[name])))
        for name in ("Receipt, accepted", "Receipt, refused")
    ]
    assert digests["chain id"] == sha256("genesis", wire["GenesisDocument"])
    assert digests["invitation"] == sha256("invitation", wire["Invitation"])
    assert digests["header"] == sha256("header", CHAIN_ID, wire["Header"])
    assert digests["header of the genesis state"] == sha256("header", CHAIN_ID)
    assert digests["validator set"] == sha256("validator-set", wire["ValidatorSet"])
    assert digests["tx root of three"] == node(node(a, b), c).hex()
    assert digests["receipts root"] == node(*receipts).hex()
    assert digests["receipts root of nothing"] == hashlib.sha256(b"").hexdigest()
