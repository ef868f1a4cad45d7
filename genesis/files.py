"""Founding documents, statements and invitations as files: JSON that people can read and compare.

A file has exactly one spelling: it is read, checked, written again and compared. So a flipped
byte anywhere is refused, if not by JSON or the schema then by that comparison or by a signature.
Bytes are lower-case hex, enumerations their values, everything else as in the wire type.
"""

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, Union

from crypto.errors import DecodeError, EncodeError
from crypto.schema import decode, encode
from genesis.document import (
    GenesisDocument,
    chain_id_of,
    check_document,
)
from genesis.errors import GenesisDamaged, GenesisError

FILE_BYTES_MAX: Final = 16 << 20

T = TypeVar("T")


def dump_genesis(document: GenesisDocument) -> bytes:
    """Return the text of `genesis.json`."""
    return _dump({"chain_id": chain_id_of(document).hex(), **_to_json(document)})


def parse_genesis(text: bytes, *, title: object) -> GenesisDocument:
    """Return the checked document; raise a `GenesisError` that names the file `title`."""
    values = _parsed(text, title)
    claimed = values.pop("chain_id", None)
    document = _document(GenesisDocument, values, title)
    if claimed != chain_id_of(document).hex() or dump_genesis(document) != text:
        raise GenesisDamaged(f"{title}: changed since it was made; fetch it again from a member")
    try:
        check_document(document)
    except GenesisError as problem:
        raise type(problem)(f"{title}: {problem}") from problem
    return document


def load_genesis(path: Path) -> GenesisDocument:
    """Return the checked document in `path`; raise a `GenesisError` that names the file."""
    return parse_genesis(read_file(path), title=path)


def dump_wire(wire: Any) -> bytes:
    """Return the text of the file of a statement, an invitation or another wire type."""
    return _dump(_to_json(wire))


def load_wire(kind: type[T], path: Path) -> T:
    """Return the statement or invitation in `path`; its signatures are checked when assembled."""
    return parse_wire(kind, read_file(path), title=path)


def parse_wire(kind: type[T], text: bytes, *, title: object) -> T:
    """Return the wire type that a file's text stands for; `title` names the file in errors."""
    wire = _document(kind, _parsed(text, title), title)
    if _dump(_to_json(wire)) != text:
        raise GenesisDamaged(f"{title}: changed since it was made; ask its author again")
    return wire


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as problem:
        raise GenesisDamaged(f"cannot read {path}: {problem.strerror}") from problem
    if len(text) > FILE_BYTES_MAX:
        raise GenesisDamaged(f"{path}: longer than {FILE_BYTES_MAX} bytes")
    return text


def _dump(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=2).encode() + b"\n"


def _parsed(text: bytes, title: object) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise GenesisDamaged(f"{title}: not JSON: {problem}") from problem
    if not isinstance(values, dict):
        raise GenesisDamaged(f"{title}: not a JSON object")
    return values


def _document(kind: type[T], values: dict[str, Any], title: object) -> T:
    """Build the wire type and send it through the codec, which checks every bound."""
    try:
        return decode(kind, encode(_from_json(kind, values)))
    except (DecodeError, EncodeError, ValueError, TypeError, AttributeError) as problem:
        raise GenesisDamaged(f"{title}: not a {kind.__name__}: {problem}") from problem


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {one.name: _to_json(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_to_json(one) for one in value]
    assert value is None or isinstance(value, str | int), "founding documents hold plain values"
    return value


def _from_json(annotation: Any, value: Any) -> Any:
    """Return the value an annotation describes; the codec checks types and bounds afterwards."""
    if isinstance(annotation, typing.NewType):
        return _from_json(annotation.__supertype__, value)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _from_json(arguments[0], value)
    if origin in (Union, types.UnionType):
        return None if value is None else _from_json(arguments[0], value)
    if origin is tuple and arguments[-1] is not Ellipsis:  # A pair, each of its own type.
        return tuple([_from_json(*pair) for pair in zip(arguments, value, strict=True)])
    if origin is tuple:
        return tuple([_from_json(arguments[0], one) for one in value])
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        if not isinstance(value, dict) or set(value) != set(hints) - _CLASS_MARKS:
            raise ValueError(f"the fields of {annotation} are others")
        kind = typing.cast("type[Any]", annotation)
        return kind(**{name: _from_json(hints[name], one) for name, one in value.items()})
    if annotation is bytes:
        return bytes.fromhex(value)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return annotation(value)
    return value


_CLASS_MARKS: Final = {"WIRE_VERSION", "WIRE_TAG", "WIRE_BYTES_MAX"}
