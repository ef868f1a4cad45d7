"""What the plots of a report show, as plain figures: nothing here draws.

A point is what several repetitions came to: the median, and a band from the least to the greatest.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.spread import Spread, spread_of

SATURATED: Final = "saturated"
SATURATED_RATE: Final = "committed per second, saturated"
LAN: Final = "lan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where something was measured, and what it came to."""

    x: float
    y: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points that belong together, in the order of x."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened, or was found, at `x`."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes."""

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...] = ()
    is_log_x: bool = False
    is_log_y: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture with one panel or more above each other; `advice` says how to measure it."""

    name: str
    title: str
    advice: str
    panels: tuple[Panel, ...]

    @property
    def is_empty(self) -> bool:
        return not any(curve.points for panel in self.panels for curve in panel.curves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Results with a label that no other results of the report have."""

    label: str
    results: dict[str, Any]


def name_results(several: Sequence[dict[str, Any]]) -> tuple[Named, ...]:
    """Return the results with labels: what was offered to which network; a number if need be."""
    labels = [_label(one) for one in several]
    named = []
    for index, (label, results) in enumerate(zip(labels, several, strict=True)):
        before = labels[:index].count(label)
        is_alone = labels.count(label) == 1
        named.append(Named(label=label if is_alone else f"{label} ({before + 1})", results=results))
    return tuple(named)


def plots_of(named: Sequence[Named], findings: Sequence[dict[str, Any]]) -> tuple[Plot, ...]:
    """Return every plot of a report, the empty ones too; `findings` are those of growth."""
    return (
        latency_against_load(named),
        throughput_against_members(named),
        throughput_against_state(findings),
        throughput_against_dead(named),
        *time_lines(named),
    )


def latency_against_load(named: Sequence[Named]) -> Plot:
    """Return latency, and what was committed, at each rate that was offered."""
    latencies, rates, marks = [], [], []
    for one in named:
        # What a fault did to latency belongs on a time line, not on a curve of loads.
        rows = [row for row in _open_loop(one.results) if not row["events"]]
        for figure, name in (("p50_ms", "median"), ("p99_ms", "99th percentile")):
            latencies.append(_curve(f"{one.label}, {name}", rows, "offered_tps", figure))
        rates.append(_curve(one.label, rows, "offered_tps", "tps"))
        knee = one.results["knee"]
        if knee is not None:
            marks.append(Mark(x=knee["offered_tps"], text=f"knee {knee['offered_tps']:g}"))
    offered = "offered, transactions per second"
    return Plot(
        name="latency-against-load",
        title="Latency and commits against load",
        advice="medledger bench run grant --out DIR",
        panels=(
            _panel(offered, "latency, ms", latencies, marks=tuple(marks), is_log_y=True),
            _panel(offered, "committed per second", rates, marks=tuple(marks)),
        ),
    )


def throughput_against_members(named: Sequence[Named]) -> Plot:
    """Return throughput and processor time per transaction and node at each number of nodes."""
    alike = [one for one in named if _is_plain(one.results, but="validators")]
    return Plot(
        name="throughput-against-nodes",
        title="Throughput and cost against the number of nodes",
        advice="medledger bench run grant -n 7 --out DIR, for n = 4, 7, 10 and 16",
        panels=(
            _across(alike, _validators, "nodes"),
            _panel("nodes", "CPU ms per transaction and node", _cost_curves(alike)),
        ),
    )


def throughput_against_state(findings: Sequence[dict[str, Any]]) -> Plot:
    """Return saturated throughput at each size of the state."""
    points = [
        Point(
            x=row["state_keys"],
            y=Spread(median=row["tps"], low=row["tps_min"], high=row["tps_max"], count=2),
        )
        for one in findings
        for row in one["rows"]
        if {"state_keys", "tps", "tps_min", "tps_max"} <= row.keys()
    ]
    points.sort(key=lambda point: point.x)
    curve = Curve(label="grant", points=tuple(points))
    return Plot(
        name="throughput-against-state",
        title="Throughput against the size of the state",
        advice="medledger bench growth state --ledgers grown --out DIR",
        panels=(_panel("entries of the state", SATURATED_RATE, [curve], is_log_x=True),),
    )


def throughput_against_dead(named: Sequence[Named]) -> Plot:
    """Return throughput at each number of members that never start, by the number of all."""
    alike = [one for one in named if _is_plain(one.results, but="dead")]
    return Plot(
        name="throughput-against-dead",
        title="Throughput against dead nodes",
        advice="medledger bench run grant --dead 1 --out DIR, beside one without",
        panels=(_across(alike, _dead, "dead nodes", has_size=True),),
    )


def time_lines(named: Sequence[Named]) -> tuple[Plot, ...]:
    """Return a plot of seconds for every run with faults; one that is empty if there is none."""
    found = [_time_line(one, row) for one in named for row in one.results["runs"] if row["events"]]
    return tuple(_numbered(found)) or (
        Plot(
            name="time-line",
            title="Time line through a fault",
            advice="medledger bench run primary_killed --out DIR",
            panels=(),
        ),
    )


def kind_of(results: dict[str, Any]) -> str:
    """Return the kind of transaction, if there is one only, or the workload's name."""
    kinds = list(results["workload"].get("shares") or {})
    return str(kinds[0]) if len(kinds) == 1 else str(results["workload"].get("name", "?"))


def spread(rows: Iterable[dict[str, Any]], figure: str) -> Spread | None:
    """Return what a figure came to over rows; None if no row has it."""
    values = [row[figure] for row in rows if row.get(figure) is not None]
    return spread_of(values) if values else None


def _label(results: dict[str, Any]) -> str:
    network = results["network"]
    parts = [results["title"], f"n = {network.get('validators', '?')}"]
    if network.get("dead"):
        parts.append(f"{network['dead']} dead")
    if network.get("links", LAN) != LAN:
        parts.append(f"links {network['links']}")
    return ", ".join(parts)


def _open_loop(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in results["runs"] if row["offered_tps"] is not None]


def _is_plain(results: dict[str, Any], *, but: str) -> bool:
    """Only one thing differs on a curve: the others are as in a plain network."""
    network = results["network"]
    has_dead = bool(network.get("dead")) and but != "dead"
    return not has_dead and bool(network.get("links", LAN) == LAN)


def _validators(results: dict[str, Any]) -> float | None:
    found: float | None = results["network"].get("validators")
    return found


def _dead(results: dict[str, Any]) -> float | None:
    found: float | None = results["network"].get("dead", 0)
    return found


def _across(
    named: Sequence[Named],
    x_of: Callable[[dict[str, Any]], float | None],
    x_label: str,
    *,
    has_size: bool = False,
) -> Panel:
    """Return saturated throughput against what `x_of` says, a curve for each kind."""
    groups: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for one in named:
        x = x_of(one.results)
        rows = [row for row in one.results["runs"] if row["name"] == SATURATED]
        if x is not None and rows:
            size = f", n = {one.results['network'].get('validators')}" if has_size else ""
            group = groups.setdefault(kind_of(one.results) + size, {})
            group.setdefault(x, []).extend(rows)
    curves = [_curve_of(label, by_x, "tps") for label, by_x in groups.items()]
    return _panel(x_label, SATURATED_RATE, curves)


def _cost_curves(named: Sequence[Named]) -> list[Curve]:
    groups: dict[str, dict[float, list[dict[str, Any]]]] = {}
    for one in named:
        validators = _validators(one.results)
        for row in one.results["runs"]:
            if validators is None or row["events"]:
                continue
            label = f"{kind_of(one.results)}, {row['name']}"
            groups.setdefault(label, {}).setdefault(validators, []).append(row["per_transaction"])
    return [_curve_of(label, by_x, "cpu_ms_per_node") for label, by_x in groups.items()]


def _time_line(one: Named, row: dict[str, Any]) -> Plot:
    seconds = "seconds from the start of the load"
    marks = tuple(Mark(x=event["t_s"], text=event["what"]) for event in row["events"])
    latencies = [
        _curve(name, row["series"], "t_s", figure)
        for figure, name in (("p50_ms", "median"), ("p99_ms", "99th percentile"))
    ]
    commits = [_curve("committed", row["series"], "t_s", "committed")]
    return Plot(
        name="time-line",
        title=f"Time line: {one.label}, {row['name']}, repetition {row['repetition'] + 1}",
        advice="",
        panels=(
            _panel(seconds, "committed in this second", commits, marks=marks),
            _panel(seconds, "latency, ms", latencies, marks=marks, is_log_y=True),
        ),
    )


def _numbered(plots: Sequence[Plot]) -> list[Plot]:
    return [
        Plot(name=f"{one.name}-{index:02}", title=one.title, advice="", panels=one.panels)
        for index, one in enumerate(plots)
    ]


def _curve(label: str, rows: Sequence[dict[str, Any]], x: str, y: str) -> Curve:
    by_x: dict[float, list[dict[str, Any]]] = {}
    for row in rows:
        by_x.setdefault(row[x], []).append(row)
    return _curve_of(label, by_x, y)


def _curve_of(label: str, by_x: dict[float, list[dict[str, Any]]], figure: str) -> Curve:
    points = []
    for x in sorted(by_x):
        found = spread(by_x[x], figure)
        if found is not None:
            points.append(Point(x=x, y=found))
    return Curve(label=label, points=tuple(points))


def _panel(
    x_label: str,
    y_label: str,
    curves: Sequence[Curve],
    *,
    marks: tuple[Mark, ...] = (),
    is_log_x: bool = False,
    is_log_y: bool = False,
) -> Panel:
    return Panel(
        x_label=x_label,
        y_label=y_label,
        curves=tuple(curve for curve in curves if curve.points),
        marks=marks,
        is_log_x=is_log_x,
        is_log_y=is_log_y,
    )
