"""Faults on schedule: what happens to which node, so many seconds after the load began.

In a workload's TOML each is a table, on the command line a few words:

    [[faults]]
    at_s = 5
    do = "kill"            "5 kill primary"
    node = "primary"

`kill` (SIGKILL), `stop` (SIGSTOP), `continue`, `restart`, `equivocate` and `slow` (with
`delay_ms`, one way, on all links of the node) want a `node`; `partition` wants a `node` or
`apart`, the nodes that can no longer talk to the others; `heal` mends all links. A node is
`primary` or `backup` (of the view when it happens), `same` (the one of the fault before), its
number, or its hospital's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.errors import InvalidScene

DOINGS: Final = (
    *("kill", "stop", "continue", "restart", "slow", "partition", "heal", "equivocate"),
)
OF_LINKS: Final = frozenset({"slow", "partition", "heal"})
DELAY_MS_MAX: Final = 60_000
AT_S_MAX: Final = 86_400
ROLES: Final = frozenset({"primary", "backup", "same"})
KEYS: Final = frozenset({"at_s", "do", "node", "apart", "delay_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, or right again, `at_s` seconds after the load began."""

    at_s: float
    do: str
    node: str | int | None = None
    apart: tuple[int, ...] = ()
    delay_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What was done, and when that had worked (monotonic seconds); `nodes` are those it was about.

    `failed` is why it could not be done, where it could not.
    """

    at_s: float
    do: str
    what: str
    nodes: tuple[int, ...] = ()
    failed: str | None = None


def parse_faults(tables: object) -> tuple[Fault, ...]:
    """Return the schedule that a workload's `[[faults]]` state, in order of time.

    Raises `InvalidScene` with the table and the key that is wrong.
    """
    if not isinstance(tables, list):
        raise InvalidScene("faults: write each as a table of its own, [[faults]]")
    found = [_fault(table, f"faults[{number}]") for number, table in enumerate(tables)]
    return tuple(sorted(found, key=lambda one: one.at_s))


def parse_fault_words(text: str) -> Fault:
    """Return the fault that `"SECONDS DO [NODE|NODE,NODE] [DELAYms]"` states."""
    where = f"--fault {text!r}"
    words = text.split()
    if len(words) < 2:
        raise InvalidScene(f'{where}: say when and what, such as "5 kill primary"')
    table: dict[str, Any] = {"at_s": _number(words[0], where), "do": words[1]}
    for word in words[2:]:
        if word.endswith("ms") and word[:-2].isdigit():
            table["delay_ms"] = int(word[:-2])
        elif "," in word:
            table["apart"] = [int(_number(one, where)) for one in word.split(",")]
        else:
            table["node"] = int(word) if word.isdigit() else word
    return _fault(table, where)


def check_faults(faults: Sequence[Fault], names: Sequence[str]) -> None:
    """Raise `InvalidScene` for a fault that names a node which is not there."""
    for fault in faults:
        outside = [one for one in fault.apart if not 0 <= one < len(names)]
        if isinstance(fault.node, int) and not 0 <= fault.node < len(names):
            outside.append(fault.node)
        if outside:
            raise InvalidScene(
                f"fault {told(fault)!r}: there is no node {outside[0]}; they are 0 to"
                f" {len(names) - 1}"
            )
        if isinstance(fault.node, str) and fault.node not in {*ROLES, *names}:
            raise InvalidScene(
                f"fault {told(fault)!r}: {fault.node!r} is neither primary, backup or same, nor one"
                f" of {', '.join(names)}"
            )
    if faults and faults[0].node == "same":
        raise InvalidScene(f"fault {told(faults[0])!r}: no fault comes before the first")


def told(fault: Fault) -> str:
    """Return the fault in the words of the command line."""
    words = [f"{fault.at_s:g}", fault.do]
    words += [] if fault.node is None else [str(fault.node)]
    words += [",".join(map(str, fault.apart))] if fault.apart else []
    words += [] if fault.delay_ms is None else [f"{fault.delay_ms}ms"]
    return " ".join(words)


def needs_links(faults: Sequence[Fault]) -> bool:
    """Whether links have to be such as can be cut and slowed."""
    return any(one.do in OF_LINKS for one in faults)


def needs_liars(faults: Sequence[Fault]) -> bool:
    """Whether nodes have to be such as lie when they are told to."""
    return any(one.do == "equivocate" for one in faults)


def _fault(table: object, where: str) -> Fault:
    if not isinstance(table, Mapping):
        raise InvalidScene(f"{where}: write a table, [[faults]]")
    unknown = sorted(set(table) - KEYS)
    if unknown:
        raise InvalidScene(f"{where}: unknown key {unknown[0]}; use {', '.join(sorted(KEYS))}")
    at_s, do = table.get("at_s"), table.get("do")
    if do not in DOINGS:
        raise InvalidScene(f"{where}: do = {do!r}; use one of {', '.join(DOINGS)}")
    if not isinstance(at_s, int | float) or at_s is True or not 0 <= at_s <= AT_S_MAX:
        raise InvalidScene(f"{where}: at_s = {at_s!r}; say how many seconds after the start")
    fault = Fault(
        at_s=float(at_s),
        do=do,
        node=table.get("node"),
        apart=_apart(table.get("apart", []), where),
        delay_ms=table.get("delay_ms"),
    )
    _check_arguments(fault, where)
    return fault


def _check_arguments(fault: Fault, where: str) -> None:
    """Raise `InvalidScene` unless the fault has what it needs and nothing else."""
    if fault.node is not None and not _is_node(fault.node):
        raise InvalidScene(f"{where}: node = {fault.node!r}; name one node")
    if fault.do == "heal":
        if fault.node is not None or fault.apart:
            raise InvalidScene(f"{where}: heal mends all links; leave out node and apart")
    elif fault.do == "partition":
        if (fault.node is None) == (not fault.apart):
            raise InvalidScene(f"{where}: say who is cut off, by node or by apart = [0, 1]")
    elif fault.node is None or fault.apart:
        raise InvalidScene(f'{where}: {fault.do} wants one node, such as node = "primary"')
    if (fault.do == "slow") != (fault.delay_ms is not None):
        raise InvalidScene(f"{where}: slow, and nothing else, wants delay_ms")
    delay_ms: object = fault.delay_ms
    if delay_ms is not None and (type(delay_ms) is not int or not 0 < delay_ms <= DELAY_MS_MAX):
        raise InvalidScene(f"{where}: delay_ms = {delay_ms!r}; from 1 to {DELAY_MS_MAX}, one way")


def _apart(value: object, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise InvalidScene(f"{where}: apart = {value!r}; list nodes by number, such as [0, 1]")
    return tuple(sorted(set(value)))


def _is_node(value: object) -> bool:
    return type(value) is int or (isinstance(value, str) and value != "")


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InvalidScene(f"{where}: {word!r} is no number") from None
