"""Sliced work on the event loop: a generator that pauses, with a turn for everybody in between."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


async def run_breathing(steps: Generator[None, None, T]) -> T:
    """Run sliced work to its end, giving the loop a turn at every pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)
