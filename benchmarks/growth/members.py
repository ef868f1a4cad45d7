"""What a transaction costs one node in consortia of several sizes, at the same low rate.

On one machine many nodes share few processors: they wait for each other, and a block gathers more
transactions meanwhile. So the cost per block stands beside the cost per transaction, and only sizes
with about as many transactions in a block can be compared by the latter.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scene.places import open_scene
from benchmarks.suite import Load, Suite, run_suite
from benchmarks.workload import Workload, wanted_of


def measure_sizes(
    workload: Workload,
    sizes: Sequence[int],
    rate_per_s: float,
    *,
    seed: int,
    out: Path,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Offer the workload to a network of each size; the results of each are in a folder of `out`.

    Returns a row for each size, with its ratios to the first; Ctrl-C ends with those there are.
    """
    measured: list[dict[str, Any]] = []
    for size in sizes:
        folder = out / f"n{size:02}"
        folder.mkdir()
        chosen = replace(workload, validators=size)
        tell(f"starting {size} nodes")
        with open_scene(wanted_of(chosen)) as scene:
            suite = Suite(scene=scene, workload=chosen, seed=seed, out=folder, tell=tell)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
                asyncio.run(run_suite(suite, Load(rates=(rate_per_s,))))
        if suite.results["runs"]:
            measured.append(size_row(suite.results))
        if suite.is_interrupted:
            break
    return with_ratios(measured)


def size_row(results: dict[str, Any]) -> dict[str, Any]:
    """Return what one size came to: medians over its repetitions."""
    runs, validators = results["runs"], results["network"]["validators"]
    costs = [one["per_transaction"] for one in runs]
    cpu_ms = _median([one["cpu_ms_per_node"] for one in costs])
    sent = _median([one["bytes_sent_all_nodes"] for one in costs])
    tps = _median([one["tps"] for one in runs])
    heights = _median([heights_per_s(one) for one in runs])
    per_height = None if cpu_ms is None or not heights else cpu_ms * (tps or 0.0) / heights
    return {
        "validators": validators,
        "tps": tps,
        "transactions_per_block": _median(
            [one["transactions_per_block"].get("mean") for one in runs]
        ),
        "blocks_per_s": _rounded(heights),
        "cpu_ms_per_transaction": _rounded(cpu_ms),
        "cpu_ms_per_block": _rounded(per_height),
        "bytes_sent_per_transaction": _rounded(None if sent is None else sent / validators),
        "p50_ms": _median([one["p50_ms"] for one in runs]),
        "rss_mb_max": max((one.get("rss_mb_max") or 0.0 for one in _nodes(runs)), default=0.0),
        "view_changes": sum(one.get("view_changes") or 0 for one in _nodes(runs)),
    }


def with_ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their costs as multiples of the first one's."""
    return [
        {
            **row,
            "transaction_ratio": _ratio(row, rows[0], "cpu_ms_per_transaction"),
            "block_ratio": _ratio(row, rows[0], "cpu_ms_per_block"),
        }
        for row in rows
    ]


def heights_per_s(run: dict[str, Any]) -> float | None:
    """Return how fast the chain grew, empty blocks included, by what the first node showed.

    None unless it was sampled twice after the warm-up.
    """
    of_first = [one for one in run["node_series"] if one["name"] == run["nodes"][0]["name"]]
    seen = [one for one in of_first if one["t_s"] >= run["warmup_s"]]
    if len(seen) < 2:
        return None
    grown: int = seen[-1]["height"] - seen[0]["height"]
    span_s: float = seen[-1]["t_s"] - seen[0]["t_s"]
    return grown / span_s


def _nodes(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for one in runs for node in one["nodes"]]


def _median(values: Sequence[float | None]) -> float | None:
    told = [one for one in values if one is not None]
    return median(told) if told else None


def _ratio(row: dict[str, Any], first: dict[str, Any], figure: str) -> float | None:
    if row[figure] is None or not first[figure]:
        return None
    ratio: float = round(row[figure] / first[figure], 3)
    return ratio


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
