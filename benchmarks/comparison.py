"""Comparing two results: medians, spread, and a verdict only where the difference exceeds noise.

Runs are matched by name (saturated, a share of that, a fixed rate), transfers by their size. Noise
is what the repetitions of one side differ by among themselves. A change counts only if the ranges
of the two sides do not touch, and the medians are further apart than either range is wide and than
`NOISE_MIN`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.spread import Spread, spread_of

NOISE_MIN: Final = 0.03
"""Less than this is nobody's doing: two runs of the same code differ by as much."""

MORE_IS_BETTER: Final[Mapping[str, bool]] = {
    "tps": True,
    "efficiency": True,
    "p50_ms": False,
    "p95_ms": False,
    "p99_ms": False,
    "put_mib_s": True,
    "get_mib_s": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure of one load on both sides; `verdict` is better, worse or no difference."""

    load: str
    figure: str
    before: Spread
    after: Spread
    verdict: str

    @property
    def ratio(self) -> float | None:
        """How many times the first the second is."""
        return self.after.median / self.before.median if self.before.median else None


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Return every figure that both have, load by load."""
    first, second = _by_load(before), _by_load(after)
    changes = []
    for load, rows in first.items():
        for figure in MORE_IS_BETTER if load in second else ():
            one, two = _values(rows, figure), _values(second[load], figure)
            if one and two:
                changes.append(_change(load, figure, spread_of(one), spread_of(two)))
    return changes


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return in words what else differs, so that a change may have other causes than the code."""
    found = []
    for name, one, two in (
        ("machine", before["machine"].get("processor"), after["machine"].get("processor")),
        ("cores", before["machine"].get("cores"), after["machine"].get("cores")),
        ("workload", before["workload"], after["workload"]),
        ("network", before["network"], after["network"]),
    ):
        if one != two:
            found.append(f"{name} differs: {_short(one)} and {_short(two)}")
    found += [
        f"the {which} results were interrupted"
        for which, results in (("first", before), ("second", after))
        if results["interrupted"]
    ]
    return found


def _change(load: str, figure: str, before: Spread, after: Spread) -> Change:
    verdict = "no difference beyond noise"
    gap = abs(after.median - before.median)
    widest = max(before.high - before.low, after.high - after.low)
    is_apart = after.low > before.high or after.high < before.low
    if min(before.count, after.count) == 1:
        verdict = "one repetition: no verdict"
    elif is_apart and gap > max(widest, NOISE_MIN * abs(before.median)):
        is_more = after.median > before.median
        verdict = "better" if is_more is MORE_IS_BETTER[figure] else "worse"
    return Change(load=load, figure=figure, before=before, after=after, verdict=verdict)


def _by_load(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in results["runs"]:
        if row["is_whole"]:
            found.setdefault(row["name"], []).append(row)
    for row in results["transfers"]:
        found.setdefault(f"{row['content_bytes']} bytes", []).append(row)
    return found


def _values(rows: Sequence[dict[str, Any]], figure: str) -> list[float]:
    return [row[figure] for row in rows if row.get(figure) is not None]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
