"""The text form of a node's numbers, read back as monitoring reads it."""

import re

import pytest

from api.metrics import METRICS, Histogram, render

SAMPLE = re.compile(r"^medledger_(\w+)(?:\{(.*)\})? (\S+)$")


def samples(text: str) -> dict[tuple[str, str], float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [SAMPLE.match(line) for line in lines]
    assert all(found), text
    return {(one[1], one[2] or ""): float(one[3]) for one in found if one is not None}


def test_numbers_are_written_with_their_labels_and_meaning() -> None:
    text = render({"height": [((), 7)], "peers": [(("connected",), 2), (("refused",), 1)]})

    assert "# TYPE medledger_height gauge\nmedledger_height 7\n" in text
    assert samples(text) == {
        ("height", ""): 7,
        ("peers", 'state="connected"'): 2,
        ("peers", 'state="refused"'): 1,
    }


def test_a_histogram_counts_upwards_and_ends_with_everything() -> None:
    held = Histogram(bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        held.observe(value)

    found = samples(render({"phase_latency_seconds": [(("prepared",), held)]}))

    assert found == {
        ("phase_latency_seconds_bucket", 'phase="prepared",le="0.1"'): 2,
        ("phase_latency_seconds_bucket", 'phase="prepared",le="1"'): 3,
        ("phase_latency_seconds_bucket", 'phase="prepared",le="+Inf"'): 4,
        ("phase_latency_seconds_sum", 'phase="prepared"'): 3.65,
        ("phase_latency_seconds_count", 'phase="prepared"'): 4,
    }


def test_a_label_cannot_end_its_line() -> None:
    text = render({"refused_total": [(('a"b\\c\nmedledger_height 9',), 1)]})

    assert text.splitlines()[2:] == [
        r'medledger_refused_total{code="a\"b\\c\nmedledger_height 9"} 1'
    ]


def test_a_number_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(AssertionError, match="not in the table"):
        render({"secrets": [((), 1)]})


def test_names_are_used_once_and_counters_end_as_counters_do() -> None:
    assert len({one.name for one in METRICS}) == len(METRICS)
    assert all(one.name.endswith("_total") == (one.kind == "counter") for one in METRICS)


def test_a_count_is_written_to_its_last_digit() -> None:
    text = render({"blocks_total": [((), 1_234_567_891)]})

    assert samples(text) == {("blocks_total", ""): 1_234_567_891}


def test_names_of_any_process_stand_without_the_prefix() -> None:
    text = render({"process_cpu_seconds_total": [((), 0.25)]})

    assert "\nprocess_cpu_seconds_total 0.25\n" in text
