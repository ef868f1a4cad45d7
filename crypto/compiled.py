"""Wire types at speed: per structure one function for each direction, written from its annotations.

`crypto.schema` says what a structure's plain form is, one call per field. Here the checks of all
fields that are their own plain form (numbers, bytes, text, arrays of them) stand side by side in
generated source, as `dataclasses` writes an `__init__`. What
fails one of them goes to the schema's own functions, which decide and explain; so the generated
code answers only for what is surely right. It halves the cost of every transaction, account and
receipt. An instance is made by filling its slots, which a frozen class guards only against
assignment, and by running its `__post_init__`, as its `__init__` would.
"""

import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, Union

from crypto.errors import DecodeError, EncodeError
from crypto.scalars import Codec, Count, Range, Size

FROM_PLAIN: Final = """
def from_plain(plain):
    if type(plain) is tuple and len(plain) == {length}:
        {items} = plain
        if {tests}:
            try:
                instance = new(kind)
                {fill}
                return instance
            except (DecodeError, ValueError):
                pass
    return explain_from(plain)
"""

TO_PLAIN: Final = """
def to_plain(value):
    if type(value) is kind:
        {fetch}
        if {tests}:
            try:
                return ({items})
            except EncodeError:
                pass
    return explain_to(value)
"""


class FieldSource(NamedTuple):
    """One field in the generated source: its variable, and for both ways its test and its value."""

    name: str
    value: str
    is_plain: str
    read: str
    is_ours: str
    write: str


def compile_structure(
    kind: Any, head: tuple[Any, ...], fields: Mapping[str, tuple[Any, Codec]], slow: Codec
) -> Codec:
    """Return the fast form of `slow`, the codec of the dataclass `kind`.

    `head` are the tag and version it opens with, `fields` its annotations and codecs in order.
    """
    assert "__slots__" in vars(kind), "a wire type has slots"
    assert all(type(mark) in (int, str) for mark in head), "tags and versions are int or text"
    scope: dict[str, Any] = {
        "kind": kind,
        "new": object.__new__,
        "post_init": getattr(kind, "__post_init__", None),
        "DecodeError": DecodeError,
        "EncodeError": EncodeError,
        "explain_from": slow.from_plain,
        "explain_to": slow.to_plain,
    }
    sources = []
    for name, (annotation, codec) in fields.items():
        scope |= {f"read_{name}": codec.from_plain, f"write_{name}": codec.to_plain}
        scope[f"put_{name}"] = vars(kind)[name].__set__
        if (kind_of_enum := _enum_of(annotation)) is not None:
            scope |= {
                f"kind_{name}": kind_of_enum,
                f"members_{name}": {member.value: member for member in kind_of_enum},
            }
            sources.append(_enum_source(name))
        else:
            sources.append(_field_source(name, condition_of(annotation)))
    source = _from_plain_source(head, sources, runs_post_init=scope["post_init"] is not None)
    source += _to_plain_source(head, sources)
    # The source holds names of fields and bounds of our own classes, nothing that anybody sends.
    exec(source, scope)  # noqa: S102
    return Codec(scope["to_plain"], scope["from_plain"])


def _field_source(name: str, condition: str | None) -> FieldSource:
    value = f"value_{name}"
    if condition is None:
        calls = f"read_{name}({value})", f"write_{name}({value})"
        return FieldSource(name, value, "True", calls[0], "True", calls[1])
    test = condition.format(value=value)
    return FieldSource(name, value, test, value, test, value)


def _enum_source(name: str) -> FieldSource:
    value = f"value_{name}"
    return FieldSource(
        name,
        value,
        f"(type({value}) is str or type({value}) is int) and {value} in members_{name}",
        f"members_{name}[{value}]",
        f"type({value}) is kind_{name}",
        f"{value}._value_",  # `value` is a descriptor, and several times as slow.
    )


def _enum_of(annotation: Any) -> type[enum.Enum] | None:
    is_enum = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    return annotation if is_enum else None


def _from_plain_source(
    head: tuple[Any, ...], fields: Sequence[FieldSource], *, runs_post_init: bool
) -> str:
    marks = [f"mark_{index}" for index in range(len(head))]
    tests = [
        f"type({mark}) is {type(expected).__name__} and {mark} == {expected!r}"
        for mark, expected in zip(marks, head, strict=True)
    ]
    fill = [f"put_{field.name}(instance, {field.read})" for field in fields]
    if runs_post_init:
        fill.append("post_init(instance)")
    return FROM_PLAIN.format(
        length=len(head) + len(fields),
        items=_listed([*marks, *[field.value for field in fields]]),
        tests=_all([*tests, *[field.is_plain for field in fields]]),
        fill="\n                ".join(fill or ["pass"]),
    )


def _to_plain_source(head: tuple[Any, ...], fields: Sequence[FieldSource]) -> str:
    fetch = [f"{field.value} = value.{field.name}" for field in fields]
    return TO_PLAIN.format(
        fetch="\n        ".join(fetch or ["pass"]),
        tests=_all([field.is_ours for field in fields]),
        items=_listed([*map(repr, head), *[field.write for field in fields]]),
    )


def condition_of(annotation: Any, depth: int = 0) -> str | None:
    """Return the test that a plain value of this annotation passes, as source on `{value}`.

    None for what is not its own plain form: structures, enumerations, arrays of them.
    """
    annotation = _bare(annotation)
    if annotation is bool:
        return "({value} is True or {value} is False)"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _bounded_condition(_bare(arguments[0]), arguments[1], depth)
    if origin in (Union, types.UnionType):
        members = [
            "{value} is None" if one is type(None) else condition_of(one, depth)
            for one in arguments
        ]
        known = [one for one in members if one is not None]
        return f"({' or '.join(known)})" if len(known) == len(members) else None
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _array_condition(arguments, depth)
    return None


def _array_condition(items: Sequence[Any], depth: int) -> str | None:
    """The test of an array with an annotation for each place."""
    tests = ["type({value}) is tuple", f"len({{value}}) == {len(items)}"]
    for place, annotation in enumerate(items):
        test = condition_of(annotation, depth)
        if test is None:
            return None
        tests.append(test.replace("{value}", f"{{value}}[{place}]"))
    return f"({' and '.join(tests)})"


def _bounded_condition(inner: Any, bound: Range | Size | Count, depth: int) -> str | None:
    if isinstance(bound, Range) and inner is int:
        return f"type({{value}}) is int and {bound.low} <= {{value}} <= {bound.high}"
    if isinstance(bound, Size) and inner is bytes:
        return f"type({{value}}) is bytes and {bound.low} <= len({{value}}) <= {bound.high}"
    if isinstance(bound, Size) and inner is str:  # Other text takes the longer way.
        return (
            "type({value}) is str and {value}.isascii()"
            f" and {bound.low} <= len({{value}}) <= {bound.high}"
        )
    if isinstance(bound, Count) and typing.get_origin(inner) is tuple:
        item = f"item_{depth}"
        test = condition_of(typing.get_args(inner)[0], depth + 1)
        if test is not None:
            each = test.replace("{value}", item)
            return (
                f"type({{value}}) is tuple and {bound.low} <= len({{value}}) <= {bound.high}"
                f" and all([{each} for {item} in {{value}}])"
            )
    return None


def _bare(annotation: Any) -> Any:
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    return annotation


def _all(conditions: list[str]) -> str:
    return " and ".join(one for one in conditions if one != "True") or "True"


def _listed(items: list[str]) -> str:
    return ", ".join(items) + ","
