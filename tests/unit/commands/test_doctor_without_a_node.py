"""What the doctor sees in a directory whose node does not answer, and what a node leaves behind."""

import json
import os
from pathlib import Path

import pytest

from commands.last_words import LastWords, read_words
from commands.output import Exit
from commands.silent_node import SILENT, last_lines
from commands.trace import as_row, read_events, trace
from storage.errors import JournalCorrupt, LeaseTaken
from storage.lease import find_holder, release_lease, take_lease
from tests.unit.commands.command_line import check_refused, invoke

TX = "ab" * 32


def test_a_clean_end_and_a_failure_leave_their_words(tmp_path: Path) -> None:
    with LastWords(tmp_path):
        pass
    clean = read_words(tmp_path)
    with pytest.raises(JournalCorrupt), LastWords(tmp_path):
        raise JournalCorrupt("segment 3 is damaged")
    failed = read_words(tmp_path)

    assert clean is not None
    assert clean.is_clean
    assert failed is not None
    assert not failed.is_clean
    assert (failed.code, failed.text) == ("journal.corrupt", "segment 3 is damaged")


def test_a_process_that_runs_has_no_words_yet(tmp_path: Path) -> None:
    with LastWords(tmp_path):
        pass
    with LastWords(tmp_path):
        assert read_words(tmp_path) is None


def test_who_finds_the_lease_taken_leaves_the_words_to_who_runs(tmp_path: Path) -> None:
    with pytest.raises(LeaseTaken), LastWords(tmp_path):
        raise LeaseTaken("process 7 runs")

    assert read_words(tmp_path) is None


def test_words_that_are_damaged_are_none(tmp_path: Path) -> None:
    (tmp_path / "ended.json").write_text('{"at_ms": "yesterday"}', encoding="utf-8")

    assert read_words(tmp_path) is None


def test_the_holder_of_a_lease_is_found_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"

    before = find_holder(path)
    lease = take_lease(path)
    held = find_holder(path)
    release_lease(lease)
    after = find_holder(path)

    assert (before, held, after) == (None, os.getpid(), None)


def test_a_directory_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    ended = invoke("--json", "doctor", tmp_path)

    assert (ended.status, ended.json["code"]) == (Exit.LOCAL, "node_directory")
    assert str(tmp_path) in ended.json["sentence"]


def test_the_doctor_needs_to_be_told_where_to_look() -> None:
    check_refused(invoke("doctor"), Exit.USAGE, "usage.missing")


def test_the_last_lines_of_a_log_are_shown(tmp_path: Path) -> None:
    (tmp_path / "node.log").write_text("one\ntwo\nthree\n", encoding="utf-8")

    assert [one.sentence for one in last_lines(tmp_path, 2)] == ["two", "three"]
    assert last_lines(tmp_path / "nowhere", 2) == ()


def test_codes_of_silent_nodes_have_their_meaning() -> None:
    assert all(meaning and not meaning.endswith(".") for meaning in SILENT.values())


def event(time: str, name: str, **fields: object) -> dict[str, object]:
    return {"time": time, "level": "debug", "logger": "x", "event": name, **fields}


def test_a_path_holds_the_lines_of_the_transaction_and_of_its_block(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    events = [
        event("3", "prepared", height=9, view=0),
        event("1", "pooled", tx=TX, by="user"),
        event("2", "in proposal", tx=TX, height=9, view=0),
        event("2", "in proposal", tx="cd" * 32, height=9, view=0),
        event("2", "prepared", height=8, view=0),
        event("4", "block", height=9, view=0, executed_ms=3),
    ]
    lines = [json.dumps(one) for one in events]
    log.write_text("\n".join(["not json", "[1]", *lines]), encoding="utf-8")

    found = trace(read_events(log), TX)

    assert [one["event"] for one in found] == ["pooled", "in proposal", "prepared", "block"]
    assert as_row(found[0])["what"] == {"by": "user"}
    assert as_row(found[3])["what"] == {"executed_ms": 3}


def test_a_log_without_the_transaction_says_what_to_look_at(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_text(json.dumps(event("1", "block", height=1)) + "\n", encoding="utf-8")

    check_refused(invoke("tx", "trace", TX, log), Exit.REFUSED, "trace.nothing")
