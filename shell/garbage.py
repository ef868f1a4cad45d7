"""Garbage collection in a process that runs for months and must never pause for long.

Almost everything here is freed by its reference count. What the collector looks for are cycles,
and for the oldest generation it goes through the whole memory: tens of milliseconds in which
nobody is answered, several times a minute under load, and the caches of the processor are cold
afterwards.
"""

import ctypes
import gc
from typing import Final

THRESHOLDS: Final = (10_000, 20, 1_000)
"""Allocations beyond what was freed until the youngest are looked through, and how often that
happens before the next generation is: the oldest after two hundred million."""

KEPT_BLOCK_BYTES_MAX: Final = 4 << 20
KEPT_BYTES_MAX: Final = 16 << 20
"""What may lie free at the end of the heap (of each thread's) before the system gets it back."""

_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1


def calm_collector() -> None:
    """Leave out what is there now for good, and look through the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def keep_freed_memory() -> None:
    """Have the allocator keep blocks of megabytes that were freed for the next who need some.

    The C library returns a freed megabyte to the system, and the next one comes in 256 pages that
    are each zeroed at their first touch: that took three times as long as hashing what was put into
    them. Where the library is another, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BLOCK_BYTES_MAX)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES_MAX)
