"""What goes past the page cache is on the disk as it was given, however it lies in memory."""

from pathlib import Path

import pytest

from storage.files import BLOCK_BYTES, SYSTEM_FILES, aligned_buffer

CONTENT = bytes(range(256)) * 33  # Two blocks and a rest.


@pytest.mark.parametrize("offset", [0, BLOCK_BYTES, 100])
@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("count", [1, BLOCK_BYTES, 2 * BLOCK_BYTES, len(CONTENT) - 1])
def test_bulk_is_written_whole_wherever_it_begins_and_ends(
    tmp_path: Path, offset: int, skipped: int, count: int
) -> None:
    path = tmp_path / "content"
    buffer = aligned_buffer(len(CONTENT))
    buffer[:] = CONTENT
    descriptor = SYSTEM_FILES.create(path)

    SYSTEM_FILES.write_bulk(descriptor, buffer[skipped : skipped + count], offset)
    SYSTEM_FILES.write(descriptor, b"end", offset + count)
    SYSTEM_FILES.close(descriptor)

    assert path.read_bytes() == bytes(offset) + CONTENT[skipped : skipped + count] + b"end"


def test_bulk_over_bytes_that_still_wait_in_the_cache_replaces_them(tmp_path: Path) -> None:
    path = tmp_path / "content"
    buffer = aligned_buffer(BLOCK_BYTES)
    buffer[:] = b"n" * BLOCK_BYTES
    descriptor = SYSTEM_FILES.create(path)
    SYSTEM_FILES.write(descriptor, b"o" * 2 * BLOCK_BYTES, 0)

    SYSTEM_FILES.write_bulk(descriptor, buffer, 0)
    SYSTEM_FILES.close(descriptor)

    assert path.read_bytes() == b"n" * BLOCK_BYTES + b"o" * BLOCK_BYTES
