"""Few bytes must not become so many values that taking them apart holds a node up."""

import pytest

from crypto.encoding import ITEMS_MAX, pack, unpack
from crypto.errors import DecodeError

BYTES_MAX = 8 << 20


def an_array(count: int, item: bytes) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + item * count


BOMBS = {
    "small numbers": an_array(BYTES_MAX - 16, b"\x01"),
    "empty arrays": an_array(BYTES_MAX - 16, b"\x90"),
    "arrays of an empty array": an_array((BYTES_MAX - 16) // 2, b"\x91\x90"),
    "empty maps": an_array(BYTES_MAX - 16, b"\x80"),
    "arrays of many small ones": an_array(120, an_array(60_000, b"\x90")),
    "maps in maps": b"\xde\xea\x60"
    + b"".join(
        b"\xa5%05d\x85\xa1a\x80\xa1b\x80\xa1c\x80\xa1d\x80\xa1e\x80" % number
        for number in range(60_000)
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_the_parser_stops_at_too_many_values(name: str) -> None:
    with pytest.raises(DecodeError, match=r"more than \d+ values|exceeds max_array_len"):
        unpack(BOMBS[name], bytes_max=BYTES_MAX)


def test_as_many_values_as_a_message_may_have_are_read() -> None:
    value = tuple(range(ITEMS_MAX - 1))

    assert unpack(pack((value,)), bytes_max=BYTES_MAX) == (value,)


def test_one_value_too_many_is_refused() -> None:
    with pytest.raises(DecodeError):
        unpack(pack((tuple(range(ITEMS_MAX)),)), bytes_max=BYTES_MAX)
