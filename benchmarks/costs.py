"""What one transaction costs the nodes: processor time, bytes on the wire, bytes on disk."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

MIB = 1 << 20


def per_transaction(nodes: Sequence[dict[str, Any]], tps: float) -> dict[str, float | None]:
    """Return a run's costs per committed transaction, from what its nodes came to.

    What has no figure on some node (no samples, another system) is None.
    """
    return {
        "cpu_ms_all_nodes": _per(nodes, "cpu_s", 1_000, tps, sum),
        "cpu_ms_per_node": _per(nodes, "cpu_s", 1_000, tps, fmean),
        "bytes_sent_all_nodes": _per(nodes, "bytes_sent", 1, tps, sum),
        "disk_bytes_per_node": _per(nodes, "disk_mb_grown", MIB, tps, fmean),
    }


def _per(
    nodes: Sequence[dict[str, Any]],
    figure: str,
    unit: float,
    tps: float,
    join: Callable[[list[float]], float],
) -> float | None:
    if not nodes or not tps or any(one.get(figure) is None for one in nodes):
        return None
    if any(not one.get("seconds") for one in nodes):
        return None
    return round(join([one[figure] * unit / one["seconds"] / tps for one in nodes]), 3)
