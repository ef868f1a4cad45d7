"""How long this process was not running while something was due.

A loop that was held runs the timers that came due meanwhile before a task that slept, so the watch
would tell the core of an absence after the timer that it explains. Whoever finds out first tells
of it, and it is told once.
"""

import math
import time
from dataclasses import dataclass
from typing import Final

TICK_MS: Final = 250
NOTICED_MS: Final = 100
"""Less than this is the ordinary work of the loop."""


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
