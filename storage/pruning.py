"""Pruning: what old blocks hold leaves the disk, what proves them stays.

Below the horizon transactions, receipts and log entries go. Headers with their certificates stay,
so receipts that were handed out before still verify, and the place of every transaction id stays,
so that a node never says that it does not know what it has decided. No transaction can come back by
it: replay is prevented by windows of validity, whose blocks are never pruned.

What is kept is moved first, in a batch of its own; then rows are deleted, a block at a time. A
crash in between leaves rows that nothing reads any more, and the next pruning begins with them.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from crypto.errors import DecodeError
from crypto.schema import decode
from crypto.votes import Height
from ledger.receipts import Receipt
from ledger.replay import needed_from_ms
from storage.blocks import first_height_above, get_header
from storage.chain import Chain
from storage.database import end_of
from storage.history import history_row
from storage.keys import (
    LOG,
    NODES,
    RECEIPTS,
    SIDECARS,
    STALE,
    TRANSACTIONS,
    LogPlace,
    height_of,
    index_of,
    log_key,
    receipt_key,
    receipts_prefix,
    sidecar_height_of,
    state_key,
    transaction_key,
    transactions_prefix,
)
from storage.rows import RowDamaged, open_row
from storage.world import Row, needed_from, oldest_row, stale_pages

BLOCKS_KEPT_MIN: Final = 64
"""As many blocks as a start checks, and far more than a fence waits for."""

DAY_MS: Final = 24 * 3600 * 1000
SLICE_ROWS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What an operator wants to keep: a block goes when both allow it; 0 keeps everything."""

    blocks: int
    days: int

    @property
    def is_everything(self) -> bool:
        return self.blocks == 0 and self.days == 0


@dataclass(slots=True, kw_only=True)
class Pruned:
    """Rows that a pruning deletes, or would: counted by what they are, and their bytes."""

    horizon: Height
    blocks: int = 0
    transactions: int = 0
    receipts: int = 0
    log_entries: int = 0
    sidecar_places: int = 0
    tree_nodes: int = 0
    bytes_count: int = 0


def prune_floor(chain: Chain) -> Height:
    """Return the lowest height that no pruning may touch.

    The replay window needs the blocks whose transactions have not expired; a node that takes a
    snapshot of any provable height needs those of that height; a start checks the last blocks.
    """
    tip, provable = chain.tip.height, _provable_from(chain)
    if provable == 0 or tip <= BLOCKS_KEPT_MIN:
        return Height(chain.history.whole_from)
    oldest = get_header(chain, provable)
    assert oldest is not None, "provable heights have headers"
    window = first_height_above(chain, needed_from_ms(oldest.time_ms))
    return Height(max(chain.history.whole_from, min(window, tip - BLOCKS_KEPT_MIN + 1)))


def prune_horizon(chain: Chain, keep: Keep) -> Height:
    """Return the height below which blocks may go: what the operator wants, and never too much."""
    horizon = prune_floor(chain)
    if keep.is_everything:
        return Height(chain.history.whole_from)
    if keep.blocks:
        horizon = Height(min(horizon, chain.tip.height - keep.blocks + 1))
    if keep.days:
        above_ms = chain.tip.time_ms - keep.days * DAY_MS
        horizon = Height(min(horizon, first_height_above(chain, above_ms)))
    return Height(max(chain.history.whole_from, horizon))


def plan_prune(chain: Chain, horizon: Height) -> Generator[Pruned, None, Pruned]:
    """Count what pruning to `horizon` would delete, changing nothing; yields as it goes on."""
    return (yield from _prune(chain, horizon, lambda _rows: None))


def prune(chain: Chain, horizon: Height) -> Generator[Pruned, None, Pruned]:
    """Delete what stands below `horizon`, in slices; yields after each what was done so far.

    Between two slices blocks may be committed. The disk gets X.
    Raises what a write raises; going on later is no mistake.
    """
    assert horizon >= chain.history.whole_from, "what is gone does not come back"
    chain.history = replace(chain.history, whole_from=horizon)
    chain.world.oldest_provable = _provable_from(chain)
    rows = [history_row(chain.history), oldest_row(chain.world.oldest_provable)]
    chain.database.write(rows)
    return (yield from _prune(chain, horizon, lambda rows: chain.database.write(rows, sync=False)))


def pruned_ranges(chain: Chain) -> list[tuple[bytes, bytes | None]]:
    """Return the ranges of keys whose compaction gives the room of deleted rows back to the disk.

    Rows that a view taken before still shows keep their room: compact when the views have moved on.
    """
    horizon = chain.history.whole_from
    return [
        (TRANSACTIONS, transactions_prefix(horizon)),
        (RECEIPTS, receipts_prefix(horizon)),
        *((prefix, end_of(prefix)) for prefix in (LOG, SIDECARS, NODES, STALE)),
    ]


def _provable_from(chain: Chain) -> int:
    """Return the oldest height whose root needs a proof, as settings and pins are now."""
    return max(chain.world.oldest_provable, needed_from(chain.world, chain.tip.height))


def _prune(
    chain: Chain, horizon: Height, write: Callable[[list[Row]], None]
) -> Generator[Pruned, None, Pruned]:
    counted = Pruned(horizon=horizon)
    for rows in _slices(chain, horizon, counted):
        counted.bytes_count += sum(_row_bytes(chain, key) for key, _ in rows)
        write(rows)
        yield counted
    return counted


def _slices(chain: Chain, horizon: Height, counted: Pruned) -> Iterator[list[Row]]:
    for height in _heights_below(chain, horizon):
        rows = list(_block_deletions(chain, height, counted))
        counted.blocks += 1
        yield rows
    yield from _dead_sidecar_places(chain, horizon, counted)
    for page in stale_pages(chain.database, _provable_from(chain)):
        counted.tree_nodes += len(page) - 1
        yield page


def _heights_below(chain: Chain, horizon: Height) -> Iterator[int]:
    """Yield the heights below the horizon that still have transactions or receipts."""
    height = 0
    while True:
        found = [
            height_of(key)
            for prefix, first in (
                (TRANSACTIONS, transactions_prefix(height)),
                (RECEIPTS, receipts_prefix(height)),
            )
            for key, _ in islice(chain.database.scan(prefix, start=first), 1)
        ]
        if not found or min(found) >= horizon:
            return
        yield min(found)
        height = min(found) + 1


def _block_deletions(chain: Chain, height: int, counted: Pruned) -> Iterator[Row]:
    for key, _ in chain.database.scan(transactions_prefix(height)):
        counted.transactions += 1
        yield transaction_key(height, index_of(key)), None
    for key, stored in chain.database.scan(receipts_prefix(height)):
        counted.receipts += 1
        yield receipt_key(height, index_of(key)), None
        for log_row in _log_keys(height, index_of(key), key, stored):
            counted.log_entries += 1
            yield log_row, None


def _log_keys(height: int, index: int, key: bytes, stored: bytes) -> Iterator[bytes]:
    """Yield where a receipt's events are listed; a damaged one leaves its entries, never read."""
    try:
        receipt = decode(Receipt, open_row(key, stored))
    except (RowDamaged, DecodeError):
        return
    for number, event in enumerate(receipt.events):
        if event.subject is not None:
            yield log_key(event.subject, LogPlace(height, index, number))


def _dead_sidecar_places(chain: Chain, horizon: Height, counted: Pruned) -> Iterator[list[Row]]:
    """Yield the deletion of places below the horizon whose entry names the sidecar no more."""
    rows: list[Row] = []
    for key, place in chain.database.scan(SIDECARS):
        digest, height = key[1:33], sidecar_height_of(key)
        if height >= horizon:
            continue
        entry = chain.database.get(state_key(place))
        if entry is None or entry.find(digest) < 0:
            counted.sidecar_places += 1
            rows.append((key, None))
        if len(rows) >= SLICE_ROWS:
            yield rows
            rows = []
    yield rows


def _row_bytes(chain: Chain, key: bytes) -> int:
    stored = chain.database.get(key)
    return 0 if stored is None else len(key) + len(stored)
