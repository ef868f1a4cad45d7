"""What faults did to commits: the rows of `events` in results."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.measuring import Run
from benchmarks.scene.faults import Event


def event_rows(run: Run) -> list[dict[str, Any]]:
    """Return the run's events with when they had worked, since its start, and what came of them.

    `first_commit_s` is how long after the event something was decided; what was nearly decided
    already is quick. `stall_s` is the longest time without a decision that ended after the event
    and began before the next one. Both are None where nothing was decided any more.
    """
    times_s = sorted({one.decided_s for one in run.decided})
    rows = []
    for number, event in enumerate(run.events):
        end_s = run.events[number + 1].at_s if number + 1 < len(run.events) else math.inf
        rows.append(_event_row(event, end_s, times_s, run.start_s))
    return rows


def _event_row(
    event: Event, end_s: float, times_s: Sequence[float], start_s: float
) -> dict[str, Any]:
    at = bisect_left(times_s, event.at_s)
    stalls_s = [
        now_s - before_s
        for before_s, now_s in pairwise(times_s[max(0, at - 1) :])
        if before_s < end_s
    ]
    first_s = times_s[at] - event.at_s if at < len(times_s) else None
    return {
        "t_s": round(event.at_s - start_s, 3),
        "do": event.do,
        "what": event.what,
        "nodes": list(event.nodes),
        "failed": event.failed,
        "first_commit_s": None if first_s is None else round(first_s, 3),
        "stall_s": round(max(stalls_s), 3) if stalls_s else None,
    }
