"""Files that stop the world at a chosen call, and forget what nobody had synced."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from storage.files import SystemFiles


class Crash(Exception):
    """The process died here."""


@dataclass
class FaultyFiles(SystemFiles):
    """Real files; the call number `crash_at` (from 0) raises `Crash`, half of a write done.

    `lose_unsynced` afterwards leaves what a power cut may leave: content as of the last sync of
    each file, names as of the last sync of each directory; or removals done and all else not, for
    nothing promises an order between the two.
    """

    crash_at: int | None = None
    write_error: int | None = None  # errno of every write from now on
    sync_error: int | None = None
    calls: list[str] = field(default_factory=list)
    _directories: set[Path] = field(default_factory=set)
    _synced: dict[int, bytes] = field(default_factory=dict)  # Content by inode.
    _undo: list[tuple[Path, str, Path, Path | bytes | None]] = field(default_factory=list)

    @override
    def create(self, path: Path) -> int:
        self._step("create")
        descriptor = super().create(path)
        self._directories.add(path.parent)
        self._synced[os.fstat(descriptor).st_ino] = b""
        self._undo.append((path.parent, "create", path, None))
        return descriptor

    @override
    def open_for_writing(self, path: Path) -> int:
        descriptor = super().open_for_writing(path)
        self._directories.add(path.parent)
        self._synced.setdefault(path.stat().st_ino, path.read_bytes())
        return descriptor

    @override
    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        if self.write_error is not None:
            super().write(descriptor, memoryview(content)[: len(content) // 2], offset)
            raise OSError(self.write_error, os.strerror(self.write_error))
        if self._is_crash("write"):
            super().write(descriptor, memoryview(content)[: len(content) // 2], offset)
            raise Crash
        super().write(descriptor, content, offset)

    @override
    def write_bulk(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        self.write(descriptor, content, offset)

    @override
    def truncate(self, descriptor: int, size_bytes: int) -> None:
        self._step("truncate")
        super().truncate(descriptor, size_bytes)

    @override
    def sync(self, descriptor: int) -> None:
        self._step("sync")
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        super().sync(descriptor)
        size = os.fstat(descriptor).st_size
        self._synced[os.fstat(descriptor).st_ino] = os.pread(descriptor, size, 0)

    @override
    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        replaced = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._directories.add(target.parent)
        self._undo.append((target.parent, "rename", target, source))
        if replaced is not None:
            self._undo.append((target.parent, "replaced", target, replaced))

    @override
    def unlink(self, path: Path) -> None:
        self._step("unlink")
        if path.exists():
            self._undo.append((path.parent, "unlink", path, path.read_bytes()))
        super().unlink(path)

    @override
    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory")
        super().sync_directory(path)
        self._undo = [undo for undo in self._undo if undo[0] != path]

    def lose_unsynced(self, *, keeps_removals: bool = False) -> None:
        for directory in sorted(self._directories):
            for path in directory.iterdir() if directory.is_dir() else ():
                content = self._synced.get(path.stat().st_ino)
                if path.is_file() and content is not None and content != path.read_bytes():
                    path.write_bytes(content)
        replaced: dict[Path, bytes] = {}
        for _, what, path, before in reversed(self._undo):
            match what, before:
                case "create", None:
                    path.unlink(missing_ok=True)
                case "unlink", bytes():
                    if not keeps_removals:
                        path.write_bytes(before)
                case "replaced", bytes():
                    replaced[path] = before
                case "rename", Path():
                    if path.exists():
                        path.rename(before)
                    if path in replaced:
                        path.write_bytes(replaced.pop(path))
                case _:
                    raise AssertionError(what)

    def _is_crash(self, call: str) -> bool:
        self.calls.append(call)
        return len(self.calls) - 1 == self.crash_at

    def _step(self, call: str) -> None:
        if self._is_crash(call):
            raise Crash


DISK_FULL = errno.ENOSPC
DISK_BROKEN = errno.EIO
