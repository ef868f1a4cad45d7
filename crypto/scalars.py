"""The leaves of wire types: bounds in annotations, and the codecs of single values."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from crypto.encoding import is_normal_text
from crypto.errors import DecodeError, EncodeError


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive bounds of an integer."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Size:
    """Inclusive bounds of the length of bytes, or of text in UTF-8 bytes."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Count:
    """Inclusive bounds of the number of items in a tuple."""

    low: int
    high: int


U8 = Annotated[int, Range(0, 2**8 - 1)]
U16 = Annotated[int, Range(0, 2**16 - 1)]
U32 = Annotated[int, Range(0, 2**32 - 1)]
U64 = Annotated[int, Range(0, 2**64 - 1)]
Bytes16 = Annotated[bytes, Size(16, 16)]
Bytes32 = Annotated[bytes, Size(32, 32)]
Bytes64 = Annotated[bytes, Size(64, 64)]
Name = Annotated[str, Size(1, 64)]


@dataclass(frozen=True, slots=True)
class Codec:
    """The two directions of one annotation; both check every bound."""

    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


Error: TypeAlias = type[EncodeError] | type[DecodeError]
Check: TypeAlias = Callable[[Any], Any]


def _both(make_check: Callable[[Error], Check]) -> Codec:
    """Values that are their own plain form: the same check both ways, with its own error."""
    return Codec(make_check(EncodeError), make_check(DecodeError))


def exact_codec(kind: type) -> Codec:
    def make_check(error: Error) -> Check:
        def check(value: Any) -> Any:
            if type(value) is not kind:
                raise error(f"{type(value).__name__} where {kind.__name__} belongs")
            return value

        return check

    return _both(make_check)


def integer_codec(bound: Range) -> Codec:
    low, high = bound.low, bound.high

    def make_check(error: Error) -> Check:
        def check(value: Any) -> Any:
            if type(value) is not int:
                raise error(f"{type(value).__name__} where an integer belongs")
            if not low <= value <= high:
                raise error(f"integer {value} outside {low}..{high}")
            return value

        return check

    return _both(make_check)


def bytes_codec(bound: Size) -> Codec:
    low, high = bound.low, bound.high

    def make_check(error: Error) -> Check:
        def check(value: Any) -> Any:
            if type(value) is not bytes:
                raise error(f"{type(value).__name__} where bytes belong")
            if not low <= len(value) <= high:
                raise error(f"{len(value)} bytes where {low}..{high} belong")
            return value

        return check

    return _both(make_check)


def text_codec(bound: Size) -> Codec:
    low, high = bound.low, bound.high

    def make_check(error: Error) -> Check:
        def check(value: Any) -> Any:
            if type(value) is not str:
                raise error(f"{type(value).__name__} where text belongs")
            if not is_normal_text(value):
                raise error("text that is not in normal form C")
            try:
                size = len(value) if value.isascii() else len(value.encode())
            except UnicodeEncodeError as problem:
                raise error("text with a lone surrogate") from problem
            if not low <= size <= high:
                raise error(f"text of {size} bytes where {low}..{high} belong")
            return value

        return check

    return _both(make_check)


def enum_codec(kind: type[enum.Enum]) -> Codec:
    members = {member.value: member for member in kind}

    def to_plain(value: Any) -> Any:
        if type(value) is not kind:
            raise EncodeError(f"{type(value).__name__} where {kind.__name__} belongs")
        return value.value

    def from_plain(plain: Any) -> Any:
        if type(plain) not in (int, str) or plain not in members:
            raise DecodeError(f"no {kind.__name__} of that value")
        return members[plain]

    return Codec(to_plain, from_plain)
