"""How commands speak: tables for people, JSON for programs, one line and an exit status for errors.

Exit statuses are part of the interface: 0 done, 1 refused by the ledger, 2 wrong usage, 3 not
reachable or timed out (the outcome is unknown), 4 a failure on this side.
"""

import errno
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_COLUMNS: Final = 10_000


class Exit(IntEnum):
    """What the exit status of a command says."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNKNOWN = 3
    LOCAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user said before the command: kept in click's context object."""

    as_json: bool


def settings() -> Settings:
    """Return the settings of the running command."""
    found = click.get_current_context().find_root().obj
    return found if isinstance(found, Settings) else Settings(as_json=False)


def say(text: str) -> None:
    """Tell a person something; programs get JSON at the end instead."""
    if not settings().as_json:
        Console(highlight=False, soft_wrap=True).print(Text(printable(text)))


def show(value: Mapping[str, Any], text: str | None = None) -> None:
    """Print one result: as JSON, or as `text`, or as a list of its fields."""
    if settings().as_json:
        click.echo(json.dumps(plain(value), indent=2))
    elif text is not None:
        say(text)
    else:
        _print_fields(_console(), value)


def show_rows(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table; as JSON it is a list of objects with every field of the rows."""
    rows = list(rows)
    if settings().as_json:
        click.echo(json.dumps([plain(row) for row in rows], indent=2))
        return
    console = _console()
    table = Table(title=Text(title), title_justify="left")
    for column in columns:
        # What is copied (an id, an address) stays in one piece; sentences may go on below.
        is_text = any(" " in shown(row.get(column)) for row in rows)
        table.add_column(_heading(column), overflow="fold", no_wrap=not is_text)
    for row in rows:
        table.add_row(*[Text(shown(row.get(column))) for column in columns])
    if _columns_needed(console, table) <= console.width:
        console.print(table)
        return
    console.print(Text(title), style="italic")
    for row in rows:
        console.print()
        _print_fields(console, {column: row.get(column) for column in columns})


def fail(
    status: Exit,
    code: str,
    text: str,
    *,
    found: Mapping[str, Any] | None = None,
    as_json: bool | None = None,
) -> NoReturn:
    """End the command with one line that says what is wrong and what to do.

    `found` is what the command has learnt nevertheless: one answer holds both.
    """
    line = " ".join(printable(text).split())
    if as_json is None:
        root = click.get_current_context(silent=True)
        as_json = root is not None and settings().as_json
    if as_json:
        error = {"error": code, "detail": line, "exit_status": int(status)}
        click.echo(json.dumps({**plain(found or {}), **error}))
    click.echo(f"error: {line} [{code}]", err=True)
    sys.exit(int(status))


@contextmanager
def failures(kinds: Mapping[type[Exception], Exit]) -> Iterator[None]:
    """Turn named errors into one line and an exit status; anything else is our own mistake."""
    try:
        yield
    except tuple(kinds) as problem:
        for kind, status in kinds.items():
            if isinstance(problem, kind):
                fail(status, code_of(problem), _told(problem))
        raise


def code_of(problem: Exception) -> str:
    """Return the stable code of an error; the operating system's have their names."""
    code = getattr(problem, "code", None)
    if isinstance(code, str):
        return code
    if isinstance(problem, OSError):
        return "os." + errno.errorcode.get(problem.errno or 0, "error").lower()
    assert isinstance(problem, ValueError), f"{type(problem).__name__} needs a code"
    return "usage.value"


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items())
    return printable(str(value))


def printable(text: str) -> str:
    """Return the text without what a terminal would obey: some of it was written by others."""
    return "".join(
        one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _console() -> Console:
    """Return the terminal; where nobody looks (a pipe, a file) no line is too long."""
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return Console(highlight=False, width=width)


def _columns_needed(console: Console, table: Table) -> int:
    unbounded = console.options.update(width=PIPE_COLUMNS)
    return console.measure(table, options=unbounded).minimum


def _heading(name: str) -> str:
    return name.replace("_", " ")


def _print_fields(console: Console, value: Mapping[str, Any]) -> None:
    """Print names and values below each other; the fields of a value that has some, too."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, one in _flat(value, ""):
        table.add_row(Text(name), Text(shown(one)))
    console.print(table)


def _flat(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from _flat(one, f"{prefix}{_heading(str(name))}: ")
        else:
            yield f"{prefix}{_heading(str(name))}", one


def _told(problem: Exception) -> str:
    """Return what went wrong in one line; the system's errors lose their numbers."""
    text = str(problem)
    if isinstance(problem, OSError) and problem.strerror:
        text = (
            problem.strerror
            if problem.filename is None
            else f"{problem.filename}: {problem.strerror}"
        )
    return " ".join(text.split())
