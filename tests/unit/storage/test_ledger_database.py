"""The database says in this room's words what LevelDB and the disk do to it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database import Database, create_database, end_of, is_unfinished, open_database
from storage.errors import (
    DatabaseClosed,
    DatabaseCorrupt,
    DatabaseExists,
    DatabaseLocked,
    DatabaseMissing,
    DiskFull,
)
from tests.conftest import REPOSITORY

HOLD_DATABASE = """
import sys
from pathlib import Path
from storage.database import open_database
database = open_database(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def rows_of(database: Database, prefix: bytes = b"", **limits: Any) -> list[bytes]:
    return [key for key, _ in database.scan(prefix, **limits)]


def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    with create_database(path) as database:
        database.write([(b"a", b"1"), (b"b", b"2"), (b"a", None)])

    with open_database(path) as database:
        assert database.get(b"a") is None
        assert database.get(b"b") == b"2"
        assert database.size_bytes() > 0


def test_no_database_is_made_by_opening_one(path: Path) -> None:
    with pytest.raises(DatabaseMissing, match=str(path)):
        open_database(path)

    assert not path.exists()


def test_no_database_is_made_over_another(path: Path) -> None:
    create_database(path).close()

    with pytest.raises(DatabaseExists, match=str(path)):
        create_database(path)


def test_a_database_open_here_is_locked(path: Path) -> None:
    with create_database(path), pytest.raises(DatabaseLocked, match=str(path)):
        open_database(path)


def test_a_database_open_in_another_process_is_locked(path: Path) -> None:
    create_database(path).close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_DATABASE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"

        with pytest.raises(DatabaseLocked, match=str(path)):
            open_database(path)
        holder.kill()

    open_database(path).close()


def test_a_closed_database_says_so(path: Path) -> None:
    database = create_database(path)
    snapshot = database.snapshot()
    database.close()
    database.close()

    for act in (
        lambda: database.get(b"a"),
        lambda: snapshot.get(b"a"),
        lambda: rows_of(database),
        lambda: list(snapshot.scan(b"")),
        lambda: database.put(b"a", b"1"),
        lambda: database.delete(b"a"),
        database.snapshot,
        database.compact_range,
    ):
        with pytest.raises(DatabaseClosed):
            act()


def test_a_snapshot_does_not_see_later_writes(path: Path) -> None:
    with create_database(path) as database:
        database.put(b"a1", b"old")
        snapshot = database.snapshot()

        database.write([(b"a1", b"new"), (b"a2", b"new")])

        assert snapshot.get(b"a1") == b"old"
        assert list(snapshot.scan(b"a")) == [(b"a1", b"old")]
        assert database.get(b"a1") == b"new"
        snapshot.close()


def test_a_scan_keeps_to_its_prefix_and_range(path: Path) -> None:
    with create_database(path) as database:
        keys = [b"a", b"a\x00", b"a1", b"a2", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"]
        database.write([(key, b"v") for key in keys], sync=False)

        assert rows_of(database, b"a") == [b"a", b"a\x00", b"a1", b"a2", b"a\xff", b"a\xff\xff"]
        assert rows_of(database, b"a\xff") == [b"a\xff", b"a\xff\xff"]
        assert rows_of(database, b"\xff") == [b"\xff", b"\xff\xff"]
        assert rows_of(database) == sorted(keys)
        assert rows_of(database, b"a", start=b"a1", stop=b"a\xff") == [b"a1", b"a2"]
        assert rows_of(database, b"a", start=b"a1", reverse=True) == [
            b"a\xff\xff", b"a\xff", b"a2", b"a1",
        ]  # fmt: skip
        assert rows_of(database, b"a", stop=b"a1", reverse=True) == [b"a\x00", b"a"]
        assert rows_of(database, b"a", start=b"b") == []
        assert rows_of(database, b"a", stop=b"z") == rows_of(database, b"a")


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_the_end_of_a_prefix_is_the_first_key_beyond_it(prefix: bytes, other: bytes) -> None:
    end = end_of(prefix)

    assert end is None or end > prefix + other
    if not other.startswith(prefix):
        assert other < prefix or (end is not None and other >= end)


@pytest.mark.parametrize("bounds", [(b"0", b"9"), (None, None), (b"0", None)])
def test_a_compaction_gives_the_space_of_deleted_rows_back(
    path: Path, bounds: tuple[bytes | None, bytes | None]
) -> None:
    with create_database(path) as database:
        keys = [b"%06d" % number for number in range(1_000)]
        database.write([(key, os.urandom(1_000)) for key in keys])
        database.compact_range()
        full = database.size_bytes()

        database.write([(key, None) for key in keys])
        database.compact_range(*bounds)

        assert database.size_bytes() < full / 5


def test_one_flipped_byte_in_a_table_is_said_and_not_served(path: Path) -> None:
    with create_database(path) as database:
        database.write([(b"%06d" % number, os.urandom(100)) for number in range(1_000)])
        database.compact_range()
    (table,) = path.glob("*.ldb")
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)

    with open_database(path) as database:
        with pytest.raises(DatabaseCorrupt, match=str(path)):
            rows_of(database)
        with pytest.raises(DatabaseCorrupt, match="rebuilds the ledger from its peers"):
            [database.get(b"%06d" % number) for number in range(1_000)]


def test_one_flipped_byte_in_the_log_refuses_to_open(path: Path) -> None:
    with create_database(path) as database:
        for number in range(10):
            database.put(b"%d" % number, b"v" * 100)
    (log,) = path.glob("*.log")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)

    with pytest.raises(DatabaseCorrupt, match=str(path)):
        open_database(path)


def test_below_the_reserve_nothing_is_written(path: Path) -> None:
    create_database(path).close()
    with open_database(path, reserve_bytes=1 << 60) as database:
        with pytest.raises(DiskFull, match="make room"):
            database.put(b"a", b"1")

        database.reserve_bytes = 0
        database.put(b"a", b"1")

        assert database.get(b"a") == b"1"


def fill(database: Database, written: list[bytes]) -> None:
    """Write until it fails; `written` holds what succeeded."""
    for number in range(10_000):
        database.put(b"%06d" % number, os.urandom(50_000))
        written.append(b"%06d" % number)


def test_a_full_disk_closes_the_door_until_reopened_and_loses_nothing(
    small_disk: Path,
) -> None:
    database = create_database(small_disk / "ledger", reserve_bytes=0)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(5 << 20))
    written: list[bytes] = []
    with pytest.raises(DiskFull, match="make room"):
        fill(database, written)

    with pytest.raises(DiskFull):
        database.put(b"again", b"1")
    ballast.unlink()
    database.reopen()
    database.put(b"after", b"1")
    database.close()

    with open_database(small_disk / "ledger", reserve_bytes=0) as database:
        keys = rows_of(database)
        assert set(written) <= set(keys)
        assert b"after" in keys
        assert b"again" not in keys
    assert len(written) > 10


MAKE_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from storage.database import create_database
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
create_database(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_database_whose_making_was_broken_off_is_made_anew(tmp_path: Path, room: int) -> None:
    """A disk was full while a wiped node began again, and it never came back."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    command = [sys.executable, "-c", MAKE_WITHOUT_ROOM, str(folder), str(room)]
    broken_off = subprocess.run(command, capture_output=True, check=False, cwd=REPOSITORY)
    left = sorted(one.name for one in folder.iterdir())

    assert broken_off.returncode != 0
    assert left, "or nothing was broken off"
    assert is_unfinished(folder), left
    with create_database(folder) as database:
        database.write([(b"key", b"value")], sync=True)
    assert not is_unfinished(folder)
    with open_database(folder) as database:
        assert database.get(b"key") == b"value"


def test_a_database_that_lost_its_current_file_is_not_taken_for_an_unfinished_one(
    tmp_path: Path,
) -> None:
    with create_database(tmp_path / "ledger") as database:
        database.write([(b"key", b"value")], sync=True)
    (tmp_path / "ledger" / "CURRENT").unlink()

    assert not is_unfinished(tmp_path / "ledger")
    with pytest.raises(DatabaseMissing):
        open_database(tmp_path / "ledger")
    with pytest.raises(DatabaseExists):
        create_database(tmp_path / "ledger")
