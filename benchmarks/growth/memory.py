"""Whether nodes grow while their work does not: memory over time, from the samples of a run."""

from collections.abc import Sequence
from statistics import linear_regression
from typing import Any, Final

HOUR_S: Final = 3_600
SAMPLES_MIN: Final = 3


def memory_rows(series: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each node what its memory came to: MiB, and its trend in MiB an hour.

    The trend is that of the second half of the samples, for caches fill in the first; None of fewer
    than three. `series` is what results have as `node_series`.
    """
    return [_memory_row(name, series) for name in sorted({one["name"] for one in series})]


def _memory_row(name: str, series: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seen = [
        (one["t_s"], one["rss_mb"])
        for one in series
        if one["name"] == name and one["rss_mb"] is not None
    ]
    sizes = [size for _, size in seen]
    half = seen[len(seen) // 2 :]
    trend = None
    if len(half) >= SAMPLES_MIN:
        slope = linear_regression([at_s for at_s, _ in half], [size for _, size in half]).slope
        trend = round(HOUR_S * slope, 2)
    return {
        "name": name,
        "minutes": round((seen[-1][0] - seen[0][0]) / 60, 1) if seen else 0.0,
        "first_mb": sizes[0] if sizes else None,
        "last_mb": sizes[-1] if sizes else None,
        "max_mb": max(sizes, default=None),
        "trend_mb_per_hour": trend,
    }
