"""Changing the state tree: one batch of keys makes one new version, old versions stay readable.

A batch is applied from the root down, grouped by slot, and hashed on the way back. Nodes are never
changed in place: what a batch replaces is listed as stale, and whoever stores the tree deletes it
when the versions before the batch need no proofs any more.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from crypto.hashing import Digest
from ledger.tree.cache import NodeCache
from ledger.tree.hashing import HASH_BYTES, hash_key, hash_leaf, hash_value
from ledger.tree.inner import (
    EMPTY_NODE,
    InnerNode,
    change_node,
    get_entry,
    get_leaves,
    node_hash,
)
from ledger.tree.node import (
    INNER_ENTRY_BYTES,
    LEAVES_IN_SLOT_MAX,
    NO_ENTRY,
    encode_leaf,
    get_records,
    inner_key,
    leaf_key,
    make_leaves_entry,
    make_record,
    record_key_hash,
    root_key,
    slot_at,
    version_bytes,
)
from ledger.tree.ports import TreeUpdate

Item = tuple[bytes, bytes]
"""A key hash and the record of the leaf that it gets, or `NO_ENTRY` to delete it."""


@dataclass(slots=True, kw_only=True)
class _Batch:
    """One update under way."""

    nodes: NodeCache
    version: bytes
    leaves: dict[bytes, bytes] = field(default_factory=dict)
    inner_nodes: list[tuple[bytes, InnerNode]] = field(default_factory=list)
    stale_nodes: list[bytes] = field(default_factory=list)


def update(
    nodes: NodeCache,
    root_version: int | None,
    changes: Mapping[bytes, bytes | None],
    version: int,
) -> TreeUpdate:
    """Return what sets (or with None deletes) the state keys in `changes` on top of a version.

    `root_version` None stands for the empty tree. Every version stores a root, even without a
    change. A version may be changed in place (`version` equal to `root_version`) while it is being
    built from the chunks of a snapshot; its stale nodes may be deleted at once. Raises
    `NodeMissing` or `NodeCorrupt` when the stored tree is damaged.
    """
    steps = update_in_slices(nodes, root_version, changes, version)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: TreeUpdate = done.value
            return result


def update_in_slices(
    nodes: NodeCache,
    root_version: int | None,
    changes: Mapping[bytes, bytes | None],
    version: int,
) -> Generator[None, None, TreeUpdate]:
    """Do the same as `update`, pausing after each sixteenth of the tree.

    An event loop can breathe at the pauses; nothing else may touch this tree meanwhile.
    """
    assert root_version is None or version >= root_version, "versions ascend"
    root = EMPTY_NODE if root_version is None else nodes.get_root(root_version)
    batch = _Batch(nodes=nodes, version=version_bytes(version))
    keys: list[Item] = sorted((hash_key(state_key), state_key) for state_key in changes)
    new_entries: list[tuple[int, bytes]] = []
    for slot, group in _grouped(keys, 0):
        items = [_make_item(batch, *key, changes[key[1]]) for key in group]
        entry = _change_entry(batch, get_entry(root, slot), items, 1)
        new_entries.append((slot, entry))
        yield
    root = change_node(root, new_entries)
    batch.inner_nodes.append((root_key(version), root))
    if root_version is not None:
        batch.stale_nodes.append(root_key(root_version))
    new_nodes = (
        *batch.leaves.items(),
        *[(key, node[0]) for key, node in batch.inner_nodes],
    )
    stale_nodes = tuple(batch.stale_nodes)
    if version == root_version:
        rewritten = {key for key, _ in new_nodes}
        stale_nodes = tuple(key for key in stale_nodes if key not in rewritten)
    return TreeUpdate(
        version=version,
        root=Digest(node_hash(root)),
        new_nodes=new_nodes,
        stale_nodes=stale_nodes,
        inner_nodes=tuple(batch.inner_nodes),
    )


def _make_item(batch: _Batch, key_hash: bytes, state_key: bytes, value: bytes | None) -> Item:
    if value is None:
        return key_hash, NO_ENTRY
    record = make_record(hash_leaf(key_hash, hash_value(value)), batch.version, key_hash)
    batch.leaves[leaf_key(record)] = encode_leaf(state_key, value)
    return key_hash, record


def _grouped(items: list[Item], depth: int) -> list[tuple[int, list[Item]]]:
    """Split sorted items by their slot at `depth`, which ascends."""
    if len(items) == 1:
        return [(slot_at(items[0][0], depth), items)]
    groups: list[tuple[int, list[Item]]] = []
    last = -1
    for item in items:
        slot = slot_at(item[0], depth)
        if slot != last:
            groups.append((slot, []))
            last = slot
        groups[-1][1].append(item)
    return groups


def _change_entry(batch: _Batch, entry: bytes, items: list[Item], depth: int) -> bytes:
    """Return the entry of a slot whose subtree is `depth` nibbles deep, after some changes."""
    if len(entry) == INNER_ENTRY_BYTES:
        if len(items) == 1:
            return _change_path(batch, entry, items[0], depth)
        return _change_subtree(batch, entry, items, depth)
    records = {record_key_hash(record): record for record in get_records(entry)}
    for key_hash, record in items:
        before = records.pop(key_hash, NO_ENTRY)
        if before and before[:HASH_BYTES] == record[:HASH_BYTES]:  # The value it already has.
            del batch.leaves[leaf_key(record)]
            record = before
        elif before:
            batch.stale_nodes.append(leaf_key(before))
        if record:
            records[key_hash] = record
    return _build_entry(batch, sorted(records.items()), depth)


def _change_subtree(batch: _Batch, entry: bytes, items: list[Item], depth: int) -> bytes:
    key_hash = items[0][0]
    key = inner_key(entry[HASH_BYTES:], key_hash, depth)
    node = batch.nodes.get_inner(key, entry[:HASH_BYTES])
    changes = []
    for slot, group in _grouped(items, depth):
        before = get_entry(node, slot)
        after = _change_entry(batch, before, group, depth + 1)
        if after != before:
            changes.append((slot, after))
    if not changes:
        return entry
    batch.stale_nodes.append(key)
    return _write_node(batch, change_node(node, changes), key_hash, depth)


def _change_path(batch: _Batch, entry: bytes, item: Item, depth: int) -> bytes:
    """Do what `_change_subtree` does for one item, as most subtrees have: down and up again."""
    key_hash = item[0]
    path = []
    before = entry
    while len(before) == INNER_ENTRY_BYTES:
        key = inner_key(before[HASH_BYTES:], key_hash, depth)
        node = batch.nodes.get_inner(key, before[:HASH_BYTES])
        slot = slot_at(key_hash, depth)
        path.append((key, node, slot))
        before = get_entry(node, slot)
        depth += 1
    after = _change_entry(batch, before, [item], depth)
    if after == before:
        return entry
    for key, node, slot in reversed(path):
        depth -= 1
        batch.stale_nodes.append(key)
        after = _write_node(batch, change_node(node, ((slot, after),)), key_hash, depth)
    return after


def _build_entry(batch: _Batch, items: list[Item], depth: int) -> bytes:
    """Return the entry of a slot that holds exactly these leaves."""
    if len(items) <= LEAVES_IN_SLOT_MAX:
        return make_leaves_entry([record for _, record in items], depth)
    changes = [
        (slot, _build_entry(batch, group, depth + 1)) for slot, group in _grouped(items, depth)
    ]
    return _write_node(batch, change_node(EMPTY_NODE, changes), items[0][0], depth)


def _write_node(batch: _Batch, node: InnerNode, key_hash: bytes, depth: int) -> bytes:
    """Return the entry for a node in its parent, where the last few leaves go by themselves."""
    records = get_leaves(node)
    if records is not None:
        return make_leaves_entry(records, depth)
    batch.inner_nodes.append((inner_key(batch.version, key_hash, depth), node))
    return node_hash(node) + batch.version
