"""Formats between nodes, users and a node's own disk are those of the golden vectors."""

import importlib
import json

import pytest

from crypto.schema import decode, encode
from tests.vectors.make_exchange_vectors import PATH, make_samples, make_vectors

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


def test_the_code_writes_the_very_vectors_that_are_kept() -> None:
    assert make_vectors() == VECTORS


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_a_kept_vector_is_read_as_it_was_meant(number: int) -> None:
    vector, meant = VECTORS[number], make_samples()[number]
    module, _, name = vector["type"].rpartition(".")
    kind = getattr(importlib.import_module(module), name)

    read = decode(kind, bytes.fromhex(vector["hex"]), bytes_max=1 << 20)

    assert read == meant
    assert encode(read).hex() == vector["hex"]
