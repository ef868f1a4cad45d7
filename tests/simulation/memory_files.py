"""A directory of a simulated node: names and bytes, and which of both a loss of power takes away.

`MemoryFiles` is the port `storage.files.Files`; `MemoryPath` is the little of `pathlib` that
reading needs. What was written is durable after `sync`, what was named after `sync_directory`;
on a disk that lies, never.
"""

import errno
import random
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Protocol

from typing_extensions import override

from storage.errors import DiskFull
from tests.simulation.memory_database import DiskState


@dataclass(slots=True)
class File:
    """Bytes as the operating system shows them, and as the disk has them."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


class Named(Protocol):
    """All that is asked of a path: the directory has no directories."""

    @property
    def name(self) -> str: ...


@dataclass(slots=True, kw_only=True)
class MemoryFiles:
    """One directory of files; descriptors are numbers of open files."""

    disk: DiskState
    names: dict[str, File] = field(default_factory=dict)
    durable_names: dict[str, File] = field(default_factory=dict)
    opened: dict[int, File] = field(default_factory=dict)
    next_descriptor: int = 3

    def create(self, path: Named) -> int:
        self._call("create")
        if path.name in self.names:
            raise FileExistsError(errno.EEXIST, "exists", path.name)
        if self.disk.is_full:
            raise DiskFull(f"the disk of {path} is full")
        self.names[path.name] = File()
        return self._open(self.names[path.name])

    def open_for_writing(self, path: Named) -> int:
        return self._open(self.names[path.name])

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        self._call("write")
        if self.disk.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        file = self.opened[descriptor]
        file.content[offset : offset + len(content)] = content

    def write_bulk(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        self.write(descriptor, content, offset)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        del self.opened[descriptor].content[size_bytes:]

    def sync(self, descriptor: int) -> None:
        self._call("sync")
        file = self.opened[descriptor]
        if not self.disk.is_lying:
            file.durable = bytes(file.content)
        self._call("synced")

    def close(self, descriptor: int) -> None:
        self.opened.pop(descriptor, None)

    def rename(self, source: Named, target: Named) -> None:
        self._call("rename")
        self.names[target.name] = self.names.pop(source.name)

    def unlink(self, path: Named) -> None:
        self.names.pop(path.name, None)

    def make_directory(self, path: Named) -> None:
        """The one directory is there."""

    def sync_directory(self, path: Named) -> None:
        self._call("sync directory")
        if not self.disk.is_lying:
            self.durable_names = dict(self.names)

    def is_flushed(self) -> bool:
        """Whether a loss of power would take nothing away."""
        return self.durable_names == self.names and all(
            bytes(file.content) == file.durable for file in self.names.values()
        )

    def crash(self, draw: random.Random, *, may_tear: bool) -> bool:
        """Lose power; return whether a file was torn, or bytes that were called flushed are lost.

        Names come back whole. What was appended since the last flush stays, goes, or stays in
        part: a prefix, or a prefix and zeros.
        """
        self.opened.clear()
        if draw.random() < 0.5:
            self.names = dict(self.durable_names)
        is_torn = False
        for file in self.names.values():
            is_torn |= self._settle(file, draw, may_tear=may_tear)
        self.durable_names = dict(self.names)
        return is_torn

    def _settle(self, file: File, draw: random.Random, *, may_tear: bool) -> bool:
        whole, durable = bytes(file.content), file.durable
        if whole == durable:
            return False
        outcomes = ["all"] if self.disk.is_lying else ["all", "none"]
        if may_tear and whole.startswith(durable):
            outcomes += ["none", "part", "zeros"]
        outcome, left = draw.choice(outcomes), whole
        if outcome == "none":
            left = durable
        elif outcome != "all":
            cut = draw.randrange(len(durable), len(whole))
            left = whole[:cut] + (bytes(len(whole) - cut) if outcome == "zeros" else b"")
        file.content, file.durable = bytearray(left), left
        return left not in (whole, durable) or (self.disk.is_lying and left != whole)

    def flip(self, draw: random.Random) -> bool:
        """Change one bit somewhere; False if there is nothing to change."""
        files = [self.names[name] for name in sorted(self.names) if self.names[name].durable]
        if not files:
            return False
        file = draw.choice(files)
        at = draw.randrange(len(file.durable))
        file.content[at] ^= 1 << draw.randrange(8)
        file.durable = bytes(file.content)
        return True

    def wipe(self) -> None:
        self.names.clear()
        self.durable_names.clear()
        self.opened.clear()

    def copy(self) -> dict[str, bytes]:
        return {name: file.durable for name, file in self.durable_names.items()}

    def restore(self, files: dict[str, bytes]) -> None:
        self.wipe()
        self.names = {name: File(bytearray(one), one) for name, one in files.items()}
        self.durable_names = dict(self.names)

    def _open(self, file: File) -> int:
        self.next_descriptor += 1
        self.opened[self.next_descriptor] = file
        return self.next_descriptor

    def _call(self, what: str) -> None:
        self.disk.on_call(what)


@dataclass(frozen=True, slots=True)
class MemoryPath:
    """A file of the directory, or (with the name "") the directory itself."""

    files: MemoryFiles
    name: str = ""

    @property
    def parent(self) -> "MemoryPath":
        return MemoryPath(self.files)

    def glob(self, pattern: str) -> list["MemoryPath"]:
        found = [name for name in self.files.names if fnmatch(name, pattern)]
        return [MemoryPath(self.files, name) for name in sorted(found)]

    def with_name(self, name: str) -> "MemoryPath":
        return MemoryPath(self.files, name)

    def read_bytes(self) -> bytes:
        return bytes(self.files.names[self.name].content)

    def __truediv__(self, name: str) -> "MemoryPath":
        return MemoryPath(self.files, name)

    def __lt__(self, other: "MemoryPath") -> bool:
        return self.name < other.name

    @override
    def __str__(self) -> str:
        return f"journal/{self.name}"
