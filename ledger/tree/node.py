"""The stored nodes of the state tree: sixteen-way inner nodes and leaves, their keys and bytes.

Four levels of the binary tree (`ledger.tree.hashing`) are stored as one inner node with sixteen
slots, one per nibble of the key hash. A slot is empty, holds the only leaf below it, or points to
the inner node below it.

    node key     version u64 || nibbles u8 || the nibbles, two per byte, high one first
    inner node   for each slot the length of its entry u8 (0, 40, 72) || the entries in slot order
    entry        version u64 || hash 32  (|| key hash 32 for a leaf)
    leaf         canonical msgpack [state key, value]

All integers are big-endian. An inner node is stored under the version that wrote it and its path;
a leaf under its version and its whole key hash, so a leaf never moves when a neighbour comes or
goes, and an update reads no leaf. The hashes between a node and its slots are not stored: a node
that is loaded computes them again, which proves it against its parent's entry.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, NewType

from crypto.encoding import pack, unpack
from crypto.errors import DecodeError
from crypto.hashing import Domain
from ledger.tree.errors import NodeCorrupt
from ledger.tree.hashing import EMPTY

SLOTS: Final = 16
NIBBLES_MAX: Final = 64
"""Nibbles of a key hash; inner nodes lie less deep, so this depth in a node key marks a leaf."""

VERSION_BYTES: Final = 8
INNER_ENTRY_BYTES: Final = 40
LEAF_ENTRY_BYTES: Final = 72
NO_ENTRY: Final = b""

LEAF_BYTES_MAX: Final = 4 * 1024 * 1024
"""Far above any value the ledger writes: bounds what is read back, it is no rule of the state."""

InnerNode = NewType("InnerNode", tuple[bytes, ...])
"""A node in memory: the 32 positions of a binary heap, immutable, shared by old and new versions.

Position 1 is the node and 2..15 what lies between it and the slots, each with its 32-byte hash;
slot s is position 16 + s and holds its entry, `NO_ENTRY` when empty. Position 0 is unused. One
flat tuple, since every object that a change touches costs more here than the hashing.
"""

EMPTY_NODE: Final = InnerNode((EMPTY,) * SLOTS + (NO_ENTRY,) * SLOTS)

_INNER: Final = Domain.STATE_INNER.value
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


def leaf_key(entry: bytes) -> bytes:
    """Return the node key of the leaf that an entry names."""
    return entry[:VERSION_BYTES] + _COUNTS[NIBBLES_MAX] + entry[INNER_ENTRY_BYTES:]


def position_hash(node: InnerNode, position: int) -> bytes:
    """Return the hash of the binary subtree at a heap position."""
    held = node[position]
    return held if position < SLOTS else held[VERSION_BYTES:INNER_ENTRY_BYTES] or EMPTY


def is_single(heap: Sequence[bytes], position: int) -> bool:
    """Whether nothing or one leaf lies below a heap position: there the binary tree ends."""
    while position < SLOTS:
        position *= 2
        if heap[position] == EMPTY or not heap[position]:
            position += 1
        elif heap[position + 1] != EMPTY and heap[position + 1]:
            return False
    return len(heap[position]) != INNER_ENTRY_BYTES


def single_entry(node: InnerNode, position: int) -> bytes:
    """Return the one entry, or `NO_ENTRY`, below a heap position of which `is_single` holds."""
    while position < SLOTS:
        position *= 2
        if node[position] == EMPTY or not node[position]:
            position += 1
    return node[position]


def change_node(node: InnerNode, changes: Sequence[tuple[int, bytes]]) -> InnerNode:
    """Return the node with other entries in some slots, hashing only what lies above these."""
    if len(changes) == 1 and changes[0][1]:
        return _fill_slot(node, *changes[0])
    heap = list(node)
    changed = 0
    for slot, entry in changes:
        heap[SLOTS + slot] = entry
        changed |= 1 << slot
    for position in _positions_above(changed):
        left, right = heap[2 * position], heap[2 * position + 1]
        if position >= SLOTS // 2:
            left = left[VERSION_BYTES:INNER_ENTRY_BYTES] or EMPTY
            right = right[VERSION_BYTES:INNER_ENTRY_BYTES] or EMPTY
        if (left == EMPTY or right == EMPTY) and is_single(heap, position):
            heap[position] = right if left == EMPTY else left
        else:
            heap[position] = sha256(_INNER + left + right).digest()
    return InnerNode(tuple(heap))


def _fill_slot(node: InnerNode, slot: int, entry: bytes) -> InnerNode:
    """Change one slot to an entry that is not empty: most nodes of a batch, so kept short."""
    heap = list(node)
    position = SLOTS + slot
    heap[position] = entry
    above = entry[VERSION_BYTES:INNER_ENTRY_BYTES]
    sibling = heap[position ^ 1][VERSION_BYTES:INNER_ENTRY_BYTES] or EMPTY
    alone = len(entry) == LEAF_ENTRY_BYTES
    while True:
        if not alone or sibling != EMPTY:
            alone = False
            pair = sibling + above if position & 1 else above + sibling
            above = sha256(_INNER + pair).digest()
        position >>= 1
        heap[position] = above
        if position == 1:
            return InnerNode(tuple(heap))
        sibling = heap[position ^ 1]


@lru_cache(maxsize=1 << 12)
def _positions_above(changed: int) -> tuple[int, ...]:
    """Return the heap positions above a set of slots, given as bits, the deepest first."""
    above = {
        (SLOTS + slot) >> level
        for slot in range(SLOTS)
        if changed >> slot & 1
        for level in (1, 2, 3, 4)
    }
    return tuple(sorted(above, reverse=True))


def encode_node(node: InnerNode) -> bytes:
    """Return the stored bytes of an inner node."""
    entries = node[SLOTS:]
    return bytes(map(len, entries)) + b"".join(entries)


def decode_node(encoded: bytes) -> InnerNode:
    """Return the inner node, its hashes computed afresh; raise `NodeCorrupt` for other bytes."""
    entries = []
    start = SLOTS
    for slot, length in enumerate(encoded[:SLOTS]):
        if length:
            if length not in (INNER_ENTRY_BYTES, LEAF_ENTRY_BYTES):
                raise NodeCorrupt(f"an entry of {length} bytes in an inner node")
            entries.append((slot, encoded[start : start + length]))
            start += length
    if len(encoded) < SLOTS or start != len(encoded):
        raise NodeCorrupt(f"an inner node of {len(encoded)} bytes")
    return change_node(EMPTY_NODE, entries)


def encode_leaf(state_key: bytes, value: bytes) -> bytes:
    """Return the stored bytes of a leaf."""
    return pack((state_key, value))


def decode_leaf(encoded: bytes) -> tuple[bytes, bytes]:
    """Return (state key, value); raise `NodeCorrupt` for other bytes."""
    try:
        leaf = unpack(encoded, bytes_max=LEAF_BYTES_MAX)
    except DecodeError as problem:
        raise NodeCorrupt(f"a leaf of {len(encoded)} bytes: {problem}") from problem
    match leaf:
        case (bytes() as state_key, bytes() as value):
            return state_key, value
        case _:
            raise NodeCorrupt(f"a leaf of {len(encoded)} bytes")
