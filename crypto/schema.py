"""Wire types: frozen dataclasses whose canonical encoding is derived from their annotations.

A wire type is encoded as an array of its fields in order. A class with `WIRE_VERSION` puts that
number first; members of a union put their `WIRE_TAG` first; a field with `init=False` is derived
and does not travel. Bounds live in the annotations, so reading a class is reading its format, and
`docs/wire.md` is generated from the same source:

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
from typing import Annotated, Any, TypeVar, Union

from crypto.compiled import compile_structure
from crypto.encoding import pack, unpack
from crypto.errors import DecodeError, EncodeError
from crypto.scalars import U8 as U8
from crypto.scalars import U16 as U16
from crypto.scalars import U32 as U32
from crypto.scalars import U64 as U64
from crypto.scalars import Bytes16 as Bytes16
from crypto.scalars import Bytes32 as Bytes32
from crypto.scalars import Bytes64 as Bytes64
from crypto.scalars import Codec as Codec
from crypto.scalars import Count as Count
from crypto.scalars import Name as Name
from crypto.scalars import Range as Range
from crypto.scalars import Size as Size
from crypto.scalars import (
    bytes_codec,
    enum_codec,
    exact_codec,
    integer_codec,
    text_codec,
)

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


def to_plain(wire: Any) -> tuple[Any, ...]:
    """Return the plain tuple that stands for a wire-type instance inside a larger value."""
    plain: tuple[Any, ...] = codec(type(wire)).to_plain(wire)
    return plain


def from_plain(kind: type[T], plain: object) -> T:
    """Return the wire-type instance that a plain tuple stands for, or raise `DecodeError`."""
    instance: T = codec(kind).from_plain(plain)
    return instance


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
        return exact_codec(bool)
    if annotation is int:
        assert isinstance(bound, Range), "integers on the wire have a range"
        return integer_codec(bound)
    if annotation is bytes:
        assert isinstance(bound, Size), "bytes on the wire have a size"
        return bytes_codec(bound)
    if annotation is str:
        assert isinstance(bound, Size), "text on the wire has a size"
        return text_codec(bound)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return enum_codec(annotation)
    if dataclasses.is_dataclass(annotation):
        return _structure(annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple:
        return _tuple(typing.get_args(annotation), bound)
    if origin in (Union, types.UnionType):
        return _union(typing.get_args(annotation))
    raise AssertionError(f"no wire form for {annotation!r}")


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
    fields = {name: (hints[name], codec(hints[name])) for name in names}
    head = tuple(vars(kind)[mark] for mark in ("WIRE_TAG", "WIRE_VERSION") if mark in vars(kind))
    codecs = {name: one for name, (_, one) in fields.items()}
    return compile_structure(kind, head, fields, _structure_in_words(kind, head, codecs))


def _structure_in_words(kind: Any, head: tuple[Any, ...], fields: dict[str, Codec]) -> Codec:
    """The codec that says what is wrong; `crypto.compiled` makes the fast one of it."""
    title, skip, length = kind.__name__, len(head), len(head) + len(fields)

    def to_plain(value: Any) -> Any:
        if type(value) is not kind:
            raise EncodeError(f"{type(value).__name__} where {title} belongs")
        try:
            return (*head, *[one.to_plain(getattr(value, name)) for name, one in fields.items()])
        except EncodeError as problem:
            raise EncodeError(f"{title}: {problem}") from problem

    def from_plain(plain: Any) -> Any:
        if type(plain) is not tuple or len(plain) != length:
            raise DecodeError(f"not an array of the {length} items of {title}")
        if plain[:skip] != head or bool in map(type, plain[:skip]):
            raise DecodeError(f"{title} starts with {head}, not {plain[:skip]!r}")
        items = zip(fields.items(), plain[skip:], strict=True)
        try:
            return kind(**{name: one.from_plain(item) for (name, one), item in items})
        except DecodeError as problem:
            raise type(problem)(f"{title}: {problem}") from problem
        except ValueError as problem:
            raise DecodeError(f"{title}: {problem}") from problem

    return Codec(to_plain, from_plain)


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
