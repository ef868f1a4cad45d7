"""Running seeds: one after the other or side by side, each with its own outcome."""

import json
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.cluster import Cluster, Faults
from tests.simulation.histories import Fault, History, draw_history, finish, make_cluster
from tests.simulation.ideal import ideal_world
from tests.simulation.members import Change
from tests.simulation.monitor import Violation


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How one history went; `violation` is empty for one that kept every invariant.

    `cpu_s` is the processor time of the run; `events_at` the number of events when it ended.
    """

    seed: int
    replicas: int = 0
    violation: str = ""
    events: int = 0
    heights: int = 0
    acknowledged: int = 0
    cpu_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """The invariant that was broken."""
        return self.violation.split(":")[0]


def run_one(history: History) -> Outcome:
    """Run one history; whatever goes wrong in it is its outcome."""
    return run_watched(history)[0]


def run_watched(history: History) -> tuple[Outcome, Cluster]:
    """Run one history and return the cluster as it ended, too."""
    outcome = Outcome(seed=history.seed, replicas=history.replicas)
    began = time.process_time()
    with ideal_world():
        cluster = make_cluster(history)
        outcome.violation = violation_of(cluster, history.until_ms)
        outcome.fingerprint = cluster.fingerprint()
    outcome.cpu_s = time.process_time() - began
    outcome.events, outcome.heights = cluster.events, len(cluster.monitor.blocks)
    outcome.acknowledged = len(cluster.monitor.acknowledged)
    outcome.faults, outcome.clients = cluster.counts, cluster.clients.made
    return outcome, cluster


def violation_of(cluster: Cluster, until_ms: int) -> str:
    """Run to the end; return what was violated, opening with its name, or nothing."""
    try:
        finish(cluster, until_ms)
    except Violation as violation:
        return str(violation)
    except Exception as problem:  # noqa: BLE001 - X1: nothing may raise, whatever it is
        return f"X1: {type(problem).__name__}: {problem}"
    return ""


def run_seed(seed: int) -> Outcome:
    return run_one(draw_history(seed))


def run_seeds(seeds: Iterable[int], workers: int) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in the order of the seeds."""
    if workers <= 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers, logging.disable) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=4)


def save_history(history: History, outcome: Outcome, path: Path) -> None:
    """Write what `load_history` reads back, with what its run must come to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = {
        "history": asdict(history),
        "violation": outcome.violation,
        "events": outcome.events,
        "fingerprint": outcome.fingerprint,
    }
    path.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


def load_history(path: Path) -> tuple[History, dict[str, Any]]:
    """Return a saved history, and what was saved beside it."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    told = saved.pop("history")
    told["network"] = Faults(**told["network"])
    told["liars"] = tuple((replica, name) for replica, name in told["liars"])
    told["faults"] = tuple(
        Fault(**{**one, "replicas": tuple(one["replicas"]), "others": tuple(one["others"])})
        for one in told["faults"]
    )
    told["changes"] = tuple(Change(**one) for one in told["changes"])
    return History(**told), saved
