"""Workloads: small TOML files that say what is offered, to how many people's accounts, how long.

Those of this product stand in `benchmarks/workloads/`; any other file of the same form is run by
its path. Every key is a field of `Workload`; what a file leaves out has the default.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import InvalidScene, WorkloadInvalid
from benchmarks.scene.faults import (
    Fault,
    check_faults,
    needs_liars,
    needs_links,
    parse_faults,
)
from benchmarks.scene.faults import told as told_fault
from benchmarks.scene.links import parse_links
from benchmarks.scene.local import member_names
from benchmarks.scene.places import Wanted, check_wanted
from config import Timeouts
from crypto.errors import EncodeError
from crypto.schema import encode
from ledger.parameters import Parameters

FOLDER: Final = Path(__file__).resolve().parent / "workloads"
KINDS: Final = ("register", "grant", "revoke", "put", "read")
SHARE_MAX: Final = 1_000

IDLE_BLOCK_MS: Final = 1_000
"""A network without load decides once a second, unless the workload says otherwise."""

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "patients": (1, 1_000_000),
    "doctors": (1, 10_000),
    "drivers": (1, 64),
    "seconds": (1, 86_400),
    "warmup_s": (0, 3_600),
    "repetitions": (1, 100),
    "batch_ms": (1, 1_000),
    "window": (1, 100_000),
    "first_guess_tps": (1, 100_000),
    "records": (0, 1_000_000),
    "record_bytes": (1, 64 << 20),
    "validators": (1, 16),
    "dead": (0, 5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is offered. Times are per run; the warm-up is part of `seconds` and left out of figures.

    `shares` say how many of how many transactions are of each kind. `window` is how many stay open
    while the nodes are kept saturated; `fractions` of what they commit then are offered open loop;
    `first_guess_tps` is how many a second are signed ahead for the first saturated run. `records`
    are there before the first read; `blob_bytes` sizes make it a workload of blobs. The network it
    is offered to has `validators`, of which `dead` are never started, and `links`; `where` is
    loopback, namespaces, or what this machine can do (""); `faults` happen in every run that is
    offered open loop. `parameters` are the consortium's, `timeouts` its nodes'.
    """

    name: str
    title: str
    shares: dict[str, int] = field(default_factory=dict)
    patients: int = 1_200
    doctors: int = 32
    drivers: int = 2
    seconds: float = 20.0
    warmup_s: float = 4.0
    repetitions: int = 3
    fractions: tuple[float, ...] = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0)
    batch_ms: float = 20.0
    window: int = 2_000
    first_guess_tps: int = 4_000
    records: int = 200
    record_bytes: int = 8_000
    blob_bytes: tuple[int, ...] = ()
    validators: int = 4
    dead: int = 0
    links: str = "lan"
    where: str = ""
    faults: tuple[Fault, ...] = ()
    parameters: dict[str, int] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=dict)


def workload_names() -> tuple[str, ...]:
    """Return the names of the workloads that come with the product."""
    return tuple(sorted(one.stem for one in FOLDER.glob("*.toml")))


def load_workload(name_or_path: str, changes: Mapping[str, Any] | None = None) -> Workload:
    """Return a workload by name or by path of its file; `changes` are fields said otherwise.

    Raises `WorkloadInvalid` with one sentence that says what is wrong and where.
    """
    path = FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(workload_names())
        raise WorkloadInvalid(
            f"there is no workload {name_or_path!r}: name one of {known}, or a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as problem:
        raise WorkloadInvalid(f"{path} cannot be read as TOML: {problem}") from problem
    return make_workload(path.stem, {**told, **(changes or {})}, source=str(path))


def make_workload(name: str, told: Mapping[str, Any], *, source: str) -> Workload:
    """Return the workload that a file's keys say; raise `WorkloadInvalid`."""
    known = {one.name for one in fields(Workload)} - {"name"}
    for key in told:
        if key not in known:
            raise WorkloadInvalid(f"{source}: there is no key {key!r}; known: {_list(known)}")
    if not isinstance(told.get("title"), str):
        raise WorkloadInvalid(f"{source}: `title` says in a few words what is offered")
    for key, (low, high) in BOUNDS.items():
        _check_number(source, key, told.get(key, low), low, high)
    fields_said: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in told.items()
    }
    if not isinstance(told.get("links", ""), str):
        raise WorkloadInvalid(f"{source}: `links` is lan, 30ms or 100ms, not {told['links']!r}")
    for table in ("parameters", "timeouts"):
        if not isinstance(told.get(table, {}), Mapping):
            raise WorkloadInvalid(f"{source}: `{table}` is a table, [{table}]")
    fields_said["faults"] = _faults(source, told.get("faults", []))
    workload = Workload(name=name, **fields_said)
    _check_shares(source, workload)
    _check_lists(source, workload)
    if workload.warmup_s >= workload.seconds:
        raise WorkloadInvalid(
            f"{source}: a warm-up of {workload.warmup_s:g} s leaves nothing of a run"
        )
    _check_consortium(source, workload)
    late = [one for one in workload.faults if one.at_s >= workload.seconds]
    if late:
        raise WorkloadInvalid(
            f"{source}: the fault {told_fault(late[0])!r} comes after the end of a run of"
            f" {workload.seconds:g} s"
        )
    return workload


def wanted_of(workload: Workload) -> Wanted:
    """Return the network that is to be made for the workload; raise `InvalidScene`."""
    wanted = Wanted(
        validators=workload.validators,
        dead=workload.dead,
        links=parse_links(workload.links),
        may_change_links=needs_links(workload.faults),
        may_lie=needs_liars(workload.faults),
        where=workload.where or None,
        parameters=_parameters_of(workload),
        timeouts=Timeouts(**workload.timeouts),
    )
    check_wanted(wanted)
    check_faults(workload.faults, member_names(workload.validators))
    return wanted


def _parameters_of(workload: Workload) -> Parameters:
    return Parameters(**{"idle_block_ms": IDLE_BLOCK_MS, **workload.parameters})


def _check_consortium(source: str, workload: Workload) -> None:
    """Raise `WorkloadInvalid` for parameters and timeouts that no consortium may have."""
    known = {one.name for one in fields(Parameters)}
    for table, names in (("parameters", known), ("timeouts", set(Timeouts.BOUNDS))):
        for key, value in getattr(workload, table).items():
            if key not in names:
                raise WorkloadInvalid(f"{source}: {table} have no {key!r}; known: {_list(names)}")
            if type(value) is not int:
                raise WorkloadInvalid(f"{source}: {table}.{key} is a whole number, not {value!r}")
    for key, value in workload.timeouts.items():
        _check_number(source, f"timeouts.{key}", value, *Timeouts.BOUNDS[key])
    try:
        encode(_parameters_of(workload))
    except (EncodeError, ValueError) as problem:
        raise WorkloadInvalid(f"{source}: parameters: {problem}") from problem


def _faults(source: str, tables: Any) -> tuple[Fault, ...]:
    if isinstance(tables, tuple):
        return tables
    try:
        return parse_faults(tables)
    except InvalidScene as problem:
        raise WorkloadInvalid(f"{source}: {problem}") from problem


def _check_number(source: str, key: str, value: Any, low: float, high: float) -> None:
    is_whole = key not in ("seconds", "warmup_s", "batch_ms")
    kinds = (int,) if is_whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        what = "a whole number" if is_whole else "a number"
        raise WorkloadInvalid(
            f"{source}: `{key}` is {what} from {low:g} to {high:g}, not {value!r}"
        )


def _check_shares(source: str, workload: Workload) -> None:
    if bool(workload.shares) == bool(workload.blob_bytes):
        raise WorkloadInvalid(f"{source}: a workload has either [shares] or `blob_bytes`")
    for kind, share in workload.shares.items():
        if kind not in KINDS:
            raise WorkloadInvalid(f"{source}: there is no kind {kind!r}; known: {_list(KINDS)}")
        _check_number(source, f"shares.{kind}", share, 1, SHARE_MAX)
    if workload.shares.get("revoke", 0) > workload.shares.get("grant", 0):
        raise WorkloadInvalid(f"{source}: more rights are taken back than given; raise `grant`")
    if "read" in workload.shares and not workload.records:
        raise WorkloadInvalid(f"{source}: reads need `records` that are there before them")


def _check_lists(source: str, workload: Workload) -> None:
    for fraction in workload.fractions:
        if isinstance(fraction, bool) or not isinstance(fraction, int | float):
            raise WorkloadInvalid(f"{source}: `fractions` are numbers, not {fraction!r}")
        if not 0 < fraction <= 2:
            raise WorkloadInvalid(
                f"{source}: a fraction is above 0 and at most 2, not {fraction!r}"
            )
    for size in workload.blob_bytes:
        _check_number(source, "blob_bytes", size, 1, 1 << 40)


def _list(names: Any) -> str:
    return ", ".join(sorted(names))
