"""Leaves of blobs on their way through a node: one is hashed and written while the next arrives.

Hashing and the disk are the affair of worker threads and let go of the interpreter; the event loop
only moves bytes. Buffers are two per stream and used again and again: fresh memory costs more than
hashing what is put into it.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from crypto.cid import Cid
from crypto.unixfs import LEAF_BYTES
from storage.blob_reads import close_blob, open_blob, read_leaf
from storage.blobs import BlobStore
from storage.files import aligned_buffer
from storage.slices import run_to_end

Result = TypeVar("Result")
Transfer = TypeVar("Transfer")

RECENT_LEAVES: Final = 4
"""Leaves of an upload that are kept for those who follow; who is slower reads them back."""


@dataclass(slots=True, kw_only=True)
class Course:
    """How far an upload has come, for those who pass it on meanwhile.

    `written_bytes` of `descriptor` may be read, whatever becomes of the file's name; the newest
    leaves are kept in `recent`, by their offset.
    """

    descriptor: int
    written_bytes: int
    size_bytes: int
    recent: dict[int, bytes] = field(default_factory=dict)
    is_ended: bool = False
    moved: asyncio.Event = field(default_factory=asyncio.Event)


def note_written(course: Course, leaf: bytes) -> None:
    """Let those who follow have the leaf that was written last."""
    course.recent[course.written_bytes] = leaf
    course.written_bytes += len(leaf)
    if len(course.recent) > RECENT_LEAVES:
        del course.recent[min(course.recent)]
    _wake(course)


def end_course(course: Course) -> None:
    """Let those who follow know that the upload came to nothing."""
    course.is_ended = True
    _wake(course)


async def follow(course: Course) -> AsyncGenerator[bytes]:
    """Yield an upload's leaves from the first one on, each as soon as it is written.

    They are not verified: whoever takes them does that. Where the upload ends early they end, even
    if all is written: it was found not to be the blob, and nobody needs the rest.
    """
    start = 0
    while start < course.size_bytes:
        end = min(start + LEAF_BYTES, course.size_bytes)
        while course.written_bytes < end and not course.is_ended:
            await course.moved.wait()
        if course.is_ended:
            return
        leaf = course.recent.get(start)
        if leaf is None:
            leaf = await asyncio.to_thread(os.pread, course.descriptor, LEAF_BYTES, start)
        yield leaf
        start = end


async def write_leaves(
    workers: Executor,
    chunks: AsyncIterator[bytes],
    write: Callable[[memoryview], object],
    *,
    size_bytes: int,
) -> None:
    """Give `write` what arrives leaf by leaf, in a worker thread, while the next leaf arrives.

    About `size_bytes` are expected; what comes beyond them is given to `write` as well. Raises
    what `write` raises. No `write` is under way any more when this returns or raises.
    """
    filling, spare = _buffer(size_bytes), memoryview(b"")
    filled, left_bytes = 0, size_bytes
    writing: asyncio.Future[object] | None = None
    try:
        async for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                count = min(len(filling) - filled, len(rest))
                filling[filled : filled + count] = rest[:count]
                filled, rest = filled + count, rest[count:]
                if filled < len(filling):
                    continue
                if writing is not None:
                    await asyncio.shield(writing)
                writing = _start(workers, write, filling)
                left_bytes -= filled
                filling, spare, filled = spare or _buffer(left_bytes), filling, 0
        if writing is not None:
            await asyncio.shield(writing)
        if filled:
            writing = _start(workers, write, filling[:filled])
            await asyncio.shield(writing)
    finally:
        if writing is not None:
            await _settled(writing)


async def local_leaves(
    workers: Executor, store: BlobStore, cid: Cid, *, first: int = 0, count: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the verified leaves of a blob that is here, `count` of them from `first` on.

    The next is read while one is used. Raises `BlobMissing`, or `BlobCorrupt` at a leaf that the
    disk has changed.
    """
    reader = open_blob(store, cid)
    end = len(reader.index.leaf_digests)
    if count is not None:
        end = min(end, first + count)
    reading: asyncio.Future[bytes] | None = None
    try:
        for position in range(first, end):
            reading = reading or _start(workers, read_leaf, store, reader, position)
            leaf = await asyncio.shield(reading)
            reading = None
            if position + 1 < end:
                reading = _start(workers, read_leaf, store, reader, position + 1)
            yield leaf
    finally:
        if reading is not None:
            await _settled(reading)
        close_blob(reader)


async def open_in_thread(
    steps: Generator[object, None, Transfer | None], suspend: Callable[[Transfer], None]
) -> Transfer | None:
    """Run what opens a transfer to its end in a thread; a peer may take its wish back meanwhile.

    The thread cannot be stopped. What it opens for somebody who has gone is suspended at once, or
    it would keep its place in the store until the node starts anew.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, run_to_end, steps)

    def give_up(opened: asyncio.Future[Transfer | None]) -> None:
        transfer = None if opened.cancelled() or opened.exception() else opened.result()
        if transfer is not None:
            suspend(transfer)

    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(give_up)
        raise


def _start(
    workers: Executor, work: Callable[..., Result], *arguments: object
) -> asyncio.Future[Result]:
    return asyncio.get_running_loop().run_in_executor(workers, work, *arguments)


async def _settled(work: asyncio.Future[Result]) -> None:
    """Wait until a thread is done with its descriptor, however that ends: only then it is closed.

    Whoever closes it earlier has the thread work on another file that got its number.
    """
    await asyncio.wait([work])
    work.exception()  # Whoever wanted to know was told.


def _buffer(wanted_bytes: int) -> memoryview:
    return aligned_buffer(max(1, min(LEAF_BYTES, wanted_bytes)))


def _wake(course: Course) -> None:
    moved, course.moved = course.moved, asyncio.Event()
    moved.set()
