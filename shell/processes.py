"""What processes use: processor time and memory, as the kernel tells it in /proc.

A machine without /proc tells nothing, and the numbers are left out.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
STAT_USER, STAT_SYSTEM, STAT_RESIDENT_PAGES = 11, 12, 21
"""Places in /proc/PID/stat behind the name in brackets (proc(5)): utime, stime, rss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Seconds of processor time so far (user and system), and memory resident now."""

    cpu_s: float
    resident_bytes: int


def usage_of(pids: Iterable[int]) -> Usage | None:
    """Return what these processes use together, None if the kernel tells of none of them."""
    told = [fields for pid in pids if (fields := _stat(pid))]
    if not told:
        return None
    ticks = sum(int(one[STAT_USER]) + int(one[STAT_SYSTEM]) for one in told)
    pages = sum(int(one[STAT_RESIDENT_PAGES]) for one in told)
    return Usage(
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"), resident_bytes=pages * os.sysconf("SC_PAGE_SIZE")
    )


def _stat(pid: int) -> list[str]:
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
