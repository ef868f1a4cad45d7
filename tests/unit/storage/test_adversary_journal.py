"""Crashes one after the other: what a start has read or cut must not be forgotten by the next."""

from pathlib import Path

import pytest

from storage.errors import DiskFull
from storage.journal import (
    append,
    close_journal,
    create_journal,
    open_journal,
    read_journal,
    rotate,
)
from tests.unit.storage.faulty_files import Crash, FaultyFiles


def torn_journal(directory: Path) -> None:
    """A journal of one whole record and some bytes of another."""
    journal = create_journal(directory)
    append(journal, (b"first", b"second"))
    close_journal(journal)
    journal.path.write_bytes(journal.path.read_bytes()[:-3])


def test_a_torn_tail_is_told_at_every_start_until_something_is_written(tmp_path: Path) -> None:
    torn_journal(tmp_path)

    for _ in range(3):
        journal, records = open_journal(tmp_path)
        close_journal(journal)

        assert records == (b"first",)
        assert journal.tail_cut is not None


def test_what_is_written_first_takes_the_place_of_the_torn_tail(tmp_path: Path) -> None:
    torn_journal(tmp_path)
    journal, _ = open_journal(tmp_path)

    append(journal, (b"fence",))
    append(journal, (b"vote",))
    close_journal(journal)
    reopened, records = open_journal(tmp_path)
    close_journal(reopened)

    assert records == (b"first", b"fence", b"vote")
    assert reopened.tail_cut is None


def test_a_rotation_takes_the_place_of_the_torn_tail_too(tmp_path: Path) -> None:
    torn_journal(tmp_path)
    journal, _ = open_journal(tmp_path)

    rotate(journal, (b"kept",))
    append(journal, (b"vote",))
    close_journal(journal)

    assert read_journal(tmp_path) == (b"kept", b"vote")


@pytest.mark.parametrize("ending", ["killed", "power cut", "power cut after removals"])
def test_no_crash_leaves_a_cut_journal_without_the_record_of_the_cut(
    tmp_path: Path, ending: str
) -> None:
    calls = 0
    for crash_at in range(1_000):
        directory = tmp_path / str(crash_at)
        directory.mkdir()
        torn_journal(directory)
        files = FaultyFiles(crash_at=crash_at)
        try:
            journal, _ = open_journal(directory, files=files)
            append(journal, (b"fence",))
            close_journal(journal)
        except Crash:
            calls += 1
        else:
            break
        if ending != "killed":
            files.lose_unsynced(keeps_removals=ending == "power cut after removals")

        journal, records = open_journal(directory)
        close_journal(journal)

        assert b"first" in records
        assert journal.tail_cut is not None or b"fence" in records, f"crash at {crash_at}"
    assert calls >= 5, "every call was a crash once"


def test_a_full_disk_leaves_the_torn_tail_to_be_told_again(tmp_path: Path) -> None:
    torn_journal(tmp_path)
    files = FaultyFiles()
    journal, _ = open_journal(tmp_path, files=files)
    files.write_error = 28

    with pytest.raises(DiskFull):
        append(journal, (b"fence",))
    close_journal(journal)
    reopened, _ = open_journal(tmp_path)
    close_journal(reopened)

    assert reopened.tail_cut is not None


def test_a_vote_of_a_killed_process_is_durable_once_a_start_has_read_it(tmp_path: Path) -> None:
    files = FaultyFiles()
    journal = create_journal(tmp_path, files=files)
    files.crash_at = len(files.calls) + 1  # The write is done, its flush is not.
    with pytest.raises(Crash):
        append(journal, (b"vote",))
    files.crash_at = None

    restarted, records = open_journal(tmp_path, files=files)
    assert records == (b"vote",)
    files.lose_unsynced()
    close_journal(restarted)

    assert read_journal(tmp_path) == (b"vote",), "it was repeated to the others meanwhile"
