"""The chain on disk: one decided block and everything it did, committed in one synced batch.

A commit is staged (what to write is worked out), written (the batch, which may run in another
thread) and published (memory moves to the new tip). Until then every reader sees the old tip.
Committing a block that is there already is no mistake and changes nothing, so execution may be
repeated after a crash.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.merkle import merkle_root
from crypto.schema import U64, Size, decode, encode
from crypto.validators import Epoch
from crypto.votes import CERTIFICATE_BYTES_MAX, Height
from ledger.blocks import Header, genesis_header_digest, header_digest
from ledger.receipts import Receipt
from ledger.transactions import Transaction
from ledger.transition import BlockResult
from storage.cache import RecentCache
from storage.database import Database
from storage.errors import (
    REBUILD,
    BlockCorrupt,
    ChainConflict,
    DatabaseCorrupt,
    DatabaseExists,
    DatabaseForeign,
    DatabaseMissing,
)
from storage.history import EVERYTHING, History, read_history
from storage.keys import (
    CHAIN_KEY,
    FORMAT_KEY,
    TIP_KEY,
    LogPlace,
    Place,
    encode_place,
    header_key,
    log_key,
    receipt_key,
    sidecar_key,
    transaction_key,
    tx_index_key,
)
from storage.rows import RowDamaged, open_row, seal_row
from storage.slices import run_to_end
from storage.world import (
    Row,
    World,
    WorldChange,
    WorldLimits,
    open_world,
    publish_world,
    stage_genesis,
    stage_world,
)

FORMAT: Final = b"medledger/ledger/1"
HEADERS_KEPT: Final = 4_096
SLICE_ROWS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The last executed block, and the roots after it, which the next header will carry."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256

    height: Height
    digest: Digest
    time_ms: U64
    epoch: Epoch
    state_root: Digest
    receipts_root: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHeader:
    """A header and the certificate that decided it, as the bytes that were hashed and signed."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX + 1_024

    header: Annotated[bytes, Size(1, Header.WIRE_BYTES_MAX)]
    certificate: Annotated[bytes, Size(1, CERTIFICATE_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedBlock:
    """A block with a checked certificate: encoded header, encoded certificate, transactions."""

    header: bytes
    certificate: bytes
    transactions: tuple[Transaction, ...]


@dataclass(slots=True, kw_only=True)
class Chain:
    """An open chain; `tip` and `world` move with each published block, `history` with prunings."""

    database: Database
    chain_id: ChainId
    tip: Tip
    world: World
    history: History = EVERYTHING
    headers: RecentCache[int, Header] = field(
        default_factory=lambda: RecentCache(count_max=HEADERS_KEPT)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One staged block; `rows` are its batch, `tip` what will be the tip."""

    tip: Tip
    rows: tuple[Row, ...]
    world: WorldChange


def has_chain(database: Database) -> bool:
    """Whether the database holds a chain, or is still empty."""
    return database.get(TIP_KEY) is not None


def create_chain(
    database: Database,
    chain_id: ChainId,
    writes: Mapping[bytes, bytes | None],
    *,
    time_ms: int,
    limits: WorldLimits | None = None,
) -> Chain:
    """Commit the genesis state as height 0 into an empty database, and open the chain.

    `time_ms` is the founding document's; block times are above it.
    """
    if has_chain(database):
        raise DatabaseExists(f"the database {database.path} holds a chain already")
    change = run_to_end(stage_genesis(database, writes))
    tip = Tip(
        height=Height(0),
        digest=genesis_header_digest(chain_id),
        time_ms=time_ms,
        epoch=Epoch(0),
        state_root=change.tree.root,
        receipts_root=merkle_root(()),
    )
    meta = [(FORMAT_KEY, FORMAT), (CHAIN_KEY, chain_id), (TIP_KEY, encode(tip))]
    database.write([*((key, seal_row(key, value)) for key, value in meta), *change.rows])
    return open_chain(database, chain_id, limits=limits)


def open_chain(
    database: Database, chain_id: ChainId, *, limits: WorldLimits | None = None
) -> Chain:
    """Open the chain at its last executed block.

    Raises `DatabaseForeign` for another chain or format, `DatabaseCorrupt` or `StateCorrupt`.
    """
    for key, expected, what in (
        (FORMAT_KEY, FORMAT, "another version of the ledger's format"),
        (CHAIN_KEY, chain_id, "another chain"),
    ):
        if _read_meta(database, key) != expected:
            raise DatabaseForeign(
                f"the database {database.path} is of {what}: use the right node directory"
            )
    tip = _read_tip(database)
    world = open_world(database, tip.height, limits or WorldLimits())
    history = read_history(database)
    return Chain(database=database, chain_id=chain_id, tip=tip, world=world, history=history)


def reopen_chain(chain: Chain) -> None:
    """Open the database again after a failed write, at whatever tip really reached the disk."""
    chain.database.reopen()
    chain.tip = _read_tip(chain.database)
    chain.world = open_world(chain.database, chain.tip.height, chain.world.limits)


def has_block(chain: Chain, height: Height, block_digest: Digest) -> bool:
    """Whether this block is committed already.

    Raises `ChainConflict` if another one is, which only a broken consortium can bring about.
    """
    if height > chain.tip.height:
        return False
    header = decode(Header, read_stored_header(chain, height).header)
    if header_digest(header) != block_digest:
        raise ChainConflict(
            f"block {height} was decided twice, as {header_digest(header).hex()[:16]} and as"
            f" {block_digest.hex()[:16]}: more members than the consortium tolerates are faulty"
        )
    return True


def read_stored_header(chain: Chain, height: int) -> StoredHeader:
    """Return the stored bytes of a header at or below the tip; raise `BlockCorrupt`."""
    path, key = chain.database.path, header_key(height)
    try:
        stored = chain.database.get(key)
        if stored is None:
            raise BlockCorrupt(height, path, "its header is missing")
        return decode(StoredHeader, open_row(key, stored))
    except (DatabaseCorrupt, RowDamaged, DecodeError) as problem:
        raise BlockCorrupt(height, path, str(problem)) from problem


def commit_block(chain: Chain, block: DecidedBlock, result: BlockResult) -> Tip:
    """Stage, write and publish one block; return the new tip. See `stage_block`."""
    header = decode(Header, block.header)
    if has_block(chain, header.height, header_digest(header)):
        return chain.tip
    commit = run_to_end(stage_block(chain, block, result))
    write_commit(chain, commit)
    publish_commit(chain, commit)
    return chain.tip


def stage_block(
    chain: Chain, block: DecidedBlock, result: BlockResult
) -> Generator[None, None, Commit]:
    """Work out the batch of the next block, pausing so that an event loop can breathe.

    The caller asked `has_block` before. Raises `StateCorrupt` for a damaged state tree.
    """
    header = decode(Header, block.header)
    assert header.height == chain.tip.height + 1, "blocks are committed one after the other"
    assert header.parent == chain.tip.digest, "a decided block continues the chain"
    assert len(block.transactions) == len(result.receipts) == header.tx_count, "one receipt each"
    world = yield from stage_world(chain.world, header.height, result.writes)
    rows = list(world.rows)
    for index, row in enumerate(block_rows(header.height, block)):
        rows.append(row)
        if index % SLICE_ROWS == 0:
            yield
    leaves: list[bytes] = []
    for index, receipt in enumerate(result.receipts):
        encoded = encode(receipt)
        leaves.append(digest(Domain.RECEIPT, chain.chain_id, encoded))
        rows += receipt_rows(Place(header.height, index), receipt, encoded)
        if index % SLICE_ROWS == 0:
            yield
    for place in result.sidecars:
        rows.append((sidecar_key(place.digest, header.height), place.key))
    tip = Tip(
        height=header.height,
        digest=header_digest(header),
        time_ms=header.time_ms,
        epoch=header.epoch,
        state_root=world.tree.root,
        receipts_root=merkle_root(tuple(leaves)),
    )
    rows.append((TIP_KEY, seal_row(TIP_KEY, encode(tip))))
    return Commit(tip=tip, rows=tuple(rows), world=world)


def write_commit(chain: Chain, commit: Commit) -> None:
    """Write a staged block: all of it or nothing, durable on return; may run in another thread.

    Raises `DiskFull`; after an error `reopen_chain` tells what really is on the disk.
    """
    chain.database.write(commit.rows, sync=True)


def publish_commit(chain: Chain, commit: Commit) -> None:
    """Let readers see a written block; on the thread that stages and proves."""
    publish_world(chain.world, commit.world)
    chain.tip = commit.tip


def block_rows(height: Height, block: DecidedBlock) -> Iterator[Row]:
    """Yield the rows that hold a block and find its transactions by their ids."""
    key = header_key(height)
    stored = StoredHeader(header=block.header, certificate=block.certificate)
    yield key, seal_row(key, encode(stored))
    for index, transaction in enumerate(block.transactions):
        place = Place(height, index)
        key = transaction_key(height, index)
        until = transaction.body.valid_until_ms.to_bytes(8, "big")
        yield key, seal_row(key, transaction.tx_id + until + transaction.signed)
        yield tx_index_key(transaction.tx_id), encode_place(place)


def receipt_rows(place: Place, receipt: Receipt, encoded: bytes) -> list[Row]:
    """Return the rows that hold one receipt and list its events in the logs of their subjects."""
    key = receipt_key(place.height, place.index)
    rows: list[Row] = [(key, seal_row(key, encoded))]
    for number, event in enumerate(receipt.events):
        if event.subject is not None:
            log_place = LogPlace(place.height, place.index, number)
            rows.append((log_key(event.subject, log_place), b""))
    return rows


def _read_tip(database: Database) -> Tip:
    try:
        return decode(Tip, _read_meta(database, TIP_KEY))
    except DecodeError as problem:
        raise DatabaseCorrupt(
            f"the tip in the database {database.path} is damaged ({problem}): {REBUILD}"
        ) from problem


def _read_meta(database: Database, key: bytes) -> bytes:
    stored = database.get(key)
    if stored is None:
        raise DatabaseMissing(
            f"the database {database.path} holds no chain: let the node begin it from genesis"
        )
    try:
        return open_row(key, stored)
    except RowDamaged as problem:
        raise DatabaseCorrupt(
            f"the database {database.path} is damaged ({problem}): {REBUILD}"
        ) from problem
