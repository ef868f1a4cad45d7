import math

from hypothesis import given
from hypothesis import strategies as st

from crypto.padding import PADDED_BYTES_MIN, padded_bytes, padme


@given(length=st.integers(1, 1 << 45))
def test_padme_is_the_papers_formula(length: int) -> None:
    exponent = math.frexp(length)[1] - 1  # floor(log2 L), exact below 2^53
    bits = math.floor(math.log2(exponent)) + 1 if exponent else 0
    step = 2 ** max(0, exponent - bits)

    padded = padme(length)

    assert padded == -(-length // step) * step


@given(length=st.integers(1, 1 << 45))
def test_padding_adds_at_most_twelve_per_cent(length: int) -> None:
    padded = padme(length)

    assert length <= padded <= length * 1.12
    assert padme(padded) == padded


@given(length=st.integers(0, PADDED_BYTES_MIN))
def test_everything_up_to_sixteen_kibibytes_looks_alike(length: int) -> None:
    assert padded_bytes(length) == PADDED_BYTES_MIN


def test_few_sizes_are_left_to_see() -> None:
    sizes = {padded_bytes(length) for length in range(PADDED_BYTES_MIN, 1 << 20, 61)}

    assert len(sizes) <= 6 * 32  # At most 32 sizes for each of the six doublings.
