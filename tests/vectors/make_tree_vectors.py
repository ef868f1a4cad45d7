"""Writes the golden vectors of the state tree: roots, stored nodes, proofs and chunks.

Run `python -m tests.vectors.make_tree_vectors` after a deliberate change of a format, never to make
a test pass: a root that changes means that nodes of two versions no longer agree on any block.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from crypto.schema import encode
from ledger.tree.chunks import make_chunk
from ledger.tree.leaves import FIRST_KEY_HASH
from ledger.tree.proofs import prove, prove_many
from tests.unit.ledger.state_tree_samples import StoredTree, make_tree, numbered_state

FILE = Path(__file__).with_name("tree.json")
ABOUT = "The state tree over `key N` -> `value N` for N below a count; see make_tree_vectors.py."
COUNTS = (0, 1, 2, 3, 4, 5, 16, 100, 1_000)


def vectors() -> dict[str, Any]:
    """Every vector; stored rows only of a small tree, of a larger one their digest."""
    trees = {count: make_tree(numbered_state(count)) for count in COUNTS}
    small, large = trees[5], trees[1_000]
    absent = absent_keys(large)
    return {
        "about": ABOUT,
        "roots": {str(count): tree.root.hex() for count, tree in trees.items()},
        "rows_of_5": {key.hex(): row.hex() for key, row in sorted(small.rows.items())},
        "rows_digest_of_1000": rows_digest(large),
        "proofs_of_1000": {
            key.decode(): encode(prove(large.nodes, 1, key)).hex() for key in (b"key 7", *absent)
        },
        "proofs_together_of_1000": encode(
            prove_many(large.nodes, 1, [b"key 1", b"key 2", b"key 3", absent[0]])
        ).hex(),
        "first_chunk_of_1000": encode(
            make_chunk(large.nodes, 1, FIRST_KEY_HASH, leaves_max=3, bytes_max=1 << 20)
        ).hex(),
    }


def absent_keys(tree: StoredTree) -> tuple[bytes, bytes]:
    """A key in whose place another leaf stands, and one whose place is empty."""
    names = [b"absent %d" % number for number in range(100)]
    others = [name for name in names if prove(tree.nodes, 1, name).other is not None]
    empty = [name for name in names if prove(tree.nodes, 1, name).other is None]
    return others[0], empty[0]


def rows_digest(tree: StoredTree) -> str:
    """SHA-256 over every stored row in key order, each key and row after its length (u32)."""
    state = sha256()
    for key, row in sorted(tree.rows.items()):
        for part in (key, row):
            state.update(len(part).to_bytes(4, "big") + part)
    return state.hexdigest()


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
