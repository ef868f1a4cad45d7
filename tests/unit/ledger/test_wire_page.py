import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import genesis
import ledger
from scripts.wire_tables import (
    MARK,
    PAGE,
    SECTIONS,
    describe,
    render_page,
    wire_types,
)


def modules_of(package: ModuleType) -> Iterator[str]:
    """Every module of a room, at any depth."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield found.name


def marked_types() -> dict[str, str]:
    """Names of the types that say they travel, with their modules."""
    return {
        kind.__name__: module
        for room in (ledger, genesis)
        for module in modules_of(room)
        for kind in wire_types(module)
        if {"WIRE_VERSION", "WIRE_TAG", "WIRE_BYTES_MAX"} & set(vars(kind))
    }


def test_the_tables_of_the_page_are_those_of_the_wire_types() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert render_page(page) == page, "a format changed: run `python -m scripts.wire_tables`"


def test_every_section_stands_on_the_page_once() -> None:
    page = PAGE.read_text(encoding="utf-8")

    headings = [found.group(2) for found in MARK.finditer(page)]

    assert sorted(headings) == sorted([*SECTIONS, "domains", "kinds"])


def test_every_wire_type_of_ledger_and_genesis_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")

    missing = [
        f"{module}.{name}"
        for name, module in marked_types().items()
        if f"### {name}\n" not in page and module not in ELSEWHERE
    ]

    assert missing == []
    assert len(marked_types()) > 30


ELSEWHERE = ("ledger.tree.node", "ledger.tree.proofs", "ledger.tree.chunks")
"""The state tree's own page says what its bytes are."""


def test_a_type_without_a_wire_form_is_not_described() -> None:
    with pytest.raises(TypeError, match="no wire form"):
        describe(float)
