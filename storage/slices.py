"""Sliced work: generators that pause so that an event loop or other threads can breathe."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def run_to_end(steps: Generator[object, None, Result]) -> Result:
    """Return what sliced work comes to, without pausing."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
