"""Processor time and memory of the nodes under measurement, read from the kernel."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Seconds of processor time (user and system) and the largest resident size in MiB."""

    cpu_s: float
    rss_mb: float


def usage_of(pid: int) -> Usage:
    """Return what a process and its living children have used so far."""
    family = (pid, *_children(pid))
    return Usage(
        cpu_s=sum(_cpu_s(one) for one in family), rss_mb=sum(_peak_mb(one) for one in family)
    )


def _children(pid: int) -> Iterable[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and int(fields[1]) == pid:
                yield int(entry.name)


def _cpu_s(pid: int) -> float:
    fields = _stat(pid)
    ticks = sum(int(one) for one in fields[11:15]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name: state, ppid, ... (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
