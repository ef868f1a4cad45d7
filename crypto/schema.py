"""Wire types: frozen dataclasses whose canonical encoding is derived from their annotations.

A wire type is encoded as an array of its fields in order. A class with `WIRE_VERSION` puts that
number first; members of a union put their `WIRE_TAG` first; a field with `init=False` is derived
and does not travel. Bounds live in the annotations, so
reading a class is reading its format, and `docs/wire.md` is generated from the same source:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Vote:
        WIRE_VERSION: ClassVar[int] = 1
        WIRE_BYTES_MAX: ClassVar[int] = 200

        height: U64
        digest: Digest                                   # NewType over a sized bytes
        signers: Annotated[tuple[U16, ...], Count(1, 64)]

A rule that annotations cannot say (ascending order, say) goes into `__post_init__` and raises
`ValueError`; the decoder turns it into a `DecodeError` that names the type.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, TypeVar, Union

from crypto.encoding import is_normal_text, pack, unpack
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

T = TypeVar("T")


def encode(wire: Any) -> bytes:
    """Return the canonical bytes of a wire-type instance; raise `EncodeError` out of bounds."""
    return pack(codec(type(wire)).to_plain(wire))


def decode(kind: type[T], encoded: bytes, *, bytes_max: int | None = None) -> T:
    """Return the instance that `encoded` stands for, or raise `DecodeError` saying where it fails.

    `bytes_max` defaults to the class's `WIRE_BYTES_MAX`.
    """
    if bytes_max is None:
        bytes_max = int(vars(kind)["WIRE_BYTES_MAX"])
    instance: T = codec(kind).from_plain(unpack(encoded, bytes_max=bytes_max))
    return instance


def to_plain(wire: Any) -> object:
    """Return the plain tuple that stands for a wire-type instance inside a larger value."""
    return codec(type(wire)).to_plain(wire)


def from_plain(kind: type[T], plain: object) -> T:
    """Return the wire-type instance that a plain tuple stands for, or raise `DecodeError`."""
    instance: T = codec(kind).from_plain(plain)
    return instance


@dataclass(frozen=True, slots=True)
class Codec:
    """The two directions of one annotation; both check every bound."""

    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


def codec(annotation: Any) -> Codec:
    """Derive the codec of an annotation, once; an unsupported annotation is our own mistake."""
    known = _CODECS.get(annotation)
    if known is None:
        known = _CODECS[annotation] = _derived(annotation)
    return known


_CODECS: dict[Any, Codec] = {}


def _derived(annotation: Any) -> Codec:
    bound: Range | Size | Count | None = None
    while True:
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) is Annotated:
            annotation, *found = typing.get_args(annotation)
            bound = bound or found[0]
        else:
            break
    return _codec(annotation, bound)


def _codec(annotation: Any, bound: Range | Size | Count | None) -> Codec:
    if annotation is bool:
        return _exact(bool)
    if annotation is int:
        assert isinstance(bound, Range), "integers on the wire have a range"
        return _integer(bound)
    if annotation is bytes:
        assert isinstance(bound, Size), "bytes on the wire have a size"
        return _bytes(bound)
    if annotation is str:
        assert isinstance(bound, Size), "text on the wire has a size"
        return _text(bound)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    if dataclasses.is_dataclass(annotation):
        return _structure(annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return _tuple(typing.get_args(annotation), bound)
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(annotation))
    raise AssertionError(f"no wire form for {annotation!r}")


Error = type[EncodeError] | type[DecodeError]
Check = Callable[[Any], Any]


def _both(make_check: Callable[[Error], Check]) -> Codec:
    """Values that are their own plain form: the same check both ways, with its own error."""
    return Codec(make_check(EncodeError), make_check(DecodeError))


def _exact(kind: type) -> Codec:
    def make_check(error: Error) -> Check:
        def check(value: Any) -> Any:
            if type(value) is not kind:
                raise error(f"{type(value).__name__} where {kind.__name__} belongs")
            return value

        return check

    return _both(make_check)


def _integer(bound: Range) -> Codec:
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


def _bytes(bound: Size) -> Codec:
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


def _text(bound: Size) -> Codec:
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


def _enum(kind: type[enum.Enum]) -> Codec:
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


def _tuple(arguments: tuple[Any, ...], bound: Range | Size | Count | None) -> Codec:
    if arguments[-1] is not Ellipsis:
        return _fixed_tuple(tuple(codec(argument) for argument in arguments))
    assert isinstance(bound, Count), "tuples on the wire have a count"
    item, low, high = codec(arguments[0]), bound.low, bound.high
    item_to, item_from = item.to_plain, item.from_plain

    def to_plain(value: Any) -> Any:
        if type(value) is not tuple or not low <= len(value) <= high:
            raise EncodeError(f"not a tuple of {low}..{high} items")
        return tuple([item_to(one) for one in value])

    def from_plain(plain: Any) -> Any:
        if type(plain) is not tuple:
            raise DecodeError(f"{type(plain).__name__} where an array belongs")
        if not low <= len(plain) <= high:
            raise DecodeError(f"{len(plain)} items where {low}..{high} belong")
        return tuple([item_from(one) for one in plain])

    return Codec(to_plain, from_plain)


def _fixed_tuple(items: tuple[Codec, ...]) -> Codec:
    def to_plain(value: Any) -> Any:
        if type(value) is not tuple or len(value) != len(items):
            raise EncodeError(f"not a tuple of {len(items)} items")
        return tuple([item.to_plain(one) for item, one in zip(items, value, strict=True)])

    def from_plain(plain: Any) -> Any:
        if type(plain) is not tuple or len(plain) != len(items):
            raise DecodeError(f"not an array of {len(items)} items")
        return tuple([item.from_plain(one) for item, one in zip(items, plain, strict=True)])

    return Codec(to_plain, from_plain)


def _structure(kind: Any) -> Codec:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = tuple(field.name for field in dataclasses.fields(kind) if field.init)
    assert names or "WIRE_TAG" in vars(kind), "a wire type has fields, or is told by its tag"
    codecs = tuple(codec(hints[name]) for name in names)
    writers = tuple(one.to_plain for one in codecs)
    readers = tuple(one.from_plain for one in codecs)
    fetch = attrgetter(*names) if len(names) > 1 else _single_fetch(names)
    head = tuple(vars(kind)[mark] for mark in ("WIRE_TAG", "WIRE_VERSION") if mark in vars(kind))
    title, skip, length = kind.__name__, len(head), len(head) + len(names)
    build = _builder(kind, names)

    def to_plain(value: Any) -> Any:
        if type(value) is not kind:
            raise EncodeError(f"{type(value).__name__} where {title} belongs")
        try:
            return head + tuple(
                [write(one) for write, one in zip(writers, fetch(value), strict=True)]
            )
        except EncodeError as problem:
            raise EncodeError(f"{title}: {problem}") from problem

    def from_plain(plain: Any) -> Any:
        if type(plain) is not tuple or len(plain) != length:
            raise DecodeError(f"not an array of the {length} items of {title}")
        if plain[:skip] != head or bool in map(type, plain[:skip]):
            raise DecodeError(f"{title} starts with {head}, not {plain[:skip]!r}")
        try:
            return build([read(one) for read, one in zip(readers, plain[skip:])])  # noqa: B905
        except DecodeError as problem:
            raise type(problem)(f"{title}: {problem}") from problem
        except ValueError as problem:
            raise DecodeError(f"{title}: {problem}") from problem

    return Codec(to_plain, from_plain)


def _single_fetch(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """`attrgetter` answers with a bare value for one name, and takes no zero names."""
    return lambda value: tuple([getattr(value, name) for name in names])


def _builder(kind: Any, names: tuple[str, ...]) -> Callable[[list[Any]], Any]:
    """Return what makes an instance of its field values, in order.

    It does what `kind(**fields)` does at a third of the cost: it fills the slots, which a frozen
    class guards only against assignment, and runs `__post_init__`.
    """
    assert "__slots__" in vars(kind), "a wire type has slots"
    setters = tuple(vars(kind)[name].__set__ for name in names)
    post_init = getattr(kind, "__post_init__", None)
    new = object.__new__

    def build(values: list[Any]) -> Any:
        instance = new(kind)
        for put, value in zip(setters, values):  # noqa: B905 - lengths are those of `names`
            put(instance, value)
        if post_init is not None:
            post_init(instance)
        return instance

    return build


def _union(members: tuple[Any, ...]) -> Codec:
    kinds = tuple(member for member in members if member is not type(None))
    if kinds != members:
        return _optional(codec(kinds[0]) if len(kinds) == 1 else _union(kinds))
    if not any(dataclasses.is_dataclass(kind) for kind in kinds):
        return _scalar_union(kinds)
    by_tag = {vars(kind)["WIRE_TAG"]: kind for kind in kinds}
    assert len(by_tag) == len(kinds), "tags of a union differ"
    by_kind = {kind: codec(kind) for kind in kinds}

    def to_plain(value: Any) -> Any:
        if type(value) not in by_kind:
            raise EncodeError(f"{type(value).__name__} is not in the union")
        return by_kind[type(value)].to_plain(value)

    def from_plain(plain: Any) -> Any:
        if type(plain) is not tuple or not plain or type(plain[0]) not in (int, str):
            raise DecodeError("not a tagged array")
        if plain[0] not in by_tag:
            raise DecodeError(f"unknown tag {plain[0]!r}")
        return by_kind[by_tag[plain[0]]].from_plain(plain)

    return Codec(to_plain, from_plain)


def _scalar_union(members: tuple[Any, ...]) -> Codec:
    """A union of bounded int, bytes and str: what a value is says which member it belongs to."""
    by_type = {_scalar_type(member): codec(member) for member in members}
    assert len(by_type) == len(members), "the types of a scalar union differ"

    def to_plain(value: Any) -> Any:
        if type(value) not in by_type:
            raise EncodeError(f"{type(value).__name__} is not in the union")
        return by_type[type(value)].to_plain(value)

    def from_plain(plain: Any) -> Any:
        if type(plain) not in by_type:
            raise DecodeError(f"{type(plain).__name__} is not in the union")
        return by_type[type(plain)].from_plain(plain)

    return Codec(to_plain, from_plain)


def _scalar_type(annotation: Any) -> type:
    while not isinstance(annotation, type):
        annotation = (
            annotation.__supertype__
            if isinstance(annotation, typing.NewType)
            else typing.get_args(annotation)[0]
        )
    assert annotation in (int, bytes, str), "scalars are int, bytes and str"
    return annotation


def _optional(inner: Codec) -> Codec:
    def to_plain(value: Any) -> Any:
        return None if value is None else inner.to_plain(value)

    def from_plain(plain: Any) -> Any:
        return None if plain is None else inner.from_plain(plain)

    return Codec(to_plain, from_plain)
