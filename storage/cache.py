"""Bounded memories in front of the database; safe to use from several threads."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")
Kept = TypeVar("Kept")

ENTRY_OVERHEAD_BYTES: Final = 256
"""What one remembered value costs in Python beside its bytes."""


@dataclass(frozen=True, slots=True)
class Known:
    """A remembered answer: the value (None: absent) that a key has had since `height`."""

    height: int
    value: bytes | None


@dataclass(slots=True, kw_only=True)
class ValueCache:
    """State values at the tip, each with the height since which it is known to hold.

    A view of an earlier state may use what has not changed since, so old views stay right while
    a new block is published. Holds about `bytes_max` bytes; the longest unused goes first.
    """

    height: int
    bytes_max: int
    hits: int = 0
    misses: int = 0
    _entries: OrderedDict[bytes, Known] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: bytes, height: int) -> Known | None:
        """Return what `key` holds in the state after `height`, if that is known."""
        with self._lock:
            known = self._entries.get(key)
            if known is None or known.height > height:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return known

    def learn(self, key: bytes, value: bytes | None, height: int) -> None:
        """Remember what was read from the state after `height`, unless the tip moved on."""
        with self._lock:
            if height == self.height:
                self._put(key, Known(height, value))

    def advance(self, height: int, writes: Mapping[bytes, bytes | None]) -> None:
        """Move the tip to `height`, which changed `writes`."""
        with self._lock:
            self.height = height
            for key, value in writes.items():
                self._put(key, Known(height, value))

    def _put(self, key: bytes, known: Known) -> None:
        before = self._entries.pop(key, None)
        if before is not None:
            self._bytes -= _cost(key, before)
        self._entries[key] = known
        self._bytes += _cost(key, known)
        while self._bytes > self.bytes_max:
            oldest, dropped = self._entries.popitem(last=False)
            self._bytes -= _cost(oldest, dropped)


@dataclass(slots=True, kw_only=True)
class RecentCache(Generic[Key, Kept]):
    """The `count_max` most recently used items."""

    count_max: int
    _items: OrderedDict[Key, Kept] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Key) -> Kept | None:
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self._items.move_to_end(key)
            return item

    def put(self, key: Key, item: Kept) -> None:
        with self._lock:
            self._items[key] = item
            self._items.move_to_end(key)
            if len(self._items) > self.count_max:
                self._items.popitem(last=False)

    def drop(self, key: Key) -> None:
        with self._lock:
            self._items.pop(key, None)


def _cost(key: bytes, known: Known) -> int:
    return len(key) + len(known.value or b"") + ENTRY_OVERHEAD_BYTES
