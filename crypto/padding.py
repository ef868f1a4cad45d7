"""Padded sizes: what a sealed record's length is allowed to tell.

PADME (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019, §4) rounds a
length up so that its binary form has no more significant bits than its exponent needs: at most
12 % longer, falling with size, and only O(log log length) bits of the length are left to see.
Below 16 KiB everything looks alike: a short note tells nothing by its size.
"""

from typing import Final

PADDED_BYTES_MIN: Final = 16 * 1024


def padme(length: int) -> int:
    """Return the smallest PADME size that is not below `length` (at least 1).

    >>> padme(9), padme(1_000_000), padme(1 << 31)
    (10, 1015808, 2147483648)
    """
    assert length >= 1, "a padded length is positive"
    exponent = length.bit_length() - 1
    kept_bits = exponent.bit_length()
    mask = (1 << max(0, exponent - kept_bits)) - 1
    return (length + mask) & ~mask


def padded_bytes(length: int) -> int:
    """Return the size to which `length` bytes are padded: PADME, at least 16 KiB."""
    return padme(max(length, PADDED_BYTES_MIN))
