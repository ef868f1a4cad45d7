"""The page of results: every section, nothing of theirs as markup, with pictures or without."""

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import NoPictures, ResultsInvalid
from benchmarks.report import drawing, making
from benchmarks.report.plots import name_results, plots_of
from benchmarks.report.tables import costs, told
from benchmarks.schema import save_results
from tests.unit.commands.command_line import invoke

SECTIONS = (
    "What was measured",
    "Loads",
    "The knee",
    "Latency and commits against load",
    "Throughput and cost against the number of nodes",
    "Throughput against the size of the state",
    "Throughput against dead nodes",
    "Time line",
    "Faults",
    "What a transaction costs",
    "What cryptography costs",
    "What the busiest node needed",
    "Blobs",
    "Beside other systems",
    "Machines and versions",
    "Parameters",
)


def run_row(name: str, offered: float | None, tps: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "offered_tps": offered,
        "repetition": 0,
        "seconds": 10.0,
        "warmup_s": 2.0,
        "is_whole": True,
        "tps": tps,
        "efficiency": 0.3,
        "committed": 1_000,
        "refused": {},
        "not_taken": {},
        "lost": 0,
        "p50_ms": 40.0,
        "p95_ms": 60.0,
        "p99_ms": 90.0,
        "max_ms": 120.0,
        "histogram": "",
        "histogram_file": "latency-00.hgrm",
        "blocks": 10,
        "transactions_per_block": {"median": 100, "max": 100, "mean": 100.0},
        "driver": {"late_ms_max": 1.0, "cpu_s": 0.5},
        "per_transaction": {
            "cpu_ms_all_nodes": 1.2,
            "cpu_ms_per_node": 0.3,
            "bytes_sent_all_nodes": 1_400.0,
            "disk_bytes_per_node": None,
        },
        "nodes": [{"name": "a", "cpu_share": 0.4, "rss_mb_max": 90.0, "lag_p99_ms": 5.0}],
        "series": [
            {"t_s": second, "committed": 100, "p50_ms": 30.0, "p99_ms": None, "max_ms": None}
            for second in range(4)
        ],
        "node_series": [],
        "events": [],
        **changes,
    }


def some_results(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "title": "Rights given",
        "workload": {"name": "grant", "shares": {"grant": 1}},
        "commit": "0123456789abcdef",
        "dirty": False,
        "started_ms": 1,
        "machine": {"cores": 2, "processor": "some processor", "memory_mb": 4_096},
        "versions": {"python": "3.11.9"},
        "seed": 1,
        "network": {"validators": 4, "dead": 0, "links": "lan", "where": "loopback"},
        "t_verify_us": {"before": 60.0, "after": 62.0},
        "interrupted": False,
        "knee": {"offered_tps": 900.0, "tps": 890.0, "p99_ms": 300.0},
        "crypto_us": {"ecdsa_p256_verify": 67.5},
        "transfers": [],
        "runs": [
            run_row("saturated", None, 1_000.0),
            run_row("saturated", None, 1_100.0, repetition=1),
            run_row("0.5 of saturated", 525.0, 524.0),
        ],
        **changes,
    }


EVENT = {
    "t_s": 2.0,
    "do": "kill",
    "what": "kill a (primary)",
    "nodes": [0],
    "failed": None,
    "first_commit_s": 1.5,
    "stall_s": 1.6,
}


def report_of(folder: Path, *several: dict[str, Any]) -> str:
    for number, results in enumerate(several):
        place = folder / f"results-{number}"
        place.mkdir()
        save_results(place, results)
    told_lines: list[str] = []
    page = making.write_report([folder], folder, told_lines.append)
    return page.read_text(encoding="utf-8")


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed: importing it fails."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.usefixtures("no_matplotlib")
def test_every_section_is_there_even_if_nothing_was_measured_for_it(tmp_path: Path) -> None:
    page = report_of(tmp_path, some_results())

    assert [title for title in SECTIONS if f"<h2>{title}" not in page] == []
    assert "Not measured here. To measure it: <code>medledger bench run primary_killed" in page


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_page_has_its_tables_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    page = report_of(tmp_path, some_results())

    assert "matplotlib is not installed" in page
    assert "<img" not in page
    assert "1,050 (1,000 .. 1,100)" in page
    assert list(tmp_path.glob("*.png")) == []
    with pytest.raises(NoPictures, match="setup-plots"):
        drawing.load_matplotlib()


@pytest.mark.usefixtures("no_matplotlib")
def test_what_results_say_is_text_and_never_markup(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    row = run_row(hostile, 10.0, 9.0, refused={hostile: 1}, events=[{**EVENT, "what": hostile}])
    changes = {
        "workload": {"name": hostile, "shares": {}},
        "machine": {"processor": hostile},
        "crypto_us": {hostile: 1.0},
    }

    page = report_of(tmp_path, some_results(title=hostile, runs=[row], **changes))

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    page = report_of(tmp_path, some_results())

    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "@import" not in page


def test_a_curve_has_the_median_and_the_range_of_the_repetitions() -> None:
    several = [
        some_results(),
        some_results(network={"validators": 7, "dead": 0, "links": "lan"}),
        some_results(network={"validators": 7, "dead": 2, "links": "lan"}),
        some_results(network={"validators": 4, "dead": 0, "links": "100ms"}),
    ]

    by_name = {plot.name: plot for plot in plots_of(name_results(several), [])}

    (curve,) = by_name["throughput-against-nodes"].panels[0].curves
    assert [(point.x, point.y.median, point.y.low) for point in curve.points] == [
        (4, 1_050.0, 1_000.0),
        (7, 1_050.0, 1_000.0),
    ]
    dead = by_name["throughput-against-dead"].panels[0].curves
    assert [[point.x for point in curve.points] for curve in dead] == [[0], [0, 2]]
    labels = [curve.label for curve in by_name["latency-against-load"].panels[1].curves]
    assert labels[2:] == ["Rights given, n = 7, 2 dead", "Rights given, n = 4, links 100ms"]


def test_a_run_with_faults_is_a_time_line_and_no_point_of_a_curve() -> None:
    row = run_row("300 per second", 300.0, 250.0, events=[EVENT])

    by_name = {plot.name: plot for plot in plots_of(name_results([some_results(runs=[row])]), [])}

    assert by_name["latency-against-load"].is_empty
    commits = by_name["time-line-00"].panels[0]
    assert [mark.text for mark in commits.marks] == ["kill a (primary)"]
    assert len(commits.curves[0].points) == 4


def test_throughput_against_state_comes_from_findings_of_growth() -> None:
    rows = [
        {"state_keys": keys, "tps": tps, "tps_min": tps - 10, "tps_max": tps + 10}
        for keys, tps in ((1_000_000, 950.0), (10_000, 1_000.0))
    ]

    plots = {one.name: one for one in plots_of((), [{"what": "state", "rows": rows}])}

    (curve,) = plots["throughput-against-state"].panels[0].curves
    assert [(point.x, point.y.low) for point in curve.points] == [(10_000, 990), (1_000_000, 940)]


def test_results_with_one_label_are_told_apart_by_a_number() -> None:
    named = name_results([some_results(), some_results()])

    assert [one.label for one in named] == ["Rights given, n = 4 (1)", "Rights given, n = 4 (2)"]


def test_costs_stand_by_the_kind_of_transaction() -> None:
    mixed = some_results(workload={"name": "hospital_day", "shares": {"grant": 1, "read": 1}})

    table = costs(name_results([mixed, some_results()]))

    assert [row[0] for row in table.rows] == ["grant", "grant", "hospital_day", "hospital_day"]
    assert table.rows[0][-4:] == ("0.3", "1.2", "1,400", "-")


def test_figures_are_told_in_digits_that_mean_something() -> None:
    assert [told(one) for one in (0, 12_345.6, 0.000123, "text", False)] == [
        "0",
        "12,346",
        "0.000123",
        "text",
        "no",
    ]


@pytest.mark.parametrize(
    ("file", "text", "told_why"),
    [
        ("peers.json", "{", "cannot be read"),
        ("growth.json", json.dumps({"schema": 2}), "schema 1"),
        ("peers.json", json.dumps({"schema": 1}), "`machine` is missing"),
        ("notes.txt", "", "holds no results.json"),
    ],
)
def test_a_source_that_is_no_results_is_answered_with_what_is_wrong(
    tmp_path: Path, file: str, text: str, told_why: str
) -> None:
    (tmp_path / file).write_text(text)

    with pytest.raises(ResultsInvalid, match=told_why):
        making.write_report([tmp_path], tmp_path, lambda _: None)


@pytest.mark.usefixtures("no_matplotlib")
def test_the_command_writes_the_page_beside_the_results_or_where_it_is_told(
    tmp_path: Path,
) -> None:
    save_results(tmp_path, some_results())

    beside = invoke("bench", "report", tmp_path)
    elsewhere = invoke("bench", "report", tmp_path, tmp_path, "--out", tmp_path / "all")

    assert (beside.status, elsewhere.status) == (0, 0)
    assert (tmp_path / "report.html").is_file()
    assert "Rights given, n = 4 (2)" in (tmp_path / "all" / "report.html").read_text()


def test_matplotlib_is_not_imported_by_the_command_line() -> None:
    code = "import cli, sys; sys.exit('matplotlib' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3])

    assert ended.returncode == 0


@pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the extra `bench` is not installed"
)
@pytest.mark.filterwarnings("default")
def test_with_matplotlib_every_plot_is_a_picture_and_in_the_page(tmp_path: Path) -> None:
    broken = run_row("300 per second", 300.0, 250.0, events=[EVENT])
    results = some_results()
    killed = copy.deepcopy(results) | {"runs": [broken], "title": "Killed for 1 $"}

    page = report_of(tmp_path, results, killed)

    pictures = sorted(one.name for one in tmp_path.glob("*.png"))
    assert pictures == [
        "latency-against-load.png",
        "throughput-against-dead.png",
        "throughput-against-nodes.png",
        "time-line-00.png",
    ]
    assert all((tmp_path / one).read_bytes().startswith(b"\x89PNG") for one in pictures)
    assert page.count("<img alt=") == page.count('prefers-color-scheme: dark)" srcset') == 4
