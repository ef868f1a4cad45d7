"""How commands speak: tables for people, JSON for programs, one line and an exit status for errors.

Exit statuses are part of the interface: 0 done, 1 refused by the ledger, 2 wrong usage, 3 not
reachable or timed out (the outcome is unknown), 4 a failure on this side.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table


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
        Console(highlight=False, soft_wrap=True).print(text, markup=False)


def show(value: Mapping[str, Any], text: str | None = None) -> None:
    """Print one result: as JSON, or as `text`, or as a list of its fields."""
    if settings().as_json:
        click.echo(json.dumps(plain(value), indent=2))
    elif text is not None:
        say(text)
    else:
        table = Table(show_header=False, box=None)
        for name, one in value.items():
            table.add_row(name.replace("_", " "), shown(one))
        Console(highlight=False).print(table)


def show_rows(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a table; as JSON it is a list of objects with every field of the rows."""
    rows = list(rows)
    if settings().as_json:
        click.echo(json.dumps([plain(row) for row in rows], indent=2))
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*[shown(row.get(column)) for column in columns])
    Console(highlight=False).print(table)


def fail(status: Exit, code: str, text: str) -> NoReturn:
    """End the command with one line that says what is wrong and what to do."""
    root = click.get_current_context(silent=True)
    as_json = root is not None and settings().as_json
    if as_json:
        click.echo(json.dumps({"error": code, "detail": text, "exit_status": int(status)}))
    click.echo(f"error: {text} [{code}]", err=True)
    sys.exit(int(status))


@contextmanager
def failures(kinds: Mapping[type[Exception], Exit]) -> Iterator[None]:
    """Turn named errors into one line and an exit status; anything else is our own mistake."""
    try:
        yield
    except tuple(kinds) as problem:
        for kind, status in kinds.items():
            if isinstance(problem, kind):
                fail(status, getattr(problem, "code", kind.__name__), str(problem))
        raise


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def plain(value: Any) -> Any:
    """Return what JSON can hold of a value: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value
