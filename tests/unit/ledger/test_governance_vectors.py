"""Golden vectors of governance: the bytes of the day these formats were frozen."""

import json
from typing import Any

import msgpack
import pytest
from nacl.signing import VerifyKey

from crypto.schema import decode
from ledger.contracts import ballots, evidence, learners
from tests.vectors.make_governance_vectors import FILE, vectors, wire_values

STORED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def test_the_stored_vectors_are_what_we_write_today() -> None:
    assert vectors() == STORED, "a format changed: see tests/vectors/make_governance_vectors.py"


@pytest.mark.parametrize("name", STORED["wire"])
def test_a_stored_value_decodes_to_what_it_was_made_of(name: str) -> None:
    value = wire_values()[name]

    assert decode(type(value), bytes.fromhex(STORED["wire"][name])) == value


def test_every_payload_of_governance_has_a_vector() -> None:
    names = {name.split(",")[0] for name in STORED["wire"]}

    kinds = (*ballots.KINDS, *evidence.KINDS, *learners.KINDS)

    assert {kind.payload.__name__ for kind in kinds} <= names


def test_a_stored_claim_is_signed_by_its_vote_key_by_another_library() -> None:
    """Read by msgpack alone, in the order of docs/wire.md."""
    encoded = bytes.fromhex(STORED["wire"]["NodeStatement"])
    version, claim, possession = msgpack.unpackb(encoded)
    claim_version, index, org, vote_key, tls_pin, address = claim

    signed = msgpack.packb(claim)
    preimage = b"medledger/key-possession/v1" + bytes.fromhex(STORED["chain_id"]) + signed
    assert VerifyKey(vote_key).verify(preimage, possession) == preimage
    assert (version, claim_version, index, org) == (1, 1, 4, "north")
    assert len(tls_pin) == 32
    assert address == "127.0.0.1:7004"


def test_a_stored_change_opens_with_the_tag_of_its_class() -> None:
    tags = {
        name.removeprefix("Propose, "): msgpack.unpackb(bytes.fromhex(encoded))[3][0]
        for name, encoded in STORED["wire"].items()
        if name.startswith("Propose, ")
    }

    assert tags == {
        "new member": 1,
        "suspension": 2,
        "restoration": 3,
        "new validator": 4,
        "removal": 5,
        "new keys": 6,
        "parameters": 7,
    }


def test_state_keys_are_what_their_tables_say() -> None:
    number = bytes(range(1, 9))
    evidence_parts = "0102000000000000030400000000000005060000070803"

    expected = {
        "epoch": b"governance/epoch/" + number,
        "node": b"governance/node/\x01\x02",
        "proposal": b"governance/proposal/" + b"\xaa" * 32,
        "open proposals": b"governance/open-proposals",
        "evidence": b"governance/evidence/" + bytes.fromhex(evidence_parts),
    }

    assert {name: bytes.fromhex(key) for name, key in STORED["keys"].items()} == expected
