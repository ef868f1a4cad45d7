"""Latency histograms: the form of HdrHistogram, and how near they are."""

import random

import pytest

from benchmarks.histograms import (
    HIGHEST_US,
    Histogram,
    add,
    decode,
    encode,
    percentile_lines,
    record,
    value_at,
)

WRITTEN_BY_HDRHISTOGRAM = "HISTFAAAACt4nJNpmSzMwMDAwwABzFCaEURcm7yEwf4DVIBpORPLVEWm312MTACalQeD"
"""`hdrhistogram` 0.10.8, 1 .. 3,600,000,000 with three digits, of the values below."""

VALUES_US = (1, 150, 150, 2_500, 999_999)


def histogram_of(*values_us: float) -> Histogram:
    histogram = Histogram()
    for value_us in values_us:
        record(histogram, value_us)
    return histogram


def test_the_text_is_what_hdrhistogram_itself_writes() -> None:
    written = encode(histogram_of(*VALUES_US))

    assert written == WRITTEN_BY_HDRHISTOGRAM
    assert decode(written) == histogram_of(*VALUES_US)


def test_every_percentile_is_within_a_thousandth() -> None:
    chance = random.Random(7)
    values = sorted(int(chance.lognormvariate(10, 2)) + 1 for _ in range(3_000))

    histogram = histogram_of(*values)

    for percent in (1, 25, 50, 90, 99, 99.9, 100):
        exact = values[max(0, -(-len(values) * int(percent * 10) // 1_000) - 1)]
        assert exact <= value_at(histogram, percent) <= exact * 1.001


def test_two_histograms_added_are_that_of_all_values() -> None:
    one, other = histogram_of(5, 70_000), histogram_of(5, 123)

    add(one, other)

    assert one == histogram_of(5, 5, 123, 70_000)


def test_what_is_out_of_bounds_counts_as_the_edge() -> None:
    histogram = histogram_of(0, -3, 10 * HIGHEST_US)

    assert histogram.total == 3
    assert value_at(histogram, 50) == 1
    assert value_at(histogram, 100) >= HIGHEST_US


def test_the_lines_of_a_file_end_with_every_value_counted() -> None:
    lines = list(percentile_lines(histogram_of(*VALUES_US)))

    last = [line for line in lines if not line.startswith("#")][-1].split()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert last == ["1000.447", "1.000000000000", "5"]


@pytest.mark.parametrize("text", ["", "AAAA", WRITTEN_BY_HDRHISTOGRAM[:-8], "not base64!"])
def test_other_texts_are_no_histograms(text: str) -> None:
    with pytest.raises(ValueError, match=r"HdrHistogram|base64|padding"):
        decode(text)
