import json
from typing import Any

import pytest

from crypto.hashing import Digest
from crypto.schema import decode
from ledger.tree.chunks import StateChunk, check_chunk
from ledger.tree.leaves import FIRST_KEY_HASH
from ledger.tree.proofs import StateProof, StateProofs, check_many, check_proof
from tests.unit.ledger.state_tree_samples import numbered_state, reference_root
from tests.vectors.make_tree_vectors import FILE, vectors

GOLDEN: dict[str, Any] = json.loads(FILE.read_text())
STATE = numbered_state(1_000)
ROOT = Digest(bytes.fromhex(GOLDEN["roots"]["1000"]))


@pytest.mark.parametrize("name", GOLDEN)
def test_tree_still_makes_its_golden_vectors(name: str) -> None:
    assert vectors()[name] == GOLDEN[name]


@pytest.mark.parametrize("count", GOLDEN["roots"])
def test_golden_roots_follow_from_the_definition_alone(count: str) -> None:
    assert reference_root(numbered_state(int(count))).hex() == GOLDEN["roots"][count]


@pytest.mark.parametrize("name", GOLDEN["proofs_of_1000"])
def test_golden_proofs_check(name: str) -> None:
    proof = decode(StateProof, bytes.fromhex(GOLDEN["proofs_of_1000"][name]))

    assert check_proof(ROOT, name.encode(), proof) == STATE.get(name.encode())


def test_golden_proofs_together_check() -> None:
    together = decode(StateProofs, bytes.fromhex(GOLDEN["proofs_together_of_1000"]))
    absent = next(iter(name for name in GOLDEN["proofs_of_1000"] if name.startswith("absent")))
    wanted = [b"key 1", b"key 2", b"key 3", absent.encode()]

    values = check_many(ROOT, wanted, together)

    assert values == {key: STATE.get(key) for key in wanted}


def test_golden_chunk_checks() -> None:
    chunk = decode(StateChunk, bytes.fromhex(GOLDEN["first_chunk_of_1000"]))

    following = check_chunk(ROOT, FIRST_KEY_HASH, chunk)

    assert following is not None
    assert len(chunk.leaves) == 3
