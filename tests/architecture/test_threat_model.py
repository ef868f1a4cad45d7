"""The table of attacks: each of the 38 once, and everything that it names exists."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.planted.registry import all_planted

PAGE = Path("docs/threat-model.md")
ATTACKS = tuple(range(1, 39))
CODE = re.compile(r"`([^`]+)`")
PLANTED = "planted: "
Row = tuple[str, str, str, str]


def read_rows(text: str) -> list[Row]:
    """The rows of the table: number, attack, rule, tests."""
    _, found, rest = text.partition("<!-- attacks -->\n")
    assert found, f"{PAGE} has lost its table of attacks"
    lines = rest.split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == 4 for row in cells), "a row has four cells"
    return [(number, attack, rule, shown) for number, attack, rule, shown in cells]


def find_missing(shown: str, repository: Path, planted: frozenset[str]) -> Iterator[str]:
    """What a cell of tests names and nothing is."""
    for name in CODE.findall(shown):
        if name.startswith(PLANTED):
            is_there = name.removeprefix(PLANTED) in planted
        elif "::" in name:
            path, _, function = name.partition("::")
            is_there = function in functions_of(repository / path)
        else:
            is_there = name.endswith(".txt") and (repository / name).is_file()
        if not is_there:
            yield name


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The tests that a module has at its top level."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


@pytest.fixture(scope="module")
def rows(repository: Path) -> list[Row]:
    return read_rows((repository / PAGE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def planted() -> frozenset[str]:
    return frozenset(one.name for one in all_planted())


def test_every_attack_has_its_row_once_and_in_order(rows: list[Row]) -> None:
    assert [row[0] for row in rows] == [str(number) for number in ATTACKS]


def test_no_cell_of_the_table_is_empty(rows: list[Row]) -> None:
    empty = [row[0] for row in rows if not all(row) or not CODE.search(row[3])]

    assert not empty, f"rows {empty} say nothing somewhere"


def test_every_test_scenario_and_planted_bug_of_the_table_exists(
    rows: list[Row], repository: Path, planted: frozenset[str]
) -> None:
    missing = [
        f"{number}: {name}"
        for number, _, _, shown in rows
        for name in find_missing(shown, repository, planted)
    ]

    assert not missing, "\n".join(missing)


def test_every_rule_names_a_module_that_exists(
    rows: list[Row], room_sources: Mapping[Path, str]
) -> None:
    named = {
        row[0]: [name for name in CODE.findall(row[2]) if name.endswith(".py")] for row in rows
    }

    assert [number for number, modules in named.items() if not modules] == []
    missing = [
        f"{number}: {name}"
        for number, modules in named.items()
        for name in modules
        if Path(name) not in room_sources
    ]
    assert not missing, "\n".join(missing)


def test_what_does_not_exist_is_found(repository: Path, planted: frozenset[str]) -> None:
    shown = (
        f"`{Path(__file__).relative_to(repository)}::test_what_does_not_exist_is_found`;"
        " `tests/nowhere.py::test_x`; `tests/architecture/test_docs.py::test_of_nothing`;"
        " `tests/scenarios/none.txt`; `planted: no such bug`; `planted: quorum 2f`"
    )

    assert list(find_missing(shown, repository, planted)) == [
        "tests/nowhere.py::test_x",
        "tests/architecture/test_docs.py::test_of_nothing",
        "tests/scenarios/none.txt",
        "planted: no such bug",
    ]
