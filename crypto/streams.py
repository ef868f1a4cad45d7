"""Whole reads and whole writes over byte streams that may serve them in parts."""

from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class Readable(Protocol):
    """Bytes in order; 0 (or None, from a pipe that is not blocking) means the end."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill some of `buffer`, and say how much."""
        ...


class SeekableReadable(Protocol):
    """Bytes in order whose end can be found before they are read: a file, not a pipe."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill some of `buffer`, and say how much."""
        ...

    def tell(self) -> int:
        """Say where the next read starts."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place counted from the start (0) or the end (2), and say where that is."""
        ...


class Writable(Protocol):
    """Takes bytes in order; may take a part only, and says how much."""

    def write(self, piece: memoryview, /) -> int | None:
        """Take some of `piece`, and say how much."""
        ...


def read_into(source: Readable, target: memoryview) -> int:
    """Fill `target` from `source`; less than its length only at the end of the stream."""
    filled = 0
    while filled < len(target):
        count = source.readinto(target[filled:])
        if not count:
            break
        filled += count
    return filled


def write_all(sink: Writable, piece: Buffer) -> None:
    """Write all of `piece`, however little `sink` takes at a time."""
    rest = memoryview(piece)
    while rest:
        count = sink.write(rest)
        if count is None:
            raise BlockingIOError("the sink takes no bytes now; give a blocking one")
        rest = rest[count:]
