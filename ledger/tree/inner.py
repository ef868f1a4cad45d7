"""Inner nodes in memory: what their slots hold, changing slots, and the hashes in between.

The binary positions of a node are numbered like a heap: 1 is the node, 2 and 3 its halves, 8..15
its pairs of slots; slot s is position 16 + s. A position below which there is nothing has the
empty hash, one with a single leaf has that leaf's hash, any other hashes its two halves.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate
from typing import Final, NewType

from crypto.hashing import Domain
from ledger.tree.errors import NodeCorrupt
from ledger.tree.hashing import EMPTY, HASH_BYTES
from ledger.tree.node import (
    BITS_PER_SLOT,
    INNER_ENTRY_BYTES,
    LEAVES_IN_SLOT_MAX,
    RECORD_BYTES,
    SLOTS,
    get_records,
    records_hash,
)

InnerNode = NewType("InnerNode", tuple[bytes, bytes])
"""The stored bytes of a node, and the 32-byte hashes of the positions 0..15 in a row (0 is unused).

Immutable, so that old and new versions share it. Two byte strings instead of thirty small ones: in
a big tree each object that a change touches is a cache miss.
"""

EMPTY_NODE: Final = InnerNode((bytes(SLOTS), EMPTY * SLOTS))

_INNER: Final = Domain.STATE_INNER.value
_UNIT: Final = 8
_ONE_LEAF: Final = RECORD_BYTES // _UNIT
_INNER_BELOW: Final = INNER_ENTRY_BYTES // _UNIT
_LEAVES_BY_UNITS: Final = {0: 0, _ONE_LEAF: 1, _INNER_BELOW: LEAVES_IN_SLOT_MAX + 1} | {
    (HASH_BYTES + count * RECORD_BYTES) // _UNIT: count
    for count in range(2, LEAVES_IN_SLOT_MAX + 1)
}
_LEAVES: Final = bytes(_LEAVES_BY_UNITS.get(units, 0) for units in range(256))
"""Leaves below a slot, at least, by the length of its entry: a table for `bytes.translate`."""

_UNITS: Final = tuple(bytes((units,)) for units in range(max(_LEAVES_BY_UNITS) + 1))
_FEW_LEAVES_BYTES_MAX: Final = SLOTS + LEAVES_IN_SLOT_MAX * (HASH_BYTES + RECORD_BYTES)
"""No node that holds so few leaves that a slot may name them is longer."""


def _slots_below(position: int) -> slice:
    level = position.bit_length() - 1
    width = SLOTS >> level
    first = (position - (1 << level)) * width
    return slice(first, first + width)


_SLOTS_BELOW: Final = (slice(0), *(_slots_below(position) for position in range(1, 2 * SLOTS)))
_SPANS: Final = tuple(
    slice(HASH_BYTES * position, HASH_BYTES * (position + 1)) for position in range(SLOTS)
)
"""Where the hash of a position lies among the hashes of a node."""

_PAIRS: Final = tuple(
    slice(_SPANS[position & ~1].start, _SPANS[position | 1].stop) for position in range(SLOTS)
)
"""Where the hashes of a position and its sibling lie, the left one first."""

_CLIMBS: Final = tuple(
    tuple((_SPANS[position >> level], _PAIRS[position >> level]) for level in (1, 2, 3))
    for position in range(SLOTS, 2 * SLOTS)
)
"""For each slot the positions above it, the deepest first and without the node itself."""


def node_hash(node: InnerNode) -> bytes:
    """Return the hash of the subtree below a node."""
    return node[1][_SPANS[1]]


def position_hash(node: InnerNode, position: int) -> bytes:
    """Return the hash of the binary subtree at a position."""
    if position < SLOTS:
        return node[1][_SPANS[position]]
    return get_entry(node, position - SLOTS)[:HASH_BYTES] or EMPTY


def get_entry(node: InnerNode, slot: int) -> bytes:
    """Return what a slot holds."""
    stored = node[0]
    start = SLOTS + _UNIT * sum(stored[:slot])
    return stored[start : start + _UNIT * stored[slot]]


def get_entries(node: InnerNode) -> list[bytes]:
    """Return what each of the sixteen slots holds."""
    stored = node[0]
    starts = _entry_starts(stored[:SLOTS])
    return [stored[_UNIT * starts[slot] : _UNIT * starts[slot + 1]] for slot in range(SLOTS)]


def get_leaves(node: InnerNode, position: int = 1) -> list[bytes] | None:
    """Return the records below a position, or None if there are more than a slot may name."""
    stored = node[0]
    if position == 1 and len(stored) > _FEW_LEAVES_BYTES_MAX:
        return None
    below = _SLOTS_BELOW[position]
    if sum(stored[below].translate(_LEAVES)) > LEAVES_IN_SLOT_MAX:
        return None
    return [record for entry in get_entries(node)[below] for record in get_records(entry)]


def change_node(node: InnerNode, changes: Sequence[tuple[int, bytes]]) -> InnerNode:
    """Return the node with other entries in some slots, which ascend; hash only above these."""
    if len(changes) == 1 and changes[0][1]:
        return _fill_slot(node, *changes[0])
    stored, hashes = node
    units = bytearray(stored[:SLOTS])
    starts = _entry_starts(units)
    pieces: list[bytes | bytearray] = [units]
    copied, changed = SLOTS, 0
    for slot, entry in changes:
        pieces.append(stored[copied : _UNIT * starts[slot]])
        pieces.append(entry)
        copied = _UNIT * starts[slot + 1]
        units[slot] = len(entry) // _UNIT
        changed |= 1 << slot
    pieces.append(stored[copied:])
    stored = b"".join(pieces)
    if len(changes) > SLOTS // 4:
        return InnerNode((stored, _fold_all(stored)))
    return InnerNode((stored, _fold_some(stored, hashes, changed)))


def _entry_starts(units: bytes | bytearray) -> list[int]:
    """Return where the entry of each slot starts and the last one ends, in units of 8 bytes."""
    return list(accumulate(units, initial=SLOTS // _UNIT))


def _fill_slot(node: InnerNode, slot: int, entry: bytes) -> InnerNode:
    """Change one slot to an entry that is not empty: most nodes of a batch, so kept short."""
    stored, hashes = node
    start = SLOTS + _UNIT * sum(stored[:slot])
    end = start + _UNIT * stored[slot]
    beside_units = stored[slot ^ 1]
    beside_start = start - _UNIT * beside_units if slot & 1 else end
    beside = stored[beside_start : beside_start + HASH_BYTES] if beside_units else EMPTY
    if len(entry) == end - start:
        stored = stored[:start] + entry + stored[end:]
    else:
        units = stored[:slot] + _UNITS[len(entry) // _UNIT] + stored[slot + 1 : start]
        stored = units + entry + stored[end:]

    above = entry[:HASH_BYTES]
    alone = len(entry) == RECORD_BYTES and not beside_units
    if not alone:
        above = sha256(_INNER + (beside + above if slot & 1 else above + beside)).digest()
    heap = bytearray(hashes)
    for span, both in _CLIMBS[slot]:
        heap[span] = above
        pair = heap[both]
        alone = alone and (pair.startswith(EMPTY) or pair.endswith(EMPTY))
        if not alone:
            above = sha256(_INNER + pair).digest()
    heap[_SPANS[1]] = above
    return InnerNode((stored, bytes(heap)))


def _fold_some(stored: bytes, hashes: bytes, changed: int) -> bytes:
    """Return the hashes of a node in which the slots of a set, given as bits, have changed."""
    units = stored[:SLOTS]
    starts = _entry_starts(units)
    leaves = units.translate(_LEAVES)
    has_gaps = 0 in units
    heap = bytearray(hashes)
    for position in _positions_above(changed):
        if position < SLOTS // 2:
            pair: bytes | bytearray = heap[_PAIRS[2 * position]]
        else:
            slot = 2 * position - SLOTS
            left, right = _UNIT * starts[slot], _UNIT * starts[slot + 1]
            pair = (stored[left : left + HASH_BYTES] if units[slot] else EMPTY) + (
                stored[right : right + HASH_BYTES] if units[slot + 1] else EMPTY
            )
        if has_gaps and sum(leaves[_SLOTS_BELOW[position]]) < 2:
            is_right = pair.startswith(EMPTY)
            heap[_SPANS[position]] = pair[HASH_BYTES:] if is_right else pair[:HASH_BYTES]
        else:
            heap[_SPANS[position]] = sha256(_INNER + pair).digest()
    return bytes(heap)


@lru_cache(maxsize=1 << 12)
def _positions_above(changed: int) -> tuple[int, ...]:
    """Return the positions above a set of slots, given as bits, the deepest first."""
    above = {
        (SLOTS + slot) >> level
        for slot in range(SLOTS)
        if changed >> slot & 1
        for level in (1, 2, 3, 4)
    }
    return tuple(sorted(above, reverse=True))


def _fold_all(stored: bytes) -> bytes:
    """Return the hashes of a node, computed from its entries alone, level by level."""
    units = stored[:SLOTS]
    level = [
        stored[_UNIT * start : _UNIT * start + HASH_BYTES] if length else EMPTY
        for start, length in zip(_entry_starts(units), units, strict=False)
    ]
    leaves = list(units.translate(_LEAVES))
    levels = []
    while len(level) > 1:
        leaves = [left + right for left, right in zip(leaves[::2], leaves[1::2], strict=True)]
        level = [
            sha256(_INNER + left + right).digest()
            if count > 1
            else (right if left == EMPTY else left)
            for left, right, count in zip(level[::2], level[1::2], leaves, strict=True)
        ]
        levels.append(b"".join(level))
    return b"".join((EMPTY, *reversed(levels)))


def decode_node(stored: bytes, depth: int) -> InnerNode:
    """Return the inner node that lies `depth` nibbles deep, all its hashes computed afresh.

    Raises `NodeCorrupt` for bytes that are no node, or that name leaves under another hash.
    """
    units = stored[:SLOTS]
    is_known = len(units) == SLOTS and not units.translate(None, bytes(_LEAVES_BY_UNITS))
    if not is_known or len(stored) != SLOTS + _UNIT * sum(units):
        raise NodeCorrupt(f"an inner node of {len(stored)} bytes")
    node = InnerNode((stored, _fold_all(stored)))
    for entry in get_entries(node):
        if len(entry) > RECORD_BYTES:
            below = records_hash(get_records(entry), BITS_PER_SLOT * (depth + 1))
            if below != entry[:HASH_BYTES]:
                raise NodeCorrupt("an inner node with leaves that do not have their hash")
    return node
