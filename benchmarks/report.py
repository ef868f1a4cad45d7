"""What a run came to: rates, percentiles, processor time, and the machine it was measured on."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.open_loop import Run
from benchmarks.processes import Usage

WARM_UP: Final = 0.1
"""Share of the transactions at the start that percentiles leave out."""


def summarise(
    run: Run,
    *,
    kind: str,
    offered_per_s: float,
    before: Mapping[str, Usage],
    after: Mapping[str, Usage],
) -> dict[str, Any]:
    """Return the numbers of one run; latencies in milliseconds, from when each was due."""
    latencies = _latencies(run)
    span_s = max(run.seen_s.values(), default=0.0) - min(run.due_s.values(), default=0.0)
    committed = len(run.seen_s)
    cpu_s = {org: after[org].cpu_s - before[org].cpu_s for org in after}
    return {
        "kind": kind,
        "offered_tps": offered_per_s,
        "committed": committed,
        "tps": round(committed / span_s, 1) if span_s > 0 else 0.0,
        "p50_ms": _percentile(latencies, 50),
        "p95_ms": _percentile(latencies, 95),
        "p99_ms": _percentile(latencies, 99),
        "blocks": len(run.block_transactions),
        "transactions_per_block_max": max(run.block_transactions, default=0),
        "not_taken": run.not_taken,
        "refused_in_sample": run.refused,
        "missing": len(run.due_s) - committed,
        "cpu_s_per_process": {org: round(one, 2) for org, one in cpu_s.items()},
        "cpu_ms_per_transaction": round(1000 * sum(cpu_s.values()) / committed, 3)
        if committed
        else None,
        "rss_mb_max": round(max((one.rss_mb for one in after.values()), default=0.0), 1),
    }


def machine() -> dict[str, Any]:
    """Return where the numbers come from."""
    return {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }


def _latencies(run: Run) -> list[float]:
    ordered = sorted(run.seen_s, key=lambda tx_id: run.due_s[tx_id])
    counted = ordered[int(len(ordered) * WARM_UP) :]
    return sorted(1000 * (run.seen_s[tx_id] - run.due_s[tx_id]) for tx_id in counted)


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1)
