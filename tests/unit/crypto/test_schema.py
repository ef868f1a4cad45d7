import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.encoding import encode_value
from crypto.errors import DecodeError, EncodeError, NotCanonical, TooLarge
from crypto.schema import (
    U8,
    U16,
    U64,
    Bytes16,
    Count,
    Name,
    Range,
    Size,
    codec,
    decode,
    encode,
    from_plain,
    to_plain,
)

Level = NewType("Level", U16)
Scalar = U64 | Annotated[bytes, Size(0, 4)] | Annotated[str, Size(0, 4)]


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    WIRE_TAG: ClassVar[int] = 1

    account: Bytes16


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    WIRE_TAG: ClassVar[int] = 2

    name: Name
    beds: U16


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    WIRE_TAG: ClassVar[int] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    WIRE_VERSION: ClassVar[int] = 7
    WIRE_BYTES_MAX: ClassVar[int] = 2_000

    flag: bool
    level: Level
    signed: Annotated[int, Range(-5, 5)]
    raw: Annotated[bytes, Size(1, 3)]
    text: Annotated[str, Size(0, 6)]
    colour: Colour
    optional: U8 | None
    names: Annotated[tuple[Name, ...], Count(0, 3)]
    pairs: Annotated[tuple[tuple[U8, Bytes16], ...], Count(0, 2)]
    who: Person | Hospital | Nobody
    maybe: Person | Hospital | None
    scalar: Scalar
    nested: Person
    total: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if list(self.names) != sorted(self.names):
            raise ValueError("names are not ascending")
        object.__setattr__(self, "total", len(self.names) + len(self.pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    WIRE_BYTES_MAX: ClassVar[int] = 20

    value: U64


persons = st.builds(Person, account=st.binary(min_size=16, max_size=16))
short = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
hospitals = st.builds(Hospital, name=short, beds=st.integers(0, 65_535))
everythings = st.builds(
    Everything,
    flag=st.booleans(),
    level=st.integers(0, 65_535),
    signed=st.integers(-5, 5),
    raw=st.binary(min_size=1, max_size=3),
    text=st.sampled_from(["", "abc", "ä", "äöü"]),
    colour=st.sampled_from(Colour),
    optional=st.none() | st.integers(0, 255),
    names=st.lists(short, max_size=3).map(lambda names: tuple(sorted(names))),
    pairs=st.lists(
        st.tuples(st.integers(0, 255), st.binary(min_size=16, max_size=16)), max_size=2
    ).map(tuple),
    who=persons | hospitals | st.just(Nobody()),
    maybe=st.none() | persons | hospitals,
    scalar=st.integers(0, 2**64 - 1) | st.binary(max_size=4) | st.sampled_from(["", "abcd"]),
    nested=persons,
)


def sample(**changes: Any) -> Everything:
    fields: dict[str, Any] = {
        "flag": True,
        "level": Level(1),
        "signed": -1,
        "raw": b"raw",
        "text": "text",
        "colour": Colour.BLUE,
        "optional": None,
        "names": ("a", "b"),
        "pairs": ((1, bytes(16)),),
        "who": Hospital(name="north", beds=12),
        "maybe": None,
        "scalar": "abc",
        "nested": Person(account=bytes(16)),
    }
    return Everything(**{**fields, **changes})


def plain_with(position: int, value: Any) -> tuple[Any, ...]:
    plain = list(to_plain(sample()))
    plain[position] = value
    return tuple(plain)


@given(everythings)
def test_an_instance_comes_back_as_it_went(value: Everything) -> None:
    decoded = decode(Everything, encode(value))

    assert decoded == value
    assert decoded.total == value.total
    assert from_plain(Everything, to_plain(value)) == value


@given(everythings, st.integers(0), st.integers(1, 255))
def test_accepted_bytes_reencode_to_themselves(value: Everything, at: int, change: int) -> None:
    encoded = bytearray(encode(value))
    encoded[at % len(encoded)] ^= change

    try:
        decoded = decode(Everything, bytes(encoded))
    except DecodeError:
        return
    assert encode(decoded) == encoded


anything = (
    st.none()
    | st.booleans()
    | st.integers(-10, 2**16)
    | st.binary(max_size=17)
    | st.sampled_from(["", "a", "blue", "ä", "e\u0301", "\ud800", "toolong"])
    | st.floats(0, 10)
    | st.tuples(st.integers(0, 3), st.binary(min_size=16, max_size=16))
    | st.tuples(short, short)
)


@given(everythings, st.lists(st.tuples(st.integers(0, 13), anything), max_size=2))
def test_the_generated_code_and_the_words_agree(
    value: Everything, changes: list[tuple[int, Any]]
) -> None:
    plain = list(to_plain(value))
    for position, change in changes:
        plain[position] = change
    generated = codec(Everything).from_plain
    in_words = generated.__globals__["explain_from"]

    answers = [outcome(read, tuple(plain)) for read in (generated, in_words)]

    assert answers[0] == answers[1]


def outcome(read: Callable[[Any], Any], plain: Any) -> Any:
    try:
        return read(plain)
    except DecodeError as problem:
        return str(problem)


@given(everythings, st.sampled_from(sorted(Everything.__slots__)), anything)
def test_the_generated_code_and_the_words_agree_on_what_may_be_encoded(
    value: Everything, name: str, change: Any
) -> None:
    object.__setattr__(value, name, change)
    generated = codec(Everything).to_plain
    in_words = generated.__globals__["explain_to"]

    answers = []
    for write in (generated, in_words):
        try:
            answers.append(write(value))
        except EncodeError as problem:
            answers.append(str(problem))

    assert answers[0] == answers[1]


@given(st.binary(max_size=64))
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    for kind in (Everything, Single):
        try:
            value = decode(kind, garbage)
        except DecodeError:
            continue
        assert encode(value) == garbage


def test_the_layout_is_version_then_fields_in_order() -> None:
    assert to_plain(sample()) == (
        7,
        True,
        1,
        -1,
        b"raw",
        "text",
        "blue",
        None,
        ("a", "b"),
        ((1, bytes(16)),),
        (2, "north", 12),
        None,
        "abc",
        (1, bytes(16)),
    )
    assert encode(Single(value=5)) == b"\x91\x05"


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 8),
        (0, True),
        (1, 1),
        (2, True),
        (2, -1),
        (2, 65_536),
        (2, "1"),
        (3, -6),
        (4, b""),
        (4, b"long"),
        (4, "raw"),
        (5, "e\u0301"),
        (5, "äöüß"),
        (5, b"text"),
        (6, 2),
        (6, True),
        (6, b"blue"),
        (7, 256),
        (8, ("b", "a")),
        (8, ("a", "b", "c", "d")),
        (8, "ab"),
        (8, ("",)),
        (9, ((1,),)),
        (9, ((1, bytes(15)),)),
        (10, (2, "north")),
        (10, (9, "north", 12)),
        (10, (True, bytes(16))),
        (10, ()),
        (10, None),
        (10, b"x"),
        (11, (3,)),
        (12, True),
        (12, "abcde"),
        (12, 2**64 - 1 + 0.0),
        (12, None),
        (13, (2, bytes(16))),
        (13, bytes(16)),
    ],
)
def test_a_value_out_of_bounds_is_refused(position: int, value: Any) -> None:
    with pytest.raises(DecodeError, match=r"Everything"):
        from_plain(Everything, plain_with(position, value))


@pytest.mark.parametrize("length", [0, 13, 15])
def test_another_number_of_fields_is_refused(length: int) -> None:
    plain = (*plain_with(1, True), 1)[:length]

    with pytest.raises(DecodeError, match="not an array of the 14 items"):
        from_plain(Everything, plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"flag": 1},
        {"level": 65_536},
        {"signed": 2.0},
        {"raw": bytearray(b"raw")},
        {"text": "e\u0301"},
        {"text": "\ud800"},
        {"colour": "blue"},
        {"names": ("a", "b", "c", "d")},
        {"pairs": ((1, b""),)},
        {"pairs": [(1, bytes(16))]},
        {"who": sample},
        {"scalar": 1.0},
        {"scalar": b"abcde"},
        {"nested": Hospital(name="north", beds=1)},
    ],
    ids=repr,
)
def test_an_instance_out_of_bounds_is_not_encoded(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        encode(sample(**changes))


def test_limits_of_the_class_and_of_the_caller_hold() -> None:
    encoded = encode(Single(value=2**63))

    assert decode(Single, encoded).value == 2**63
    with pytest.raises(TooLarge):
        decode(Single, bytes(21))
    with pytest.raises(TooLarge):
        decode(Single, encoded, bytes_max=len(encoded) - 1)


def test_a_longer_spelling_is_not_canonical() -> None:
    with pytest.raises(NotCanonical):
        decode(Single, b"\x91\xcc\x05")


def test_a_decoded_instance_is_as_frozen_as_a_made_one() -> None:
    decoded = decode(Single, b"\x91\x05")

    assert decoded == Single(value=5)
    assert hash(decoded) == hash(Single(value=5))
    with pytest.raises(AttributeError):
        decoded.value = 6  # type: ignore[misc]  # That it is refused is the point.


def test_what_annotations_cannot_say_is_our_own_mistake() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Unbounded:
        text: str

    with pytest.raises(AssertionError):
        encode(Unbounded(text="a"))


def test_plain_values_of_a_structure_are_values_of_the_encoder() -> None:
    assert encode(sample()) == encode_value(to_plain(sample()))
