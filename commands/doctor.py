"""`medledger doctor`: in one sentence, why no block comes, or that all is well."""

import dataclasses
import sys
import urllib.error
from pathlib import Path
from typing import Any, Final

import click

from api.diagnosis import Diagnosis, Finding
from client.plain_http import get_json
from commands.http_status import told_by_node
from commands.output import Exit, fail, say, settings, show
from commands.silent_node import address_of, examine_directory, last_lines
from config import InvalidConfig, load_config
from genesis.document import chain_id_of
from genesis.errors import GenesisError
from genesis.files import load_genesis
from storage.layout import NodeLayout

ANSWER_S: Final = 5.0
LOG_LINES: Final = 3


@click.command()
@click.argument(
    "directory", required=False, type=click.Path(path_type=Path, file_okay=False, exists=True)
)
@click.option(
    "--node",
    "url",
    envvar="MEDLEDGER_NODE",
    help="Address of the node's API [that in node.toml of DIRECTORY].",
)
def doctor(directory: Path | None, url: str | None) -> None:
    """Say in one sentence why no block comes, or that all is well.

    A node that answers is asked what it knows. One that does not is looked for in DIRECTORY: who
    holds its lease, its disks, journal and ledger, its last words. The exit status is 0 if all is
    well and 4 if something is wrong (3 if only an address was given and nobody answers there);
    what each code means stands in docs/operations.md.

    \b
    Example:
      medledger doctor /var/lib/medledger
      medledger doctor --node http://127.0.0.1:8080
    """
    if directory is None and url is None:
        fail(Exit.USAGE, "usage.missing", "name the node's DIRECTORY, or its address with --node")
    found, facts = _examine(directory, url)
    _show(found, facts)
    sys.exit(int(Exit.OK if found.is_well else Exit.LOCAL))


def _examine(directory: Path | None, url: str | None) -> tuple[Diagnosis, dict[str, Any] | None]:
    if directory is None:
        assert url is not None, "one of the two was named"
        with told_by_node(url):
            return _asked(url)
    address = url or _address_in(directory)
    if address is None:
        return examine_directory(directory), None
    try:
        stranger = _stranger_at(directory, address)
        return (stranger, None) if stranger is not None else _asked(address)
    except urllib.error.HTTPError as problem:
        with problem:
            sentence = f"{address} answers {problem.code} {problem.reason}: no node of ours."
        return Diagnosis(code="other_node", sentence=sentence, is_well=False), None
    except (OSError, ValueError, KeyError, TypeError):
        found = examine_directory(directory, address)
        lines = last_lines(directory, LOG_LINES)
        return dataclasses.replace(found, others=(*found.others, *lines)), None


def _asked(url: str) -> tuple[Diagnosis, dict[str, Any]]:
    answer = get_json(url, "/v1/doctor", timeout_s=ANSWER_S)
    others = tuple(
        Finding(code=str(one["code"]), sentence=str(one["sentence"])) for one in answer["others"]
    )
    found = Diagnosis(
        code=str(answer["code"]),
        sentence=str(answer["sentence"]),
        is_well=bool(answer["is_well"]),
        others=others,
    )
    return found, dict(answer["facts"])


def _address_in(directory: Path) -> str | None:
    try:
        return address_of(load_config(NodeLayout(directory).config))
    except InvalidConfig:
        return None


def _stranger_at(directory: Path, url: str) -> Diagnosis | None:
    """Return what is to be said if another node answers than that of the directory."""
    answer = get_json(url, "/v1/node", timeout_s=ANSWER_S)
    try:
        own = chain_id_of(load_genesis(NodeLayout(directory).genesis)).hex()
        index = load_config(NodeLayout(directory).config).node_index
    except (GenesisError, InvalidConfig):
        return examine_directory(directory, url)
    if (answer["chain_id"], answer["node_index"]) == (own, index):
        return None
    whose = "of this consortium" if answer["chain_id"] == own else "of another consortium"
    return Diagnosis(
        code="other_node",
        sentence=f"At {url} answers node {answer['node_index']} ({answer['organisation']})"
        f" {whose}, not the node of {directory}: check api.port in its node.toml.",
        is_well=False,
    )


def _show(found: Diagnosis, facts: dict[str, Any] | None) -> None:
    if settings().as_json:
        show({**dataclasses.asdict(found), "facts": facts})
        return
    say(f"{found.sentence} [{found.code}]")
    for one in found.others:
        if not found.is_well:  # Of a well node they stand in the sentence.
            say(f"- {one.sentence} [{one.code}]")
