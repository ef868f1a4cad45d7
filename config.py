"""A node's configuration: frozen, read from `node.toml`, units in the names."""

import dataclasses
import json
import re
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - refused, not listened on.
_LOOPBACK: Final = ("127.0.0.1", "::1")


class InvalidConfig(Exception):
    """`node.toml` says something that cannot be; the text names the key, the value, the way out."""

    code: ClassVar[str] = "config.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a socket listens."""

    host: str = "127.0.0.1"
    port: int = 0

    BOUNDS: ClassVar[dict[str, tuple[int, int]]] = {"port": (0, 65_535)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The protocol's local clocks, in milliseconds (design: consensus, rules 9, 13 and 14).

    A transaction that could be in a block waits at most `liveness_bound_ms` under one primary
    before this node complains about it.
    """

    base_timeout_ms: int = 2_000
    timeout_cap_ms: int = 60_000
    gather_ms: int = 5
    status_ms: int = 500
    liveness_bound_ms: int = 20_000

    BOUNDS: ClassVar[dict[str, tuple[int, int]]] = {
        "base_timeout_ms": (100, 600_000),
        "timeout_cap_ms": (1_000, 3_600_000),
        "gather_ms": (0, 10_000),
        "status_ms": (50, 60_000),
        "liveness_bound_ms": (1_000, 3_600_000),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this node spends at the most."""

    verify_workers: int = 1
    pool_transactions_max: int = 20_000
    pool_bytes_max: int = 64 << 20
    blob_bytes_max: int = 8 << 30
    blob_store_bytes_max: int = 1 << 40
    disk_reserve_bytes: int = 256 << 20
    state_cache_nodes_max: int = 200_000
    proof_heights: int = 1_000
    snapshot_gap_blocks: int = 10_000
    scrub_percent: int = 2

    BOUNDS: ClassVar[dict[str, tuple[int, int]]] = {
        "verify_workers": (0, 64),
        "pool_transactions_max": (100, 10_000_000),
        "pool_bytes_max": (1 << 20, 1 << 40),
        "blob_bytes_max": (1 << 10, 1 << 44),
        "blob_store_bytes_max": (1 << 20, 1 << 50),
        "disk_reserve_bytes": (0, 1 << 40),
        "state_cache_nodes_max": (1_000, 100_000_000),
        "proof_heights": (3, 1_000_000),
        "snapshot_gap_blocks": (16, 10**9),
        "scrub_percent": (0, 100),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What of old blocks stays on this node's disk; 0 sets no bound, and two zeros keep everything.

    Transactions and receipts of a block go when it is older than `keep_days` days of block time
    and below the last `keep_blocks` blocks. Headers and certificates always stay.
    """

    keep_blocks: int = 0
    keep_days: int = 0

    BOUNDS: ClassVar[dict[str, tuple[int, int]]] = {
        "keep_blocks": (0, 10**12),
        "keep_days": (0, 100_000),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything a hospital chooses about its own node; what the consortium agreed is on chain.

    `api_origin` is the address under which clients reach the API, such as
    `https://ledger.st-mary.example`; empty means the address it listens on. `guests` says who may
    read certified blocks without being a peer: nodes whose TLS key the ledger has named ("known",
    where learners belong too), or "everybody" who reaches the port.
    """

    node_index: int
    directory: Path
    p2p: Endpoint = field(default_factory=Endpoint)
    api: Endpoint = field(default_factory=Endpoint)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    pruning: Pruning = field(default_factory=Pruning)
    log_level: str = "info"
    api_origin: str = ""
    guests: str = "known"

    BOUNDS: ClassVar[dict[str, tuple[int, int]]] = {"node_index": (0, 65_535)}


LOG_LEVELS = ("debug", "info", "warning", "error")
KNOWN, EVERYBODY = "known", "everybody"


def load_config(path: Path) -> NodeConfig:
    """Read `node.toml`; the node directory is the folder that holds it.

    Raises `InvalidConfig` for a missing or unreadable file, an unknown key, a wrong type or a
    value out of bounds.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InvalidConfig(
            f"cannot read {path}: {problem.strerror}; make a node directory with `medledger init`"
        ) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidConfig(f"{path} is not valid TOML: {problem}") from problem
    if "directory" in document:
        raise InvalidConfig(f"{path}: unknown key directory; it is the folder that holds this file")
    values = {"directory": path.parent.resolve(), **document}
    config: NodeConfig = _section(NodeConfig, values, path, "")
    if config.log_level not in LOG_LEVELS:
        raise InvalidConfig(
            f"{path}: log_level = {config.log_level!r}; use one of {', '.join(LOG_LEVELS)}"
        )
    if config.guests not in (KNOWN, EVERYBODY):
        raise InvalidConfig(f'{path}: guests = {config.guests!r}; use "{KNOWN}" or "{EVERYBODY}"')
    return config


def dump_config(config: NodeConfig) -> str:
    """Return the text of a `node.toml` that `load_config` reads back as `config`."""
    lines = [f"node_index = {config.node_index}", f"log_level = {_toml(config.log_level)}"]
    lines.append(f"guests = {_toml(config.guests)}")
    if config.api_origin:
        lines.append(f"api_origin = {_toml(config.api_origin)}")
    for name in ("p2p", "api", "timeouts", "limits", "pruning"):
        section = getattr(config, name)
        lines += ["", f"[{name}]"]
        for one in dataclasses.fields(section):
            lines.append(f"{one.name} = {_toml(getattr(section, one.name))}")
    return "\n".join(lines) + "\n"


def api_origins(config: NodeConfig) -> tuple[str, ...]:
    """Return the origins that a session may be signed for, and that a browser's page may have.

    They never follow from what a request says: somebody in between could name itself there, and
    have a session opened that was meant for it. Raises `InvalidConfig` where the way to this node
    cannot be told.
    """
    if config.api_origin:
        if not _ORIGIN.fullmatch(config.api_origin):
            raise InvalidConfig(
                f"api_origin = {config.api_origin!r} is not http(s)://host or http(s)://host:port"
            )
        return (config.api_origin,)
    host, port = config.api.host, config.api.port
    if host in _EVERYWHERE:
        raise InvalidConfig(
            f"api.host = {host!r} listens everywhere: say under which address clients reach this"
            ' node, such as api_origin = "https://ledger.st-mary.example"'
        )
    names = [f"[{host}]" if ":" in host else host]
    if host in _LOOPBACK:
        names.append("localhost")
    return tuple(f"http://{name}:{port}" for name in names)


def _toml(value: str | int) -> str:
    """Return a value as TOML writes it: its strings are JSON's but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _section(kind: type[Any], values: dict[str, Any], path: Path, prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {one.name: hints[one.name] for one in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        known = ", ".join(sorted(set(fields) - {"directory"}))
        raise InvalidConfig(f"{path}: unknown key {prefix}{unknown[0]}; known are {known}")
    found = {
        name: _value(fields[name], value, path, prefix + name) for name, value in values.items()
    }
    for name, (low, high) in getattr(kind, "BOUNDS", {}).items():
        if name in found and not low <= found[name] <= high:
            raise InvalidConfig(f"{path}: {prefix}{name} = {found[name]} is not in {low}..{high}")
    try:
        return kind(**found)
    except TypeError as problem:
        raise InvalidConfig(f"{path}: {prefix or 'top level'}: {problem}") from problem


def _value(kind: Any, value: Any, path: Path, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise InvalidConfig(f"{path}: {name} is a section: write [{name}]")
        return _section(typing.cast("type[Any]", kind), value, path, f"{name}.")
    if type(value) is not kind and not (kind is Path and isinstance(value, Path)):
        raise InvalidConfig(
            f"{path}: {name} = {value!r} is {type(value).__name__}, not {kind.__name__}"
        )
    return value
