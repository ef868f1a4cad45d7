"""Leaves move through a node one behind the other: none is lost, changed, or left to a thread."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crypto.unixfs import LEAF_BYTES
from shell.leaves import RECENT_LEAVES, Course, end_course, follow, note_written, write_leaves

LEAVES = RECENT_LEAVES + 2
CONTENT = b"".join(bytes([number]) * LEAF_BYTES for number in range(LEAVES)) + b"rest"
WORKERS = ThreadPoolExecutor(2)
ENOUGH_S = 10.0


async def arriving(content: bytes, chunk_bytes: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), chunk_bytes):
        yield content[start : start + chunk_bytes]


@pytest.mark.parametrize("chunk_bytes", [65_536, 100_000, 3 * LEAF_BYTES + 1])
@pytest.mark.parametrize("announced", [len(CONTENT), len(CONTENT) - 9])
async def test_leaves_are_written_in_order_however_the_bytes_arrive(
    chunk_bytes: int, announced: int
) -> None:
    written: list[bytes] = []

    await write_leaves(
        WORKERS,
        arriving(CONTENT, chunk_bytes),
        lambda leaf: written.append(bytes(leaf)),
        size_bytes=announced,
    )

    assert b"".join(written) == CONTENT
    assert all(len(leaf) <= LEAF_BYTES for leaf in written)


async def test_nothing_is_written_any_more_once_a_broken_off_transfer_has_ended() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def write(_leaf: memoryview) -> None:
        begun.set()
        may_end.wait(ENOUGH_S)
        ended.set()

    chunks = arriving(CONTENT, LEAF_BYTES)
    transfer = asyncio.create_task(write_leaves(WORKERS, chunks, write, size_bytes=len(CONTENT)))
    await asyncio.to_thread(begun.wait, ENOUGH_S)
    transfer.cancel()
    asyncio.get_running_loop().call_later(0.05, may_end.set)

    with pytest.raises(asyncio.CancelledError):
        await transfer

    assert ended.is_set(), "its descriptor is closed next"


async def test_who_follows_an_upload_gets_every_leaf_early_late_or_last(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        course = Course(descriptor=file.fileno(), written_bytes=0, size_bytes=len(CONTENT))
        early = asyncio.create_task(gathered(course))
        for start in range(0, len(CONTENT), LEAF_BYTES):
            await asyncio.sleep(0)
            note_written(course, CONTENT[start : start + LEAF_BYTES])
        late = await asyncio.wait_for(gathered(course), ENOUGH_S)

    assert await asyncio.wait_for(early, ENOUGH_S) == CONTENT
    assert late == CONTENT
    assert len(course.recent) <= RECENT_LEAVES


async def test_who_follows_an_upload_that_ends_early_ends_with_it() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    course = Course(descriptor=descriptor, written_bytes=0, size_bytes=len(CONTENT))
    note_written(course, CONTENT[:LEAF_BYTES])
    leaves = follow(course)
    first = await anext(leaves)
    end_course(course)

    rest = await asyncio.wait_for(anext(leaves, None), ENOUGH_S)
    os.close(descriptor)

    assert first == CONTENT[:LEAF_BYTES]
    assert rest is None


async def test_nothing_is_passed_on_of_an_upload_that_was_found_to_be_wrong() -> None:
    """Or each peer that refused it would be followed by another, which gets all of it again."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    course = Course(descriptor=descriptor, written_bytes=0, size_bytes=len(CONTENT))
    for start in range(0, len(CONTENT), LEAF_BYTES):
        note_written(course, CONTENT[start : start + LEAF_BYTES])
    end_course(course)

    got = await asyncio.wait_for(gathered(course), ENOUGH_S)
    os.close(descriptor)

    assert got == b""


async def gathered(course: Course) -> bytes:
    return b"".join([leaf async for leaf in follow(course)])
