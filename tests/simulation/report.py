"""What is left of a run that failed: its events, one JSON object a line, and what replays it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.cluster import Cluster

ARTIFACTS = Path("artifacts/simulation")


def write_events(cluster: Cluster, path: Path) -> None:
    """Write every event: virtual time (ms), replica (-1: the world), what, where it left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for time_ms, replica, what, digest in cluster.trace:
            line = {"time_ms": time_ms, "replica": replica, "what": what, "digest": digest}
            file.write(json.dumps(line) + "\n")


@contextmanager
def reported(cluster: Cluster) -> Iterator[Cluster]:
    """On failure, say which seed it was and write down what happened."""
    is_over = False
    try:
        yield cluster
        is_over = True
    finally:
        if not is_over:
            path = ARTIFACTS / f"seed-{cluster.seed}-replicas-{len(cluster.hosts)}.jsonl"
            write_events(cluster, path)
            print(f"seed {cluster.seed}, {cluster.events} events, written to {path}")
