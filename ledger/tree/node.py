"""The stored nodes of the state tree: sixteen-way inner nodes and leaves, their keys and bytes.

Four levels of the binary tree (`ledger.tree.hashing`) are stored as one inner node with sixteen
slots, one per nibble of the key hash. A slot is empty, or names the one to three leaves below it,
or points to the inner node below it, which then has four leaves at least: most branchings of a
tree have two or three leaves only, and would be as many rows of their own.

    node key     version u64 || nibbles u8 || the nibbles, two per byte, high one first
    inner node   for each slot the length of its entry in units of 8 bytes u8 || the entries
    entry        inner node below: hash 32 || version u64
                 one leaf:         its record
                 more leaves:      hash 32 || their records, key hashes ascending
    record       leaf hash 32 || version u64 || key hash 32
    leaf         canonical msgpack [state key, value]

All integers are big-endian. An inner node is stored under the version that wrote it and its path;
a leaf under its version and its whole key hash, so a leaf never moves when a neighbour comes or
goes, and an update reads no leaf. The hashes between a node and its slots are not stored: a node
that is loaded computes them again (`ledger.tree.inner`), which proves it against its parent.
"""

from collections.abc import Sequence
from typing import Final

from crypto.encoding import pack, unpack
from crypto.errors import DecodeError
from ledger.tree.errors import NodeCorrupt
from ledger.tree.hashing import HASH_BYTES, subtree_hash

SLOTS: Final = 16
LEAVES_IN_SLOT_MAX: Final = 3
NIBBLES_MAX: Final = 64
"""Nibbles of a key hash; inner nodes lie less deep, so this depth in a node key marks a leaf."""

BITS_PER_SLOT: Final = 4
VERSION_BYTES: Final = 8
INNER_ENTRY_BYTES: Final = 40
RECORD_BYTES: Final = 72
NO_ENTRY: Final = b""

LEAF_BYTES_MAX: Final = 4 * 1024 * 1024
"""Far above any value the ledger writes: bounds what is read back, it is no rule of the state."""

_COUNTS: Final = tuple(bytes((count,)) for count in range(NIBBLES_MAX + 1))
_HIGH_NIBBLES: Final = tuple(bytes((byte & 0xF0,)) for byte in range(256))


def slot_at(key_hash: bytes, depth: int) -> int:
    """Return the nibble of `key_hash` at `depth`, counted in nibbles from 0 at the root."""
    byte = key_hash[depth >> 1]
    return byte & 0x0F if depth & 1 else byte >> 4


def version_bytes(version: int) -> bytes:
    """Return the fixed-width form of a version, in whose byte order versions ascend."""
    return version.to_bytes(VERSION_BYTES, "big")


def root_key(version: int) -> bytes:
    """Return the node key of the root that `version` wrote."""
    return version_bytes(version) + _COUNTS[0]


def inner_key(version: bytes, key_hash: bytes, depth: int) -> bytes:
    """Return the node key of the inner node `depth` nibbles down the path of `key_hash`."""
    whole = depth >> 1
    if depth & 1:
        return version + _COUNTS[depth] + key_hash[:whole] + _HIGH_NIBBLES[key_hash[whole]]
    return version + _COUNTS[depth] + key_hash[:whole]


def depth_of(key: bytes) -> int:
    """Return how many nibbles deep the node of a node key lies."""
    return key[VERSION_BYTES]


def make_record(leaf_hash: bytes, version: bytes, key_hash: bytes) -> bytes:
    """Return how an inner node names a leaf."""
    return leaf_hash + version + key_hash


def record_key_hash(record: bytes) -> bytes:
    """Return the key hash of the leaf that a record names."""
    return record[INNER_ENTRY_BYTES:]


def leaf_key(record: bytes) -> bytes:
    """Return the node key of the leaf that a record names."""
    version = record[HASH_BYTES:INNER_ENTRY_BYTES]
    return version + _COUNTS[NIBBLES_MAX] + record[INNER_ENTRY_BYTES:]


def get_records(entry: bytes) -> list[bytes]:
    """Return the records of the leaves that an entry names, which points to no inner node."""
    if len(entry) <= RECORD_BYTES:
        return [entry] if entry else []
    starts = range(HASH_BYTES, len(entry), RECORD_BYTES)
    return [entry[start : start + RECORD_BYTES] for start in starts]


def make_leaves_entry(records: Sequence[bytes], depth: int) -> bytes:
    """Return the entry of a slot, `depth` nibbles deep, that names these leaves."""
    if len(records) < 2:
        return records[0] if records else NO_ENTRY
    return records_hash(records, BITS_PER_SLOT * depth) + b"".join(records)


def records_hash(records: Sequence[bytes], bits: int) -> bytes:
    """Return the hash of the subtree, `bits` deep in the binary tree, of exactly these leaves."""
    key_hashes = [record[INNER_ENTRY_BYTES:] for record in records]
    return subtree_hash(key_hashes, [record[:HASH_BYTES] for record in records], bits)


def encode_leaf(state_key: bytes, value: bytes) -> bytes:
    """Return the stored bytes of a leaf."""
    return pack((state_key, value))


def decode_leaf(stored: bytes) -> tuple[bytes, bytes]:
    """Return (state key, value); raise `NodeCorrupt` for other bytes."""
    try:
        leaf = unpack(stored, bytes_max=LEAF_BYTES_MAX)
    except DecodeError as problem:
        raise NodeCorrupt(f"a leaf of {len(stored)} bytes: {problem}") from problem
    match leaf:
        case (bytes() as state_key, bytes() as value):
            return state_key, value
        case _:
            raise NodeCorrupt(f"a leaf of {len(stored)} bytes")
