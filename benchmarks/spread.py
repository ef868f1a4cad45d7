"""Small statistics: percentiles of a run, median and spread of several."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What several repetitions of one figure came to."""

    median: float
    low: float
    high: float
    count: int


def spread_of(values: Sequence[float]) -> Spread:
    """Return median, least and greatest of at least one value."""
    return Spread(
        median=statistics.median(values), low=min(values), high=max(values), count=len(values)
    )


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the least value that `percent` of them do not exceed; None of none.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50), percentile([1.0, 2.0, 3.0, 4.0], 99)
    (2.0, 4.0)
    """
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
