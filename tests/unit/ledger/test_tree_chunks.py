import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError, InvalidProof
from crypto.hashing import Digest
from crypto.schema import decode, encode
from ledger.tree.chunks import (
    LeftEdge,
    RightEdge,
    StateChunk,
    StateLeaf,
    check_chunk,
    make_chunk,
)
from ledger.tree.hashing import EMPTY, hash_key, hash_value
from ledger.tree.leaves import FIRST_KEY_HASH, find_leaf_before, iterate_leaves
from ledger.tree.proofs import OtherLeaf
from ledger.tree.update import update
from tests.unit.ledger.state_tree_samples import (
    StoredTree,
    close_keys,
    make_tree,
    numbered_state,
    states,
)

TREE = make_tree(numbered_state(500))
key_hashes = st.binary(min_size=32, max_size=32).map(Digest)


def chunk_at(tree: StoredTree, start: Digest, leaves_max: int = 20) -> StateChunk:
    return make_chunk(tree.nodes, 1, start, leaves_max=leaves_max, bytes_max=1 << 20)


def all_chunks(tree: StoredTree, leaves_max: int) -> list[StateChunk]:
    chunks = []
    start: Digest | None = FIRST_KEY_HASH
    while start is not None:
        chunks.append(chunk_at(tree, start, leaves_max))
        start = check_chunk(tree.root, start, chunks[-1])
    return chunks


@given(states, key_hashes)
def test_leaves_come_in_key_hash_order_from_any_start(
    state: dict[bytes, bytes], start: Digest
) -> None:
    tree = make_tree(state)

    leaves = list(iterate_leaves(tree.nodes, 1, start))

    expected = sorted((hash_key(key), key, value) for key, value in state.items())
    assert leaves == [leaf for leaf in expected if leaf[0] >= start]
    assert find_leaf_before(tree.nodes, 1, start) == next(
        (leaf for leaf in reversed(expected) if leaf[0] < start), None
    )


def test_walk_from_a_leaf_starts_with_it_and_ends_before_it() -> None:
    order = list(iterate_leaves(TREE.nodes, 1))

    for before, leaf in pairwise(order[::50]):
        index = order.index(leaf)

        assert next(iterate_leaves(TREE.nodes, 1, leaf[0])) == leaf
        assert find_leaf_before(TREE.nodes, 1, leaf[0]) == order[index - 1]
        assert before in order[:index]


@given(states, st.integers(1, 7))
def test_chunks_carry_the_whole_state(state: dict[bytes, bytes], leaves_max: int) -> None:
    tree = make_tree(state)

    chunks = all_chunks(tree, leaves_max)

    leaves = [leaf for chunk in chunks for leaf in chunk.leaves]
    assert {leaf.state_key: leaf.value for leaf in leaves} == state
    assert len(leaves) == len(state)


@given(states, key_hashes, st.integers(1, 7))
def test_chunk_from_anywhere_is_checked_by_itself(
    state: dict[bytes, bytes], start: Digest, leaves_max: int
) -> None:
    tree = make_tree(state)

    chunk = decode(StateChunk, encode(chunk_at(tree, start, leaves_max)))

    following = check_chunk(tree.root, start, chunk)
    expected = sorted((hash_key(key), key) for key in state if hash_key(key) >= start)
    assert [leaf.state_key for leaf in chunk.leaves] == [key for _, key in expected[:leaves_max]]
    assert (following is None) == (len(expected) <= leaves_max)


def test_state_is_rebuilt_from_chunks_version_by_version_in_place() -> None:
    joiner = StoredTree()
    version: int | None = None

    for chunk in all_chunks(TREE, 60):
        changes = {leaf.state_key: leaf.value for leaf in chunk.leaves}
        done = update(joiner.nodes, version, changes, 1)
        joiner.rows.update(done.new_nodes)
        for key in done.stale_nodes:
            del joiner.rows[key]
        joiner.nodes.admit(done)
        version = done.version

    assert joiner.rows == TREE.rows


def test_chunk_keeps_to_its_bytes_but_always_brings_a_leaf() -> None:
    size = len(b"key 1") + len(b"value 1")

    small = make_chunk(TREE.nodes, 1, FIRST_KEY_HASH, leaves_max=100, bytes_max=1)
    larger = make_chunk(TREE.nodes, 1, FIRST_KEY_HASH, leaves_max=100, bytes_max=10 * size)

    assert len(small.leaves) == 1
    total = sum(len(leaf.state_key) + len(leaf.value) for leaf in larger.leaves)
    assert total <= 10 * size
    assert len(larger.leaves) in (7, 8, 9, 10)


@given(states, key_hashes, st.integers(1, 5), st.data())
def test_flipping_any_bit_of_a_chunk_is_refused(
    state: dict[bytes, bytes], start: Digest, leaves_max: int, data: st.DataObject
) -> None:
    tree = make_tree(state)
    encoded = bytearray(encode(chunk_at(tree, start, leaves_max)))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises((DecodeError, InvalidProof)):
        check_chunk(tree.root, start, decode(StateChunk, bytes(encoded)))


def middle_chunk() -> tuple[Digest, StateChunk]:
    start = Digest(b"\x60" + bytes(31))
    chunk = chunk_at(TREE, start)
    assert chunk.left is not None
    assert chunk.right is not None
    return start, chunk


def test_flipping_every_bit_of_a_chunk_between_others_is_refused() -> None:
    start = Digest(b"\x60" + bytes(31))
    encoded = encode(chunk_at(TREE, start, 3))

    for bit in range(8 * len(encoded)):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DecodeError, InvalidProof)):
            check_chunk(TREE.root, start, decode(StateChunk, bytes(flipped)))


@pytest.mark.parametrize("index", [0, 1, 10, 18, 19])
def test_missing_leaf_is_noticed(index: int) -> None:
    start, chunk = middle_chunk()
    leaves = chunk.leaves[:index] + chunk.leaves[index + 1 :]

    with pytest.raises(InvalidProof):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, leaves=leaves))


@pytest.mark.parametrize("index", [0, 10, 19])
def test_repeated_leaf_is_noticed(index: int) -> None:
    start, chunk = middle_chunk()
    leaves = (*chunk.leaves[: index + 1], *chunk.leaves[index:])

    with pytest.raises(InvalidProof, match="order"):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, leaves=leaves))


def test_invented_leaf_is_noticed() -> None:
    start, chunk = middle_chunk()
    invented = StateLeaf(state_key=b"invented", value=b"1")
    leaves = sorted((*chunk.leaves, invented), key=lambda leaf: hash_key(leaf.state_key))

    with pytest.raises(InvalidProof):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, leaves=tuple(leaves)))


def test_chunk_must_begin_where_it_was_asked_to() -> None:
    start, chunk = middle_chunk()
    first = hash_key(chunk.leaves[0].state_key)

    with pytest.raises(InvalidProof, match="too early"):
        check_chunk(TREE.root, Digest(first[:-1] + bytes((first[-1] + 1,))), chunk)
    with pytest.raises(InvalidProof, match="lies within"):
        check_chunk(TREE.root, FIRST_KEY_HASH, chunk)
    assert check_chunk(TREE.root, start, chunk) is not None


def test_chunk_that_hides_what_comes_after_it_is_refused() -> None:
    start, chunk = middle_chunk()

    with pytest.raises(InvalidProof, match="state root"):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, right=None))


def test_chunk_that_hides_what_comes_before_it_is_refused() -> None:
    start, chunk = middle_chunk()

    with pytest.raises(InvalidProof, match="state root"):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, left=None))


def test_last_chunk_pretends_no_more() -> None:
    last = all_chunks(TREE, 60)[-1]
    assert last.right is None
    start = hash_key(last.leaves[0].state_key)
    pretended = dataclasses.replace(last, right=RightEdge(depth=256, siblings=(EMPTY,)))

    with pytest.raises(InvalidProof, match="nothing beyond"):
        check_chunk(TREE.root, start, pretended)


def test_chunk_without_leaves_has_no_right_edge() -> None:
    beyond = Digest(b"\xff" * 32)
    chunk = chunk_at(TREE, beyond)
    assert chunk.leaves == ()
    assert check_chunk(TREE.root, beyond, chunk) is None

    forged = dataclasses.replace(chunk, right=RightEdge(depth=1, siblings=(TREE.root,)))
    with pytest.raises(InvalidProof, match="nothing beyond"):
        check_chunk(TREE.root, beyond, forged)


@pytest.mark.parametrize("depth", [0, 1, 8, 10, 255, 256])
def test_edge_of_another_depth_is_refused(depth: int) -> None:
    start, chunk = middle_chunk()
    assert chunk.left is not None
    assert chunk.right is not None
    assert depth not in (chunk.left.depth, chunk.right.depth)
    left = LeftEdge(leaf=chunk.left.leaf, depth=depth, siblings=chunk.left.siblings)
    right = RightEdge(depth=depth, siblings=chunk.right.siblings)

    for forged in (
        dataclasses.replace(chunk, left=left),
        dataclasses.replace(chunk, right=right),
    ):
        with pytest.raises(InvalidProof):
            check_chunk(TREE.root, start, forged)


def test_edge_that_ends_among_the_leaves_is_refused() -> None:
    start, chunk = middle_chunk()
    assert chunk.left is not None
    left = dataclasses.replace(chunk.left, depth=0, siblings=())

    with pytest.raises(InvalidProof, match="ends among"):
        check_chunk(TREE.root, start, dataclasses.replace(chunk, left=left))


def test_deep_neighbours_are_split_between_chunks() -> None:
    one, other = sorted(close_keys(20, 2), key=hash_key)
    tree = make_tree({one: b"1", other: b"2"})

    first, second = all_chunks(tree, 1)

    assert [leaf.state_key for leaf in first.leaves + second.leaves] == [one, other]
    assert second.left is not None
    assert second.left.depth > 20
    assert second.left.leaf == OtherLeaf(key_hash=hash_key(one), value_hash=hash_value(b"1"))


def test_chunk_of_the_empty_tree_is_empty() -> None:
    tree = make_tree({})

    chunk = chunk_at(tree, FIRST_KEY_HASH)

    assert chunk == StateChunk(left=None, leaves=(), right=None)
    assert check_chunk(tree.root, FIRST_KEY_HASH, chunk) is None
    with pytest.raises(InvalidProof):
        check_chunk(TREE.root, FIRST_KEY_HASH, chunk)
