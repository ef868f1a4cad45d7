import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tree.cache import NodeCache
from ledger.tree.errors import NodeCorrupt, NodeMissing
from ledger.tree.hashing import EMPTY, hash_inner, hash_key
from ledger.tree.inner import (
    EMPTY_NODE,
    InnerNode,
    change_node,
    decode_node,
    get_entries,
    get_entry,
    get_leaves,
    node_hash,
    position_hash,
)
from ledger.tree.leaves import iterate_leaves
from ledger.tree.node import (
    decode_leaf,
    depth_of,
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
from ledger.tree.update import update
from tests.unit.ledger.state_tree_samples import StoredTree, make_tree, numbered_state

DEPTH = 5
inner_entries = st.binary(min_size=40, max_size=40)
records = st.binary(min_size=72, max_size=72)


@st.composite
def leaves_entries(draw: st.DrawFn) -> bytes:
    """An entry of a slot at `DEPTH` + 1 nibbles with one to three leaves."""
    rests = draw(st.lists(st.binary(min_size=29, max_size=29), min_size=1, max_size=3, unique=True))
    return make_leaves_entry(
        [draw(st.binary(min_size=40, max_size=40)) + bytes(3) + rest for rest in sorted(rests)],
        DEPTH + 1,
    )


filled = inner_entries | leaves_entries()
slots = st.dictionaries(st.integers(0, 15), filled)
emptied = st.dictionaries(st.integers(0, 15), st.just(b"") | filled)


def make_node(entries: dict[int, bytes]) -> InnerNode:
    return change_node(EMPTY_NODE, sorted(entries.items()))


def reference_hash(entries: list[bytes]) -> bytes:
    """The hash of 16, 8, 4, 2 or 1 slots by the definition of the tree."""
    used = [entry for entry in entries if entry]
    if not used:
        return EMPTY
    if len(entries) == 1 or (len(used) == 1 and len(used[0]) == 72):
        return used[0][:32]
    half = len(entries) // 2
    return hash_inner(reference_hash(entries[:half]), reference_hash(entries[half:]))


@given(slots)
def test_node_hashes_as_the_tree_is_defined(entries: dict[int, bytes]) -> None:
    node = make_node(entries)

    level = [entries.get(slot, b"") for slot in range(16)]
    for width in (16, 8, 4, 2, 1):
        for first in range(0, 16, width):
            position = (16 + first) // width
            assert position_hash(node, position) == reference_hash(level[first : first + width])
    assert node_hash(node) == position_hash(node, 1)


@given(slots)
def test_node_survives_storage(entries: dict[int, bytes]) -> None:
    node = make_node(entries)

    assert decode_node(node[0], DEPTH) == node
    assert get_entries(node) == [entries.get(slot, b"") for slot in range(16)]
    assert [get_entry(node, slot) for slot in range(16)] == get_entries(node)


@given(slots, emptied)
def test_changed_node_is_the_node_made_afresh(
    entries: dict[int, bytes], changes: dict[int, bytes]
) -> None:
    node = make_node(entries)

    changed = change_node(node, sorted(changes.items()))

    final = {slot: entry for slot, entry in (entries | changes).items() if entry}
    assert changed == make_node(final)


@given(slots, st.integers(0, 15), st.just(b"") | filled)
def test_slot_that_changes_alone_hashes_as_one_of_many(
    entries: dict[int, bytes], slot: int, entry: bytes
) -> None:
    node = make_node(entries)

    alone = change_node(node, [(slot, entry)])

    assert alone == make_node({**entries, slot: entry})


@given(slots, st.integers(1, 31))
def test_leaves_below_a_position_are_told_if_a_slot_may_name_them(
    entries: dict[int, bytes], position: int
) -> None:
    node = make_node(entries)
    level = position.bit_length() - 1
    below = [
        entry for slot, entry in sorted(entries.items()) if (16 + slot) >> (4 - level) == position
    ]

    found = get_leaves(node, position)

    expected = [record for entry in below if len(entry) != 40 for record in get_records(entry)]
    few = len(expected) <= 3 and all(len(entry) != 40 for entry in below)
    assert found == (expected if few else None)


def test_empty_node_has_the_empty_hash() -> None:
    assert node_hash(change_node(EMPTY_NODE, [])) == EMPTY
    assert decode_node(bytes(16), 0) == EMPTY_NODE


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        bytes(15),
        bytes(17),
        b"\x05" + bytes(15 + 39),
        b"\x05" + bytes(15 + 41),
        b"\x04" + bytes(15 + 32),
        b"\x28" + bytes(15 + 8 * 0x28),
        bytes(15) + b"\x16" + b"\x01" * 176,
    ],
)
def test_bytes_that_are_no_node_are_corrupt(stored: bytes) -> None:
    with pytest.raises(NodeCorrupt):
        decode_node(stored, DEPTH)


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

    keys = [inner_key(version, key_hash, depth) for depth in range(4)]

    assert [key[8:].hex() for key in keys] == ["00", "01a0", "02ab", "03aba0"]
    assert [slot_at(key_hash, depth) for depth in range(3)] == [0xA, 0xB, 0xA]
    assert [depth_of(key) for key in keys] == [0, 1, 2, 3]


def test_leaf_key_names_version_and_key_hash() -> None:
    record = make_record(b"h" * 32, version_bytes(5), b"k" * 32)

    key = leaf_key(record)

    assert key == (5).to_bytes(8, "big") + b"\x40" + b"k" * 32
    assert record_key_hash(record) == b"k" * 32


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


def test_cache_keeps_the_nodes_loaded_last() -> None:
    tree = make_tree(numbered_state(300))
    nodes = NodeCache(tree, nodes_max=2)
    root = nodes.get_root(1)
    entries = [get_entry(root, slot) for slot in range(2)]
    keys = [inner_key(entries[slot][32:], bytes((slot << 4,)), 1) for slot in range(2)]

    for slot in (0, 1, 0, 1):
        nodes.get_inner(keys[slot], entries[slot][:32])
    nodes.get_root(1)
    nodes.get_inner(keys[0], entries[0][:32])

    assert (nodes.hits, nodes.misses) == (2, 5)
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
