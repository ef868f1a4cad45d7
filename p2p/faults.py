"""Faults of this node: what its own callbacks raise by mistake, kept apart from what peers do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from p2p.errors import P2pError

OnFault: TypeAlias = Callable[[Exception], None]
"""Takes what a handler or callback of this node has raised and nobody expected."""


@contextmanager
def reporting(on_fault: OnFault) -> Iterator[None]:
    """Report what is raised inside and go on after it; errors of this room pass through."""
    try:
        yield
    except P2pError:
        raise
    except Exception as fault:  # noqa: BLE001 (outermost: above is only the event loop)
        on_fault(fault)
