import math
import struct
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.encoding import DEPTH_MAX, decode_value, encode_value, pack, unpack
from crypto.errors import DecodeError, EncodeError, NotCanonical, TooLarge

integers = st.integers(-(2**63), 2**64 - 1)
texts = st.text(st.characters(codec="utf-8")).filter(lambda text: is_form_c(text))
scalars = st.none() | st.booleans() | integers | st.binary(max_size=80) | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5).map(tuple) | st.dictionaries(texts, inner, max_size=5)
    ),
    max_leaves=20,
)
BYTES_MAX = 1 << 20


def is_form_c(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text)


def same(one: Any, other: Any) -> bool:
    """Equality that tells True from 1, as the bytes do."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


@given(values)
def test_a_value_comes_back_as_it_went(value: Any) -> None:
    encoded = encode_value(value)

    decoded = decode_value(encoded, bytes_max=BYTES_MAX)

    assert same(decoded, value)


@given(st.binary(max_size=64))
def test_accepted_bytes_are_the_ones_we_would_write(garbage: bytes) -> None:
    try:
        value = decode_value(garbage, bytes_max=64)
    except DecodeError:
        return
    assert encode_value(value) == garbage


@given(value=values, at=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_another_value_or_none(value: Any, at: int, change: int) -> None:
    encoded = bytearray(encode_value(value))
    encoded[at % len(encoded)] ^= change

    try:
        decoded = decode_value(bytes(encoded), bytes_max=BYTES_MAX)
    except DecodeError:
        return
    assert not same(decoded, value)


@given(values, st.binary(min_size=1, max_size=3))
def test_nothing_may_follow_a_value(value: Any, tail: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_value(encode_value(value) + tail, bytes_max=BYTES_MAX)


@given(values)
def test_a_cut_value_is_refused(value: Any) -> None:
    encoded = encode_value(value)

    for length in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_value(encoded[:length], bytes_max=BYTES_MAX)


@pytest.mark.parametrize(
    ("encoded", "spelled"),
    [
        (b"\xcc\x01", "1 in two bytes"),
        (b"\xcd\x00\xff", "255 in three bytes"),
        (b"\xd0\x01", "1 as signed"),
        (b"\xd3" + bytes(7) + b"\x01", "1 in nine bytes"),
        (b"\xd9\x01a", "short text with a length byte"),
        (b"\xc5\x00\x01a", "short bytes with a long length"),
        (b"\xdc\x00\x01\x01", "short array with a long length"),
        (b"\xde\x00\x01\xa1a\x01", "short map with a long length"),
        (b"\x82\xa1b\x01\xa1a\x02", "keys out of order"),
        (b"\x82\xa1a\x01\xa1a\x02", "a key twice"),
    ],
)
def test_a_second_spelling_is_not_canonical(encoded: bytes, spelled: str) -> None:
    with pytest.raises(NotCanonical):
        decode_value(encoded, bytes_max=BYTES_MAX)


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\xc1",
        b"\xca" + struct.pack(">f", 1.5),
        b"\xcb" + struct.pack(">d", math.nan),
        b"\xc7\x00\x05",
        b"\xc7\x01\x05a",
        b"\xd4\x05a",
        b"\xd6\xff" + bytes(4),
        b"\xd7\xff" + bytes(8),
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xa3" + "e\u0301".encode(),
        b"\x81\x01\x01",
        b"\x81\xc4\x01a\x01",
        b"\x81\xc0\x01",
        b"\x91" * 10_000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ],
    ids=lambda encoded: encoded[:8].hex() or "empty",
)
def test_what_no_value_encodes_to_is_refused(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_value(encoded, bytes_max=BYTES_MAX)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        math.nan,
        2**64,
        -(2**63) - 1,
        [1],
        {1: 2},
        {b"a": 1},
        "e\u0301",
        "\ud800",
        {"e\u0301": 1},
        bytearray(b"a"),
        object(),
    ],
    ids=repr,
)
def test_what_has_no_canonical_form_is_not_encoded(value: Any) -> None:
    with pytest.raises(EncodeError):
        encode_value(value)


def test_nesting_is_bounded_both_ways() -> None:
    deep: Any = 1
    for _ in range(DEPTH_MAX):
        deep = (deep,)

    assert decode_value(encode_value(deep), bytes_max=BYTES_MAX) == deep
    with pytest.raises(EncodeError):
        encode_value((deep,))
    with pytest.raises(DecodeError):
        decode_value(pack((deep,)), bytes_max=BYTES_MAX)


def test_more_bytes_than_allowed_are_not_even_parsed() -> None:
    encoded = encode_value(bytes(100))

    assert decode_value(encoded, bytes_max=len(encoded)) == bytes(100)
    with pytest.raises(TooLarge):
        decode_value(encoded, bytes_max=len(encoded) - 1)
    with pytest.raises(TooLarge):
        unpack(b"\xc1" * 10, bytes_max=9)


def test_maps_are_written_in_the_order_of_their_keys() -> None:
    one = encode_value({"b": 1, "a": 2, "ä": 3})
    other = encode_value({"ä": 3, "a": 2, "b": 1})

    assert one == other == b"\x83\xa1a\x02\xa1b\x01\xa2\xc3\xa4\x03"
