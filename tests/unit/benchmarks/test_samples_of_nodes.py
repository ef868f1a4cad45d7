"""What is made of a node's numbers: sums through restarts, delays of its loop, gaps."""

import pytest

from api.metrics import DELAY_BOUNDS_S, Histogram, Measures, render
from benchmarks.scene.sampling import Sample, delay_ms, node_rows, parse_sample, series_rows

MIB = 1 << 20


def numbers(*, cpu_s: float, sent: int, delays_s: tuple[float, ...], left: int = 0) -> Measures:
    delays = Histogram(bounds=DELAY_BOUNDS_S)
    for one in delays_s:
        delays.observe(one)
    return {
        "height": [((), 7)],
        "view": [((), 0)],
        "view_changes_total": [(("timer",), left), (("complaint.slow",), 1)],
        "pool_transactions": [((), 3)],
        "disk_bytes": [(("ledger",), 2 * MIB), (("blobs",), MIB)],
        "loop_delay_seconds": [((), delays)],
        "loop_held_seconds": [((), delays)],
        "sent_bytes_total": [(("consensus",), sent), (("gossip",), 10)],
        "received_bytes_total": [(("consensus",), 5), (("gossip",), 5)],
        "process_cpu_seconds_total": [((), cpu_s)],
        "process_resident_memory_bytes": [((), 100 * MIB)],
    }


def sample(at_s: float, **told: object) -> Sample:
    return parse_sample(render(numbers(**told)), at_s)  # type: ignore[arg-type]


def test_a_nodes_own_text_is_read_back() -> None:
    found = sample(1.0, cpu_s=0.5, sent=1_234_567_891, delays_s=(0.0, 0.004, 0.06))

    assert (found.height, found.view, found.pool, found.cpu_s) == (7, 0, 3, 0.5)
    assert found.sent_bytes == {"consensus": 1_234_567_891, "gossip": 10}
    assert found.disk_bytes == 3 * MIB
    assert sum(found.delays) == 3
    assert found.delays[DELAY_BOUNDS_S.index(0.075)] == 1


def test_what_a_node_came_to_between_two_moments_goes_on_through_its_restart() -> None:
    found = [
        sample(0.0, cpu_s=1.0, sent=100, delays_s=(0.001,)),
        sample(1.0, cpu_s=1.5, sent=300, delays_s=(0.001,) * 3),
        sample(2.0, cpu_s=0.2, sent=50, delays_s=(0.03,), left=2),  # Started anew meanwhile.
    ]

    (row,) = node_rows(["hospital-a"], [found], 0.0, 2.0)

    assert row["cpu_s"] == pytest.approx(0.7)
    assert row["cpu_share"] == pytest.approx(0.35)
    assert row["bytes_sent_by_lane"]["consensus"] == 250
    assert (row["rss_mb_max"], row["disk_mb"], row["view_changes"]) == (100.0, 3.0, 2)
    assert (row["lag_p50_ms"], row["lag_max_ms"], row["held_max_ms"]) == (1.0, 30.0, 30.0)


def test_only_the_samples_around_the_interval_count() -> None:
    found = [sample(at_s, cpu_s=at_s, sent=0, delays_s=()) for at_s in (0.0, 1.0, 2.0, 3.0, 4.0)]

    (row,) = node_rows(["hospital-a"], [found], 1.5, 2.5)

    assert (row["samples"], row["cpu_s"]) == (3, 2.0)


def test_a_node_that_never_answered_is_a_row_without_numbers() -> None:
    assert node_rows(["hospital-a"], [[]], 0.0, 1.0) == [{"name": "hospital-a", "samples": 0}]


def test_the_series_tells_each_moment_of_each_node() -> None:
    found = [sample(at_s, cpu_s=at_s / 2, sent=0, delays_s=()) for at_s in (10.0, 11.0, 12.0)]

    rows = series_rows(["hospital-a"], [found], 10.0)

    assert [(row["t_s"], row["cpu"]) for row in rows] == [(1.0, 0.5), (2.0, 0.5)]
    assert rows[0]["lag_p99_ms"] is None


def test_a_delay_is_the_edge_of_its_bucket_and_the_last_edge_above_all() -> None:
    counts = [0] * (len(DELAY_BOUNDS_S) + 1)
    counts[0], counts[-1] = 99, 1

    assert delay_ms(counts, 0.99) == 1.0
    assert delay_ms(counts, 1.0) == 1_000 * DELAY_BOUNDS_S[-1]
    assert delay_ms([0] * len(counts), 0.99) is None


def test_the_numbers_of_something_else_are_no_sample() -> None:
    with pytest.raises(ValueError, match="delays of a node"):
        parse_sample("medledger_height 7\n", 0.0)
