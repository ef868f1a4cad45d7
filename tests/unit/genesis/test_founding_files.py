import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.schema import decode, encode
from genesis.ceremony import assemble
from genesis.document import (
    FoundingStatement,
    GenesisDocument,
    chain_id_of,
)
from genesis.errors import (
    GenesisDamaged,
    GenesisError,
    GenesisSignature,
)
from genesis.files import (
    dump_genesis,
    dump_wire,
    load_genesis,
    load_wire,
    parse_genesis,
)
from tests.unit.ledger.small_consortium import (
    NORTH,
    genesis,
    invitation,
    statement,
)


def test_the_document_travels_as_canonical_bytes_and_as_json(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(dump_genesis(genesis()))

    assert load_genesis(path) == genesis()
    assert decode(GenesisDocument, encode(genesis())) == genesis()
    assert json.loads(path.read_bytes())["chain_id"] == chain_id_of(genesis()).hex()


def test_statements_and_invitations_travel_as_files(tmp_path: Path) -> None:
    for wire in (statement(NORTH, (0, 1)), invitation()):
        path = tmp_path / f"{type(wire).__name__}.json"
        path.write_bytes(dump_wire(wire))

        assert load_wire(type(wire), path) == wire


TEXT = dump_genesis(genesis())


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 7))
def test_a_flipped_bit_anywhere_in_the_file_is_refused_by_name(at: int, bit: int) -> None:
    flipped = bytearray(TEXT)
    flipped[at] ^= 1 << bit

    with pytest.raises(GenesisError, match=r"genesis\.json"):
        parse_genesis(bytes(flipped), title="genesis.json")


@pytest.mark.slow
def test_every_single_flipped_bit_is_refused() -> None:
    for at in range(len(TEXT)):
        flipped = bytearray(TEXT)
        flipped[at] ^= 1
        with pytest.raises(GenesisError, match=r"genesis\.json"):
            parse_genesis(bytes(flipped), title="genesis.json")


def without_first_statement(values: dict[str, Any]) -> None:
    del values["statements"][0]


def with_a_float(values: dict[str, Any]) -> None:
    values["invitation"]["created_ms"] += 0.0


def with_a_further_field(values: dict[str, Any]) -> None:
    values["invitation"]["extra"] = 1


def with_another_chain_id(values: dict[str, Any]) -> None:
    values["chain_id"] = "00" * 32


def with_numbers_for_text(values: dict[str, Any]) -> None:
    values["statements"][0]["body"]["nodes"][0]["claim"]["p2p_address"] = 7


def with_text_for_numbers(values: dict[str, Any]) -> None:
    values["invitation"]["parameters"]["transaction_bytes_max"] = "7"


@pytest.mark.parametrize(
    "change",
    [
        without_first_statement,
        with_a_float,
        with_a_further_field,
        with_another_chain_id,
        with_numbers_for_text,
        with_text_for_numbers,
    ],
    ids=lambda change: change.__name__,
)
def test_an_edited_file_is_refused_by_name(change: Any) -> None:
    values = json.loads(TEXT)
    change(values)

    with pytest.raises(GenesisError, match=r"genesis\.json"):
        parse_genesis(json.dumps(values, indent=2).encode() + b"\n", title="genesis.json")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        TEXT + b"\n",
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b'"north"', b'"nor\\u0074h"'),
        TEXT.replace(b'{\n  "chain_id"', b'{\n  "chain_id": "",\n  "chain_id"'),
    ],
    ids=lambda text: repr(text[:8]),
)
def test_another_spelling_is_refused_by_name(text: bytes) -> None:
    with pytest.raises(GenesisDamaged, match=r"genesis\.json"):
        parse_genesis(text, title="genesis.json")


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "genesis.json", tmp_path):
        with pytest.raises(GenesisDamaged, match=path.name):
            load_genesis(path)
        with pytest.raises(GenesisDamaged, match=path.name):
            load_wire(FoundingStatement, path)


def test_a_file_of_endless_length_is_not_read_to_its_end(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("genesis.files.FILE_BYTES_MAX", 100)
    path = tmp_path / "genesis.json"
    path.write_bytes(TEXT)

    with pytest.raises(GenesisDamaged, match="longer than 100 bytes"):
        load_genesis(path)


def test_an_edited_statement_is_refused_when_it_is_read_or_assembled(tmp_path: Path) -> None:
    path = tmp_path / "statement.json"
    path.write_bytes(
        dump_wire(statement(NORTH, (0, 1))).replace(b"Hospital north", b"Hospital West!")
    )

    edited = load_wire(FoundingStatement, path)

    with pytest.raises(GenesisSignature, match="north"):
        assemble(invitation(), [edited])
    path.write_bytes(path.read_bytes().replace(b"  ", b" "))
    with pytest.raises(GenesisDamaged, match=r"statement\.json"):
        load_wire(FoundingStatement, path)


def test_a_forged_document_with_a_chain_id_of_its_own_is_refused_by_name() -> None:
    first, *others = genesis().statements
    forged = replace(
        genesis(),
        statements=(replace(first, body=replace(first.body, name="Hospital Nord")), *others),
    )

    with pytest.raises(GenesisSignature, match=r"genesis\.json: north: statement"):
        parse_genesis(dump_genesis(forged), title="genesis.json")
