"""A state tree in memory, and the tree's definition written down once more without any storage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from hypothesis import strategies as st

from crypto.hashing import Digest
from ledger.tree.cache import NodeCache
from ledger.tree.ports import TreeUpdate
from ledger.tree.update import update


def reference_root(state: Mapping[bytes, bytes]) -> bytes:
    """The root of a set of keys and values, from nothing but SHA-256 and strings of bits."""
    leaves = {}
    for key, value in state.items():
        key_hash = sha256(b"medledger/state-key/v1" + key).digest()
        value_hash = sha256(b"medledger/state-value/v1" + value).digest()
        leaf_hash = sha256(b"medledger/state-leaf/v1" + key_hash + value_hash).digest()
        leaves[f"{int.from_bytes(key_hash, 'big'):0256b}"] = leaf_hash
    return _reference_subtree(leaves)


def _reference_subtree(leaves: Mapping[str, bytes]) -> bytes:
    if not leaves:
        return sha256(b"medledger/state-empty/v1").digest()
    if len(leaves) == 1:
        return next(iter(leaves.values()))
    halves = [
        _reference_subtree({path[1:]: leaf for path, leaf in leaves.items() if path[0] == bit})
        for bit in "01"
    ]
    return sha256(b"medledger/state-inner/v1" + b"".join(halves)).digest()


@dataclass(slots=True)
class StoredTree:
    """What storage does with a tree, on a dict: one version per change, stale nodes noted."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    stale: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    state: dict[bytes, bytes] = field(default_factory=dict)
    version: int | None = None
    root: Digest = field(default_factory=lambda: Digest(reference_root({})))
    nodes_max: int = 1_000
    nodes: NodeCache = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = NodeCache(self, nodes_max=self.nodes_max)

    def get_node(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def change(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        version = 1 if self.version is None else self.version + 1
        done = update(self.nodes, self.version, changes, version)
        self.rows.update(done.new_nodes)
        self.stale[version] = done.stale_nodes
        self.nodes.admit(done)
        self.version, self.root = version, done.root
        for key, value in changes.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        return done

    def prune(self, oldest: int) -> None:
        """Delete what no version from `oldest` on needs."""
        for version in [version for version in self.stale if version <= oldest]:
            for key in self.stale.pop(version):
                del self.rows[key]


def make_tree(state: Mapping[bytes, bytes]) -> StoredTree:
    tree = StoredTree()
    tree.change(state)
    return tree


def numbered_state(count: int) -> dict[bytes, bytes]:
    return {b"key %d" % number: b"value %d" % number for number in range(count)}


def close_keys(shared_bits: int, count: int) -> tuple[bytes, ...]:
    """Some of the numbered keys whose hashes have at least so many leading bits in common."""
    hashed = sorted(
        (sha256(b"medledger/state-key/v1" + key).digest(), key) for key in numbered_state(4_000)
    )
    for first in range(len(hashed) - count + 1):
        group = hashed[first : first + count]
        difference = int.from_bytes(group[0][0], "big") ^ int.from_bytes(group[-1][0], "big")
        if 256 - difference.bit_length() >= shared_bits:
            return tuple(key for _, key in group)
    raise AssertionError(f"no {count} of the keys share {shared_bits} bits")


keys = st.integers(0, 40).map(lambda number: b"key %d" % number)
values = st.integers(0, 3).map(lambda number: b"value %d" % number)
states = st.dictionaries(keys, values, max_size=40)
histories = st.lists(st.dictionaries(keys, st.none() | values, max_size=20), max_size=8)
