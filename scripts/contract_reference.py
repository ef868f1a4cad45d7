"""docs/contracts.md: every kind of transaction, as the contract tables and their handlers have it.

`python -m scripts.contract_reference` rewrites the page; a test compares. Nothing on it is written
by hand twice: a kind's payload comes from its wire type, and its refusals and events are found by
following its handler through the ledger's functions to every `Refused(...)` and `emit(...)`.
"""

import ast
import dataclasses
import functools
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ledger import errors
from ledger.contract import Kind
from ledger.contracts import KINDS
from ledger.transition import apply_block
from scripts.wire_tables import describe

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "contracts.md"

INTRODUCTION: Final = """\
# Contracts: every kind of transaction

Written by `python -m scripts.contract_reference` from the contract tables; change those, not this
page. The bytes of each payload are on the [wire page](wire.md), the rules of the access decision at
the head of `ledger/decision.py`, the reasons for both in
[0027](decisions/0027-records-as-entries-and-seals.md),
[0028](decisions/0028-the-access-decision-where-the-design-is-silent.md) and
[0029](decisions/0029-rights-in-one-entry-per-patient.md).

A kind is a row: its payload, the roles that may sign it, its handler, the lane it travels in. A
handler is a pure function; it writes and emits events, or it refuses with a stable code. A refused
transaction stands in its block and leaves nothing but its receipt.

To add a kind: a payload type, a handler, a row in the `KINDS` of its contract, a success test and a
test for each refusal, words for its events in `ledger/log.py`, golden vectors, then run this script
and `python -m scripts.wire_tables`.
"""

NEVER_A_SENDERS: Final = ("identity.unknown",)
"""Denials that the decision knows and no transaction meets: its sender is registered."""


@dataclass(slots=True)
class Findings:
    """What a handler may answer: refusals with their words, events with their fields, in order."""

    refusals: dict[str, str] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reached:
    """A function on the way, with the text constants it was called with."""

    function: Callable[..., Any]
    texts: tuple[tuple[str, str], ...]


def findings(handler: Callable[..., Any]) -> Findings:
    """Follow a handler through the ledger and collect its refusals and events."""
    found, seen = Findings(), set()
    waiting = [Reached(handler, ())]
    while waiting:
        reached = waiting.pop(0)
        if reached in seen:
            continue
        seen.add(reached)
        tree = source_tree(reached.function)
        names, texts = reached.function.__globals__, dict(reached.texts)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            _collect(call, names, texts, found)
        waiting += _onward(tree, names)
    return found


@functools.cache
def source_tree(function: Callable[..., Any]) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef), "a handler is a function"
    return tree


def _collect(call: ast.Call, names: dict[str, Any], texts: dict[str, str], found: Findings) -> None:
    match call.func:
        case ast.Name(id="Refused"):
            code = _text(call.args[0], names, texts)
            if code is not None:
                words = _words(call.args[1]) if len(call.args) > 1 else ""
                found.refusals.setdefault(code, words)
        case ast.Name(id="_deny"):  # How the decision says no: its code becomes the refusal's.
            code = _text(call.args[-1], names, texts)
            assert code is not None, "a denial has a constant code"
            found.refusals.setdefault(
                code, f"decided by rule `{_text(call.args[0], names, texts)}`"
            )
        case ast.Attribute(attr="emit"):
            kind = _text(call.args[0], names, texts)
            if kind is not None:
                fields = [name for one in call.args[2:] for name in _field_names(one, names)]
                found.events.setdefault(kind, list(dict.fromkeys(fields)))
        case _:
            pass  # Other calls are followed by `_onward`.


def _onward(tree: ast.AST, names: dict[str, Any]) -> Iterator[Reached]:
    """Yield the ledger's functions that a function names, with the constants it calls them with."""
    called: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            target = names.get(node.func.id)
            if _is_ours(target):
                called.add(id(node.func))
                yield Reached(target, _bound_texts(node, target))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in called:
            target = names.get(node.id)
            targets = target if isinstance(target, tuple) else (target,)
            yield from (Reached(one, ()) for one in targets if _is_ours(one))


def _is_ours(target: object) -> typing.TypeGuard[types.FunctionType]:
    return isinstance(target, types.FunctionType) and target.__module__.startswith("ledger.")


def _bound_texts(call: ast.Call, target: types.FunctionType) -> tuple[tuple[str, str], ...]:
    parameters = list(inspect.signature(target).parameters)
    pairs = [*zip(parameters, call.args, strict=False)]
    pairs += [(one.arg, one.value) for one in call.keywords if one.arg is not None]
    return tuple(
        (name, value.value)
        for name, value in pairs
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    )


def _text(node: ast.expr, names: dict[str, Any], texts: dict[str, str]) -> str | None:
    """Return the text a node stands for: a constant, a module's constant, a bound parameter."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            value = texts.get(name, names.get(name))
            return value if isinstance(value, str) else None
        case _:
            return None


def _words(node: ast.expr) -> str:
    """Return a message with an ellipsis for what is only known at the time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(
                str(one.value) if isinstance(one, ast.Constant) else "…" for one in values
            )
        case _:
            return ""


def _field_names(node: ast.expr, names: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the fields that an argument of `emit` stands for."""
    for one in ast.walk(node):
        match one:
            case ast.Tuple(elts=[ast.Constant(value=str(name)), _]):
                yield name
            case ast.Call(func=ast.Name(id=called)) if _is_ours(names.get(called)):
                function = names[called]
                yield from _field_names(
                    ast.Tuple(
                        elts=[
                            found.value
                            for found in ast.walk(source_tree(function))
                            if isinstance(found, ast.Return) and found.value is not None
                        ]
                        + [ast.Constant(value=None)]
                    ),
                    function.__globals__,
                )


def render() -> str:
    """Return the page as the contract tables have it now."""
    parts = [INTRODUCTION, _render_door(), _render_common()]
    for family, rows in groupby(KINDS.values(), key=lambda kind: kind.name.split(".")[0]):
        kinds = list(rows)
        parts.append(f"## {family}\n\n{_family_words(kinds[0])}\n")
        parts += [_render_kind(kind) for kind in kinds]
    return "\n".join(parts)


def _render_door() -> str:
    """The codes with which a transaction is turned away before any block."""
    rows = [
        f"| `{error.code}` | {_first_line(error)} |"
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.InvalidTransaction)
    ]
    head = (
        "## Turned away at the door\n\nThese never enter a block; the sender may mend and resend.\n"
    )
    return "\n".join([head, "| code | when |", "|---|---|", *rows, ""])


def _render_common() -> str:
    """The refusals that any kind may meet before and after its handler."""
    found = common_findings()
    head = "## Any kind\n\nEach of these may be the answer whatever the kind.\n"
    return "\n".join([head, *_refusal_rows(found), ""])


def common_findings() -> Findings:
    """What executing any transaction may answer, its handler apart."""
    return findings(apply_block)


def own_refusals(kind: Kind) -> dict[str, str]:
    """Return a kind's refusals without those that any kind may meet."""
    common = common_findings().refusals
    found = findings(kind.handler).refusals
    return {code: words for code, words in found.items() if code not in common}


def _render_kind(kind: Kind) -> str:
    found = findings(kind.handler)
    roles = ", ".join(role.value.replace("_", " ") for role in kind.signer.roles)
    payload = _first_line(kind.payload).removeprefix(f"`{kind.name}`: ")
    paragraphs = [
        f"### {kind.name}",
        _first_line(kind.handler),
        f"Signed by {roles or 'any role; the rules say who'}. Lane: {kind.lane.value}.",
        f"Payload `{kind.payload.__name__}`: {payload}",
        "\n".join(_payload_rows(kind.payload)),
        "\n".join(_event_rows(found)),
        "\n".join(_refusal_rows(Findings(refusals=own_refusals(kind)))),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _payload_rows(payload: type) -> list[str]:
    hints = typing.get_type_hints(payload, include_extras=True)
    rows = [f"| {one.name} | {describe(hints[one.name])} |" for one in dataclasses.fields(payload)]
    return ["| field | type |", "|---|---|", *rows]


def _event_rows(found: Findings) -> list[str]:
    rows = [f"| `{kind}` | {', '.join(names)} |" for kind, names in found.events.items()]
    return ["| event | fields |", "|---|---|", *rows] if rows else ["No events."]


def _refusal_rows(found: Findings) -> list[str]:
    rows = [f"| `{code}` | {found.refusals[code]} |" for code in sorted(found.refusals)]
    return (
        ["| refused with | because |", "|---|---|", *rows] if rows else ["No refusals of its own."]
    )


def _family_words(kind: Kind) -> str:
    """Return what the contract's module says of itself, without its first line's name."""
    module = inspect.getmodule(kind.handler)
    family = kind.name.split(".")[0]
    owner = sys.modules.get(f"ledger.contracts.{family}", module)
    return inspect.cleandoc(owner.__doc__ or "")


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ")


def main() -> None:
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} rewritten\n")


if __name__ == "__main__":
    main()
