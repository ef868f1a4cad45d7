"""Chunks of the state that are checked against its root one by one: what a snapshot consists of.

A chunk is a run of consecutive leaves in key-hash order. It names the leaf before the run and
carries the hashes of all that lies left of that leaf's path and right of its own last leaf's path;
whatever lies between is computed from the leaves, so none can be missing, added or changed. Chunks
need no common source and no order: each is checked by itself and tells where the next begins.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from crypto.errors import InvalidProof
from crypto.hashing import Digest
from crypto.schema import Count, Range, Size
from ledger.tree.cache import NodeCache
from ledger.tree.hashing import (
    EMPTY,
    HASH_BYTES,
    KEY_HASH_BITS,
    bit_at,
    hash_inner,
    hash_key,
    hash_leaf,
    hash_value,
    subtree_hash,
)
from ledger.tree.leaves import find_leaf_before, iterate_leaves
from ledger.tree.proofs import VALUE_BYTES_MAX, OtherLeaf, find_leaf

STATE_KEY_BYTES_MAX: Final = 1024
LEAVES_MAX: Final = 65_536

PathBits = Annotated[int, Range(0, KEY_HASH_BITS)]
PathSide = Annotated[tuple[Digest, ...], Count(0, KEY_HASH_BITS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLeaf:
    """One state key and its value."""

    state_key: Annotated[bytes, Size(0, STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Size(0, VALUE_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftEdge:
    """The leaf before a chunk, the length of its path, the hashes left of it from the root down."""

    leaf: OtherLeaf
    depth: PathBits
    siblings: PathSide


@dataclass(frozen=True, slots=True, kw_only=True)
class RightEdge:
    """The path length of a chunk's last leaf, and the hashes right of it from the root down."""

    depth: PathBits
    siblings: PathSide


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChunk:
    """Consecutive leaves; `left` is None if no leaf comes before them, `right` if none after."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4 * VALUE_BYTES_MAX

    left: LeftEdge | None
    leaves: Annotated[tuple[StateLeaf, ...], Count(0, LEAVES_MAX)]
    right: RightEdge | None


def make_chunk(
    nodes: NodeCache, version: int, start: Digest, *, leaves_max: int, bytes_max: int
) -> StateChunk:
    """Return the chunk of the leaves from key hash `start` on, as many as the limits allow.

    `bytes_max` bounds keys and values together; a chunk has one leaf at least if there is one.
    """
    assert 1 <= leaves_max <= LEAVES_MAX
    leaves: list[StateLeaf] = []
    size, right, last = 0, None, None
    for key_hash, state_key, value in iterate_leaves(nodes, version, start):
        size += len(state_key) + len(value)
        if last is not None and (len(leaves) == leaves_max or size > bytes_max):
            depth, beside = _path_side(nodes, version, last, 0)
            right = RightEdge(depth=depth, siblings=beside)
            break
        leaves.append(StateLeaf(state_key=state_key, value=value))
        last = key_hash
    return StateChunk(left=_left_edge(nodes, version, start), leaves=tuple(leaves), right=right)


def _left_edge(nodes: NodeCache, version: int, start: Digest) -> LeftEdge | None:
    before = find_leaf_before(nodes, version, start)
    if before is None:
        return None
    key_hash, _, value = before
    depth, beside = _path_side(nodes, version, key_hash, 1)
    leaf = OtherLeaf(key_hash=key_hash, value_hash=hash_value(value))
    return LeftEdge(leaf=leaf, depth=depth, siblings=beside)


def _path_side(
    nodes: NodeCache, version: int, key_hash: Digest, towards: int
) -> tuple[int, tuple[Digest, ...]]:
    """Return a leaf's path length and the siblings where the path takes the half `towards`."""
    siblings, _ = find_leaf(nodes, version, key_hash)
    beside = (one for depth, one in enumerate(siblings) if bit_at(key_hash, depth) == towards)
    return len(siblings), tuple(beside)


def check_chunk(root: Digest, start: Digest, chunk: StateChunk) -> Digest | None:
    """Return where the chunk after this one starts, or None after the last.

    Raises `InvalidProof` unless the chunk holds the first leaves from key hash `start` on.
    """
    key_hashes = [hash_key(leaf.state_key) for leaf in chunk.leaves]
    if key_hashes and key_hashes[0] < start:
        raise InvalidProof("the chunk begins too early")
    if any(one >= other for one, other in pairwise(key_hashes)):
        raise InvalidProof("leaves out of order")
    hashes = [
        hash_leaf(key_hash, hash_value(leaf.value))
        for key_hash, leaf in zip(key_hashes, chunk.leaves, strict=True)
    ]
    left = right = None
    if chunk.left is not None:
        before = chunk.left.leaf
        if before.key_hash >= start:
            raise InvalidProof("the leaf before the chunk lies within it")
        left = _make_edge(before.key_hash, chunk.left.depth, chunk.left.siblings, 1)
        key_hashes.insert(0, before.key_hash)
        hashes.insert(0, hash_leaf(before.key_hash, before.value_hash))
    if chunk.right is not None:
        if not chunk.leaves or all(one == EMPTY for one in chunk.right.siblings):
            raise InvalidProof("a right edge with nothing beyond it")
        right = _make_edge(key_hashes[-1], chunk.right.depth, chunk.right.siblings, 0)
    known = _KnownLeaves(key_hashes=key_hashes, hashes=hashes)
    if _open_hash(known, 0, (0, len(hashes)), left, right) != root:
        raise InvalidProof("the chunk does not lead to the state root")
    return None if right is None else _next_key_hash(key_hashes[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """One edge while it is checked.

    `depth` is where its leaf's path ends; `beyond` the hash of what lies outside at every depth
    where the path turns inwards.
    """

    depth: int
    beyond: dict[int, Digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownLeaves:
    """The leaves of a chunk in order, with the one before it."""

    key_hashes: list[Digest]
    hashes: list[Digest]


def _make_edge(key_hash: Digest, depth: int, siblings: tuple[Digest, ...], inwards: int) -> _Edge:
    turns = [level for level in range(depth) if bit_at(key_hash, level) == inwards]
    if len(turns) != len(siblings) or any(len(one) != HASH_BYTES for one in siblings):
        raise InvalidProof("an edge without exactly one hash for each inward turn of its path")
    return _Edge(depth=depth, beyond=dict(zip(turns, siblings, strict=True)))


def _open_hash(
    known: _KnownLeaves,
    depth: int,
    span: tuple[int, int],
    left: _Edge | None,
    right: _Edge | None,
) -> Digest:
    """Return the hash of a subtree `depth` bits deep that edges run through.

    It holds the known leaves of `span` and, where there is an edge, what lies beyond that.
    """
    if left is None and right is None:
        inside = slice(*span)
        return Digest(subtree_hash(known.key_hashes[inside], known.hashes[inside], depth))
    if (left and left.depth == depth) or (right and right.depth == depth):
        if span[1] - span[0] != 1:
            raise InvalidProof("an edge that ends among other leaves")
        return known.hashes[span[0]]
    halves = _split(known, depth, span)
    if left and depth in left.beyond:
        left_hash = left.beyond[depth]
    else:
        inner = right if right and depth in right.beyond else None
        left_hash = _open_hash(known, depth + 1, halves[0], left, inner)
    if right and depth in right.beyond:
        right_hash = right.beyond[depth]
    else:
        inner = left if left and depth in left.beyond else None
        right_hash = _open_hash(known, depth + 1, halves[1], inner, right)
    return hash_inner(left_hash, right_hash)


def _split(
    known: _KnownLeaves, depth: int, span: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the parts of a span in the left and the right half of a subtree."""
    middle = bisect_left(known.key_hashes, 1, *span, key=lambda one: bit_at(one, depth))
    return (span[0], middle), (middle, span[1])


def _next_key_hash(key_hash: Digest) -> Digest:
    following = int.from_bytes(key_hash, "big") + 1
    return Digest(following.to_bytes(32, "big"))
