"""Which transactions were decided already: the replay window, and what may be said about one.

An id stays in the window until a decided block's time reaches its `valid_until_ms`; from then on
the window of validity keeps it out. The window is a pure function of the decided blocks, so it
is rebuilt from them at start and a joiner fetches exactly the blocks that `needed_from_ms` names.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from crypto.hashing import Digest
from ledger.parameters import TX_WINDOW_MS_LIMIT
from ledger.receipts import Receipt

BUCKET_MS: Final = 1_000
"""Ids are forgotten by whole buckets of expiry times."""


class Status(Enum):
    """What a node can prove about a transaction."""

    UNKNOWN = "UNKNOWN"
    PENDING = "PENDING"
    COMMITTED = "COMMITTED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    PRUNED = "PRUNED"  # decided, and what became of it is not kept here any more


class ReplayWindow:
    """Ids of decided transactions that a later block could still repeat.

    `time_ms` is the last added block's time; every decided block with a time above
    `covered_from_ms` has been added.
    """

    __slots__ = ("_buckets", "_first_bucket", "covered_from_ms", "height", "time_ms")

    def __init__(self, *, height: int, time_ms: int, covered_from_ms: int | None = None) -> None:
        """Start after block `height`; without `covered_from_ms`, its time (or 0 at genesis)."""
        self.height = height
        self.time_ms = time_ms
        self.covered_from_ms = 0 if height == 0 else time_ms
        if covered_from_ms is not None:
            self.covered_from_ms = covered_from_ms
        self._buckets: dict[int, set[Digest]] = {}
        self._first_bucket = time_ms // BUCKET_MS

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def add_block(self, height: int, time_ms: int, ids: Iterable[tuple[Digest, int]]) -> None:
        """Add the (tx id, valid_until_ms) pairs of the next decided block; forget what expired."""
        assert height == self.height + 1, "blocks are added one after the other"
        assert time_ms > self.time_ms, "block times rise"
        self.height, self.time_ms = height, time_ms
        for tx_id, valid_until_ms in ids:
            self._buckets.setdefault(valid_until_ms // BUCKET_MS, set()).add(tx_id)
        self.prune()

    def contains(self, tx_id: Digest, valid_until_ms: int) -> bool:
        """Whether a decided block holds the id; exact while the transaction is valid."""
        return tx_id in self._buckets.get(valid_until_ms // BUCKET_MS, ())

    def prune(self) -> None:
        """Forget the buckets that no later block can repeat."""
        now = self.time_ms // BUCKET_MS
        if now - self._first_bucket > len(self._buckets):
            for bucket in [one for one in self._buckets if one < now]:
                del self._buckets[bucket]
        else:
            for bucket in range(self._first_bucket, now):
                self._buckets.pop(bucket, None)
        self._first_bucket = now

    def is_complete(self) -> bool:
        """Whether every id that a later block could repeat is here."""
        return self.covered_from_ms <= needed_from_ms(self.time_ms)


def needed_from_ms(tip_time_ms: int) -> int:
    """Return the time above which every decided block belongs into the window of that tip.

    A transaction in a block at t has `valid_until_ms` of at most t plus the longest window.
    """
    return max(0, tip_time_ms - TX_WINDOW_MS_LIMIT)


def transaction_status(
    *,
    receipt: Receipt | None,
    is_pending: bool,
    window_ms: tuple[int, int] | None,
    tip_time_ms: int,
    indexed_from_ms: int,
) -> Status:
    """Return what may be said about a transaction.

    `window_ms` is its validity window if known; the receipts of every block with a time above
    `indexed_from_ms` are indexed. EXPIRED is definite: some decided block reached the end of the
    window and no block inside it holds the transaction.
    """
    if receipt is not None:
        return Status.COMMITTED if receipt.accepted else Status.REFUSED
    if window_ms is not None:
        valid_from_ms, valid_until_ms = window_ms
        if tip_time_ms >= valid_until_ms and indexed_from_ms < max(valid_from_ms, 1):
            return Status.EXPIRED
    return Status.PENDING if is_pending else Status.UNKNOWN
