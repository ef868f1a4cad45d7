"""The tables of docs/wire.md, derived from the wire types themselves.

`python -m scripts.wire_tables` rewrites the tables between the marks of the page and leaves the
words around them alone; the test of the page compares. A table that changes is a change of the
format: it needs a new version of its type and a line in CHANGELOG.md.
"""

import dataclasses
import enum
import importlib
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Union

from crypto.hashing import Domain
from crypto.schema import U8, U16, U32, U64, Count, Name, Range, Size
from ledger.contracts import KINDS

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "wire.md"

SECTIONS: Final = {
    "Keys": ["crypto.signatures"],
    "Transactions": ["ledger.transactions"],
    "Blocks and receipts": ["ledger.blocks", "ledger.receipts"],
    "Votes and certificates": ["crypto.validators", "crypto.votes", "crypto.evidence"],
    "State: governance and parameters": [
        "ledger.parameters",
        "ledger.contracts.governance",
        "ledger.nodes",
        "ledger.proposals",
    ],
    "State: organisations, accounts, keys": ["ledger.accounts"],
    "Governance": ["ledger.founders", "ledger.governance_payloads"],
    "Identity": ["ledger.identity_payloads", "ledger.key_proofs"],
    "Records": ["ledger.records_payloads", "ledger.records_state"],
    "Access": ["ledger.purposes", "ledger.access_payloads", "ledger.access_state"],
    "Founding": ["genesis.document", "genesis.invite"],
    "Snapshots between nodes": ["ledger.tree.chunks", "shell.snapshots"],
    "Between a node and its users": ["ledger.exchange", "ledger.tree.proofs"],
}
"""Headings of the page and the modules whose wire types stand below each."""

ALIASES: Final = {U8: "u8", U16: "u16", U32: "u32", U64: "u64", Name: "text of 1 .. 64 bytes"}
MARK: Final = re.compile(r"(<!-- tables: (.+?) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def wire_types(module_name: str) -> Iterator[type]:
    """Yield the dataclasses a module defines whose fields all have a wire form, in order."""
    for value in vars(importlib.import_module(module_name)).values():
        if (
            isinstance(value, type)
            and dataclasses.is_dataclass(value)
            and value.__module__ == module_name
            and is_wire_type(value)
        ):
            yield value


def is_wire_type(kind: type) -> bool:
    """Whether every field that travels is annotated with bounds, all the way down."""
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            describe(hints[field.name])
    except (TypeError, NameError):  # A name that only type checkers import is no wire type.
        return False
    return all(not field.name.startswith("_") for field in dataclasses.fields(kind))


def describe(annotation: Any) -> str:
    """Return the type of a field in words; raise `TypeError` for what cannot travel."""
    for alias, title in ALIASES.items():
        if annotation == alias:
            return title
    if isinstance(annotation, typing.NewType):
        return f"{annotation.__name__}, {describe(annotation.__supertype__)}"
    if annotation is bool:
        return "bool"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _bounded(arguments[0], arguments[1])
    if origin in (Union, types.UnionType):
        return " or ".join("nil" if one is type(None) else describe(one) for one in arguments)
    if origin is tuple:
        return "[" + "; ".join(describe(one) for one in arguments) + "]"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return f"`{annotation.__name__}`"
    if dataclasses.is_dataclass(annotation):
        return f"`{typing.cast('type', annotation).__name__}`"
    raise TypeError(f"{annotation!r} has no wire form")


def render_section(heading: str) -> str:
    """Return the tables of one heading of the page."""
    parts = []
    for module_name in SECTIONS[heading]:
        parts += [_table(kind) for kind in wire_types(module_name)]
        parts += [_enum_table(one) for one in _enums(module_name)]
    return "\n".join(parts)


def render_domains() -> str:
    rows = [f"| `{domain.name}` | `{domain.value.decode()}` |" for domain in Domain]
    return "\n".join(["| domain | bytes |", "|---|---|", *rows]) + "\n"


def render_kinds() -> str:
    rows = []
    for kind in KINDS.values():
        roles = ", ".join(role.value for role in kind.signer.roles) or "any"
        rows.append(f"| `{kind.name}` | `{kind.payload.__name__}` | {roles} | {kind.lane.value} |")
    head = ["| kind | payload | roles that may sign | lane |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def render_page(page: str) -> str:
    """Return the page with every table as the wire types have it now."""

    def fresh(found: re.Match[str]) -> str:
        heading = found.group(2)
        special = {"domains": render_domains, "kinds": render_kinds}
        body = special[heading]() if heading in special else render_section(heading)
        return found.group(1) + "\n" + body + "\n" + found.group(3)

    return MARK.sub(fresh, page)


def _bounded(inner: Any, bound: Range | Size | Count) -> str:
    if isinstance(bound, Range):
        return f"integer {_span(bound.low, bound.high)}"
    if isinstance(bound, Count):
        item = describe(typing.get_args(inner)[0])
        return f"array of {_span(bound.low, bound.high)}: {item}"
    title = "bytes" if inner is bytes else "text"
    if bound.low == bound.high:
        return f"{title} {bound.low}"
    return f"{title} of {_span(bound.low, bound.high)} bytes"


def _span(low: int, high: int) -> str:
    return f"{low:,} .. {high:,}"


def _table(kind: type) -> str:
    hints = typing.get_type_hints(kind, include_extras=True)
    marks = vars(kind)
    head = (("tag", "WIRE_TAG"), ("version", "WIRE_VERSION"))
    rows = [f"| {title} | {marks[mark]!r} |" for title, mark in head if mark in marks]
    rows += [
        f"| {field.name} | {describe(hints[field.name])} |"
        for field in dataclasses.fields(kind)
        if field.init
    ]
    limit = f"At most {marks['WIRE_BYTES_MAX']:,} bytes.\n\n" if "WIRE_BYTES_MAX" in marks else ""
    table = "\n".join(["| field | type |", "|---|---|", *rows])
    return f"### {kind.__name__}\n\n{limit}{table}\n"


def _enums(module_name: str) -> Iterator[type[enum.Enum]]:
    for value in vars(importlib.import_module(module_name)).values():
        if (
            isinstance(value, type)
            and issubclass(value, enum.Enum)
            and value.__module__ == module_name
        ):
            yield value


def _enum_table(kind: type[enum.Enum]) -> str:
    rows = [f"| {member.name.lower()} | `{member.value!r}` |" for member in kind]
    table = "\n".join(["| value | on the wire |", "|---|---|", *rows])
    return f"### {kind.__name__}\n\n{table}\n"


def main() -> None:
    PAGE.write_text(render_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} rewritten\n")


if __name__ == "__main__":
    main()
