"""Reading the leaves of one version in the order of their key hashes."""

from collections.abc import Iterator
from typing import Final

from crypto.hashing import Digest
from ledger.tree.cache import NodeCache
from ledger.tree.hashing import HASH_BYTES
from ledger.tree.inner import InnerNode, get_entry
from ledger.tree.node import (
    INNER_ENTRY_BYTES,
    SLOTS,
    get_records,
    inner_key,
    record_key_hash,
    slot_at,
)

FIRST_KEY_HASH: Final = Digest(bytes(32))


def iterate_leaves(
    nodes: NodeCache, version: int, start: bytes = FIRST_KEY_HASH
) -> Iterator[tuple[Digest, bytes, bytes]]:
    """Yield (key hash, state key, value) of the leaves from key hash `start` on, ascending.

    Use a small cache of its own for a walk through a large tree: it visits every node once.
    """
    for record in _records(nodes, nodes.get_root(version), bytes(32), 0, start):
        state_key, value = nodes.get_leaf(record)
        yield Digest(record_key_hash(record)), state_key, value


def find_leaf_before(
    nodes: NodeCache, version: int, start: bytes
) -> tuple[Digest, bytes, bytes] | None:
    """Return (key hash, state key, value) of the last leaf whose key hash is below `start`."""
    records = _records(nodes, nodes.get_root(version), bytes(32), 0, start, descending=True)
    record = next(records, None)
    return None if record is None else (Digest(record_key_hash(record)), *nodes.get_leaf(record))


def _records(
    nodes: NodeCache,
    node: InnerNode,
    path: bytes,
    depth: int,
    start: bytes | None,
    *,
    descending: bool = False,
) -> Iterator[bytes]:
    """Yield the records under a node from `start` up, or, descending, from below it down.

    `path` leads to the node in its first `depth` nibbles. `start` is None when the whole subtree
    lies beyond it.
    """
    edge = None if start is None else slot_at(start, depth)
    if descending:
        slots = range(SLOTS - 1 if edge is None else edge, -1, -1)
    else:
        slots = range(edge or 0, SLOTS)
    for slot in slots:
        entry = get_entry(node, slot)
        bound = start if slot == edge else None
        if len(entry) == INNER_ENTRY_BYTES:
            below = _with_nibble(path, depth, slot)
            key = inner_key(entry[HASH_BYTES:], below, depth + 1)
            child = nodes.get_inner(key, entry[:HASH_BYTES])
            yield from _records(nodes, child, below, depth + 1, bound, descending=descending)
            continue
        records = get_records(entry)
        for record in reversed(records) if descending else records:
            if bound is None or (record_key_hash(record) < bound) is descending:
                yield record


def _with_nibble(path: bytes, depth: int, nibble: int) -> bytes:
    """Return a path whose nibble at `depth`, zero so far, is another."""
    whole = depth >> 1
    byte = path[whole] | (nibble if depth & 1 else nibble << 4)
    return path[:whole] + bytes((byte,)) + path[whole + 1 :]
