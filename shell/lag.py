"""How long this process was not running while something was due.

A loop that was held runs the timers that came due meanwhile before a task that slept, so the watch
would tell the core of an absence after the timer that it explains. Whoever finds out first tells
of it, and it is told once.

How long what is due at any time would wait is told by a probe: a timer every few milliseconds. A
loop that is held for long misses many of them, and each counts with its own delay, as if it had
come; one long step is not one small number among thousands.
"""

import asyncio
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from api.metrics import DELAY_BOUNDS_S, Histogram

TICK_MS: Final = 250
NOTICED_MS: Final = 100
"""Less than this is the ordinary work of the loop."""

PROBE_S: Final = 0.01


@dataclass(slots=True, kw_only=True)
class Probe:
    """How late timers fire, in seconds.

    `delays` is what whoever waits for this process feels. `held` leaves out the time in which the
    system ran other processes although this one could have run: what is left is the work of ours
    that held the loop, and what it waited for (a disk). On a machine that is overloaded by others
    the two differ widely. Without the kernel's word (schedstat) they are the same.
    """

    delays: Histogram = field(default_factory=lambda: Histogram(bounds=DELAY_BOUNDS_S))
    held: Histogram = field(default_factory=lambda: Histogram(bounds=DELAY_BOUNDS_S))


async def keep_probing(probe: Probe) -> None:
    """Observe how late each of many timers fires, those included that were missed."""
    clock_s = asyncio.get_running_loop().time
    with _open_waits() as waits:
        due_s, waited_s = clock_s(), _waited_s(waits)
        while True:
            due_s = max(due_s + PROBE_S, clock_s())
            await asyncio.sleep(due_s - clock_s())
            delay_s, before_s, waited_s = clock_s() - due_s, waited_s, _waited_s(waits)
            note_delay(probe.delays, delay_s)
            note_delay(probe.held, delay_s - (waited_s - before_s))


def note_delay(delays: Histogram, delay_s: float) -> None:
    """Count a timer's delay, and those of the timers that were due while it was late.

    Of an absence of minutes the end counts: no more than a thousand timers are made up for.
    """
    delays.observe(max(0.0, delay_s))
    delay_s = min(delay_s, 1_000 * PROBE_S)
    while (delay_s := delay_s - PROBE_S) > 0:
        delays.observe(delay_s)


@contextmanager
def _open_waits() -> Iterator[int | None]:
    """Open what the kernel tells of this thread's waits, None where it tells nothing."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield file
    finally:
        os.close(file)


def _waited_s(file: int | None) -> float:
    """Return how long this thread could have run, so far, while the system ran others."""
    return 0.0 if file is None else int(os.pread(file, 64, 0).split()[1]) / 1e9


@dataclass(slots=True)
class Lag:
    """`tick_due_s` is when the watch runs next, `told_s` until when absence is told (monotonic)."""

    tick_due_s: float = math.inf
    told_s: float = 0.0
    ms_max: int = 0


def take_lag_ms(lag: Lag, due_s: float) -> int:
    """Return how long ago, of what was not told yet, this thing or the watch was due."""
    now_s = time.monotonic()
    since_s = max(min(due_s, lag.tick_due_s), lag.told_s)
    lag.told_s = now_s
    lag_ms = max(0, int((now_s - since_s) * 1000))
    lag.ms_max = max(lag.ms_max, lag_ms)
    return lag_ms
