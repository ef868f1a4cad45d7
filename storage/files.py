"""What durable files are made of: the few system calls whose order decides what a crash leaves.

The journal, the blob store and the sidecars write through this port, so that tests can stop the
world between any two calls. `SystemFiles` is the world; reading needs no port.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from storage.errors import DiskFailed, DiskFull, StorageError

FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)

BLOCK_BYTES: Final = 4096
"""Offsets, lengths and buffers of what goes past the page cache are multiples of this."""

_flush = getattr(os, "fdatasync", os.fsync)
_DIRECT: Final = getattr(os, "O_DIRECT", 0)


class Files(Protocol):
    """Changes to files, each done when the call returns; durable only after the syncs."""

    def create(self, path: Path) -> int:
        """Return a descriptor of a new, empty file that only this user may read."""

    def open_for_writing(self, path: Path) -> int: ...

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        """Write all of `content` at `offset`."""

    def write_bulk(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        """Do the same past the page cache if the system can, best from an `aligned_buffer`.

        Nobody else may use the descriptor meanwhile.
        """

    def truncate(self, descriptor: int, size_bytes: int) -> None: ...

    def sync(self, descriptor: int) -> None:
        """Make a file's content durable."""

    def close(self, descriptor: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing what has it; atomic, durable after the sync."""

    def unlink(self, path: Path) -> None:
        """Remove a file that may be gone already."""

    def make_directory(self, path: Path) -> None:
        """Make a directory that may exist already; its parent exists."""

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""


class SystemFiles:
    """The operating system's files."""

    __slots__ = ()

    def create(self, path: Path) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        with named_disk_errors(path):
            return os.open(path, flags, 0o600)

    def open_for_writing(self, path: Path) -> int:
        with named_disk_errors(path):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest = rest[written:]
            offset += written

    def write_bulk(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        whole_bytes = len(content) - len(content) % BLOCK_BYTES
        written = 0
        if whole_bytes and offset % BLOCK_BYTES == 0 and set_direct(descriptor):
            try:
                written = os.pwrite(descriptor, memoryview(content)[:whole_bytes], offset)
            except OSError as problem:
                if problem.errno != errno.EINVAL:  # This disk wants it aligned otherwise.
                    raise
            finally:
                set_direct(descriptor, is_direct=False)
        self.write(descriptor, memoryview(content)[written:], offset + written)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        os.ftruncate(descriptor, size_bytes)

    def sync(self, descriptor: int) -> None:
        _flush(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        with named_disk_errors(target):
            source.rename(target)

    def unlink(self, path: Path) -> None:
        with named_disk_errors(path):
            path.unlink(missing_ok=True)

    def make_directory(self, path: Path) -> None:
        with named_disk_errors(path):
            path.mkdir(mode=0o700, exist_ok=True)

    def sync_directory(self, path: Path) -> None:
        with named_disk_errors(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


SYSTEM_FILES: Final = SystemFiles()


def aligned_buffer(size_bytes: int) -> memoryview:
    """Return memory that begins on a page, as what goes past the page cache has to."""
    return memoryview(mmap.mmap(-1, size_bytes))


def set_direct(descriptor: int, *, is_direct: bool = True) -> bool:
    """Have a file read and written past the page cache, or not; return whether it now is.

    A gigabyte that is written once and read seldom has no business there: it takes the place of
    the ledger, and every fresh page of it costs more than the hash of what it holds.
    """
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    wanted = flags | _DIRECT if is_direct else flags & ~_DIRECT
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, wanted)
    except OSError:  # Not on this file system: then by way of the cache.
        return False
    return is_direct and _DIRECT != 0


@contextmanager
def named_disk_errors(path: Path) -> Generator[None, None, None]:
    """Turn what the operating system says about `path` into this room's errors."""
    try:
        yield
    except OSError as problem:
        raise disk_error(problem, path) from problem


def disk_error(problem: OSError, path: Path) -> StorageError:
    """Return the error of this room that names `path` and the way out."""
    if problem.errno in FULL_ERRNOS:
        return DiskFull(f"the disk of {path} is full: make room, and the node goes on by itself")
    return DiskFailed(f"{path}: {problem.strerror or problem}; check the disk and its permissions")


def free_bytes(path: Path) -> int:
    """Return how many bytes this user may still write on the disk of `path`."""
    with named_disk_errors(path):
        found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def check_free(path: Path, *, wanted_bytes: int, reserve_bytes: int) -> None:
    """Raise `DiskFull` if writing so much would leave less than the reserve."""
    free = free_bytes(path)
    if free - wanted_bytes < reserve_bytes:
        raise DiskFull(
            f"the disk of {path} has {free >> 20} MiB left, and {reserve_bytes >> 20} MiB are kept"
            f" to keep the node alive: make room, or lower the reserve"
        )


def write_new_file(files: Files, path: Path, content: bytes) -> None:
    """Write a durable file; its name is durable after its directory is synced."""
    descriptor = files.create(path)
    try:
        with named_disk_errors(path):
            files.write(descriptor, content, 0)
            files.sync(descriptor)
    finally:
        files.close(descriptor)


def replace_file(files: Files, path: Path, content: bytes) -> None:
    """Put a file under `path` so that a crash leaves the old or the new one, whole and durable."""
    fresh = path.with_name(path.name + ".new")
    files.unlink(fresh)
    write_new_file(files, fresh, content)
    files.rename(fresh, path)
    files.sync_directory(path.parent)
