"""Costs per transaction follow from what the nodes used and what was committed meanwhile."""

from typing import Any

from benchmarks.costs import per_transaction


def node(**changes: Any) -> dict[str, Any]:
    used = {"seconds": 10.0, "cpu_s": 4.0, "bytes_sent": 200_000, "disk_mb_grown": 1.0}
    return {**used, **changes}


def test_costs_are_those_of_the_sampled_time() -> None:
    costs = per_transaction([node(), node(cpu_s=8.0, disk_mb_grown=3.0)], 100.0)

    assert costs == {
        "cpu_ms_all_nodes": 12.0,
        "cpu_ms_per_node": 6.0,
        "bytes_sent_all_nodes": 400.0,
        "disk_bytes_per_node": 2_097.152,
    }


def test_what_no_node_or_not_every_node_tells_is_unknown() -> None:
    costs = per_transaction([node(), node(cpu_s=None)], 100.0)

    assert costs["cpu_ms_all_nodes"] is None
    assert costs["bytes_sent_all_nodes"] == 400.0
    assert set(per_transaction([], 100.0).values()) == {None}
    assert set(per_transaction([node()], 0.0).values()) == {None}
    assert set(per_transaction([{"name": "a", "samples": 0}], 9.0).values()) == {None}
