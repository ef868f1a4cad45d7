"""Bars and counters for long work, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


@contextmanager
def transfer_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what takes (bytes done, bytes in all); it draws nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def counter(what: str) -> Iterator[Callable[[int], None]]:
    """Yield what takes how many are done of something whose number is not known before."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    console = Console(stderr=True)
    with console.status(what) as status:
        yield lambda done: status.update(f"{what}: {done}")
