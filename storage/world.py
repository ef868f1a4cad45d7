"""The world state: flat entries to read at the tip, and the tree that proves them at old roots.

Entries are stored twice. Flat rows hold the state after the tip; views read them through a
snapshot, so a view never changes under its reader, not even while a block is being written. The
tree's nodes (`ledger.tree`) hold the values of every provable height; what a block replaces is
listed under its height and deleted, some pages a block, once no provable root refers to it.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from crypto.hashing import Digest
from ledger.tree.cache import NodeCache
from ledger.tree.errors import NodeCorrupt, NodeMissing
from ledger.tree.inner import node_hash
from ledger.tree.ports import TreeUpdate
from ledger.tree.proofs import StateProof, StateProofs, prove, prove_many
from ledger.tree.update import update_in_slices
from storage.cache import ValueCache
from storage.database import Database, Snapshot
from storage.errors import REBUILD, HeightPruned, StateCorrupt
from storage.keys import OLDEST_KEY, STALE, node_key, stale_key, state_key
from storage.rows import RowDamaged, open_row, seal_row

Row = tuple[bytes, bytes | None]

STALE_PAGE_NODES: Final = 1_024
PINNED_FOR: Final = 4
"""A snapshot that is being fetched may hold back the pruning of roots for so many times as long."""

PRUNE_PAGES_MAX: Final = 16
"""Pages of stale nodes that one block deletes at the most: more than a block makes, on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldLimits:
    """What the world may cost.

    `proof_heights` old roots stay provable, the tip's included; caches hold `nodes_max` tree
    nodes of 1 to 3 KiB and `values_bytes_max` bytes of state values.
    """

    proof_heights: int = 1_000
    nodes_max: int = 200_000
    values_bytes_max: int = 64 << 20


class WorldView:
    """The state after one height; implements the ledger's `StateView`.

    LevelDB keeps what the view shows until the last reference to it is gone.
    """

    __slots__ = ("_snapshot", "_values", "height")

    def __init__(self, height: int, snapshot: Snapshot, values: ValueCache) -> None:
        self.height = height
        self._snapshot = snapshot
        self._values = values

    def get(self, key: bytes) -> bytes | None:
        known = self._values.get(key, self.height)
        if known is not None:
            return known.value
        value = self._snapshot.get(state_key(key))
        self._values.learn(key, value, self.height)
        return value

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        rows = self._snapshot.scan(state_key(prefix), start=state_key(max(prefix, start)))
        for key, value in islice(rows, limit):
            yield key[1:], value


@dataclass(frozen=True, slots=True)
class StoredNodes:
    """Tree nodes as they are stored; implements the tree's `NodeReader`."""

    database: Database

    def get_node(self, key: bytes) -> bytes | None:
        return self.database.get(node_key(key))


@dataclass(slots=True, kw_only=True)
class World:
    """The state of an open chain.

    Roots from `oldest_provable` on are kept. `view` is the state after the tip, `certified` the one
    before it, which the tip's header commits to; None after a start, if the tip's block changed
    something. A `pinned` root stays provable for longer, at most `PINNED_FOR` times as long.
    """

    database: Database
    limits: WorldLimits
    nodes: NodeCache
    values: ValueCache
    view: WorldView
    certified: WorldView | None = None
    oldest_provable: int = 0
    pinned: int | None = None

    @property
    def height(self) -> int:
        return self.view.height


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldChange:
    """What one block does to the world: rows for its batch, and what memory learns after it."""

    height: int
    oldest_provable: int
    writes: Mapping[bytes, bytes | None]
    rows: tuple[Row, ...]
    tree: TreeUpdate


def open_world(database: Database, height: int, limits: WorldLimits) -> World:
    """Return the world of a database whose last executed block is `height`.

    Raises `StateCorrupt` for a damaged tree or note of what is kept of it.
    """
    values = ValueCache(height=height, bytes_max=limits.values_bytes_max)
    snapshot = database.snapshot()
    world = World(
        database=database,
        limits=limits,
        nodes=NodeCache(StoredNodes(database), nodes_max=limits.nodes_max),
        values=values,
        view=WorldView(height, snapshot, values),
        oldest_provable=_read_oldest(database),
    )
    if _has_unchanged_tip(world):
        world.certified = WorldView(height - 1, snapshot, values)
    return world


def stage_genesis(
    database: Database, writes: Mapping[bytes, bytes | None]
) -> Generator[None, None, WorldChange]:
    """Work out the rows of the state at height 0."""
    nodes = NodeCache(StoredNodes(database), nodes_max=0)
    return (yield from _stage(nodes, None, writes, 0, 0, ()))


def stage_world(
    world: World, height: int, writes: Mapping[bytes, bytes | None]
) -> Generator[None, None, WorldChange]:
    """Work out what the next block does, pausing so that an event loop can breathe.

    Nothing else may stage or prove meanwhile. Raises `StateCorrupt` for a damaged tree.
    """
    assert height == world.height + 1, "blocks follow one another"
    oldest = max(world.oldest_provable, needed_from(world, height))
    pruned = _pruned_rows(world.database, oldest)
    return (yield from _stage(world.nodes, world.height, writes, height, oldest, pruned))


def publish_world(world: World, change: WorldChange) -> None:
    """Make a written change the state that is read; views taken before stay as they were."""
    world.nodes.admit(change.tree)
    world.values.advance(change.height, change.writes)
    world.certified = world.view
    world.view = WorldView(change.height, world.database.snapshot(), world.values)
    world.oldest_provable = change.oldest_provable


def state_root(world: World, height: int) -> Digest:
    """Return the root that the stored tree has after `height`.

    Raises `HeightPruned` outside the provable heights and `StateCorrupt` for a damaged tree.
    """
    if not world.oldest_provable <= height <= world.height:
        raise HeightPruned(
            f"the state after block {height} is not provable here: heights"
            f" {world.oldest_provable} to {world.height} are"
        )
    try:
        return Digest(node_hash(world.nodes.get_root(height)))
    except (NodeCorrupt, NodeMissing) as problem:
        raise _damaged(world, height, problem) from problem


def prove_entry(world: World, height: int, root: Digest, key: bytes) -> StateProof:
    """Prove what `key` holds after a provable height whose root is known to be `root`.

    Raises `HeightPruned`, or `StateCorrupt` for a tree that is damaged or has another root.
    """
    _check_root(world, height, root)
    try:
        return prove(world.nodes, height, key)
    except (NodeCorrupt, NodeMissing) as problem:
        raise _damaged(world, height, problem) from problem


def prove_entries(world: World, height: int, root: Digest, keys: Sequence[bytes]) -> StateProofs:
    """Prove what several keys hold after a provable height; raises as `prove_entry` does."""
    _check_root(world, height, root)
    try:
        return prove_many(world.nodes, height, keys)
    except (NodeCorrupt, NodeMissing) as problem:
        raise _damaged(world, height, problem) from problem


def needed_from(world: World, height: int) -> int:
    """Return the first root to keep once `height` is the tip: no pin holds for ever."""
    proof_heights = world.limits.proof_heights
    needed = height - proof_heights + 1
    if world.pinned is not None:
        needed = min(needed, max(world.pinned, height - PINNED_FOR * proof_heights + 1))
    return needed


def oldest_row(height: int) -> tuple[bytes, bytes]:
    """Return the row that says from which height on roots are provable."""
    return OLDEST_KEY, seal_row(OLDEST_KEY, height.to_bytes(8, "big"))


def stale_pages(database: Database, oldest: int) -> Iterator[list[Row]]:
    """Yield, a page at a time, the deletion of nodes that no root from `oldest` on refers to."""
    for page_key, framed in database.scan(STALE, stop=stale_key(oldest + 1, 0)):
        rows: list[Row] = [(node_key(key), None) for key in _unframed(framed)]
        yield [*rows, (page_key, None)]


def _stage(
    nodes: NodeCache,
    root_version: int | None,
    writes: Mapping[bytes, bytes | None],
    height: int,
    oldest: int,
    pruned: Iterable[Row],
) -> Generator[None, None, WorldChange]:
    try:
        tree = yield from update_in_slices(nodes, root_version, writes, height)
    except (NodeCorrupt, NodeMissing) as problem:
        raise StateCorrupt(f"the state tree is damaged at height {height}: {problem}") from problem
    rows: list[Row] = [(state_key(key), value) for key, value in writes.items()]
    rows += [(node_key(key), encoded) for key, encoded in tree.new_nodes]
    yield
    rows += _stale_rows(tree)
    rows += pruned
    rows.append(oldest_row(oldest))
    return WorldChange(
        height=height, oldest_provable=oldest, writes=writes, rows=tuple(rows), tree=tree
    )


def _stale_rows(tree: TreeUpdate) -> Iterator[Row]:
    for page, first in enumerate(range(0, len(tree.stale_nodes), STALE_PAGE_NODES)):
        keys = tree.stale_nodes[first : first + STALE_PAGE_NODES]
        framed = b"".join(bytes((len(key),)) + key for key in keys)
        yield stale_key(tree.version, page), framed


def _pruned_rows(database: Database, oldest: int) -> Iterator[Row]:
    """Yield what one block deletes of the nodes that no root from `oldest` on refers to."""
    for page in islice(stale_pages(database, oldest), PRUNE_PAGES_MAX):
        yield from page


def _unframed(framed: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(framed):
        end = offset + 1 + framed[offset]
        yield framed[offset + 1 : end]
        offset = end


def _has_unchanged_tip(world: World) -> bool:
    """Whether the tip's block left the state as it was, so that one view shows both."""
    if world.height == world.oldest_provable:
        return False
    return state_root(world, world.height - 1) == state_root(world, world.height)


def _read_oldest(database: Database) -> int:
    stored = database.get(OLDEST_KEY)
    try:
        return int.from_bytes(open_row(OLDEST_KEY, stored or b""), "big")
    except RowDamaged as problem:
        raise StateCorrupt(
            f"the database {database.path} is damaged ({problem}): {REBUILD}"
        ) from problem


def _check_root(world: World, height: int, root: Digest) -> None:
    if state_root(world, height) != root:
        raise StateCorrupt(
            f"the state tree in {world.database.path} does not have the root of height {height}:"
            f" {REBUILD}"
        )


def _damaged(world: World, height: int, problem: Exception) -> StateCorrupt:
    return StateCorrupt(
        f"the state tree of height {height} in {world.database.path} is damaged ({problem}):"
        f" {REBUILD}"
    )
