"""How commands speak: what is copied stays whole, JSON is one document, errors carry a code."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from commands.output import (
    Exit,
    Settings,
    code_of,
    fail,
    failures,
    plain,
    printable,
    show,
    show_rows,
    shown,
)

ID = "0123456789abcdef" * 4
ROW: dict[str, Any] = {
    "id": bytes.fromhex(ID),
    "what": "Doctor b50ce673 of hospital-a wrote a record, which 2 accounts can open.",
    "url": "http://ledger.of-a-hospital-with-a-long-name.example:8443",
    "height": 7,
    "reason": None,
}


def in_command(*, as_json: bool) -> click.Context:
    return click.Context(click.Command("test"), obj=Settings(as_json=as_json))


def test_ids_stay_whole_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with in_command(as_json=False):
        show_rows("Things", tuple(ROW), [ROW])

    out = capsys.readouterr().out
    assert ID in out
    assert ROW["url"] in out
    assert ROW["what"] in out


@pytest.mark.parametrize("columns", ["30", "80", "120", "200"])
def test_ids_are_never_cut_on_a_terminal(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    with in_command(as_json=False):
        show_rows("Things", tuple(ROW), [ROW])

    out = capsys.readouterr().out
    assert "…" not in out
    pieces = "".join(line.strip(" │") for line in out.splitlines())
    assert ID in (out if int(columns) >= 80 else pieces.replace(" ", ""))


def test_what_others_wrote_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = {"name": "[/bold]\x1b[2Jeve\r", "label [x]": "[red]"}

    with in_command(as_json=False):
        show_rows("[/x]", tuple(hostile), [hostile])
        show(hostile)
        show(hostile, "[/y] \x1b[2J")

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    assert out.count("[/bold]") == 2
    assert "[/y]" in out


def test_fields_of_fields_have_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with in_command(as_json=False):
        show({"tip": {"height": 3, "digest": ID}, "clock_ms": 5, "empty": {}})

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["tip: height 3", f"tip: digest {ID}", "clock ms 5"]


def test_json_holds_what_python_has(capsys: pytest.CaptureFixture[str]) -> None:
    with in_command(as_json=True):
        show({"id": b"\x01\xff", "file": Path("a"), "many": (b"\x02", None, 1.5, True)}, "text")

    assert json.loads(capsys.readouterr().out) == {
        "id": "01ff",
        "file": "a",
        "many": ["02", None, 1.5, True],
    }


def test_rows_in_json_keep_the_fields_that_no_column_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with in_command(as_json=True):
        show_rows("Things", ("height",), [ROW, ROW])

    assert json.loads(capsys.readouterr().out) == [plain(ROW)] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (b"\x0a", "0a"),
        (1.25, "1.2"),
        (("a", b"\x01"), "a, 01"),
        ({"a": 1, "b": None}, "a 1, b -"),
        ("plain", "plain"),
    ],
)
def test_values_for_people(value: object, text: str) -> None:
    assert shown(value) == text


def test_line_breaks_are_left_to_the_writer_and_controls_are_not() -> None:
    assert printable("ä\nb\x00") == "ä\nb\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("found", [None, {"id": b"\x01"}])
def test_a_failure_is_one_line_and_one_document(
    as_json: bool, found: Mapping[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_command(as_json=as_json), pytest.raises(SystemExit) as ended:
        fail(Exit.REFUSED, "some.code", "it is so", found=found)

    captured = capsys.readouterr()
    assert ended.value.code == Exit.REFUSED
    assert captured.err == "error: it is so [some.code]\n"
    if as_json:
        error = {"error": "some.code", "detail": "it is so", "exit_status": 1}
        assert json.loads(captured.out) == {**plain(found or {}), **error}
    else:
        assert captured.out == ""


class NamedProblem(Exception):
    code = "named.problem"


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (NamedProblem("of ours"), "named.problem", "of ours"),
        (ValueError("two\nlines"), "usage.value", "two lines"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.json"), "os.enoent", "x.json: No such"),
        (OSError(errno.EADDRINUSE, "in use"), "os.eaddrinuse", "in use"),
        (OSError("without a number"), "os.error", "without a number"),
    ],
)
def test_named_errors_become_a_line_and_a_status(
    problem: Exception, code: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {NamedProblem: Exit.LOCAL, ValueError: Exit.LOCAL, OSError: Exit.LOCAL}

    with pytest.raises(SystemExit) as ended, failures(kinds):
        raise problem

    assert ended.value.code == Exit.LOCAL
    err = capsys.readouterr().err
    assert err.startswith(f"error: {text}")
    assert err.endswith(f"[{code}]\n")
    assert code_of(problem) == code


def test_the_first_kind_that_fits_gives_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        failures({OSError: Exit.UNKNOWN, Exception: Exit.LOCAL}),
    ):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    assert ended.value.code == Exit.UNKNOWN
    assert "os.econnrefused" in capsys.readouterr().err


def test_our_own_mistakes_stay_visible() -> None:
    with pytest.raises(AssertionError), failures({OSError: Exit.LOCAL}):
        raise AssertionError("an invariant")
