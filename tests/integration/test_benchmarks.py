"""The benchmark suite end to end: real nodes, real drivers, and a Ctrl-C in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.histograms import decode
from benchmarks.schema import FILE, load_results

PATIENCE_S = 90.0
POLL_S = 0.1


def start_bench(*words: str | Path) -> subprocess.Popen[str]:
    """Start `medledger bench` in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "bench", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_runs(out: Path, count: int) -> dict[str, Any]:
    """Return the results as they are on disk once they have so many runs."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (out / FILE).exists():
            results = load_results(out)
            if len(results["runs"]) >= count:
                return results
        time.sleep(POLL_S)
    raise AssertionError(f"no {count} runs within {PATIENCE_S:g} s")


def test_a_mixed_workload_is_offered_counted_and_written_down(tmp_path: Path) -> None:
    workload = tmp_path / "small_day.toml"
    workload.write_text(
        'title = "A small day"\npatients = 12\ndoctors = 4\nrecords = 4\nwindow = 40\n'
        "seconds = 3\nwarmup_s = 1\nrepetitions = 1\n"
        "[shares]\nread = 3\nput = 1\ngrant = 2\nrevoke = 1\nregister = 1\n"
    )
    out = tmp_path / "out"

    bench = start_bench("run", workload, "--out", out, "--rates", "20", "--seed", "5")
    _, told = bench.communicate(timeout=PATIENCE_S)

    assert bench.returncode == 0, told
    results = load_results(out)
    (row,) = results["runs"]
    assert (row["committed"], row["refused"], row["not_taken"], row["lost"]) == (60, {}, {}, 0)
    assert sum(second["committed"] for second in row["series"]) == 60
    assert decode(row["histogram"]).total == 40, "what was due in the warm-up is left out"
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert [node["name"] for node in row["nodes"]] == [f"hospital-{one}" for one in "abcd"]
    assert all(node["cpu_s"] > 0 and node["bytes_sent"] > 0 for node in row["nodes"])
    assert (out / row["histogram_file"]).read_text(encoding="ascii").split()[0] == "Value"
    assert results["interrupted"] is False
    assert results["workload"]["shares"]["read"] == 3
    assert results["t_verify_us"]["after"] > 0
    assert min(row["per_transaction"].values()) > 0
    assert min(results["crypto_us"].values()) > 0


def test_ctrl_c_ends_the_run_and_leaves_valid_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ("--patients", "8", "--repetitions", "9", "--warmup", "0")

    bench = start_bench("run", "grant", "--out", out, "--rate", "10", "--seconds", "2", *few)
    wait_for_runs(out, 1)
    os.kill(bench.pid, signal.SIGINT)
    _, told = bench.communicate(timeout=PATIENCE_S)

    results = load_results(out)
    assert bench.returncode == 4, told
    assert "interrupted" in told
    assert results["interrupted"] is True
    assert 1 <= len(results["runs"]) < 9
    assert results["runs"][0]["is_whole"]
    assert all(row["lost"] == 0 for row in results["runs"])


@pytest.mark.slow
def test_two_results_are_compared_in_words_and_in_json(tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ("--patients", "8", "--repetitions", "2", "--warmup", "0.5")
    bench = start_bench("run", "grant", "--out", out, "--rate", "10", "--seconds", "2", *few)
    _, told = bench.communicate(timeout=PATIENCE_S)
    assert bench.returncode == 0, told

    done = subprocess.run(
        [sys.executable, "-m", "cli", "--json", "bench", "compare", out, out],
        capture_output=True,
        text=True,
        check=True,
    )

    rows = json.loads(done.stdout)
    assert {row["figure"] for row in rows} == {"tps", "efficiency", "p50_ms", "p95_ms", "p99_ms"}
    assert {row["verdict"] for row in rows} == {"no difference beyond noise"}
    assert {row["ratio"] for row in rows} == {1.0}


@pytest.mark.slow
def test_the_quick_benchmark_ends_with_one_line_of_figures_in_time() -> None:
    started_s = time.monotonic()
    bench = start_bench("quick")
    out, told = bench.communicate(timeout=PATIENCE_S)

    line = json.loads(out.splitlines()[-1])
    assert bench.returncode == 0, told
    assert line["kind"] == "access.grant"
    assert line["validators"] == 4
    assert (line["refused"], line["not_taken"], line["lost"]) == ({}, {}, 0)
    assert line["offered_tps"] == pytest.approx(line["tps"] / 2, rel=0.1)
    share = line["tps"] * line["validators"] * line["t_verify_us"] / 1e6 / line["cores"]
    assert line["efficiency"] == pytest.approx(share, abs=0.001)
    assert 0 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"]
    assert line["loop_lag_ms_p99"] > 0
    assert line["rss_mb_max"] > 0
    assert time.monotonic() - started_s < PATIENCE_S
