"""Plots as PNG pictures, by matplotlib, which is an extra: nothing else of ours needs it.

Colours are those of Okabe and Ito, which the colour-blind tell apart; every curve also has a marker
and a dash of its own, so that a grey print can be read.
"""

import importlib
import io
from itertools import cycle
from typing import Any, Final

from benchmarks.errors import NoPictures
from benchmarks.report.plots import Curve, Panel, Plot

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
DASHES: Final = ("-", "--", "-.", ":")
WIDTH_INCH: Final = 8.0
PANEL_INCH: Final = 3.2
DOTS_PER_INCH: Final = 130
MARKED_POINTS_MAX: Final = 40
"""A curve of more points than this is a line without markers and bars."""

LEGEND_MAX: Final = 12


def load_matplotlib() -> Any:
    """Return matplotlib, set to draw into memory; raise `NoPictures` where it is not installed."""
    try:
        library: Any = importlib.import_module("matplotlib")
    except ImportError as problem:
        raise NoPictures(
            "the report has tables and no plots, for matplotlib is not installed:"
            " make setup-plots, or pip install 'medledger[bench]'"
        ) from problem
    library.use("agg")
    return library


def draw(plot: Plot, caption: str, *, is_dark: bool) -> bytes:
    """Return a plot as PNG; the caption stands below it. Raises `NoPictures`."""
    load_matplotlib()
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    style = "dark_background" if is_dark else "default"
    panels = [one for one in plot.panels if one.curves]
    with pyplot.style.context(style):
        figure, axes = pyplot.subplots(
            len(panels),
            1,
            figsize=(WIDTH_INCH, PANEL_INCH * len(panels) + 0.9),
            squeeze=False,
            layout="constrained",
        )
        figure.suptitle(_plain(plot.title), fontsize=12, wrap=True)
        for panel, (axis,) in zip(panels, axes, strict=True):
            _draw_panel(axis, panel)
        figure.supxlabel(_plain(caption), fontsize=7)
        target = io.BytesIO()
        # Without the library's version among the picture's notes, equal plots are equal bytes.
        figure.savefig(target, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        pyplot.close(figure)
    return target.getvalue()


def _draw_panel(axis: Any, panel: Panel) -> None:
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.grid(visible=True, alpha=0.25)
    if panel.is_log_x:
        axis.set_xscale("log")
    if panel.is_log_y:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:,g}")
    for curve, colour, marker, dash in zip(
        panel.curves, cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False
    ):
        _draw_curve(axis, curve, colour, marker, dash)
    _draw_marks(axis, panel)
    if not panel.is_log_y:
        axis.set_ylim(bottom=0)
    if all(point.x == int(point.x) for curve in panel.curves for point in curve.points):
        axis.xaxis.get_major_locator().set_params(**({} if panel.is_log_x else {"integer": True}))
    if len(panel.curves) <= LEGEND_MAX:
        axis.legend(fontsize=7, framealpha=0.7)


def _draw_curve(axis: Any, curve: Curve, colour: str, marker: str, dash: str) -> None:
    x = [point.x for point in curve.points]
    y = [point.y.median for point in curve.points]
    low = [point.y.low for point in curve.points]
    high = [point.y.high for point in curve.points]
    is_marked = len(x) <= MARKED_POINTS_MAX
    axis.plot(
        x,
        y,
        color=colour,
        linestyle=dash,
        marker=marker if is_marked else None,
        markersize=4,
        linewidth=1.4,
        label=_plain(curve.label),
    )
    axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    if is_marked and low != high:
        below = [middle - least for middle, least in zip(y, low, strict=True)]
        above = [most - middle for most, middle in zip(high, y, strict=True)]
        axis.errorbar(x, y, yerr=(below, above), fmt="none", ecolor=colour, capsize=3)


def _draw_marks(axis: Any, panel: Panel) -> None:
    for mark in panel.marks:
        axis.axvline(mark.x, color="grey", linestyle=":", linewidth=1)
        axis.annotate(
            _plain(mark.text),
            (mark.x, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7,
        )


def _plain(text: str) -> str:
    """Keep matplotlib from reading a dollar sign as the beginning of a formula."""
    return text.replace("$", r"\$")
