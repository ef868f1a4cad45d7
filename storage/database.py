"""The ledger database: LevelDB behind this room's errors; nothing else imports plyvel.

A batch is atomic; with `sync` it is durable when the call returns. Reads verify LevelDB's
checksums. After a write that failed, LevelDB's log may end in half a record, and what followed
would be lost with it at the next start: so a failed write closes the door for writes until
`reopen`, which makes LevelDB drop the half record.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import plyvel

from storage.errors import (
    REBUILD,
    DatabaseClosed,
    DatabaseCorrupt,
    DatabaseExists,
    DatabaseLocked,
    DatabaseMissing,
    DiskFailed,
    DiskFull,
    StorageError,
)
from storage.files import check_free

LAST_KEY: Final = b"\xff" * 64
"""Beyond every key of the tables in `storage.keys`."""

DATABASE_RESERVE_BYTES: Final = 32 << 20
"""A batch is refused when less is left: LevelDB needs room to tidy up behind it."""

CACHE_BYTES: Final = 64 << 20
"""Memory for blocks of LevelDB's tables; the write buffers take up to half as much again."""

_UNFINISHED: Final = re.compile(r"LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.dbtmp")

_OPTIONS: Final[dict[str, Any]] = {
    "paranoid_checks": True,
    "compression": None,  # Hashes, signatures and ciphertext do not compress.
    "bloom_filter_bits": 10,
    "max_file_size": 8 << 20,
    "max_open_files": 500,
}


class Reads(Protocol):
    """What can be read: the database as it is now, or as it was when a snapshot was taken."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows under `prefix` with start <= key < stop, in key order or backwards."""


class Snapshot:
    """The database at one moment, whatever is written later; close it to let go of old rows."""

    __slots__ = ("_database", "_snapshot")

    def __init__(self, database: "Database", snapshot: Any) -> None:
        self._database = database
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        return _get(self._snapshot, key, self._database.path)

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._snapshot, self._database.path, prefix, start, stop, reverse)

    def close(self) -> None:
        self._snapshot.close()


class Database:
    """One open database; reads may come from several threads, writes from one at a time."""

    __slots__ = ("_cache_bytes", "_failure", "_leveldb", "path", "reserve_bytes")

    def __init__(self, leveldb: Any, path: Path, reserve_bytes: int, cache_bytes: int) -> None:
        self._leveldb = leveldb
        self._failure: StorageError | None = None
        self._cache_bytes = cache_bytes
        self.path = path
        self.reserve_bytes = reserve_bytes

    def get(self, key: bytes) -> bytes | None:
        return _get(self._leveldb, key, self.path)

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._leveldb, self.path, prefix, start, stop, reverse)

    def write(self, rows: Iterable[tuple[bytes, bytes | None]], *, sync: bool = True) -> None:
        """Write all rows or none, in order; None deletes.

        Raises `DiskFull` before anything is written when the reserve is reached.
        """
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        check_free(self.path, wanted_bytes=0, reserve_bytes=self.reserve_bytes)
        batch = self._batch(sync)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            batch.write()
        except plyvel.Error as problem:
            self._failure = _typed(problem, self.path)
            raise self._failure from problem

    def put(self, key: bytes, value: bytes, *, sync: bool = True) -> None:
        self.write(((key, value),), sync=sync)

    def delete(self, key: bytes, *, sync: bool = True) -> None:
        self.write(((key, None),), sync=sync)

    def snapshot(self) -> Snapshot:
        """Return the database as it is now; later writes do not show in it."""
        try:
            return Snapshot(self, self._leveldb.snapshot())
        except RuntimeError as problem:
            raise DatabaseClosed(f"the database {self.path} is closed") from problem

    def compact_range(self, start: bytes | None = None, stop: bytes | None = None) -> None:
        """Give the space of deleted rows in a range back to the disk; takes its time.

        The bounds are always said: for those that are None the binding gives LevelDB empty keys,
        and it compacts nothing.
        """
        try:
            self._leveldb.compact_range(start=start or b"", stop=stop or LAST_KEY)
        except RuntimeError as problem:
            raise DatabaseClosed(f"the database {self.path} is closed") from problem

    def size_bytes(self) -> int:
        """Return how much the files of the database take."""
        return sum(map(_size_bytes, self.path.iterdir()))

    def reopen(self) -> None:
        """Close and open again, after a failed write; snapshots taken before are closed with it.

        Raises what `open_database` raises; then the database stays closed.
        """
        self._leveldb.close()
        self._leveldb = _open(self.path, self._cache_bytes)
        self._failure = None

    def close(self) -> None:
        """Close the database and every snapshot of it; closing twice is no mistake."""
        self._leveldb.close()

    def _batch(self, sync: bool) -> Any:
        try:
            return self._leveldb.write_batch(sync=sync)
        except RuntimeError as problem:
            raise DatabaseClosed(f"the database {self.path} is closed") from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create_database(
    path: Path,
    *,
    reserve_bytes: int = DATABASE_RESERVE_BYTES,
    cache_bytes: int = CACHE_BYTES,
) -> Database:
    """Make a new database in a directory that is missing or `is_unfinished`.

    Raises `DatabaseExists`, `DatabaseLocked`, `DiskFull` or `DiskFailed`.
    """
    if path.is_dir() and not is_unfinished(path):
        raise DatabaseExists(f"{path} is not empty: it may hold a ledger already; move it aside")
    check_free(path if path.is_dir() else path.parent, wanted_bytes=0, reserve_bytes=reserve_bytes)
    leveldb = _open(path, cache_bytes, create_if_missing=True, error_if_exists=True)
    return Database(leveldb, path, reserve_bytes, cache_bytes)


def is_unfinished(path: Path) -> bool:
    """Whether a directory is empty, or holds what making a database left that was broken off.

    LevelDB writes its log file, where all data comes first, after CURRENT: where both are missing
    a crash or a full disk came in between, and nothing was ever stored.
    """
    return all(_UNFINISHED.fullmatch(one.name) for one in path.iterdir())


def open_database(
    path: Path,
    *,
    reserve_bytes: int = DATABASE_RESERVE_BYTES,
    cache_bytes: int = CACHE_BYTES,
) -> Database:
    """Open an existing database.

    Raises `DatabaseMissing`, `DatabaseLocked`, `DatabaseCorrupt`, `DiskFull` or `DiskFailed`.
    """
    if not (path / "CURRENT").is_file():
        raise DatabaseMissing(
            f"there is no ledger database in {path}: restore it, or let the node rebuild it"
            " from its peers"
        )
    return Database(_open(path, cache_bytes), path, reserve_bytes, cache_bytes)


def end_of(prefix: bytes) -> bytes | None:
    """Return the first key after every key with this prefix, or None if there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def range_of(prefix: bytes, start: bytes | None, stop: bytes | None) -> tuple[bytes, bytes | None]:
    """Return the first key of a scan and the one before which it ends, None for no end."""
    end = end_of(prefix)
    if stop is not None and (end is None or stop < end):
        end = stop
    return prefix if start is None else max(prefix, start), end


def _size_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # LevelDB has tidied it up meanwhile.
        return 0


def _open(path: Path, cache_bytes: int, **creation: bool) -> Any:
    try:
        return plyvel.DB(
            str(path),
            lru_cache_size=cache_bytes,
            write_buffer_size=cache_bytes // 4,
            **_OPTIONS,
            **creation,
        )
    except plyvel.Error as problem:
        raise _typed(problem, path) from problem


def _get(reads: Any, key: bytes, path: Path) -> bytes | None:
    try:
        value: bytes | None = reads.get(key, verify_checksums=True)
    except RuntimeError as problem:
        raise DatabaseClosed(f"the database {path} is closed") from problem
    except plyvel.Error as problem:
        raise _typed(problem, path) from problem
    return value


def _scan(
    reads: Any,
    path: Path,
    prefix: bytes,
    start: bytes | None,
    stop: bytes | None,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    first, end = range_of(prefix, start, stop)
    if end is not None and first >= end:
        return
    try:
        with reads.iterator(
            start=first, stop=end, reverse=reverse, verify_checksums=True
        ) as iterator:
            yield from iterator
    except RuntimeError as problem:
        raise DatabaseClosed(f"the database {path} is closed") from problem
    except plyvel.Error as problem:
        raise _typed(problem, path) from problem


def _typed(problem: Exception, path: Path) -> StorageError:
    """Return what LevelDB says in words of its own as an error of this room."""
    told = problem.args[0] if problem.args else b""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    if isinstance(problem, plyvel.CorruptionError) or "orruption" in text:
        return DatabaseCorrupt(f"the database {path} is damaged ({text}): {REBUILD}")
    if "No space left" in text or "quota exceeded" in text:
        return DiskFull(f"the disk of {path} is full: make room, and the node goes on by itself")
    if "lock" in text and ("already held" in text or "temporarily unavailable" in text):
        return DatabaseLocked(f"another process has the database {path} open: stop it first")
    return DiskFailed(f"the database {path}: {text}; check the disk and its permissions")
