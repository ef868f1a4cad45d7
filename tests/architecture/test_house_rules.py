"""How the house is built: errors are named, files have a subject, nothing grows past a screen.

Bounds are ratchets: what exceeds one is listed here with its size and must not grow, and an entry
that is no longer needed fails until it is taken out.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE_LINES_MAX = 400
FILE_LINES_P95 = 350
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_P95 = 40
CLASS_METHODS_MAX = 18

# path -> lines, for files of the product that are longer than FILE_LINES_MAX for a reason.
LONG_FILES: dict[str, int] = {}
# "path::function" -> lines, for functions that are longer than FUNCTION_LINES_MAX for a reason.
LONG_FUNCTIONS: dict[str, int] = {}
# "path::function" -> why everything is caught there: the outermost loops, which log and stop.
BROAD_EXCEPTS: dict[str, str] = {
    "api/app.py::_guard": "above one request's handler is only the server, which tells too much",
    "shell/replica.py::_drain": "whatever failed, a core ahead of its disk must not vote on",
    "shell/gathering.py::_take_turn": "what a turn raises goes to those who wait for its results",
    "tests/simulation/run.py::violation_of": "X1: whatever a message makes raise is a finding",
    "p2p/faults.py::reporting": "above the node's own callbacks is only the event loop",
}

BROAD_NAMES = {"Exception", "BaseException"}
# Words that name no subject; such a file becomes the place where everything is put.
SUBJECTLESS = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
SLEEPLESS_LAYERS = {"architecture", "model", "properties", "scenarios", "simulation", "unit"}


def find_broad_excepts(source: str) -> Iterator[tuple[int, str]]:
    """(line, enclosing function) of every `except` or `suppress` that takes everything."""
    for function, node in _walk_with_function(ast.parse(source)):
        match node:
            case ast.ExceptHandler(type=None):
                yield node.lineno, function
            case ast.ExceptHandler(type=caught) if _names_everything(caught):
                yield node.lineno, function
            case ast.Call(
                func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args
            ) if any(_names_everything(argument) for argument in args):
                yield node.lineno, function


def _names_everything(node: ast.expr | None) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in BROAD_NAMES
        case ast.Tuple(elts=elements):
            return any(_names_everything(element) for element in elements)
        case _:
            return False


def _walk_with_function(node: ast.AST, function: str = "<module>") -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield function, child
        named = (
            child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        )
        yield from _walk_with_function(child, named)


def find_compound_asserts(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assert(test=ast.BoolOp(op=ast.And())):
                yield node.lineno
            case _:
                pass


def has_subject(path: Path) -> bool:
    words = {word for part in path.with_suffix("").parts for word in part.lower().split("_")}
    return not words & SUBJECTLESS


def measure_functions(source: str) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function, decorators and docstring included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            yield node.name, (node.end_lineno or node.lineno) - first + 1


def find_fat_classes(source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            kinds = ast.FunctionDef | ast.AsyncFunctionDef
            methods = sum(isinstance(item, kinds) for item in node.body)
            if methods > CLASS_METHODS_MAX:
                yield node.name, methods


def find_heirs(sources: dict[Path, str]) -> Iterator[str]:
    """Classes that inherit from a class of the house; errors may, and a `Protocol` from another."""
    trees = {path: ast.parse(source) for path, source in sources.items()}
    bases = {
        node.name: {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or "Protocol" in bases[node.name]:
                continue
            for base in sorted(bases[node.name] & bases.keys() - {node.name}):
                if not _is_error(base, bases):
                    yield f"{path}:{node.lineno}: {node.name} inherits from {base}"


def _is_error(name: str, bases: dict[str, set[str]]) -> bool:
    pending, seen = [name], {name}
    while pending:
        current = pending.pop()
        if current.endswith(("Error", "Exception")):
            return True
        for base in bases.get(current, set()) - seen:
            seen.add(base)
            pending.append(base)
    return False


def find_sleeps(source: str) -> Iterator[int]:
    """Lines that wait for time to pass; `asyncio.sleep(0)` only lets others run."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep"), args=args
            ):
                match args:
                    case [ast.Constant(value=0)]:
                        pass
                    case _:
                        yield node.lineno
            case _:
                pass


def find_mocks(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) if any("mock" in alias.name for alias in names):
                yield node.lineno
            case ast.ImportFrom(module=str(module), names=names) if "mock" in module or any(
                alias.name == "mock" for alias in names
            ):
                yield node.lineno
            case _:
                pass


def percentile_95(values: list[int]) -> int:
    return sorted(values)[len(values) * 95 // 100]


def test_only_outermost_loops_catch_everything(python_sources: dict[Path, str]) -> None:
    found = {
        f"{path}::{function}": f"{path}:{line}"
        for path, source in python_sources.items()
        for line, function in find_broad_excepts(source)
    }

    unexplained = [place for key, place in found.items() if key not in BROAD_EXCEPTS]
    stale = sorted(BROAD_EXCEPTS.keys() - found.keys())

    assert not unexplained, f"name the error, or give a reason in BROAD_EXCEPTS: {unexplained}"
    assert not stale, f"no longer needed in BROAD_EXCEPTS: {stale}"


def test_an_assert_states_one_invariant(room_sources: dict[Path, str]) -> None:
    found = [
        f"{path}:{line}"
        for path, source in room_sources.items()
        for line in find_compound_asserts(source)
    ]

    assert not found, f"split `assert a and b`, so that the failing half is named: {found}"


def test_every_file_is_named_after_its_subject(tracked_files: tuple[Path, ...]) -> None:
    found = [str(path) for path in tracked_files if not has_subject(path)]

    assert not found, f"name the noun these files are about: {found}"


def test_files_stay_within_their_length(room_sources: dict[Path, str]) -> None:
    lines = {str(path): source.count("\n") for path, source in room_sources.items()}

    grown = _over_ratchet(lines, FILE_LINES_MAX, LONG_FILES)

    assert not grown, "\n".join(grown)
    assert percentile_95(list(lines.values())) < FILE_LINES_P95


def test_functions_stay_within_their_length(room_sources: dict[Path, str]) -> None:
    lines = {
        f"{path}::{name}": count
        for path, source in room_sources.items()
        for name, count in measure_functions(source)
    }

    grown = _over_ratchet(lines, FUNCTION_LINES_MAX, LONG_FUNCTIONS)

    assert not grown, "\n".join(grown)
    assert percentile_95(list(lines.values())) < FUNCTION_LINES_P95


def _over_ratchet(sizes: dict[str, int], bound: int, listed: dict[str, int]) -> list[str]:
    """What is over its bound and not listed, has outgrown its entry, or needs none any more."""
    complaints = []
    for name, size in sizes.items():
        if size > listed.get(name, bound):
            complaints.append(f"{name}: {size} lines, at most {listed.get(name, bound)}")
    for name, size in listed.items():
        if sizes.get(name, 0) <= bound:
            complaints.append(f"{name}: the entry for {size} lines is no longer needed")
    return complaints


def test_no_class_does_everything(room_sources: dict[Path, str]) -> None:
    found = [
        f"{path}: {name} has {count} methods"
        for path, source in room_sources.items()
        for name, count in find_fat_classes(source)
    ]

    assert not found, "\n".join(found)


def test_only_errors_inherit(room_sources: dict[Path, str]) -> None:
    found = list(find_heirs(room_sources))

    assert not found, "\n".join(found)


def test_tests_below_integration_never_sleep(python_sources: dict[Path, str]) -> None:
    found = [
        f"{path}:{line}"
        for path, source in python_sources.items()
        if path.parts[0] == "tests" and path.parts[1] in SLEEPLESS_LAYERS
        for line in find_sleeps(source)
    ]

    assert not found, f"time is an event; wait for what you wait for: {found}"


def test_tests_run_the_real_thing(python_sources: dict[Path, str]) -> None:
    found = [
        f"{path}:{line}" for path, source in python_sources.items() for line in find_mocks(source)
    ]

    assert not found, f"a mock agrees with every mistake; use the real thing: {found}"


@pytest.mark.parametrize(
    "snippet",
    [
        "try: pass\nexcept: pass",
        "try: pass\nexcept Exception: pass",
        "try: pass\nexcept (ValueError, BaseException) as e: pass",
        "try: pass\nexcept builtins.Exception: pass",
        "with contextlib.suppress(Exception): pass",
    ],
)
def test_a_broad_except_is_found(snippet: str) -> None:
    assert [function for _, function in find_broad_excepts(snippet)] == ["<module>"]


def test_a_broad_except_is_found_with_the_function_around_it() -> None:
    snippet = "class A:\n async def run(self):\n  try: pass\n  except Exception: raise"

    assert list(find_broad_excepts(snippet)) == [(4, "run")]


def test_a_named_except_passes() -> None:
    assert not list(find_broad_excepts("try: pass\nexcept (OSError, MyException): pass"))


def test_a_compound_assert_is_found() -> None:
    assert list(find_compound_asserts("x = 1\nassert a and b, 'both'")) == [2]
    assert not list(find_compound_asserts("assert a or b\nassert (a, b)"))


@pytest.mark.parametrize(
    "name", ["utils.py", "crypto/helpers.py", "common/x.py", "peer_manager.py", "misc/__init__.py"]
)
def test_a_file_without_a_subject_is_found(name: str) -> None:
    assert not has_subject(Path(name))


@pytest.mark.parametrize("name", ["crypto/commonality.py", "docs/helping.md", "node.py"])
def test_a_file_with_a_subject_passes(name: str) -> None:
    assert has_subject(Path(name))


def test_a_long_function_is_measured_whole() -> None:
    source = "@decorated\ndef long():\n" + "    x = 1\n" * 98

    assert list(measure_functions(source)) == [("long", 100)]


def test_the_ratchet_stops_growth_and_names_stale_entries() -> None:
    assert _over_ratchet({"a": 401}, 400, {}) == ["a: 401 lines, at most 400"]
    assert _over_ratchet({"a": 500}, 400, {"a": 450}) == ["a: 500 lines, at most 450"]
    assert _over_ratchet({"a": 300}, 400, {"a": 450}) != []
    assert _over_ratchet({"a": 450}, 400, {"a": 450}) == []


def test_a_fat_class_is_found() -> None:
    source = "class Fat:\n" + "".join(f"    def m{index}(self): ...\n" for index in range(19))

    assert list(find_fat_classes(source)) == [("Fat", 19)]


def test_an_heir_of_the_house_is_found_and_errors_and_protocols_pass() -> None:
    source = (
        "class Base: pass\nclass Heir(Base): pass\n"
        "class RoomError(Exception): pass\nclass NotFound(RoomError): pass\n"
        "class NotThere(NotFound): pass\n"
        "class Reads(Protocol): ...\nclass ReadsAndWrites(Reads, Protocol): ...\n"
        "class Colour(enum.Enum): pass\n"
    )

    assert list(find_heirs({Path("a.py"): source})) == ["a.py:2: Heir inherits from Base"]


def test_a_sleep_is_found() -> None:
    assert list(find_sleeps("time.sleep(1)\nawait asyncio.sleep(0.1)")) == [1, 2]
    assert not list(find_sleeps("await asyncio.sleep(0)"))


@pytest.mark.parametrize("snippet", ["import unittest.mock", "from unittest import mock"])
def test_a_mock_is_found(snippet: str) -> None:
    assert list(find_mocks(snippet)) == [1]
