"""The cores compute the same bytes on every node: rules that no import checker can see.

A set of bytes or text iterates in another order in every process, so a core may fill and ask
sets but not walk them; `sorted(...)` is the way out. The inference is deliberately simple: names,
fields and functions that are annotated or visibly assigned as sets, within the cores.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typing_extensions import override

CORES = ("consensus", "ledger")
SET_TYPES = {"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"}
MAPPING_TYPES = {"dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
# Their result does not depend on the order in which they meet the members.
ORDER_FREE = {"all", "any", "frozenset", "len", "set", "sorted", "sum", "min", "max"}
ORDERED_CALLS = {
    "bytearray", "bytes", "dict", "enumerate", "filter", "iter", "list", "map", "tuple", "zip",
}  # fmt: skip
ORDERED_METHODS = {"extend", "fromkeys", "join"}
WORLDLY_CALLS = {"eval", "exec", "hash", "id", "input", "open", "print"}
WORLDLY_MODULES = {
    "asyncio", "datetime", "logging", "os", "random", "secrets", "socket", "sys", "threading",
    "time", "uuid",
}  # fmt: skip


@dataclass(slots=True)
class SetVocabulary:
    """What the cores declare as sets, and as mappings whose values are sets, by name."""

    fields: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    mapping_fields: set[str] = field(default_factory=set)


def is_set_annotation(node: ast.expr | None) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SET_TYPES
        case ast.Subscript(value=value):
            return is_set_annotation(value)
        case ast.BinOp(left=left, right=right):
            return is_set_annotation(left) or is_set_annotation(right)
        case ast.Constant(value=str(text)):
            return is_set_annotation(ast.parse(text, mode="eval").body)
        case _:
            return False


def is_mapping_to_sets(node: ast.expr | None) -> bool:
    match node:
        case ast.Subscript(
            value=ast.Name(id=name) | ast.Attribute(attr=name), slice=ast.Tuple(elts=[_, values])
        ):
            return name in MAPPING_TYPES and is_set_annotation(values)
        case _:
            return False


def read_vocabulary(trees: Iterable[ast.Module]) -> SetVocabulary:
    vocabulary = SetVocabulary()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(returns=returns) if is_set_annotation(returns):
                    vocabulary.functions.add(node.name)
                case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                    _declare(vocabulary, name, annotation)
                case ast.ClassDef(body=body):
                    for item in body:
                        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                            _declare(vocabulary, item.target.id, item.annotation)
                case _:
                    pass
    return vocabulary


def _declare(vocabulary: SetVocabulary, name: str, annotation: ast.expr) -> None:
    if is_set_annotation(annotation):
        vocabulary.fields.add(name)
    elif is_mapping_to_sets(annotation):
        vocabulary.mapping_fields.add(name)


class SetWalker(ast.NodeVisitor):
    """Finds every place where a set is walked in its own order; `found` holds (line, what)."""

    def __init__(self, vocabulary: SetVocabulary) -> None:
        self.vocabulary = vocabulary
        self.found: list[tuple[int, str]] = []
        self.sets: set[str] = set()
        self.mappings: set[str] = set()
        self.order_free: set[ast.AST] = set()

    @override
    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outer = self.sets, self.mappings
        self.sets, self.mappings = set(self.sets), set(self.mappings)
        arguments = node.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            self._bind(argument.arg, argument.annotation, value=None)
        for statement in node.body:
            self.visit(statement)
        self.sets, self.mappings = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    @override
    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, None, node.value)
            elif isinstance(target, ast.Tuple) and self.is_set(node.value):
                self._report(node, "unpacks a set")

    @override
    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self._bind(node.target.id, node.annotation, node.value)

    @override
    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._check_iterable(node, node.iter)
        self._bind_loop_variable(node.target, node.iter)
        self.generic_visit(node)

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_comprehension_holder(
        self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp
    ) -> None:
        for generator in node.generators:
            if node not in self.order_free and not isinstance(node, ast.SetComp):
                self._check_iterable(node, generator.iter)
            self._bind_loop_variable(generator.target, generator.iter)
        self.generic_visit(node)

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_comprehension_holder  # noqa: N815
    visit_SetComp = visit_comprehension_holder  # noqa: N815

    @override
    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in ORDER_FREE and self._is_order_free(name, node):
                self.order_free.update(node.args)
            case ast.Name(id="max" | "min" as name):
                if any(self.is_set(argument) for argument in node.args):
                    self._report(node, f"{name}(set, key=...) breaks ties by the set's order")
            case ast.Name(id=name) if name in ORDERED_CALLS:
                self._check_arguments(node, f"{name}(...)")
            case ast.Attribute(attr=name) if name in ORDERED_METHODS:
                self._check_arguments(node, f".{name}(...)")
            case ast.Attribute(attr="pop", value=value) if not node.args and self.is_set(value):
                self._report(node, "set.pop() takes any member")
        self.generic_visit(node)

    @override
    def visit_Set(self, node: ast.Set) -> None:
        self.order_free.update(item for item in node.elts if isinstance(item, ast.Starred))
        self.generic_visit(node)

    @override
    def visit_Starred(self, node: ast.Starred) -> None:
        if node not in self.order_free:
            self._check_iterable(node, node.value)
        self.generic_visit(node)

    @override
    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._check_iterable(node, node.value)
        self.generic_visit(node)

    def is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self.sets
            case ast.Attribute(attr=name):
                return name in self.vocabulary.fields
            case ast.Subscript(value=value):
                return self.is_mapping(value)
            case ast.Call(func=ast.Name(id=name)):
                return name in {"set", "frozenset"} or name in self.vocabulary.functions
            case ast.Call(func=ast.Attribute(attr=name, value=value)):
                return (
                    name in self.vocabulary.functions
                    or (name in SET_METHODS | {"copy"} and self.is_set(value))
                    or (name in {"get", "pop", "setdefault"} and self.is_mapping(value))
                )
            case ast.BinOp(left=left, op=operator, right=right):
                sides = (left, right)
                return isinstance(operator, SET_OPERATORS) and any(
                    self.is_set(side) or _is_dict_view(side) for side in sides
                )
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_set(body) or self.is_set(orelse)
            case _:
                return False

    def is_mapping(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name in self.mappings
            case ast.Attribute(attr=name):
                return name in self.vocabulary.mapping_fields
            case _:
                return False

    def _bind(self, name: str, annotation: ast.expr | None, value: ast.expr | None) -> None:
        self.sets.discard(name)
        self.mappings.discard(name)
        if is_set_annotation(annotation) or (value is not None and self.is_set(value)):
            self.sets.add(name)
        elif is_mapping_to_sets(annotation) or (value is not None and self.is_mapping(value)):
            self.mappings.add(name)

    def _bind_loop_variable(self, target: ast.expr, iterable: ast.expr) -> None:
        match target, iterable:
            case (
                ast.Name(id=name),
                ast.Call(func=ast.Attribute(attr="values", value=mapping)),
            ) if self.is_mapping(mapping):
                self.sets.add(name)
            case (
                ast.Tuple(elts=[_, ast.Name(id=name)]),
                ast.Call(func=ast.Attribute(attr="items", value=mapping)),
            ) if self.is_mapping(mapping):
                self.sets.add(name)
            case _:
                pass

    def _is_order_free(self, name: str, call: ast.Call) -> bool:
        return name not in {"min", "max"} or not call.keywords

    def _check_arguments(self, node: ast.Call, what: str) -> None:
        for argument in node.args:
            if self.is_set(argument):
                self._report(node, f"{what} walks a set")

    def _check_iterable(self, node: ast.expr | ast.stmt, iterable: ast.expr) -> None:
        if self.is_set(iterable):
            self._report(node, f"walks the set `{ast.unparse(iterable)}`; sort it first")

    def _report(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.found.append((node.lineno, what))


def _is_dict_view(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[]):
            return True
        case _:
            return False


def find_set_walks(tree: ast.Module, vocabulary: SetVocabulary) -> list[tuple[int, str]]:
    walker = SetWalker(vocabulary)
    walker.visit(tree)
    return walker.found


def find_worldly(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Floats, and what differs between processes or asks the world, imports in functions too."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield node.lineno, f"the float {ast.unparse(node)}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno, "`/` makes a float; use `//`"
            case ast.Call(func=ast.Name(id="float")):
                yield node.lineno, "float(...)"
            case ast.Call(func=ast.Name(id=name)) if name in WORLDLY_CALLS:
                yield node.lineno, f"{name}(...) differs between processes or touches the world"
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] in WORLDLY_MODULES:
                        yield node.lineno, f"imports {alias.name}"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in WORLDLY_MODULES:
                yield node.lineno, f"imports {module}"


@pytest.fixture(scope="module")
def core_trees(room_sources: dict[Path, str]) -> dict[Path, ast.Module]:
    trees = {
        path: ast.parse(source) for path, source in room_sources.items() if path.parts[0] in CORES
    }
    assert {path.parts[0] for path in trees} == set(CORES), "both cores are looked at"
    return trees


def test_cores_never_walk_a_set(core_trees: dict[Path, ast.Module]) -> None:
    vocabulary = read_vocabulary(core_trees.values())

    found = [
        f"{path}:{line}: {what}"
        for path, tree in core_trees.items()
        for line, what in find_set_walks(tree, vocabulary)
    ]

    assert not found, "\n".join(found)


def test_cores_know_no_float_no_clock_and_no_world(core_trees: dict[Path, ast.Module]) -> None:
    found = [
        f"{path}:{line}: {what}"
        for path, tree in core_trees.items()
        for line, what in find_worldly(tree)
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "snippet",
    [
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "for x in {a for a in b}: pass",
        "def f(s: set[int]):\n for x in s: pass",
        "def f(s: 'frozenset[bytes] | None'):\n for x in s: pass",
        "def f(*, s: AbstractSet[int]): return [x for x in s]",
        "def f():\n s = set()\n return tuple(s)",
        "def f():\n s: set[int] = make()\n return {x: 1 for x in s}",
        "class A:\n members: frozenset[int]\ndef f(a): return list(a.members)",
        "class A:\n def __init__(self): self.seen: set[int] = set()\n"
        " def f(self): return next(iter(self.seen))",
        "def names() -> set[str]: ...\ndef f(): return ','.join(names())",
        "def f(a, b):\n for x in a.keys() - b.keys(): pass",
        "def f(a):\n for x in {1} | a: pass",
        "def f(a: set[int]): return a.pop()",
        "def f(a: set[int]): return min(a, key=len)",
        "def f(a: set[int]): return g(*a)",
        "def f(a: set[int]): yield from a",
        "def f(a: set[int]): x, y = a",
        "def f(d: dict[int, set[int]]):\n for x in d[1]: pass",
        "def f(d: dict[int, set[int]]): return [x for s in d.values() for x in s]",
        "def f(d: dict[int, set[int]]):\n for k, s in d.items():\n  for x in s: pass",
        "def f(d: dict[int, set[int]]): return list(d.get(1, set()))",
        "async def f(s: set[int]):\n for x in s: pass",
    ],
)
def test_a_walk_over_a_set_is_found(snippet: str) -> None:
    tree = ast.parse(snippet)

    assert find_set_walks(tree, read_vocabulary([tree]))


@pytest.mark.parametrize(
    "snippet",
    [
        "def f(s: set[int]): return sorted(s)",
        "def f(s: set[int]):\n for x in sorted(s): pass",
        "def f(s: set[int]): return len(s), min(s), any(x > 1 for x in s)",
        "def f(s: set[int]): return {x + 1 for x in s}, {*s, 1}",
        "def f(s: set[int]):\n s = sorted(s)\n return list(s)",
        "def f(s: set[int]): return 1 in s",
        "def f(d: dict[int, int]):\n for x in d: pass",
        "def f(d: dict[int, set[int]]):\n for x in d: pass",
        "def g(s: set[int]): pass\ndef f(s: list[int]): return tuple(s)",
        "def f(a: int, b: int): return range(a | b)",
    ],
)
def test_what_does_not_depend_on_set_order_passes(snippet: str) -> None:
    tree = ast.parse(snippet)

    assert not find_set_walks(tree, read_vocabulary([tree]))


@pytest.mark.parametrize(
    "snippet",
    [
        "x = 0.5",
        "x = 1 / 2",
        "x /= 2",
        "x = float(1)",
        "x = hash(b'')",
        "x = id(y)",
        "print(1)",
        "import time",
        "import os.path",
        "from datetime import datetime",
        "def f():\n import random",
    ],
)
def test_a_float_a_clock_or_the_world_is_found(snippet: str) -> None:
    assert list(find_worldly(ast.parse(snippet)))


def test_whole_numbers_and_own_modules_pass() -> None:
    snippet = "from ledger.blocks import Header\nx = 7 // 2\ny = item.id\nz = item.hash()"

    assert not list(find_worldly(ast.parse(snippet)))
