"""Garbage collection in a process that runs for months and must never pause for long.

Almost everything here is freed by its reference count. What the collector looks for are cycles,
and for the oldest generation it goes through the whole memory: tens of milliseconds in which
nobody is answered, several times a minute under load, and the caches of the processor are cold
afterwards.
"""

import gc
from typing import Final

THRESHOLDS: Final = (10_000, 20, 1_000)
"""Allocations beyond what was freed until the youngest are looked through, and how often that
happens before the next generation is: the oldest after two hundred million."""


def calm_collector() -> None:
    """Leave out what is there now for good, and look through the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
