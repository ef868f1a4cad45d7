"""The tables of a report: rows of text, from results; nothing here knows HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.report.plots import Named, Plot, kind_of, spread
from benchmarks.spread import Spread

NOTHING: Final = "-"
COSTS: Final = {
    "cpu_ms_per_node": "CPU ms per node",
    "cpu_ms_all_nodes": "CPU ms, all nodes",
    "bytes_sent_all_nodes": "bytes on the wire, all nodes",
    "disk_bytes_per_node": "bytes on disk per node",
}
FIGURES: Final = {
    "tps": "committed per second",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "efficiency": "efficiency",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Text in columns, every row as long as `columns`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def told(value: Any) -> str:
    """Return a figure in digits that mean something: no more than four, thousands apart.

    >>> told(1234.56), told(0.38212), told(12.345), told(None), told(True)
    ('1,235', '0.3821', '12.35', '-', 'yes')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def told_spread(found: Spread | None) -> str:
    """Return a median, with the least and the greatest where there are several values."""
    if found is None:
        return NOTHING
    if found.count == 1 or found.low == found.high:
        return told(found.median)
    return f"{told(found.median)} ({told(found.low)} .. {told(found.high)})"


def measured(named: Sequence[Named]) -> Table:
    """Return what was measured where, by which code: a row for each result."""
    rows = []
    for one in named:
        results, network = one.results, one.results["network"]
        dirty = " (changed)" if results["dirty"] else ""
        rows.append(
            (
                one.label,
                str(results["workload"].get("name", NOTHING)),
                told(network.get("validators")),
                told(network.get("dead")),
                f"{network.get('links', NOTHING)}, {network.get('where', NOTHING)}",
                told(results["seed"]),
                f"{(results['commit'] or 'unknown')[:12]}{dirty}",
                "interrupted" if results["interrupted"] else "whole",
            )
        )
    columns = ("results", "workload", "nodes", "dead", "links, where", "seed", "commit", "run")
    return Table(columns=columns, rows=tuple(rows))


def loads(named: Sequence[Named]) -> Table:
    """Return every load: what its repetitions came to, and what was not committed."""
    rows = []
    for one in named:
        for name, group in _by_load(one.results).items():
            rows.append(
                (
                    one.label,
                    name,
                    told(group[0]["offered_tps"]),
                    str(len(group)),
                    *(told_spread(spread(group, figure)) for figure in FIGURES),
                    _count(group, "refused"),
                    _count(group, "not_taken"),
                    told(sum(row["lost"] for row in group)),
                )
            )
    columns = ("results", "load", "offered per second", "runs", *FIGURES.values())
    return Table(columns=(*columns, "refused", "not taken", "lost"), rows=tuple(rows))


def knees(named: Sequence[Named]) -> Table:
    """Return the knee of each result that has one."""
    rows = [
        (
            one.label,
            *(told(one.results["knee"].get(key)) for key in ("offered_tps", "tps", "p99_ms")),
        )
        for one in named
        if one.results["knee"] is not None
    ]
    return Table(
        columns=("results", "offered per second", "committed per second", "p99 ms"),
        rows=tuple(rows),
    )


def costs(named: Sequence[Named]) -> Table:
    """Return what one committed transaction of each kind cost the nodes (P1)."""
    rows = []
    for one in named:
        for name, group in _by_load(one.results).items():
            spreads = [spread([row["per_transaction"] for row in group], key) for key in COSTS]
            if any(found is not None for found in spreads):
                nodes = told(one.results["network"].get("validators"))
                told_all = (told_spread(found) for found in spreads)
                rows.append((kind_of(one.results), one.label, nodes, name, *told_all))
    rows.sort(key=lambda row: row[0])
    return Table(columns=("kind", "results", "nodes", "load", *COSTS.values()), rows=tuple(rows))


def cryptography(named: Sequence[Named]) -> Table:
    """Return microseconds of processor time of each operation, over all results."""
    measured_us: dict[str, list[dict[str, float]]] = {}
    for one in named:
        for name, took_us in one.results["crypto_us"].items():
            measured_us.setdefault(name, []).append({"us": took_us})
        checks = one.results["t_verify_us"].values()
        measured_us.setdefault("t_verify (the library's own check)", []).extend(
            {"us": took_us} for took_us in checks if took_us is not None
        )
    rows = [(name, told_spread(spread(found, "us"))) for name, found in measured_us.items()]
    return Table(columns=("operation", "microseconds"), rows=tuple(rows))


def nodes(named: Sequence[Named]) -> Table:
    """Return what each load asked of the worst node: memory, loop lag, disk."""
    keys = ("cpu_share", "rss_mb_max", "lag_p99_ms", "lag_max_ms", "disk_mb_grown")
    rows = []
    for one in named:
        for name, group in _by_load(one.results).items():
            worst = [_worst(row["nodes"], keys) for row in group]
            spreads = (told_spread(spread(worst, key)) for key in keys)
            rows.append((one.label, name, *spreads))
    columns = ("CPU share", "memory MiB", "loop lag p99 ms", "loop lag max ms", "disk grown MiB")
    return Table(columns=("results", "load", *columns), rows=tuple(rows))


def events(named: Sequence[Named]) -> Table:
    """Return every fault and what it did to commits."""
    rows = [
        (
            one.label,
            f"{row['name']}, {row['repetition'] + 1}",
            told(event["t_s"]),
            str(event["what"]),
            told(event["first_commit_s"]),
            told(event["stall_s"]),
            told(event["failed"]),
        )
        for one in named
        for row in one.results["runs"]
        for event in row["events"]
    ]
    columns = (
        "results",
        "run",
        "at s",
        "what",
        "first commit after s",
        "longest stall s",
        "failed",
    )
    return Table(columns=columns, rows=tuple(rows))


def transfers(named: Sequence[Named]) -> Table:
    """Return how fast blobs of each size went in and out."""
    rows = []
    for one in named:
        sizes = sorted({row["content_bytes"] for row in one.results["transfers"]})
        for size in sizes:
            group = [row for row in one.results["transfers"] if row["content_bytes"] == size]
            speeds = (told_spread(spread(group, key)) for key in ("put_mib_s", "get_mib_s"))
            rows.append((one.label, told(size), str(len(group)), *speeds))
    columns = ("results", "bytes", "runs", "put MiB/s", "get MiB/s")
    return Table(columns=columns, rows=tuple(rows))


def finding(one: dict[str, Any]) -> Table:
    """Return what a measurement of growth has found, as it stands there."""
    columns = tuple(dict.fromkeys(name for row in one["rows"] for name in row))
    rows = tuple(tuple(told(row.get(name)) for name in columns) for row in one["rows"])
    return Table(columns=columns, rows=rows)


def points(plot: Plot) -> Table:
    """Return the figures behind a plot, curve by curve."""
    rows = [
        (panel.y_label, curve.label, f"{told(point.x)}", told_spread(point.y))
        for panel in plot.panels
        for curve in panel.curves
        for point in curve.points
    ]
    x_label = plot.panels[0].x_label if plot.panels else "x"
    return Table(columns=("figure", "curve", x_label, "value"), rows=tuple(rows))


def origins(named: Sequence[Named]) -> Table:
    """Return machines and versions, a row for each thing that results say about them."""
    rows = [
        (one.label, key, told(value))
        for one in named
        for table in ("machine", "versions")
        for key, value in one.results[table].items()
    ]
    return Table(columns=("results", "what", "value"), rows=tuple(rows))


def parameters(named: Sequence[Named]) -> Table:
    """Return every parameter of every workload, defaults included."""
    rows = [
        (one.label, key, str(value))
        for one in named
        for key, value in one.results["workload"].items()
    ]
    return Table(columns=("results", "parameter", "value"), rows=tuple(rows))


def machine_line(several: Sequence[dict[str, Any]]) -> str:
    """Return in one line where all of it was measured, for captions."""
    lines = []
    for one in several:
        machine, versions = one["machine"], one["versions"]
        lines.append(
            f"{machine.get('cores', '?')} cores of {machine.get('processor', '?')},"
            f" {told(machine.get('memory_mb'))} MiB, Python {versions.get('python', '?')}"
        )
    return "; ".join(dict.fromkeys(lines))


def _by_load(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows by the name of their load; those of different rates are apart."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in results["runs"]:
        groups.setdefault(_load_name(row), []).append(row)
    return groups


def _load_name(row: dict[str, Any]) -> str:
    if row["offered_tps"] is None or "per second" in row["name"]:
        return str(row["name"])
    return f"{row['name']} ({row['offered_tps']:g} per second)"


def _count(rows: Sequence[dict[str, Any]], table: str) -> str:
    """Return how many, by code."""
    counts: dict[str, int] = {}
    for row in rows:
        for code, count in row[table].items():
            counts[code] = counts.get(code, 0) + count
    return ", ".join(f"{count:,} {code}" for code, count in sorted(counts.items())) or "0"


def _worst(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, float | None]:
    return {
        key: max((row[key] for row in rows if row.get(key) is not None), default=None)
        for key in keys
    }
