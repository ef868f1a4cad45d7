"""A ledger that arrives as a snapshot: put together beside the old one, then taken in its place.

The state comes in chunks, each checked by the caller against the root of one height, in any order
within a few ranges of key hashes; what each range has got so far is written in the batch of the
chunk, so whatever ends the process, the next one goes on there. Blocks of the replay window follow.
At the end the root of the whole tree is compared once more, everything is made durable, and the
directory gets another name in one step.

    ledger.arriving   under way
    ledger.arrived    whole; takes the place of `ledger` at the next start
    ledger.former     what it replaced, until it is removed
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final

from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest
from crypto.schema import U64, Count, Size, decode, encode
from crypto.votes import Height
from ledger.named_sidecars import named_sidecars
from ledger.receipts import Receipt
from ledger.tree.cache import NodeCache
from ledger.tree.chunks import StateChunk
from ledger.tree.inner import node_hash
from ledger.tree.update import update
from storage.chain import (
    FORMAT,
    DecidedBlock,
    StoredHeader,
    Tip,
    block_rows,
    receipt_rows,
)
from storage.database import Database, create_database, open_database
from storage.errors import ArrivalBroken, StorageError
from storage.files import SYSTEM_FILES
from storage.history import History, history_row
from storage.keys import (
    ARRIVAL_KEY,
    CHAIN_KEY,
    FORMAT_KEY,
    TIP_KEY,
    Place,
    before_key,
    header_key,
    node_key,
    sidecar_key,
    state_key,
)
from storage.layout import NodeLayout
from storage.rows import RowDamaged, open_row, seal_row
from storage.world import Row, StoredNodes, oldest_row

RANGES: Final = 16
"""Ranges of key hashes, by their first four bits, that are fetched side by side."""

NODES_MAX: Final = 20_000
"""Tree nodes in memory, about 40 MB: leaves come in order, so few are needed twice."""

RANGE_DONE: Final = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """What is being put together: the state after block `height`, whose root is `state_root`.

    `head` is the digest of the header above it, which carries the root. `nexts` say for each range
    where its next chunk begins, empty when it is whole.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    height: U64
    head: Digest
    state_root: Digest
    nexts: Annotated[tuple[Annotated[bytes, Size(0, 32)], ...], Count(RANGES, RANGES)]


@dataclass(slots=True, kw_only=True)
class Arrival:
    """An open one; `leaves` counts what this process has put into it."""

    database: Database
    nodes: NodeCache
    arriving: Arriving
    has_root: bool
    leaves: int = 0
    heights: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastBlock:
    """A whole block of the replay window, with its receipts as the bytes their root is made of."""

    block: DecidedBlock
    receipts: Sequence[bytes]


def first_ranges() -> tuple[bytes, ...]:
    """Return where each range of key hashes begins."""
    return tuple(bytes((number << 4,)) + bytes(31) for number in range(RANGES))


def range_end(number: int) -> bytes | None:
    """Return the first key hash behind a range, None behind the last."""
    return None if number == RANGES - 1 else first_ranges()[number + 1]


def interrupted_arrival(layout: NodeLayout) -> Arriving | None:
    """Return what an earlier process was putting together; None if nothing usable is there."""
    if not layout.arriving.is_dir():
        return None
    try:
        with open_database(layout.arriving) as database:
            return _read_arriving(database)
    except StorageError:
        return None


def open_arrival(layout: NodeLayout, wanted: Arriving) -> Arrival:
    """Go on with what is there if it is the one that is wanted, else begin anew.

    Raises `DiskFull` or `DiskFailed`.
    """
    known = interrupted_arrival(layout)
    if known is None or (known.height, known.head) != (wanted.height, wanted.head):
        drop_arrival(layout)
        SYSTEM_FILES.make_directory(layout.arriving)
        layout.arriving.chmod(0o700)
        database = create_database(layout.arriving)
        database.write([_arriving_row(wanted)])
        known = wanted
    else:
        database = open_database(layout.arriving)
    nodes = NodeCache(StoredNodes(database), nodes_max=NODES_MAX)
    has_root = known.nexts != first_ranges()
    return Arrival(database=database, nodes=nodes, arriving=known, has_root=has_root)


def drop_arrival(layout: NodeLayout) -> None:
    """Remove what is under way."""
    shutil.rmtree(layout.arriving, ignore_errors=True)


def put_chunk(arrival: Arrival, number: int, chunk: StateChunk, next_start: Digest | None) -> None:
    """Take the next chunk of a range; it was checked, and the chunk behind begins at `next_start`.

    Raises `DiskFull` or `DiskFailed`; what was taken before stays.
    """
    version = arrival.arriving.height
    end = range_end(number)
    is_done = next_start is None or (end is not None and next_start >= end)
    changes: dict[bytes, bytes | None] = {one.state_key: one.value for one in chunk.leaves}
    rows: list[Row] = [(state_key(key), value) for key, value in changes.items()]
    for key, value in changes.items():
        assert value is not None, "a leaf has a value"
        rows += [(sidecar_key(one, version), key) for one in named_sidecars(key, value)]
    tree = update(arrival.nodes, version if arrival.has_root else None, changes, version)
    rows += [(node_key(key), None) for key in tree.stale_nodes]
    rows += [(node_key(key), encoded) for key, encoded in tree.new_nodes]
    nexts = list(arrival.arriving.nexts)
    nexts[number] = RANGE_DONE if is_done or next_start is None else next_start
    arriving = replace(arrival.arriving, nexts=tuple(nexts))
    arrival.database.write([*rows, _arriving_row(arriving)], sync=False)
    arrival.nodes.admit(tree)
    arrival.arriving, arrival.has_root = arriving, True
    arrival.leaves += len(changes)


def has_past_block(arrival: Arrival, height: int) -> bool:
    """Whether a block of the replay window is here already, whole."""
    return arrival.database.get(header_key(height)) is not None


def put_past_block(arrival: Arrival, height: Height, past: PastBlock) -> None:
    """Take a whole block of the replay window, which the caller has checked, with its receipts."""
    rows: list[Row] = list(block_rows(height, past.block))
    for index, encoded in enumerate(past.receipts):
        rows += receipt_rows(Place(height, index), decode(Receipt, encoded), encoded)
    arrival.database.write(rows, sync=False)


def put_header(arrival: Arrival, height: Height, stored: StoredHeader) -> None:
    """Take a header alone: the last of an epoch, or the one before the replay window."""
    key = header_key(height)
    arrival.database.write([(key, seal_row(key, encode(stored)))], sync=False)


def finish_arrival(
    arrival: Arrival,
    layout: NodeLayout,
    chain_id: ChainId,
    tip: Tip,
    history: History,
    before: Mapping[tuple[int, bytes], bytes],
) -> None:
    """Make a whole arrival durable and let the next start take it.

    `before` are entries of the states of the two heights before the tip, which a start looks up.
    Raises `ArrivalBroken` if the tree does not have the root after all, which no source can cause.
    """
    assert all(one == RANGE_DONE for one in arrival.arriving.nexts), "every range is whole"
    root = node_hash(arrival.nodes.get_root(arrival.arriving.height))
    if root != arrival.arriving.state_root or tip.state_root != root:
        close_arrival(arrival)
        drop_arrival(layout)
        raise ArrivalBroken(f"the snapshot of block {tip.height} came to another root; begin anew")
    meta = ((FORMAT_KEY, FORMAT), (CHAIN_KEY, chain_id), (TIP_KEY, encode(tip)))
    rows: list[Row] = [(key, seal_row(key, value)) for key, value in meta]
    rows += [oldest_row(tip.height), history_row(history), (ARRIVAL_KEY, None)]
    for (height, key), value in before.items():
        row_key = before_key(height, key)
        rows.append((row_key, seal_row(row_key, value)))
    arrival.database.write(rows, sync=True)
    close_arrival(arrival)
    SYSTEM_FILES.rename(layout.arriving, layout.arrived)
    SYSTEM_FILES.sync_directory(layout.root)


def close_arrival(arrival: Arrival) -> None:
    arrival.database.close()


def adopt_arrival(layout: NodeLayout) -> bool:
    """Let a whole arrival take the ledger's place; return whether there was one.

    Whatever ends the process in between, the next start does the rest.
    """
    if layout.arrived.is_dir():
        if any(layout.ledger.iterdir()):
            shutil.rmtree(layout.former, ignore_errors=True)
            SYSTEM_FILES.rename(layout.ledger, layout.former)
        SYSTEM_FILES.rename(layout.arrived, layout.ledger)
        SYSTEM_FILES.sync_directory(layout.root)
        adopted = True
    else:
        adopted = False
    shutil.rmtree(layout.former, ignore_errors=True)
    return adopted


def _arriving_row(arriving: Arriving) -> tuple[bytes, bytes]:
    return ARRIVAL_KEY, seal_row(ARRIVAL_KEY, encode(arriving))


def _read_arriving(database: Database) -> Arriving | None:
    stored = database.get(ARRIVAL_KEY)
    if stored is None:
        return None
    try:
        return decode(Arriving, open_row(ARRIVAL_KEY, stored))
    except (RowDamaged, DecodeError):
        return None
