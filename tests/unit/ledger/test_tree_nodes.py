import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tree.cache import NodeCache
from ledger.tree.errors import NodeCorrupt, NodeMissing
from ledger.tree.hashing import EMPTY, hash_key
from ledger.tree.leaves import iterate_leaves
from ledger.tree.node import (
    EMPTY_NODE,
    change_node,
    decode_leaf,
    decode_node,
    encode_leaf,
    encode_node,
    inner_key,
    is_single,
    root_key,
    single_entry,
    slot_at,
)
from ledger.tree.update import update
from tests.unit.ledger.state_tree_samples import StoredTree, make_tree, numbered_state

inner_entries = st.binary(min_size=40, max_size=40)
leaf_entries = st.binary(min_size=72, max_size=72)
slots = st.dictionaries(st.integers(0, 15), inner_entries | leaf_entries)
emptied = st.dictionaries(st.integers(0, 15), st.just(b"") | inner_entries | leaf_entries)


@given(slots)
def test_node_survives_storage(entries: dict[int, bytes]) -> None:
    node = change_node(EMPTY_NODE, list(entries.items()))

    assert decode_node(encode_node(node)) == node


@given(slots, emptied)
def test_changed_node_is_the_node_made_afresh(
    entries: dict[int, bytes], changes: dict[int, bytes]
) -> None:
    node = change_node(EMPTY_NODE, list(entries.items()))

    changed = change_node(node, list(changes.items()))

    final = {slot: entry for slot, entry in (entries | changes).items() if entry}
    assert changed == change_node(EMPTY_NODE, list(final.items()))


@given(slots, st.integers(0, 15), inner_entries | leaf_entries)
def test_slot_that_changes_alone_hashes_as_one_of_many(
    entries: dict[int, bytes], slot: int, entry: bytes
) -> None:
    node = change_node(EMPTY_NODE, list(entries.items()))

    alone = change_node(node, [(slot, entry)])

    assert alone == change_node(node, [(slot, b""), (slot, entry)])


@given(slots, st.integers(1, 31))
def test_path_ends_where_nothing_or_one_leaf_lies_below(
    entries: dict[int, bytes], position: int
) -> None:
    node = change_node(EMPTY_NODE, list(entries.items()))
    level = position.bit_length() - 1
    below = [entry for slot, entry in entries.items() if (16 + slot) >> (4 - level) == position]

    single = is_single(node, position)

    assert single == (not below or (len(below) == 1 and len(below[0]) == 72))
    if single:
        assert single_entry(node, position) == b"".join(below)


def test_empty_node_has_the_empty_hash() -> None:
    assert change_node(EMPTY_NODE, [])[1] == EMPTY
    assert decode_node(bytes(16)) == EMPTY_NODE


@given(st.binary(max_size=300))
def test_bytes_that_are_no_node_are_corrupt_or_encode_to_themselves(encoded: bytes) -> None:
    try:
        node = decode_node(encoded)
    except NodeCorrupt:
        return

    assert encode_node(node) == encoded


@given(st.binary(max_size=60), st.binary(max_size=200))
def test_leaf_survives_storage(state_key: bytes, value: bytes) -> None:
    assert decode_leaf(encode_leaf(state_key, value)) == (state_key, value)


@pytest.mark.parametrize("encoded", [b"", b"\x92\xc4\x01a", b"\x91\xc4\x01a", b"\x92\xc4\x01a\x01"])
def test_bytes_that_are_no_leaf_are_corrupt(encoded: bytes) -> None:
    with pytest.raises(NodeCorrupt):
        decode_leaf(encoded)


def test_inner_key_holds_the_nibbles_of_the_path_and_no_others() -> None:
    key_hash = bytes.fromhex("ab" * 32)
    version = bytes(8)

    keys = [inner_key(version, key_hash, depth)[8:].hex() for depth in range(4)]

    assert keys == ["00", "01a0", "02ab", "03aba0"]
    assert [slot_at(key_hash, depth) for depth in range(3)] == [0xA, 0xB, 0xA]


def test_lost_node_is_named() -> None:
    tree = make_tree(numbered_state(300))
    lost = next(key for key in tree.rows if key[8] == 1)
    del tree.rows[lost]

    with pytest.raises(NodeMissing, match=lost.hex()):
        list(iterate_leaves(NodeCache(tree, nodes_max=0), 1))


def test_pruned_version_is_missing() -> None:
    tree = make_tree(numbered_state(10))
    tree.change({b"key 1": None})
    tree.prune(2)

    with pytest.raises(NodeMissing):
        update(tree.nodes, 1, {}, 3)


@given(st.data())
def test_flipped_bit_of_a_stored_node_below_the_root_is_found(data: st.DataObject) -> None:
    tree = make_tree(numbered_state(40))
    places = sorted(key for key in tree.rows if key != root_key(1))
    place = data.draw(st.sampled_from(places))
    row = bytearray(tree.rows[place])
    bit = data.draw(st.integers(0, 8 * len(row) - 1))
    row[bit // 8] ^= 1 << bit % 8

    tree.rows[place] = bytes(row)

    with pytest.raises((NodeCorrupt, NodeMissing)):
        list(iterate_leaves(NodeCache(tree, nodes_max=0), 1))


def test_leaf_of_another_key_in_its_place_is_found() -> None:
    tree = make_tree({b"one": b"1", b"other": b"2"})
    places = [key for key in tree.rows if key[8] == 64]
    tree.rows[places[0]], tree.rows[places[1]] = tree.rows[places[1]], tree.rows[places[0]]

    with pytest.raises(NodeCorrupt, match="state key of another"):
        list(iterate_leaves(tree.nodes, 1))


def test_cache_keeps_the_most_recently_used_nodes() -> None:
    tree = make_tree(numbered_state(300))
    nodes = NodeCache(tree, nodes_max=2)
    root = nodes.get_root(1)
    entries = {slot: root[16 + slot] for slot in range(3)}
    keys = {slot: inner_key(entries[slot][:8], bytes((slot << 4,)), 1) for slot in entries}

    nodes.get_inner(keys[0], entries[0][8:])
    nodes.get_root(1)
    nodes.get_inner(keys[1], entries[1][8:])
    hits = nodes.hits
    nodes.get_root(1)
    nodes.get_inner(keys[0], entries[0][8:])

    assert hits == 1
    assert nodes.hits == 2
    assert nodes.misses == 4
    assert len(nodes) == 2


def test_cache_forgets_what_an_update_replaced() -> None:
    tree = make_tree(numbered_state(300))
    before = len(tree.nodes)

    tree.change({b"key 7": b"another"})

    assert len(tree.nodes) == before


def test_update_that_was_never_stored_leaves_no_trace() -> None:
    tree = make_tree(numbered_state(300))
    reads = dict(tree.rows)

    abandoned = update(tree.nodes, 1, {b"key 7": b"abandoned"}, 2)
    done = tree.change({b"key 8": b"another"})

    assert abandoned.root != done.root
    assert tree.rows.items() >= reads.items()
    assert done.root == make_tree(tree.state).root


def test_key_hash_is_domain_separated() -> None:
    tree = StoredTree()

    tree.change({b"k": b"v"})

    assert next(iterate_leaves(tree.nodes, 1)) == (hash_key(b"k"), b"k", b"v")
