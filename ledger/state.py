"""The state as contracts see it: one space of keys and values, read through views.

Keys are `b"<contract>/<table>/<parts>"`, parts of fixed length or length-framed, built in one
place per contract; values are encoded wire types. A view never changes under its reader. `Overlay`
puts a block's writes over a view and takes back one attempted transaction at a time; `MemoryState`
is a whole state in memory, for genesis, simulation, proofs and tests.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Final, Protocol, TypeAlias

Writes: TypeAlias = dict[bytes, bytes | None]
"""New values by key; None deletes."""

SORT_ALL_ABOVE: Final = 64
"""More new keys than this are sorted together; fewer are inserted one by one."""


class StateView(Protocol):
    """A state to read: after some block, in a database or in memory."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield at most `limit` entries under `prefix`, keys >= `start`, in key order."""


class Overlay:
    """Writes over a view, with savepoints: `begin`, then `commit` or `discard`, nested at will.

    Reads see the writes. One dict holds them and an undo list takes an attempt back, so a
    transaction costs what it writes, never a copy of what the block has written so far.
    """

    __slots__ = ("_keys", "_new_keys", "_read", "_savepoints", "_undo", "_view", "writes")

    def __init__(self, view: StateView) -> None:
        self.writes: Writes = {}
        self._view = view
        self._read: dict[bytes, bytes | None] = {}  # What a block reads of the view, once.
        self._undo: list[tuple[bytes, bool, bytes | None]] = []
        self._savepoints: list[int] = []
        self._keys: list[bytes] = []  # Ascending; may hold keys whose write was taken back.
        self._new_keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        if key in self.writes:
            return self.writes[key]
        if key in self._read:
            return self._read[key]
        value = self._read[key] = self._view.get(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        self._write(key, value)

    def delete(self, key: bytes) -> None:
        self._write(key, None)

    def begin(self) -> None:
        """Open a savepoint: what follows may be taken back as one."""
        self._savepoints.append(len(self._undo))

    def commit(self) -> None:
        """Keep the writes since the last savepoint; an outer one may still take them back."""
        self._savepoints.pop()
        if not self._savepoints:
            self._undo.clear()

    def discard(self) -> None:
        """Take back every write since the last savepoint."""
        mark = self._savepoints.pop()
        while len(self._undo) > mark:
            key, existed, before = self._undo.pop()
            if existed:
                self.writes[key] = before
            else:
                del self.writes[key]

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        ours = self._written(prefix, start)
        below = self._view.scan(prefix, start=start, limit=limit + len(ours))
        return _merged(below, ours, limit)

    def _write(self, key: bytes, value: bytes | None) -> None:
        existed = key in self.writes
        if not existed:
            self._new_keys.append(key)
        if self._savepoints:
            self._undo.append((key, existed, self.writes.get(key)))
        self.writes[key] = value

    def _written(self, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes | None]]:
        if len(self._new_keys) > SORT_ALL_ABOVE:
            self._keys.extend(self._new_keys)
            self._keys.sort()
        else:
            for key in self._new_keys:
                insort(self._keys, key)
        self._new_keys.clear()
        found: list[tuple[bytes, bytes | None]] = []
        index = bisect_left(self._keys, max(prefix, start))
        while index < len(self._keys) and self._keys[index].startswith(prefix):
            key = self._keys[index]
            if key in self.writes and not (found and found[-1][0] == key):
                found.append((key, self.writes[key]))
            index += 1
        return found


class MemoryState:
    """A whole state in memory."""

    __slots__ = ("_entries", "_keys")

    def __init__(self, entries: Mapping[bytes, bytes] | None = None) -> None:
        self._entries: dict[bytes, bytes] = dict(entries or {})
        self._keys: list[bytes] = sorted(self._entries)

    def get(self, key: bytes) -> bytes | None:
        return self._entries.get(key)

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        index = bisect_left(self._keys, max(prefix, start))
        keys = self._keys
        for _ in range(limit):
            if index >= len(keys) or not keys[index].startswith(prefix):
                return
            yield keys[index], self._entries[keys[index]]
            index += 1

    def apply(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Make `writes` part of the state."""
        for key, value in writes.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        self._keys = sorted(self._entries)

    def entries(self) -> dict[bytes, bytes]:
        """Return a copy of the entries, in key order."""
        return {key: self._entries[key] for key in self._keys}


def _merged(
    below: Iterator[tuple[bytes, bytes]],
    ours: list[tuple[bytes, bytes | None]],
    limit: int,
) -> Iterator[tuple[bytes, bytes]]:
    """Merge two ascending runs; ours wins on equal keys, and a deletion hides the key."""
    count, index = 0, 0
    theirs = next(below, None)
    while count < limit and (theirs is not None or index < len(ours)):
        if index == len(ours) or (theirs is not None and theirs[0] < ours[index][0]):
            assert theirs is not None, "one of the runs goes on"
            yield theirs
            theirs = next(below, None)
            count += 1
            continue
        key, value = ours[index]
        index += 1
        if theirs is not None and theirs[0] == key:
            theirs = next(below, None)
        if value is not None:
            yield key, value
            count += 1
