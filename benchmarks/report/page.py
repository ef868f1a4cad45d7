"""The report as one HTML file that needs nothing else: no script, no font, no address."""

import base64
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from benchmarks.report import tables
from benchmarks.report.peers import PEERS_NOTE, peers_table
from benchmarks.report.plots import Named, Plot
from benchmarks.report.tables import NOTHING, Table

FOLDED_FROM: Final = 14
"""A table of so many rows is folded below its heading."""

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #d5d5d5; --soft: #f4f4f4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #121212; --line: #3a3a3a; --soft: #1e1e1e }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top }
th { background: var(--soft) }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto }
figcaption, .note { font-size: .85rem; opacity: .8 }
code { background: var(--soft); padding: .1rem .3rem }
""".strip()

INTRODUCTION: Final = (
    "Committed is what a quorum (n - f) of nodes, asked afterwards, had in the same block with the"
    " receipt code ok. Latency begins when a transaction was due to leave and ends when a quorum"
    " had announced its block. Where a load was repeated, figures are the median, with the least"
    " and the greatest in brackets; plots show these as bands and bars."
)

COST_NOTE: Final = (
    "Per committed transaction, in the measured interval: processor time of the nodes and their"
    " signature workers, bytes that nodes sent each other (TLS apart), growth of a node's disk."
    " At a low load these are mostly what blocks cost, shared by few transactions."
)
CRYPTO_NOTE: Final = "Processor time on an idle core, through our own code."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A plot as PNG, for light and for dark paper."""

    light: bytes
    dark: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a page shows; `pictures` are by their plot's name, `why_none` if there are none."""

    named: tuple[Named, ...]
    caption: str
    plots: tuple[Plot, ...]
    pictures: dict[str, Pictures]
    findings: tuple[dict[str, Any], ...] = ()
    peers: tuple[dict[str, Any], ...] = ()
    why_none: str | None = None


def make_page(report: Report) -> str:
    """Return the page."""
    titles = list(dict.fromkeys(one.results["title"] for one in report.named))
    title = f"medledger, measured: {'; '.join(titles)}" if titles else "medledger, measured"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        _paragraph(INTRODUCTION),
        _paragraph(f"Machine: {report.caption}."),
        *_sections(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _sections(report: Report) -> list[str]:
    named = report.named
    parts = [_section("What was measured", tables.measured(named))]
    if report.why_none is not None:
        parts.append(_paragraph(f"{report.why_none}."))
    parts += [
        _section("Loads", tables.loads(named)),
        _section("The knee", tables.knees(named), advice="medledger bench run grant --saturate"),
        *(_plot(report, plot) for plot in report.plots),
        _section("Faults", tables.events(named), advice="medledger bench run primary_killed"),
        _section("What a transaction costs", tables.costs(named), note=COST_NOTE),
        _section("What cryptography costs", tables.cryptography(named), note=CRYPTO_NOTE),
        _section("What the busiest node needed", tables.nodes(named)),
        _section("Blobs", tables.transfers(named), advice="medledger bench run blobs"),
        *(
            _section(f"Growth: {one['what']}", tables.finding(one), note=str(one["asked"]))
            for one in report.findings
        ),
        _section(
            "Beside other systems",
            peers_table(report.peers),
            note=PEERS_NOTE,
            advice="medledger bench peers",
        ),
        _section("Machines and versions", tables.origins(named)),
        _section("Parameters", tables.parameters(named)),
    ]
    return parts


def _plot(report: Report, plot: Plot) -> str:
    heading = f"<h2>{escape(plot.title)}</h2>"
    if plot.is_empty:
        return heading + _nothing(plot.advice)
    pictures = report.pictures.get(plot.name)
    figure = "" if pictures is None else _figure(plot, pictures, report.caption)
    return heading + figure + _table(tables.points(plot), is_folded=bool(figure))


def _figure(plot: Plot, pictures: Pictures, caption: str) -> str:
    dark, light = (base64.b64encode(one).decode() for one in (pictures.dark, pictures.light))
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">'
        f'<img alt="{escape(plot.title)}" src="data:image/png;base64,{light}">'
        f"</picture><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _section(title: str, table: Table, *, note: str = "", advice: str = "") -> str:
    below = _table(table) if table.rows else _nothing(advice)
    return f"<h2>{escape(title)}</h2>" + (_paragraph(note) if note else "") + below


def _nothing(advice: str) -> str:
    how = f" To measure it: <code>{escape(advice)}</code>" if advice else ""
    return f'<p class="note">Not measured here.{how}</p>'


def _paragraph(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(table: Table, *, is_folded: bool = False) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in table.columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(one or NOTHING)}</td>" for one in row) + "</tr>"
        for row in table.rows
    )
    whole = f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'
    if is_folded or len(table.rows) >= FOLDED_FROM:
        return f"<details><summary>{len(table.rows)} rows of figures</summary>{whole}</details>"
    return whole
