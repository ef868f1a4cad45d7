"""The part of a report that sets other systems beside ours."""

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.report.plots import spread
from benchmarks.report.tables import NOTHING, Table, told, told_spread

PEERS_NOTE: Final = (
    "Not like for like. Hardhat's and Ganache's nodes are a single process without consensus that"
    " keeps its chain in memory; etcd is crash-fault-only and checks no signatures of people. Ours"
    " are four nodes that agree in spite of one that lies, with fsync on each."
)


def peers_table(several: Sequence[dict[str, Any]]) -> Table:
    """Return a row for each system and kind, and one for each system that could not be run."""
    rows = []
    for one in several:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in one["runs"]:
            groups.setdefault((row["system"], row["kind"]), []).append(row)
        for (system, kind), group in groups.items():
            rows.append(
                (
                    system,
                    kind,
                    told(group[0]["clients"]),
                    str(len(group)),
                    *(told_spread(spread(group, key)) for key in ("tps", "p50_ms", "p99_ms")),
                    told(sum(row["failed"] for row in group)),
                    str(group[0]["note"]),
                )
            )
        rows += [(lacking["system"], *[NOTHING] * 7, lacking["why"]) for lacking in one["missing"]]
    columns = ("system", "what", "clients", "runs", "per second", "p50 ms", "p99 ms", "failed")
    return Table(columns=(*columns, "what it is"), rows=tuple(rows))
