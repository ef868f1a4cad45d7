"""A network that runs already, on one machine or several, as a file says.

    home = "home"                        # genesis.json and a wallet that holds admin-NAME of each
    passphrase_file = "home/passphrase"  # of that wallet
    links = "two sites, 12 ms apart"     # in your own words, for the results

    [[nodes]]                            # in the order of their node index
    name = "st-mary"
    url = "http://10.0.0.1:8443"

    [nodes.commands]                     # what does a fault to this node, if the workload has any
    kill = "ssh st-mary sudo systemctl kill -s KILL medledger"
    restart = "ssh st-mary sudo systemctl start medledger"

Paths are relative to the file. A benchmark registers people, grants and reads on that ledger, and
all of it stays there: use a consortium that was founded for it.
"""

import tomllib
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import InvalidScene
from benchmarks.scene.faults import DOINGS, Fault, told
from benchmarks.scene.places import GENESIS_NAME, REMOTE, Scene

NODES_MAX: Final = 64
_TOP_KEYS: Final = frozenset({"home", "passphrase_file", "links", "nodes"})
_NODE_KEYS: Final = frozenset({"name", "url", "commands"})


def load_network(path: Path) -> Scene:
    """Read a network file; raise `InvalidScene` with the key that is wrong and the way out."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InvalidScene(f"cannot read {path}: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidScene(f"{path} is not valid TOML: {problem}") from problem
    _check_keys(document, _TOP_KEYS, str(path))
    nodes = document.get("nodes")
    if not isinstance(nodes, list) or not 1 <= len(nodes) <= NODES_MAX:
        raise InvalidScene(f"{path}: name 1 to {NODES_MAX} nodes, each in a table [[nodes]]")
    rows = [_node(table, f"{path}: nodes[{number}]") for number, table in enumerate(nodes)]
    names = [name for name, _, _ in rows]
    if len(set(names)) < len(names):
        raise InvalidScene(f"{path}: two nodes have one name")
    home = _file(document, "home", path)
    if not (home / GENESIS_NAME).is_file():
        raise InvalidScene(f"{path}: home = {str(home)!r} has no {GENESIS_NAME}")
    links = document.get("links", "unknown")
    if not isinstance(links, str):
        raise InvalidScene(f"{path}: links: say in words what the links are")
    return Scene(
        orgs=tuple(names),
        urls=tuple(url for _, url, _ in rows),
        home=home,
        passphrase_file=_file(document, "passphrase_file", path),
        network={
            "validators": len(rows),
            "dead": 0,
            "links": links,
            "delayed_by": "nothing",
            "where": REMOTE,
        },
        commands=tuple(commands for _, _, commands in rows),
    )


def check_commands(scene: Scene, faults: tuple[Fault, ...]) -> None:
    """Raise `InvalidScene` for a fault that no command of a remote network does."""
    for fault in faults:
        lacking = [
            org for org, one in zip(scene.orgs, scene.commands, strict=True) if fault.do not in one
        ]
        if lacking:
            raise InvalidScene(
                f"fault {told(fault)!r}: the network file says no command `{fault.do}` for"
                f" {lacking[0]}: add it under [nodes.commands]"
            )


def _node(table: object, where: str) -> tuple[str, str, dict[str, str]]:
    if not isinstance(table, dict):
        raise InvalidScene(f"{where}: write a table, [[nodes]]")
    _check_keys(table, _NODE_KEYS, where)
    name, url, commands = table.get("name"), table.get("url"), table.get("commands", {})
    if not isinstance(name, str) or not name:
        raise InvalidScene(f"{where}: name the hospital, as the ledger does")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise InvalidScene(f"{where}: url = {url!r}; give the address of the node's API")
    if not isinstance(commands, dict):
        raise InvalidScene(f"{where}: commands: write a table, [nodes.commands]")
    _check_keys(commands, frozenset(DOINGS), f"{where}.commands")
    for do, command in commands.items():
        if not isinstance(command, str) or not command.strip():
            raise InvalidScene(f"{where}.commands: {do} = {command!r}; give the words to run")
    return name, url.rstrip("/"), commands


def _file(document: dict[str, Any], key: str, path: Path) -> Path:
    found = document.get(key)
    if not isinstance(found, str):
        raise InvalidScene(f"{path}: {key} is missing; give its path")
    place = (path.parent / found).resolve()
    if not place.exists():
        raise InvalidScene(f"{path}: {key} = {found!r}: there is nothing at {place}")
    return place


def _check_keys(table: dict[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise InvalidScene(f"{where}: unknown key {unknown[0]}; use {', '.join(sorted(known))}")
