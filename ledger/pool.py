"""Transactions that wait for a block: bounded, fair between lanes, oldest first inside one.

Three lanes (emergency, governance, the rest) have reserved shares of the pool and of every block,
so no flood in one lane keeps another one out. In a block a share that its lane does not use is
there for the others: no block goes out half empty while something waits. Inside a lane the oldest
goes first; one account gets at most so many per block and holds at most so many places of a lane.
What comes well before its window has few places of its own: a pool is full of work, not of waiting.
There is one entry per tx id, whatever number of signatures its sender makes. Time is passed in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.hashing import Digest
from ledger.contract import Lane
from ledger.contracts import KINDS
from ledger.crowding import Crowding, count_places
from ledger.errors import AccountFull, AlreadyPooled, PoolFull
from ledger.transactions import Transaction

SHARES_PERCENT: Final = {Lane.EMERGENCY: 20, Lane.GOVERNANCE: 10, Lane.REST: 40}
"""Reserved part of the pool and of a block, by lane; the order is that of filling up.

What is left (30) belongs to whoever comes first into the pool, and to the first lane in a block.
"""

BUCKET_MS: Final = 1_000

EARLY_MS: Final = 1_000
"""What is valid only after so long is early; a client's clock may be a little ahead."""

EARLY_ACCOUNT_PARTS: Final = 4
EARLY_POOL_PARTS: Final = 8
"""Early ones have a quarter of an account's places beside those, and an eighth of the pool's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """What the pool may hold: transactions and bytes (sidecars count), and per account and lane."""

    transactions_max: int
    bytes_max: int
    account_transactions_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimits:
    """What one block may take: transactions and bytes (sidecars count) in all, and per account."""

    transactions_max: int
    bytes_max: int
    account_transactions_max: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A waiting transaction with its sidecar contents; `is_early` if it came before its window."""

    transaction: Transaction
    sidecars: tuple[bytes, ...]
    size_bytes: int
    lane: Lane
    added_ms: int
    is_early: bool


@dataclass(slots=True)
class PoolCounters:
    """What became of everything that was ever offered."""

    added: int = 0
    duplicates: int = 0
    refused_full: int = 0
    refused_account: int = 0
    removed: int = 0
    expired: int = 0


class Pool:
    """The waiting transactions of one node.

    At `decided_ms` a block last took some of them, and `reached_ms` is when the latest of all that
    blocks took had come.
    """

    def __init__(self, limits: PoolLimits) -> None:
        self.limits = limits
        self.counters = PoolCounters()
        self.bytes_used = 0
        self.decided_ms = 0
        self.reached_ms = 0
        self._entries: dict[Digest, Entry] = {}
        self._by_signed_hash: dict[Digest, Entry] = {}
        self._lanes: dict[Lane, dict[Digest, Entry]] = {lane: {} for lane in SHARES_PERCENT}
        self._lane_bytes: dict[Lane, int] = dict.fromkeys(SHARES_PERCENT, 0)
        self._shares = tuple(
            (lane, limits.transactions_max * percent // 100, limits.bytes_max * percent // 100)
            for lane, percent in SHARES_PERCENT.items()
        )
        self._accounts: dict[tuple[Lane, bytes], int] = {}
        self._early: dict[Digest, Entry] = {}
        self._early_accounts: dict[bytes, int] = {}
        self.crowding = Crowding()
        self._expiries: dict[int, dict[Digest, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, transaction: Transaction, sidecars: Sequence[bytes], now_ms: int) -> Entry:
        """Take a checked transaction; raise a `PoolError` that says why not."""
        if transaction.tx_id in self._entries:
            self.counters.duplicates += 1
            raise AlreadyPooled(f"transaction {transaction.tx_id.hex()} is waiting already")
        entry = Entry(
            transaction=transaction,
            sidecars=tuple(sidecars),
            size_bytes=transaction.size_bytes + sum(len(one) for one in sidecars),
            lane=KINDS[transaction.body.kind].lane,
            added_ms=now_ms,
            is_early=transaction.body.valid_from_ms > now_ms + EARLY_MS,
        )
        self._check_room(entry)
        self._insert(entry)
        return entry

    def get(self, signed_hash: Digest) -> Entry | None:
        """Return the entry whose signed transaction has this hash."""
        return self._by_signed_hash.get(signed_hash)

    def find(self, tx_id: Digest) -> Entry | None:
        """Return the entry of this transaction, whatever its signature."""
        return self._entries.get(tx_id)

    def remove(self, tx_ids: Iterable[Digest], *, decided_ms: int | None = None) -> None:
        """Forget transactions that can no longer be decided, or that a block took at `decided_ms`.

        How far blocks have come is remembered.
        """
        for tx_id in tx_ids:
            entry = self._entries.get(tx_id)
            if entry is None:
                continue
            self._delete(entry)
            self.counters.removed += 1
            if decided_ms is not None:
                self.decided_ms = decided_ms
                self.reached_ms = max(self.reached_ms, entry.added_ms)

    def expire(self, now_ms: int) -> tuple[Entry, ...]:
        """Forget and return every transaction whose window has ended at `now_ms`."""
        gone: list[Entry] = []
        for bucket in sorted(one for one in self._expiries if one <= now_ms // BUCKET_MS):
            for tx_id in tuple(self._expiries[bucket]):
                entry = self._entries[tx_id]
                if entry.transaction.body.valid_until_ms <= now_ms:
                    self._delete(entry)
                    gone.append(entry)
        self.counters.expired += len(gone)
        return tuple(gone)

    def take(self, limits: BlockLimits, *, time_ms: int) -> tuple[Entry, ...]:
        """Return what a block at `time_ms` should hold; everything stays until it is removed.

        First every lane fills its own share, then what is left goes to the lanes in their order.
        """
        draft = _Draft(limits, time_ms)
        for lane, percent in SHARES_PERCENT.items():
            draft.fill(
                self._lanes[lane].values(),
                count_max=len(draft.taken) + limits.transactions_max * percent // 100,
                bytes_max=draft.bytes_used + limits.bytes_max * percent // 100,
            )
        for lane in SHARES_PERCENT:
            draft.fill(
                self._lanes[lane].values(),
                count_max=limits.transactions_max,
                bytes_max=limits.bytes_max,
            )
        return draft.in_order()

    def has_admissible(self, time_ms: int) -> bool:
        """Whether a block at `time_ms` would find something to take."""
        return any(is_admissible(entry.transaction, time_ms) for entry in self._entries.values())

    def entries(self, lane: Lane | None = None) -> Iterable[Entry]:
        """Return whatever waits, or waits in a lane, oldest first."""
        return (self._entries if lane is None else self._lanes[lane]).values()

    def early(self) -> Iterable[Entry]:
        """Return what came before its window, if that has begun or not, oldest first."""
        return self._early.values()

    def room(self, lane: Lane) -> tuple[int, int]:
        """Return for how many transactions and bytes a lane has room beside others' reserves."""
        count = self.limits.transactions_max - len(self._entries)
        size_bytes = self.limits.bytes_max - self.bytes_used
        for other, count_share, bytes_share in self._shares:
            if other is lane:
                continue
            if (count_left := count_share - len(self._lanes[other])) > 0:
                count -= count_left
            if (bytes_left := bytes_share - self._lane_bytes[other]) > 0:
                size_bytes -= bytes_left
        return count, size_bytes

    def lane_counts(self) -> dict[Lane, int]:
        return {lane: len(entries) for lane, entries in self._lanes.items()}

    def _check_room(self, entry: Entry) -> None:
        """Raise unless the entry fits beside what stays reserved for the other lanes."""
        sender, places = entry.transaction.body.sender, self.limits.account_transactions_max
        held, kind = self._accounts.get((entry.lane, sender), 0), "transactions"
        if entry.is_early:
            places = max(1, places // EARLY_ACCOUNT_PARTS)
            held, kind = self._early_accounts.get(sender, 0), "transactions that are not valid yet"
        if held >= places:
            self.counters.refused_account += 1
            raise AccountFull(
                f"account {sender.hex()[:16]} has {places} {kind} waiting; wait for their receipts"
            )
        early_max = max(1, self.limits.transactions_max // EARLY_POOL_PARTS)
        if entry.is_early and len(self._early) >= early_max:
            self.counters.refused_full += 1
            raise PoolFull(
                f"{early_max} transactions wait for their time; send it when it is valid"
            )
        count, size_bytes = self.room(entry.lane)
        if count < 1 or size_bytes < entry.size_bytes:
            self.counters.refused_full += 1
            raise PoolFull(f"{len(self._entries)} transactions wait already; try again later")

    def _insert(self, entry: Entry) -> None:
        transaction = entry.transaction
        tx_id = transaction.tx_id
        self._entries[tx_id] = entry
        self._by_signed_hash[transaction.signed_hash] = entry
        if entry.is_early:
            self._early[tx_id] = entry
        self._lanes[entry.lane][tx_id] = entry
        self._lane_bytes[entry.lane] += entry.size_bytes
        self.bytes_used += entry.size_bytes
        self._count(entry, +1)
        self._expiries.setdefault(_bucket(transaction), {})[tx_id] = None
        self.counters.added += 1

    def _delete(self, entry: Entry) -> None:
        transaction = entry.transaction
        tx_id = transaction.tx_id
        del self._entries[tx_id]
        del self._by_signed_hash[transaction.signed_hash]
        self._early.pop(tx_id, None)
        del self._lanes[entry.lane][tx_id]
        self._lane_bytes[entry.lane] -= entry.size_bytes
        self.bytes_used -= entry.size_bytes
        self._count(entry, -1)
        bucket = self._expiries[_bucket(transaction)]
        del bucket[tx_id]
        if not bucket:
            del self._expiries[_bucket(transaction)]

    def _count(self, entry: Entry, change: int) -> None:
        sender = entry.transaction.body.sender
        if entry.is_early:
            count = self._early_accounts[sender] = self._early_accounts.get(sender, 0) + change
            if count == 0:
                del self._early_accounts[sender]
            return
        place = entry.lane, sender
        count = self._accounts[place] = self._accounts.get(place, 0) + change
        if count == 0:
            del self._accounts[place]
        count_places(self.crowding, place, count, count_max=self.limits.account_transactions_max)


def is_admissible(transaction: Transaction, time_ms: int) -> bool:
    """Whether the transaction is valid in a block at `time_ms`."""
    return transaction.body.valid_from_ms <= time_ms < transaction.body.valid_until_ms


class _Draft:
    """A block in the making."""

    def __init__(self, limits: BlockLimits, time_ms: int) -> None:
        self.limits = limits
        self.time_ms = time_ms
        self.taken: dict[Digest, Entry] = {}
        self.bytes_used = 0
        self._by_sender: dict[bytes, int] = {}

    def fill(self, entries: Iterable[Entry], *, count_max: int, bytes_max: int) -> None:
        """Take from `entries` in order until the draft holds `count_max` or `bytes_max`."""
        for entry in entries:
            if len(self.taken) >= min(count_max, self.limits.transactions_max):
                return
            transaction = entry.transaction
            sender = transaction.body.sender
            if (
                transaction.tx_id in self.taken
                or not is_admissible(transaction, self.time_ms)
                or self._by_sender.get(sender, 0) >= self.limits.account_transactions_max
            ):
                continue
            if self.bytes_used + entry.size_bytes > min(bytes_max, self.limits.bytes_max):
                return
            self.taken[transaction.tx_id] = entry
            self.bytes_used += entry.size_bytes
            self._by_sender[sender] = self._by_sender.get(sender, 0) + 1

    def in_order(self) -> tuple[Entry, ...]:
        """Return what was taken lane by lane, oldest first inside each."""
        by_lane: dict[Lane, list[Entry]] = {lane: [] for lane in SHARES_PERCENT}
        for entry in self.taken.values():
            by_lane[entry.lane].append(entry)
        return tuple([entry for entries in by_lane.values() for entry in entries])


def _bucket(transaction: Transaction) -> int:
    return transaction.body.valid_until_ms // BUCKET_MS
