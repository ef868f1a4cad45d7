"""The ledger database of a simulated node: what `storage.database.Database` offers, in memory.

A batch is atomic. It survives a crash once `write` has returned, except on a disk that lies about
flushes (`is_lying`). A damaged row raises as LevelDB's checksums do.
"""

import bisect
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage.database import range_of
from storage.errors import DatabaseCorrupt, DiskFull

Undo = list[tuple[bytes, bytes | None]]


class PowerLost(Exception):
    """The node died inside a system call; only the disk knows how far it came."""


@dataclass(slots=True, kw_only=True)
class DiskState:
    """What is wrong with a node's disk at the moment; `on_call` may raise `PowerLost`.

    `is_suspect`: something on it was changed, so that a start has to look.
    """

    is_full: bool = False
    is_lying: bool = False
    is_suspect: bool = False
    on_call: Callable[[str], None] = lambda _: None


class MemorySnapshot:
    """The rows at one version."""

    __slots__ = ("__weakref__", "_database", "version")

    def __init__(self, database: "MemoryDatabase", version: int) -> None:
        self._database = database
        self.version = version

    def get(self, key: bytes) -> bytes | None:
        return self._database.get_at(key, self.version)

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._database.scan_at(self.version, prefix, start, stop, reverse)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True, kw_only=True)
class MemoryDatabase:
    """Rows with the versions that some snapshot may still read, newest last."""

    disk: DiskState
    path: Path = Path("ledger")
    rows: dict[bytes, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    version: int = 0
    snapshots: "weakref.WeakSet[MemorySnapshot]" = field(default_factory=weakref.WeakSet)
    damaged: dict[bytes, None] = field(default_factory=dict)
    unflushed: list[Undo] = field(default_factory=list)

    def get(self, key: bytes) -> bytes | None:
        return self.get_at(key, self.version)

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return self.scan_at(self.version, prefix, start, stop, reverse)

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], *, sync: bool = True) -> None:
        self.disk.on_call("write batch")
        if self.disk.is_full:
            raise DiskFull("the disk of the ledger is full")
        undo = self._apply(rows)
        if self.disk.is_lying or not sync:
            self.unflushed.append(undo)
        else:
            self.unflushed.clear()
        self.disk.on_call("batch written")

    def put(self, key: bytes, value: bytes, *, sync: bool = True) -> None:
        self.write(((key, value),), sync=sync)

    def delete(self, key: bytes, *, sync: bool = True) -> None:
        self.write(((key, None),), sync=sync)

    def snapshot(self) -> MemorySnapshot:
        one = MemorySnapshot(self, self.version)
        self.snapshots.add(one)
        return one

    def compact_range(self, start: bytes | None = None, stop: bytes | None = None) -> None:
        """Deleted rows take no space here."""

    def size_bytes(self) -> int:
        return sum(len(key) + len(versions[-1][1] or b"") for key, versions in self.rows.items())

    def reopen(self) -> None:
        """Nothing half written is ever here."""

    def close(self) -> None:
        """Nothing to let go of."""

    def crash(self, keep: int) -> bool:
        """Lose what was never flushed but for the `keep` oldest batches; whether that is any."""
        lost, self.unflushed = self.unflushed[keep:], []
        for undo in reversed(lost):
            self._apply(undo)
        return bool(lost)

    def wipe(self) -> None:
        self.rows.clear()
        self.keys.clear()
        self.damaged.clear()
        self.unflushed.clear()

    def copy(self) -> dict[bytes, bytes]:
        """The rows as they are now, for a backup."""
        found = {key: versions[-1][1] for key, versions in self.rows.items()}
        return {key: value for key, value in found.items() if value is not None}

    def restore(self, rows: dict[bytes, bytes]) -> None:
        self.wipe()
        self._apply(rows.items())

    def get_at(self, key: bytes, version: int) -> bytes | None:
        if key in self.damaged:
            raise DatabaseCorrupt(f"the database {self.path} is damaged: row {key.hex()[:16]}")
        for written, value in reversed(self.rows.get(key, ())):
            if written <= version:
                return value
        return None

    def scan_at(
        self,
        version: int,
        prefix: bytes,
        start: bytes | None,
        stop: bytes | None,
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        first, end = range_of(prefix, start, stop)
        last = len(self.keys) if end is None else bisect.bisect_left(self.keys, end)
        found = self.keys[bisect.bisect_left(self.keys, first) : last]
        for key in reversed(found) if reverse else found:
            value = self.get_at(key, version)
            if value is not None:
                yield key, value

    def _apply(self, rows: Iterable[tuple[bytes, bytes | None]]) -> Undo:
        """Make a new version; return what would take it back, as rows."""
        undo: Undo = []
        oldest = min((one.version for one in self.snapshots), default=self.version)
        self.version += 1
        for key, value in rows:
            self.damaged.pop(key, None)  # What is written anew has a checksum of its own.
            versions = self.rows.get(key)
            if versions is None:
                versions = self.rows[key] = []
                bisect.insort(self.keys, key)
            undo.append((key, versions[-1][1] if versions else None))
            versions.append((self.version, value))
            while len(versions) > 1 and versions[1][0] <= oldest:
                del versions[0]
            if value is None and len(versions) == 1:
                self._forget(key)
        undo.reverse()
        return undo

    def _forget(self, key: bytes) -> None:
        del self.rows[key]
        del self.keys[bisect.bisect_left(self.keys, key)]
