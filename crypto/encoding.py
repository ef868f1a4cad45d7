"""The one encoder: canonical msgpack for whatever is hashed, signed, stored or sent.

Every value has exactly one byte string. The encoder writes it; the decoder refuses every other
one: it re-encodes what it has read and compares, so non-minimal integers, wrong string widths,
duplicate or unsorted keys and trailing bytes have no second way in. Structures travel as arrays
in field order (`crypto.schema` derives them from dataclasses); this module knows only the plain
values below them: int (-2^63 .. 2^64-1), bytes, NFC text, bool, None, arrays, and maps with
sorted text keys. There are no floats and no extension types.
"""

import unicodedata
from typing import Any, Final, TypeAlias

import msgpack

from crypto.errors import DecodeError, EncodeError, NotCanonical, TooLarge

Value: TypeAlias = "bool | int | bytes | str | tuple[Value, ...] | dict[str, Value] | None"

DEPTH_MAX: Final = 32
"""Nesting a value may have; schemas stay far below it."""

ITEMS_MAX: Final = 1 << 18
"""Values that arrays and maps may hold, all together: the largest message has 100,000.

Without a bound a few megabytes become millions of values, and the node that takes them apart
answers nobody for seconds.
"""

_COUNTED_BYTES: Final = 64 << 10
"""Shorter messages cannot hold so many values that it matters, and are not counted."""


_PACKER_BYTES_MAX: Final = 1 << 20


def encode_value(value: Value) -> bytes:
    """Return the canonical bytes of `value`; raise `EncodeError` for what has none."""
    return pack(_checked(value, 0, EncodeError))


def decode_value(encoded: bytes, *, bytes_max: int) -> Value:
    """Return the value that `encoded` stands for.

    Raises `TooLarge` above `bytes_max`, `NotCanonical` for a second spelling of a value, and
    `DecodeError` for anything else that is not a value.
    """
    return _checked(unpack(encoded, bytes_max=bytes_max), 0, DecodeError)


class Packer:
    """One packer for all: making one costs more than most of what it packs.

    It never lets go of the interpreter while it packs plain values, so threads cannot meet in it.
    """

    __slots__ = ("_packer",)

    def __init__(self) -> None:
        self._packer = msgpack.Packer(use_bin_type=True)

    def pack(self, value: object) -> bytes:
        packed: bytes = self._packer.pack(value)
        if len(packed) > _PACKER_BYTES_MAX:  # It keeps the memory it once needed.
            self._packer = msgpack.Packer(use_bin_type=True)
        return packed


_PACKER: Final = Packer()


def pack(value: object) -> bytes:
    """Encode a value whose types a schema has already checked (no float, sorted maps)."""
    try:
        packed = _PACKER.pack(value)
    except (ValueError, OverflowError, TypeError) as problem:
        raise EncodeError(str(problem)) from problem
    return packed


def unpack(encoded: bytes, *, bytes_max: int) -> object:
    """Parse one value and demand its canonical spelling; arrays come back as tuples.

    The types inside are unchecked except that extension types are refused: callers check every
    leaf against a schema, which is what refuses floats, unsorted maps and unnormalised text.
    """
    if len(encoded) > bytes_max:
        raise TooLarge(f"{len(encoded)} bytes where at most {bytes_max} are allowed")
    try:
        value: object = msgpack.unpackb(
            encoded,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_ext_len=0,
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
            **(_counting() if len(encoded) > _COUNTED_BYTES else {}),
            ext_hook=_refuse_extension,  # An extension of no bytes passes the limit.
        )
        canonical = _PACKER.pack(value)
    except (ValueError, OverflowError, TypeError, RecursionError) as problem:
        raise DecodeError(f"not a canonical msgpack value: {problem}") from problem
    if canonical != encoded:
        raise NotCanonical("the value has another, canonical spelling")
    return value


def is_normal_text(text: str) -> bool:
    """Whether `text` is in Unicode normal form C, the only form that is signed or stored."""
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _counting() -> dict[str, Any]:
    """Return the hooks that stop the parser at too many values."""
    count = 0

    def counted(group: Any) -> Any:
        nonlocal count
        count += len(group)
        if count > ITEMS_MAX:
            raise ValueError(f"more than {ITEMS_MAX} values")
        return group

    return {"list_hook": counted, "object_hook": counted}


def _refuse_extension(code: int, _: bytes) -> object:
    raise ValueError(f"an extension type ({code})")


def _checked(value: object, depth: int, error: type[EncodeError] | type[DecodeError]) -> Value:
    if depth > DEPTH_MAX:
        raise error(f"nested deeper than {DEPTH_MAX}")
    if value is None or isinstance(value, bool | bytes):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise error("an integer outside 64 bits")
        return value
    if isinstance(value, str):
        if not is_normal_text(value):
            raise error("text that is not in normal form C")
        return value
    if isinstance(value, tuple):
        return tuple(_checked(item, depth + 1, error) for item in value)
    if isinstance(value, dict):
        return _checked_map(value, depth, error)
    raise error(f"a value of type {type(value).__name__}")


def _checked_map(
    value: dict[object, object],
    depth: int,
    error: type[EncodeError] | type[DecodeError],
) -> dict[str, Value]:
    names = []
    for name in value:
        if not isinstance(name, str) or not is_normal_text(name):
            raise error("a map key that is not normal text")
        names.append(name)
    ordered = sorted(names, key=lambda name: name.encode())
    if error is DecodeError and ordered != names:
        raise NotCanonical("map keys out of order")
    return {name: _checked(value[name], depth + 1, error) for name in ordered}
