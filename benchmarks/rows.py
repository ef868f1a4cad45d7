"""What a suite writes down: who measured what where, and a row for each run."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import origin
from benchmarks.aftermath import event_rows
from benchmarks.costs import per_transaction
from benchmarks.histograms import decode, encode, percentile_lines
from benchmarks.measuring import Run, figures, interval, latencies_us, series
from benchmarks.scene.places import REMOTE, Scene
from benchmarks.scene.sampling import node_rows, series_rows
from benchmarks.schema import SCHEMA
from benchmarks.unit_costs import crypto_us
from benchmarks.workload import Workload


def begin_results(scene: Scene, workload: Workload, seed: int) -> dict[str, Any]:
    """Return results without runs: who measures what, where, with which code."""
    commit, is_dirty = origin.commit()
    return {
        "schema": SCHEMA,
        "title": workload.title,
        "workload": asdict(workload),
        "commit": commit,
        "dirty": is_dirty,
        "started_ms": time.time_ns() // 1_000_000,
        "machine": origin.machine(),
        "versions": origin.versions(),
        "seed": seed,
        "network": scene.network,
        "t_verify_us": {"before": None, "after": None},
        "interrupted": False,
        "knee": None,
        "crypto_us": crypto_us(),
        "transfers": [],
        "runs": [],
    }


def make_row(
    scene: Scene,
    run: Run,
    *,
    name: str,
    offered_tps: float | None,
    repetition: int,
    warmup_s: float,
    is_whole: bool,
) -> dict[str, Any]:
    """Return the row of a run, all but its efficiency and the name of its histogram's file."""
    names = [scene.orgs[index] for index in scene.live]
    nodes = node_rows(names, run.samples, *interval(run, warmup_s=warmup_s))
    found = figures(run, warmup_s=warmup_s)
    return {
        "name": name,
        "offered_tps": offered_tps,
        "repetition": repetition,
        **found,
        "histogram": encode(latencies_us(run, warmup_s=warmup_s)),
        "is_whole": is_whole,
        "per_transaction": per_transaction(nodes, found["tps"]),
        "nodes": nodes,
        "series": series(run),
        "node_series": series_rows(names, run.samples, run.start_s),
        "events": event_rows(run),
    }


def write_histogram(file: Path, histogram: str) -> None:
    """Write the percentiles of an encoded histogram."""
    lines = percentile_lines(decode(histogram))
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


def efficiency(results: dict[str, Any], tps: float, live: int) -> float | None:
    """Return the share of the processors' time that the signature checks alone would take.

    Each of the `live` nodes checks each transaction once. Of the two measurements of a check the
    lower counts: noise only ever adds to one. None for a network on other machines.
    """
    told: list[float] = [one for one in results["t_verify_us"].values() if one is not None]
    if not told or results["network"]["where"] == REMOTE:
        return None
    return round(tps * live * min(told) / 1e6 / origin.cores(), 4)
