"""`medledger invite` and `medledger join`: a new node, or one that lost its disk, comes in.

a member    medledger invite --out invite.json          -> the one file the new node needs
new node    medledger join invite.json --dir D ...      -> keys, claim, and the node itself
a member    medledger validators add D/node-4.claim     -> proposed by an admin of its hospital
a member    medledger node rekey D                      -> next keys and their claim, to re-key it

The keys are made where the node runs and never leave it. A member that lost its disk takes the same
way: with its keystore restored to D/keys it is known again, and with new keys it is re-keyed.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop

from client.connection import GENESIS_NAME
from client.http import open_node
from client.invites import make_invite
from commands.home import CLIENT_ERRORS, home_options, make_home
from commands.joining import (
    Joined,
    has_keys,
    make_wishes,
    next_step,
    prepare,
    tell_progress,
)
from commands.logs import start_logging
from commands.node import NODE_ERRORS
from commands.output import Exit, fail, failures, say, show
from commands.passphrase import passphrase_file_option, read_passphrase
from config import load_config
from genesis.files import load_genesis
from genesis.invite import Invite, dump_invite, load_invite

JOIN_ERRORS: dict[type[Exception], Exit] = {**NODE_ERRORS, ValueError: Exit.USAGE}

new_file = click.Path(path_type=Path, dir_okay=False)
old_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--out", type=new_file, default=Path("invite.json"), show_default=True)
@home_options
def invite(out: Path, **options: Any) -> None:
    """Write the one file with which a new node joins: the consortium, and where the chain is now.

    It holds no secret and gives no right. Its reader believes it, so hand it over as you would a
    key's fingerprint.

    \b
    Example:
      medledger invite --node http://127.0.0.1:8443 --out invite.json
    """
    home = make_home(**options)

    async def ask_node() -> Invite:
        document = load_genesis(home.directory / GENESIS_NAME)
        async with open_node(home.urls[0]) as node:
            return await make_invite(node, document)

    with failures(CLIENT_ERRORS):
        if not home.urls:
            fail(Exit.USAGE, "node.not_named", "no node is named: give --node URL")
        made = asyncio.run(ask_node())
        out.write_bytes(dump_invite(made))
    height, _ = made.anchor()
    found = {"file": out, "chain_id": made.chain_id, "height": height, "index": made.free_index}
    show(found, f"{out}: block {height}, {len(made.nodes)} nodes; bring it to the new node")


@click.command()
@click.argument("invite_file", metavar="INVITE", type=old_file)
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--org", help="The hospital that runs the node, by its slug; of a new node.")
@click.option("--listen", help="host:port to listen on for the other nodes; of a new node.")
@click.option("--advertise", help="host:port where they reach this one; --listen when left out.")
@click.option("--api", default="127.0.0.1:8443", show_default=True, help="host:port of the API.")
@click.option("--api-origin", default="", help="Clients' address of the API; --api when left out.")
@click.option(
    "--index",
    type=click.IntRange(0, 65_535),
    help="The node it replaces with new keys; else a free one.",
)
@click.option("--start/--no-start", "is_started", default=True, help="Run the node at once.")
@click.option("--log-json", is_flag=True, help="Log one JSON object per line on standard error.")
@passphrase_file_option
def join(
    invite_file: Path,
    directory: Path,
    *,
    org: str | None,
    listen: str | None,
    advertise: str | None,
    api: str,
    api_origin: str,
    index: int | None,
    is_started: bool,
    log_json: bool,
    passphrase_file: Path | None,
) -> None:
    """Join a consortium with the INVITE of a member: make the node, catch up, say what comes next.

    The same command again goes on where it stopped, and a newer INVITE tells a node that was down
    where the members are now. With the keystore of a lost node restored to DIR/keys the members
    know it again; with --index, new keys take the place of lost ones.

    \b
    Example:
      medledger join invite.json --dir /var/lib/medledger --org st-mary \\
        --listen 0.0.0.0:7400 --advertise ledger.st-mary.example:7400
    """
    with failures(JOIN_ERRORS):
        invited = load_invite(invite_file)
        wishes = make_wishes(org, listen, advertise, api, api_origin, index)
        passphrase = read_passphrase(
            passphrase_file, what=f"the node in {directory}", is_new=not has_keys(directory)
        )
        joined = prepare(directory, invited, passphrase, wishes)
        text = f"{directory}: node {joined.index} of {invited.genesis.invitation.chain_name}"
        show({"directory": directory, "index": joined.index, "claim": joined.claim}, text)
        if is_started:
            _run(joined, passphrase, as_json=log_json)
        else:
            say(f"{next_step(joined)}; start it with `medledger node start {directory}`")


def _run(joined: Joined, passphrase: str, *, as_json: bool) -> None:
    from node import run_node  # Starts the rooms: only a running node pays for it.

    config = load_config(joined.directory / "node.toml")
    start_logging(config.log_level, as_json=as_json)
    uvloop.run(run_node(config, passphrase, watch=partial(tell_progress, joined)))
