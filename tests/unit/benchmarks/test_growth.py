"""What the benchmarks of growth make of results, and of a ledger that they may not touch."""

from typing import Any

import pytest

from benchmarks.growth.catching_up import CatchUp
from benchmarks.growth.chains import catch_up_row
from benchmarks.growth.making import Size
from benchmarks.growth.members import heights_per_s, size_row, with_ratios
from benchmarks.growth.memory import memory_rows
from benchmarks.growth.states import state_row, with_shares


def sample(name: str, t_s: float, rss_mb: float | None, height: int = 0) -> dict[str, Any]:
    return {"name": name, "t_s": t_s, "rss_mb": rss_mb, "height": height}


def results_of(validators: int, cpu_ms: float) -> dict[str, Any]:
    run = {
        "tps": 2.0,
        "warmup_s": 5.0,
        "p50_ms": 40.0,
        "transactions_per_block": {"mean": 1.0},
        "per_transaction": {"cpu_ms_per_node": cpu_ms, "bytes_sent_all_nodes": 1_000.0},
        "nodes": [{"name": "a", "rss_mb_max": 80.0, "view_changes": 0}],
        "node_series": [sample("a", t_s, 80.0, int(4 * t_s)) for t_s in range(21)],
    }
    return {"network": {"validators": validators}, "runs": [run, run, run]}


def test_a_size_has_its_cost_per_transaction_and_per_block_and_their_ratios_to_the_first() -> None:
    rows = with_ratios([size_row(results_of(4, 20.0)), size_row(results_of(16, 26.0))])

    assert [one["validators"] for one in rows] == [4, 16]
    assert [one["cpu_ms_per_transaction"] for one in rows] == [20.0, 26.0]
    assert [one["cpu_ms_per_block"] for one in rows] == [10.0, 13.0], "four blocks a second"
    assert [one["bytes_sent_per_transaction"] for one in rows] == [250.0, 62.5]
    assert [one["transaction_ratio"] for one in rows] == [1.0, 1.3]
    assert [one["block_ratio"] for one in rows] == [1.0, 1.3]


def test_a_cost_that_no_node_told_has_no_ratio() -> None:
    results = results_of(4, 20.0)
    for run in results["runs"]:
        run["per_transaction"] = {"cpu_ms_per_node": None, "bytes_sent_all_nodes": None}

    (row,) = with_ratios([size_row(results)])

    assert (row["cpu_ms_per_block"], row["transaction_ratio"]) == (None, None)


def test_the_pace_of_the_chain_is_that_after_the_warm_up() -> None:
    run = results_of(4, 20.0)["runs"][0]
    run["node_series"] = [sample("a", t_s, 80.0, 0 if t_s < 5 else 3 * t_s) for t_s in range(21)]

    assert heights_per_s(run) == 3.0
    assert heights_per_s({**run, "node_series": run["node_series"][:6]}) is None


def test_the_trend_of_memory_leaves_out_the_time_in_which_caches_fill() -> None:
    filling = [sample("b", 60.0 * minute, 70.0 + 10 * minute) for minute in range(5)]
    then = [sample("b", 60.0 * minute, 110.0 + 0.1 * minute) for minute in range(5, 11)]
    other = [sample("a", 0.0, 50.0), sample("a", 60.0, None)]

    first, second = memory_rows([*filling, *then, *other])

    assert first == {
        "name": "a",
        "minutes": 0.0,
        "first_mb": 50.0,
        "last_mb": 50.0,
        "max_mb": 50.0,
        "trend_mb_per_hour": None,
    }
    assert (second["name"], second["minutes"]) == ("b", 10.0)
    assert (second["first_mb"], second["last_mb"]) == (70.0, 111.0)
    assert second["trend_mb_per_hour"] == pytest.approx(6.0)


def saturated(tps: float, rss_mb: float) -> dict[str, Any]:
    return {
        "tps": tps,
        "per_transaction": {"cpu_ms_per_node": 1_000 / tps},
        "nodes": [
            {"name": "a", "samples": 4, "rss_mb_max": rss_mb, "disk_mb": 2 * rss_mb},
            {"name": "b", "samples": 0},
        ],
    }


def test_a_large_state_has_its_share_of_what_the_first_one_commits() -> None:
    small = [saturated(tps, 100.0) for tps in (1_000.0, 900.0, 1_100.0)]
    large = [saturated(tps, 300.0) for tps in (700.0, 900.0, 800.0)]
    sizes = [
        Size(height=9, state_keys=keys, transactions=1, patients=1) for keys in (10_000, 1_000_000)
    ]

    first, second = with_shares([state_row(sizes[0], small), state_row(sizes[1], large)])

    assert (first["state_keys"], first["tps"], first["share"]) == (10_000, 1_000.0, 1.0)
    assert (second["tps"], second["tps_min"], second["tps_max"]) == (800.0, 700.0, 900.0)
    assert (second["share"], second["cpu_ms_per_transaction"]) == (0.8, 1.25)
    assert (second["rss_mb_max"], second["disk_mb_max"]) == (300.0, 600.0)


def test_a_catch_up_has_its_rates() -> None:
    found = CatchUp(blocks=500, whole_from=1, transactions=2_000, seconds=4.0, cpu_s=3.0)

    row = catch_up_row("catch-up by blocks", found)

    assert (row["blocks_per_s"], row["transactions_per_s"]) == (125.0, 500.0)
    assert (row["cpu_s"], row["cpu_ms_per_transaction"]) == (3.0, 1.5)
