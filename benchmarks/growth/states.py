"""Whether a consortium commits as much with a large state as with a small one."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.growth.making import Growth, Size, make_grown
from benchmarks.growth.restarting import wait_until_ready
from benchmarks.scene.links import LAN
from benchmarks.scene.local import load_members, passphrase_path, start_members, stop_members
from benchmarks.scene.places import LOOPBACK, Scene
from benchmarks.suite import Load, Suite, run_suite
from benchmarks.workload import Workload


@contextmanager
def grown_scene(directory: Path) -> Iterator[Scene]:
    """Start a consortium whose ledger has grown; it is stopped afterwards, and stays.

    Raises `NodeEnded` or `NotReady`.
    """
    members = load_members(directory)
    try:
        start_members(directory, members)
        for member in members:
            wait_until_ready(member)
        yield Scene(
            orgs=tuple(member.org for member in members),
            urls=tuple(member.url for member in members),
            home=directory / "home",
            passphrase_file=passphrase_path(directory),
            network={
                "validators": len(members),
                "dead": 0,
                "links": LAN.name,
                "delayed_by": "nothing",
                "where": LOOPBACK,
            },
            directory=directory,
            members=tuple(members),
        )
    finally:
        stop_members(members)


def measure_states(
    workload: Workload,
    sizes: Sequence[int],
    ledgers: Path,
    *,
    seed: int,
    out: Path,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Keep consortia saturated whose states have so many entries; results are in folders of `out`.

    Their ledgers are made in `ledgers`, and found there again; what is offered stays on them, so
    another time needs another `seed`. Returns a row for each size; Ctrl-C ends with those there
    are.
    """
    rows: list[dict[str, Any]] = []
    for keys in sizes:
        growth = Growth(state_keys=keys)
        size, _ = make_grown(ledgers / f"keys-{keys}", growth, tell)
        folder = out / f"keys-{keys}"
        folder.mkdir()
        with grown_scene(ledgers / f"keys-{keys}") as scene:
            suite = Suite(scene=scene, workload=workload, seed=seed, out=folder, tell=tell)
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C; the results say so.
                asyncio.run(run_suite(suite, Load()))
        if suite.results["runs"]:
            rows.append(state_row(size, suite.results["runs"]))
        if suite.is_interrupted:
            break
    return with_shares(rows)


def state_row(size: Size, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what saturated runs on one state came to: medians, and the most of any node."""
    cpu_ms = [one["per_transaction"]["cpu_ms_per_node"] for one in runs]
    nodes = [node for one in runs for node in one["nodes"] if node["samples"]]
    return {
        "state_keys": size.state_keys,
        "tps": median(one["tps"] for one in runs),
        "tps_min": min(one["tps"] for one in runs),
        "tps_max": max(one["tps"] for one in runs),
        "cpu_ms_per_transaction": None if None in cpu_ms else median(cpu_ms),
        "rss_mb_max": max((one["rss_mb_max"] or 0.0 for one in nodes), default=0.0),
        "disk_mb_max": max((one["disk_mb"] or 0.0 for one in nodes), default=0.0),
    }


def with_shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the share of the first one's throughput that each reaches."""
    first = rows[0]["tps"] if rows else 0.0
    return [{**row, "share": round(row["tps"] / first, 3) if first else None} for row in rows]
