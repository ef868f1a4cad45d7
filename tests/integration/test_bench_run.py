"""`medledger bench run` from end to end: a network of its own, a fault, results that hold both."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.schema import FILE, load_results
from commands.output import Exit
from tests.integration.commands import run

pytestmark = pytest.mark.timeout(180)

SMALL = """
title = "A few grants"
patients = 40
doctors = 2
seconds = 9
warmup_s = 1
repetitions = 1

[shares]
grant = 1

[parameters]
idle_block_ms = 300

[timeouts]
base_timeout_ms = 1000

[[faults]]
at_s = 3
do = "kill"
node = "primary"
"""


@pytest.fixture
def workload(tmp_path: Path) -> Path:
    path = tmp_path / "few.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def results_of(out: Path) -> dict[str, Any]:
    results = load_results(out)
    assert json.loads((out / FILE).read_text(encoding="utf-8")) == results
    return results


@pytest.mark.slow
def test_the_death_of_the_primary_is_in_the_results_and_nothing_is_lost(
    workload: Path, tmp_path: Path
) -> None:
    ended = run(
        "bench", "run", workload, "--out", tmp_path / "out", "--rate", "20", "--links", "0ms"
    )

    assert ended.returncode == 0, ended.stderr
    results = results_of(tmp_path / "out")
    assert results["network"]["links"] == "0ms"
    assert results["network"]["delayed_by"] in ("relays", "netem")
    (row,) = results["runs"]
    assert (row["lost"], row["not_taken"], row["committed"]) == (0, {}, 180)
    (event,) = row["events"]
    assert (event["do"], event["failed"]) == ("kill", None)
    assert 3 <= event["t_s"] < 5
    assert 0.5 < event["stall_s"] < 6, "a view had to be left"
    assert len(row["nodes"]) == 4
    assert sum(one["view_changes"] for one in row["nodes"]) >= 3
    assert {one["name"] for one in row["node_series"]} == {one["name"] for one in row["nodes"]}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--dead", "2"), "at most 1"),
        (("--links", "wan"), "use lan, 30ms"),
        (("--fault", "5 kill nobody"), "neither primary"),
        (("--fault", "99 kill primary"), "comes after the end"),
        (("--network", "nowhere.toml"), "cannot read"),
    ],
)
def test_a_place_that_cannot_be_is_refused_in_one_sentence(
    workload: Path, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    ended = run("bench", "run", workload, "--out", tmp_path / "out", "--rate", "20", *options)

    assert ended.returncode == Exit.USAGE
    assert why in ended.stderr
    assert ended.code in ("scene.invalid", "bench.workload")
