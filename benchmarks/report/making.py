"""Making a report: from the directories of results to `report.html` and the pictures beside it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import NoPictures, ResultsInvalid
from benchmarks.report.drawing import draw, load_matplotlib
from benchmarks.report.page import Pictures, Report, make_page
from benchmarks.report.plots import Plot, name_results, plots_of
from benchmarks.report.tables import machine_line
from benchmarks.schema import FILE, SCHEMA, load_results

REPORT: Final = "report.html"
GROWTH: Final = "growth.json"
PEERS: Final = "peers.json"
FIELDS: Final = {
    GROWTH: ("what", "asked", "machine", "versions", "rows"),
    PEERS: ("machine", "versions", "runs", "missing"),
}


def write_report(sources: Sequence[Path], out: Path, tell: Callable[[str], None]) -> Path:
    """Write `report.html` and a PNG for each plot into `out`, and return the page's path.

    A source is a file of results, or a directory with results, findings of growth or results of
    peers in it or in the folders right below it. Without matplotlib the page has tables alone, and
    that is told. Raises `ResultsInvalid`.
    """
    files = [file for source in sources for file in _files(source)]
    named = name_results([load_results(one) for one in files if one.name not in FIELDS])
    findings, peers = (
        tuple(_load(one) for one in files if one.name == kind) for kind in (GROWTH, PEERS)
    )
    caption = machine_line([*(one.results for one in named), *findings, *peers])
    plots = plots_of(named, findings)
    pictures: dict[str, Pictures] = {}
    why_none = None
    try:
        load_matplotlib()
        pictures = _draw_all(plots, caption, out)
    except NoPictures as problem:
        why_none = str(problem)
        tell(f"note: {why_none}")
    report = Report(
        named=named,
        caption=caption,
        plots=plots,
        pictures=pictures,
        findings=findings,
        peers=peers,
        why_none=why_none,
    )
    page = out / REPORT
    page.write_text(make_page(report), encoding="utf-8")
    return page


def _files(source: Path) -> list[Path]:
    """Return the files that a source stands for; raise `ResultsInvalid` if there are none."""
    if not source.is_dir():
        return [source]
    folders = [source, *sorted(one for one in source.iterdir() if one.is_dir())]
    found = [folder / name for folder in folders for name in (FILE, GROWTH, PEERS)]
    there = [file for file in found if file.is_file()]
    if not there:
        raise ResultsInvalid(f"{source} holds no {FILE}, {GROWTH} or {PEERS}")
    return there


def _load(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ResultsInvalid(f"{file} cannot be read as results: {problem}") from problem
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ResultsInvalid(f"{file} is no results file of schema {SCHEMA}")
    for field in FIELDS[file.name]:
        if field not in found:
            raise ResultsInvalid(f"{file}: `{field}` is missing")
    return found


def _draw_all(plots: Sequence[Plot], caption: str, out: Path) -> dict[str, Pictures]:
    pictures = {}
    for plot in plots:
        if not plot.is_empty:
            light = draw(plot, caption, is_dark=False)
            pictures[plot.name] = Pictures(light=light, dark=draw(plot, caption, is_dark=True))
            (out / f"{plot.name}.png").write_bytes(light)
    return pictures
