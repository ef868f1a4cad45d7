"""A verdict only where two results differ by more than their own repetitions do."""

from typing import Any

import pytest

from benchmarks.comparison import compare, differences

SAME = "no difference beyond noise"


def results(tps: list[float], p99_ms: list[float], **changes: Any) -> dict[str, Any]:
    runs = [
        {
            "name": "saturated",
            "is_whole": True,
            "tps": one,
            "efficiency": None,
            "p50_ms": 5.0,
            "p95_ms": 6.0,
            "p99_ms": two,
        }
        for one, two in zip(tps, p99_ms, strict=True)
    ]
    return {
        "machine": {"processor": "a", "cores": 2},
        "workload": {"name": "grant"},
        "network": {"validators": 4},
        "interrupted": False,
        "transfers": [],
        "runs": runs,
        **changes,
    }


def verdicts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    return {one.figure: one.verdict for one in compare(before, after)}


@pytest.mark.parametrize(
    ("after_tps", "verdict"),
    [
        ([130, 131, 133], "better"),
        ([70, 71, 73], "worse"),
        ([103, 104, 105], SAME),  # Its range touches that of the first.
        ([104, 104.5, 105], SAME),  # Apart, but by less than the first is wide.
    ],
)
def test_throughput_is_judged_by_what_repetitions_differ_by(
    after_tps: list[float], verdict: str
) -> None:
    before = results([97, 100, 103], [10, 10, 10])

    found = verdicts(before, results(after_tps, [10, 10, 10]))

    assert found["tps"] == verdict


def test_a_longer_latency_is_worse() -> None:
    before, after = results([100] * 3, [10, 11, 12]), results([100] * 3, [20, 21, 22])

    assert verdicts(before, after)["p99_ms"] == "worse"
    assert verdicts(after, before)["p99_ms"] == "better"


def test_three_per_cent_are_noise_however_alike_the_repetitions_are() -> None:
    before, after = results([100] * 3, [10] * 3), results([102.9] * 3, [10] * 3)

    assert verdicts(before, after)["tps"] == SAME


def test_one_repetition_gives_no_verdict() -> None:
    found = verdicts(results([100], [10]), results([300], [10]))

    assert found["tps"] == "one repetition: no verdict"
    assert "efficiency" not in found


def test_transfers_of_one_size_are_compared() -> None:
    before, after = results([], []), results([], [])
    for side, speeds in ((before, (50.0, 52.0)), (after, (90.0, 91.0))):
        side["transfers"] = [{"content_bytes": 10, "put_mib_s": one} for one in speeds]

    (change,) = compare(before, after)

    assert (change.load, change.figure, change.verdict) == ("10 bytes", "put_mib_s", "better")
    assert change.ratio == pytest.approx(90.5 / 51)


def test_a_run_that_was_cut_short_is_not_compared() -> None:
    before, after = results([100] * 3, [10] * 3), results([100] * 3, [10] * 3)
    for row in after["runs"]:
        row["is_whole"] = False

    assert compare(before, after) == []


def test_other_causes_of_a_difference_are_named() -> None:
    before = results([100] * 3, [10] * 3)
    after = results([100] * 3, [10] * 3, machine={"processor": "b", "cores": 2}, interrupted=True)

    assert differences(before, after) == [
        "machine differs: a and b",
        "the second results were interrupted",
    ]
    assert differences(before, before) == []
