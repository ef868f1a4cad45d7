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
import time
from dataclasses import dataclass
from typing import Final

from api.metrics import DELAY_BOUNDS_S, Histogram

TICK_MS: Final = 250
NOTICED_MS: Final = 100
"""Less than this is the ordinary work of the loop."""

PROBE_S: Final = 0.01


def make_delays() -> Histogram:
    return Histogram(bounds=DELAY_BOUNDS_S)


async def keep_probing(delays: Histogram) -> None:
    """Observe how late each of many timers fires, in seconds, those included that were missed."""
    clock_s = asyncio.get_running_loop().time
    due_s = clock_s()
    while True:
        due_s = max(due_s + PROBE_S, clock_s())
        await asyncio.sleep(due_s - clock_s())
        note_delay(delays, clock_s() - due_s)


def note_delay(delays: Histogram, delay_s: float) -> None:
    """Count a timer's delay, and those of the timers that were due while it was late.

    Of an absence of minutes the end counts: no more than a thousand timers are made up for.
    """
    delays.observe(max(0.0, delay_s))
    delay_s = min(delay_s, 1_000 * PROBE_S)
    while (delay_s := delay_s - PROBE_S) > 0:
        delays.observe(delay_s)


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
