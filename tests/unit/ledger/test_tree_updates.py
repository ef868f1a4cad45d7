from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tree.cache import NodeCache
from ledger.tree.leaves import iterate_leaves
from ledger.tree.node import root_key
from ledger.tree.update import update, update_in_slices
from tests.unit.ledger.state_tree_samples import (
    StoredTree,
    close_keys,
    histories,
    keys,
    make_tree,
    numbered_state,
    reference_root,
    states,
    values,
)


@given(histories)
def test_root_is_that_of_the_definition_after_every_batch(
    history: list[dict[bytes, bytes | None]],
) -> None:
    tree = StoredTree()

    for changes in history:
        tree.change(changes)

        assert tree.root == reference_root(tree.state)


@given(histories)
def test_stored_nodes_depend_on_the_state_and_not_on_its_history(
    history: list[dict[bytes, bytes | None]],
) -> None:
    tree = StoredTree()
    for changes in history:
        tree.change(changes)
        assert tree.version is not None
        tree.prune(tree.version)

    rebuilt = make_tree(tree.state)

    assert tree.root == rebuilt.root
    if history:
        assert shapes(tree) == shapes(rebuilt)


def shapes(tree: StoredTree) -> list[tuple[bytes, int]]:
    """Every stored node without its version: its place and its size."""
    return sorted((key[8:], len(row)) for key, row in tree.rows.items())


@given(states, st.dictionaries(keys, st.none() | values, max_size=20))
def test_old_roots_keep_their_leaves_until_pruned(
    before: dict[bytes, bytes], changes: dict[bytes, bytes | None]
) -> None:
    tree = make_tree(before)
    tree.change(changes)

    leaves = {key: value for _, key, value in iterate_leaves(tree.nodes, 1)}

    assert leaves == before


@given(states, st.dictionaries(keys, st.none() | values, max_size=20))
def test_pruning_leaves_exactly_the_nodes_of_the_newest_version(
    before: dict[bytes, bytes], changes: dict[bytes, bytes | None]
) -> None:
    tree = make_tree(before)
    tree.change(changes)

    tree.prune(2)

    uncached = NodeCache(tree, nodes_max=0)
    assert {key: value for _, key, value in iterate_leaves(uncached, 2)} == tree.state
    assert len(tree.rows) == len(make_tree(tree.state).rows)


@given(histories, st.integers(0, 3))
def test_cache_of_any_size_gives_the_same_roots(
    history: list[dict[bytes, bytes | None]], nodes_max: int
) -> None:
    roomy, narrow = StoredTree(), StoredTree(nodes_max=nodes_max)

    for changes in history:
        roomy.change(changes)
        narrow.change(changes)

        assert narrow.root == roomy.root
        assert len(narrow.nodes) <= nodes_max


def test_order_of_the_changes_does_not_show() -> None:
    state = numbered_state(300)

    forwards = make_tree(state)
    backwards = make_tree(dict(reversed(state.items())))

    assert list(forwards.rows.items()) == list(backwards.rows.items())


def test_setting_a_value_again_writes_only_the_root() -> None:
    tree = make_tree(numbered_state(300))

    done = tree.change({b"key 7": b"value 7"})

    assert [key for key, _ in done.new_nodes] == [root_key(2)]
    assert done.stale_nodes == (root_key(1),)


def test_deleting_an_absent_key_writes_only_the_root() -> None:
    tree = make_tree(numbered_state(300))

    done = tree.change({b"nobody": None})

    assert [key for key, _ in done.new_nodes] == [root_key(2)]
    assert tree.root == reference_root(tree.state)


def test_changed_value_replaces_one_leaf_and_the_nodes_above_it() -> None:
    tree = make_tree(numbered_state(300))

    done = tree.change({b"key 7": b"another"})

    written = [key[8:] for key, _ in done.new_nodes]
    replaced = [key[8:] for key in done.stale_nodes]
    assert sorted(written) == sorted(replaced)
    assert sum(is_leaf_key(key) for key in replaced) == 1


def is_leaf_key(place: bytes) -> bool:
    return place[0] == 64


def test_neighbour_that_comes_or_goes_rewrites_no_leaf() -> None:
    keys_near = close_keys(12, 5)
    tree = make_tree(dict.fromkeys(keys_near[:4], b"1"))

    come = tree.change({keys_near[4]: b"2"})
    gone = tree.change({keys_near[4]: None})

    assert sum(is_leaf_key(key[8:]) for key, _ in come.new_nodes) == 1
    assert sum(is_leaf_key(key[8:]) for key, _ in gone.new_nodes) == 0
    assert sum(is_leaf_key(key[8:]) for key in gone.stale_nodes) == 1
    assert tree.root == reference_root(dict.fromkeys(keys_near[:4], b"1"))


def test_few_leaves_take_no_inner_node_however_much_their_hashes_share() -> None:
    one, other = close_keys(20, 2)

    tree = make_tree({one: b"1", other: b"2", b"third": b"3"})

    assert len(tree.rows) == 1 + 3
    assert tree.root == reference_root(tree.state)


def test_leaves_whose_deep_neighbour_goes_rise_to_the_root() -> None:
    four = close_keys(8, 4)
    tree = make_tree(dict.fromkeys(four, b"1"))
    assert len(tree.rows) >= 1 + 2 + 4

    tree.change({four[0]: None})
    tree.prune(2)

    assert len(tree.rows) == 1 + 3
    assert tree.root == reference_root(dict.fromkeys(four[1:], b"1"))


def test_last_leaf_that_goes_leaves_the_empty_root() -> None:
    tree = make_tree({b"only": b"1"})

    tree.change({b"only": None})
    tree.prune(2)

    assert list(tree.rows) == [root_key(2)]
    assert tree.root == reference_root({})


def test_version_can_be_built_in_place_from_parts() -> None:
    state = numbered_state(300)
    whole = make_tree(state)
    tree = StoredTree()
    version = None

    for part in parts_of(state, 70):
        done = update(tree.nodes, version, part, 1)
        tree.rows.update(done.new_nodes)
        for key in done.stale_nodes:
            del tree.rows[key]
        tree.nodes.admit(done)
        version = done.version

    assert done.root == whole.root
    assert tree.rows == whole.rows


def parts_of(state: Mapping[bytes, bytes], count: int) -> Iterator[dict[bytes, bytes]]:
    items = list(state.items())
    for first in range(0, len(items), count):
        yield dict(items[first : first + count])


def test_change_in_place_does_not_call_what_it_rewrites_stale() -> None:
    tree = make_tree(numbered_state(300))

    done = update(tree.nodes, 1, {b"key 7": b"another", b"key 8": None}, 1)

    written = {key for key, _ in done.new_nodes}
    assert not written.intersection(done.stale_nodes)
    assert set(done.stale_nodes) <= set(tree.rows)


def test_update_in_slices_pauses_once_for_each_sixteenth_it_touches() -> None:
    tree = make_tree({})
    slices = update_in_slices(tree.nodes, 1, numbered_state(300), 2)

    pauses = 0
    while True:
        try:
            next(slices)
        except StopIteration as done:
            root = done.value.root
            break
        pauses += 1

    assert pauses == 16
    assert root == reference_root(numbered_state(300))


def test_version_never_goes_backwards() -> None:
    tree = make_tree({})
    tree.change({})

    with pytest.raises(AssertionError, match="versions ascend"):
        update(tree.nodes, 2, {}, 1)


def test_update_reads_no_leaf() -> None:
    tree = make_tree(numbered_state(300))
    for key in [key for key in tree.rows if is_leaf_key(key[8:])]:
        del tree.rows[key]

    tree.change({b"key 7": b"another", b"key 8": None, b"new": b"1"})

    assert tree.root == reference_root(tree.state)
