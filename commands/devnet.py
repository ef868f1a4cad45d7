"""`medledger devnet`: a whole consortium on this machine, every hospital a process of its own."""

from pathlib import Path
from typing import Any, Final

import click

from benchmarks.errors import NotReady, SceneError
from benchmarks.scene.local import (
    Member,
    found_devnet,
    load_members,
    running_pid,
    start_members,
    stop_members,
    wait_ready,
)
from client.plain_http import get_json
from commands.output import Exit, fail, failures, say, show, show_rows
from config import InvalidConfig
from crypto.errors import CryptoError
from genesis.errors import GenesisError
from storage.errors import StorageError

DEFAULT_DIRECTORY: Final = Path("devnet")
COUNT: Final = 4
NODES_MAX: Final = 32

DEVNET_ERRORS: dict[type[Exception], Exit] = {
    NotReady: Exit.UNKNOWN,
    SceneError: Exit.LOCAL,
    InvalidConfig: Exit.LOCAL,
    StorageError: Exit.LOCAL,
    CryptoError: Exit.LOCAL,
    GenesisError: Exit.LOCAL,
    OSError: Exit.LOCAL,
}

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Where the consortium lives.",
)


@click.group()
def devnet() -> None:
    """A test consortium on this machine: real processes, real TLS, real disks."""


@devnet.command()
@click.option(
    "-n", "count", type=click.IntRange(1, NODES_MAX), help=f"How many hospitals to found [{COUNT}]."
)
@directory_option
def up(count: int | None, directory: Path) -> None:
    """Found a consortium of N hospitals, or start a stopped one, and wait for its first block.

    \b
    Example:
      medledger devnet up -n 4 --dir devnet
    """
    with failures(DEVNET_ERRORS):
        if not (directory / "nodes").is_dir():
            say(f"founding a consortium of {count or COUNT} in {directory}")
            found_devnet(directory, count or COUNT)
        members = load_members(directory)
        if count not in (None, len(members)):
            fail(
                Exit.USAGE,
                "devnet.count",
                f"the consortium in {directory} has {len(members)} hospitals: leave out -n, or give"
                " another --dir",
            )
        start_members(directory, members)
        wait_ready(members)
    rows = [member_status(member) for member in members]
    show_rows("Consortium", ("organisation", "state", "height", "url", "pid"), rows)


@devnet.command()
@directory_option
def down(directory: Path) -> None:
    """Stop every node of the consortium, cleanly.

    \b
    Example:
      medledger devnet down --dir devnet
    """
    with failures(DEVNET_ERRORS):
        members = load_members(directory)
        stopped = stop_members(members, tell=say)
    show({"stopped": stopped}, f"stopped {stopped} of {len(members)} nodes")


@devnet.command()
@directory_option
def status(directory: Path) -> None:
    """Show each node: whether it runs, its height and view.

    \b
    Example:
      medledger devnet status --dir devnet
    """
    with failures(DEVNET_ERRORS):
        rows = [member_status(member) for member in load_members(directory)]
    columns = ("organisation", "state", "height", "view", "primary", "connected", "url", "pid")
    show_rows("Consortium", columns, rows)


def member_status(member: Member) -> dict[str, Any]:
    """Return one row about a node, whatever state it is in."""
    row: dict[str, Any] = {"organisation": member.org, "url": member.url}
    row["pid"] = running_pid(member)
    try:
        seen = get_json(member.url, "/v1/consensus", timeout_s=2)
    except (OSError, ValueError):
        return {**row, "state": "stopped" if row["pid"] is None else "not answering"}
    return {
        **row,
        "state": "running",
        "height": seen["height"],
        "view": seen["view"],
        "primary": seen["primary"],
        "connected": seen["connected_members"],
    }
