"""Taking work in turns: what comes while a turn is under way waits, and is done together.

A processor that has done something else meanwhile needs three times as long for the first few
transactions as for those that follow them (docs/performance.md). So a busy node takes many at a
time, and an idle one takes what comes at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TURN_MS: Final = 10
"""Turns begin at least so far apart: a fraction of what agreement takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portion(Generic[T, R]):
    """Items that came together; `results` will hold one for each, in order."""

    items: Sequence[T]
    results: asyncio.Future[list[R]]


@dataclass(slots=True, kw_only=True)
class Gathering(Generic[T, R]):
    """What waits for its turn.

    `work` does one turn, and returns one result for each item in order. A turn takes whole
    portions until it has `items_max`, so that nobody waits long for the answer to a few. `task`
    takes turns while anything waits; the last one began at `began_s` (local time).
    """

    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
    items_max: int
    waiting: deque[Portion[T, R]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    began_s: float = 0.0


async def take_part(gathering: Gathering[T, R], items: Sequence[T]) -> list[R]:
    """Return the results of the items once a turn has done them; raise what the turn raised."""
    return await _wait_in_line(gathering, items)


async def wait_done(gathering: Gathering[T, R], timeout_ms: int) -> None:
    """Return when everything that came before has had its turn, or after `timeout_ms`.

    What a turn raises is the affair of those whose items were in it: nothing of it is raised here.
    """
    if gathering.task is None:
        return
    results = _wait_in_line(gathering, ())
    try:
        await asyncio.wait([results], timeout=timeout_ms / 1000)
    finally:
        if not results.cancel() and not results.cancelled():
            results.exception()  # It is told to others, and here it is not news.


def _wait_in_line(gathering: Gathering[T, R], items: Sequence[T]) -> asyncio.Future[list[R]]:
    loop = asyncio.get_running_loop()
    portion: Portion[T, R] = Portion(items=items, results=loop.create_future())
    gathering.waiting.append(portion)
    if gathering.task is None:
        gathering.task = loop.create_task(_take_turns(gathering))
    return portion.results


async def _take_turns(gathering: Gathering[T, R]) -> None:
    try:
        while gathering.waiting:
            rest_s = gathering.began_s + TURN_MS / 1000 - time.monotonic()
            if rest_s > 0:
                await asyncio.sleep(rest_s)
            gathering.began_s = time.monotonic()
            await _take_turn(gathering.work, _next_turn(gathering))
    finally:
        gathering.task = None
        for portion in gathering.waiting:  # None is left but where a turn was broken off.
            portion.results.cancel()
        gathering.waiting.clear()


def _next_turn(gathering: Gathering[T, R]) -> list[Portion[T, R]]:
    waiting = gathering.waiting
    taken = [waiting.popleft()]
    count = len(taken[0].items)
    while waiting and count + len(waiting[0].items) <= gathering.items_max:
        taken.append(waiting.popleft())
        count += len(taken[-1].items)
    return taken


async def _take_turn(
    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], turn: Sequence[Portion[T, R]]
) -> None:
    """Do one turn; whoever has gone away meanwhile is answered in vain."""
    try:
        results = await work([item for portion in turn for item in portion.items])
    except asyncio.CancelledError:
        for portion in turn:
            portion.results.cancel()
        raise
    except Exception as problem:  # noqa: BLE001 - it is theirs who wait for the results
        for portion in turn:
            if not portion.results.done():
                portion.results.set_exception(problem)
        return
    first = 0
    for portion in turn:
        stop = first + len(portion.items)
        if not portion.results.done():
            portion.results.set_result(list(results[first:stop]))
        first = stop
