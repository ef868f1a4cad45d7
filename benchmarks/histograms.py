"""Latency histograms in the form of HdrHistogram: every value within 0.1 %, in little space.

A value of b bits falls into the bucket that keeps its first eleven: 2,048 steps up to 2,048 us,
1,024 steps for each doubling after that. `encode` gives the base64 text of HdrHistogram's
compressed form (V2), `percentile_lines` the text of its `.hgrm` files: its own tools read both
(decision 0127 says why the few lines are ours).
"""

import base64
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

DIGITS: Final = 3
LOWEST_US: Final = 1
HIGHEST_US: Final = 3_600_000_000
SUB_BITS: Final = 11
HALF: Final = 1 << (SUB_BITS - 1)
COOKIE: Final = 0x1C849303 | 0x10
COMPRESSED_COOKIE: Final = 0x1C849304 | 0x10
HEADER: Final = struct.Struct(">iiiiqqd")
TICKS_PER_HALF: Final = 5


@dataclass(slots=True)
class Histogram:
    """Counts of values in whole microseconds, 1 .. one hour; what is outside counts as the edge."""

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0


def record(histogram: Histogram, value_us: float) -> None:
    index = _index(min(max(round(value_us), LOWEST_US), HIGHEST_US))
    histogram.counts[index] = histogram.counts.get(index, 0) + 1
    histogram.total += 1


def add(histogram: Histogram, other: Histogram) -> None:
    """Count what another one has counted, too."""
    for index, count in other.counts.items():
        histogram.counts[index] = histogram.counts.get(index, 0) + count
    histogram.total += other.total


def value_at(histogram: Histogram, percent: float) -> int:
    """Return the value that `percent` of the recorded ones do not exceed, 0 of none."""
    wanted, seen = max(1, math.ceil(histogram.total * percent / 100)), 0
    for index in sorted(histogram.counts):
        seen += histogram.counts[index]
        if seen >= wanted:
            return _highest(index)
    return 0


def encode(histogram: Histogram) -> str:
    """Return the histogram as HdrHistogram's compressed V2 text."""
    payload = b"".join(_payload(histogram))
    plain = HEADER.pack(COOKIE, len(payload), 0, DIGITS, LOWEST_US, HIGHEST_US, 1.0) + payload
    packed = zlib.compress(plain)
    return base64.b64encode(struct.pack(">ii", COMPRESSED_COOKIE, len(packed)) + packed).decode()


def decode(text: str) -> Histogram:
    """Return the histogram that `encode` wrote; raise `ValueError` for any other text."""
    raw = base64.b64decode(text, validate=True)
    try:
        cookie, size = struct.unpack_from(">ii", raw)
        plain = zlib.decompress(raw[8:])
        told = HEADER.unpack_from(plain)
    except (struct.error, zlib.error) as problem:
        raise ValueError(f"not a compressed HdrHistogram: {problem}") from problem
    if cookie != COMPRESSED_COOKIE or size != len(raw) - 8:
        raise ValueError("not a compressed HdrHistogram (V2)")
    if told[0] != COOKIE or told[1] != len(plain) - HEADER.size:
        raise ValueError("not a HdrHistogram (V2)")
    if told[3:6] != (DIGITS, LOWEST_US, HIGHEST_US):
        raise ValueError("a histogram of other bounds")
    histogram, index = Histogram(), 0
    for number in _numbers(plain[HEADER.size :]):
        if number < 0:
            index -= number
            continue
        histogram.counts[index] = number
        histogram.total += number
        index += 1
    return histogram


def percentile_lines(histogram: Histogram) -> Iterator[str]:
    """Yield the lines of a `.hgrm` file, values in milliseconds."""
    yield f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}"
    yield ""
    for percent in _steps(histogram):
        value_us = value_at(histogram, percent)
        below = sum(n for index, n in histogram.counts.items() if _highest(index) <= value_us)
        share = percent / 100
        inverse = f"{1 / (1 - share):>14.2f}" if share < 1 else ""
        yield f"{value_us / 1_000:>12.3f} {share:>14.12f} {below:>10} {inverse}".rstrip()
    mean = sum(_highest(index) * n for index, n in histogram.counts.items()) / (
        1_000 * max(1, histogram.total)
    )
    yield f"#[Mean    = {mean:>12.3f}]"
    yield f"#[Max     = {value_at(histogram, 100) / 1_000:>12.3f}, Total count = {histogram.total}]"


def _steps(histogram: Histogram) -> Iterator[float]:
    """Yield percentiles ever closer together, until the last value is reached."""
    percent, last = 0.0, value_at(histogram, 100)
    while histogram.total and value_at(histogram, percent) < last:
        yield percent
        halvings = math.floor(math.log2(100 / (100 - percent))) + 1
        percent += 100 / (TICKS_PER_HALF * 2**halvings)
    yield 100.0


def _index(value: int) -> int:
    bucket = max(0, value.bit_length() - SUB_BITS)
    return (bucket + 1) * HALF + (value >> bucket) - HALF


def _highest(index: int) -> int:
    """Return the greatest value that falls into the slot."""
    bucket = max(0, index // HALF - 1)
    sub = index - bucket * HALF
    return ((sub + 1) << bucket) - 1


def _payload(histogram: Histogram) -> Iterator[bytes]:
    """Yield counts as ZigZag LEB128, runs of zeros as their negative length."""
    following = 0
    for index in sorted(histogram.counts):
        if index > following:
            yield _zigzag(following - index)
        yield _zigzag(histogram.counts[index])
        following = index + 1


def _zigzag(number: int) -> bytes:
    left, out = (number << 1) ^ (number >> 63), bytearray()
    left &= (1 << 64) - 1
    while left >= 0x80 and len(out) < 8:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _numbers(payload: bytes) -> Iterator[int]:
    position = 0
    while position < len(payload):
        number, shift = 0, 0
        while True:
            if position >= len(payload):
                raise ValueError("the last number breaks off")
            byte = payload[position]
            position += 1
            number |= (byte if shift == 56 else byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 56:
                break
        yield (number >> 1) ^ -(number & 1)
