"""`medledger gov`: propose changes of members and parameters, vote, withdraw, look."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from client.connection import Client
from client.governance import (
    OPEN_BLOCKS,
    Proposed,
    Standing,
    current_parameters,
    find_proposal,
    list_proposals,
    make_member,
    propose,
    vote,
    withdraw,
)
from client.liveness import check_goes_on
from client.proving import now_ms
from client.wallet import make_keys
from commands.home import CLIENT_ERRORS, digest_named, home_options, make_home, run_client
from commands.output import Exit, fail, failures, show, show_rows
from crypto.errors import EncodeError
from crypto.hashing import Digest
from crypto.schema import encode
from genesis.files import dump_wire, load_wire
from ledger.accounts import OrgId, check_slug
from ledger.contracts.changes import change_fields
from ledger.governance_payloads import (
    AddOrganisation,
    Change,
    ChangeParameters,
    RestoreOrganisation,
    SuspendOrganisation,
)
from ledger.parameters import Parameters, parameter_changes
from ledger.proposals import Outcome

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

blocks_option = click.option(
    "--blocks",
    type=click.IntRange(1),
    default=OPEN_BLOCKS,
    show_default=True,
    help="For how many blocks others may vote.",
)
force_option = click.option(
    "--force", is_flag=True, help="Even if too few validators would be live afterwards."
)


@click.group()
def gov() -> None:
    """Governance: propose, vote, withdraw, list, show."""


@gov.command()
@click.argument("org")
@click.option("--name", required=True, help="The hospital's full name.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it.")
@home_options
def enrol(org: str, name: str, out: Path | None, **options: Any) -> None:
    """Make the admin's and the key agent's keys of a new member ORG, and the file it hands over.

    \b
    Example:
      medledger gov enrol hospital-e --name "Hospital East" --out hospital-e.member
    """
    with failures({ValueError: Exit.USAGE}):
        check_slug(org)
    path = out or Path(f"{org}.member")

    async def work(client: Client) -> AddOrganisation:
        admin, agent = (
            make_keys(client.wallet, f"{what}-{org}", created_ms=now_ms())
            for what in ("admin", "agent")
        )
        return make_member(OrgId(org), name, admin=admin, agent=agent, chain_id=client.chain_id)

    made = run_client(make_home(**options), work, may_create=True)
    with failures(CLIENT_ERRORS):
        path.write_bytes(dump_wire(made))
    show(
        {"org": org, "file": path, "admin": f"admin-{org}", "agent": f"agent-{org}"},
        f"keys of {org} are in the wallet; let a member propose {path}",
    )


@gov.group(name="propose")
def propose_group() -> None:
    """Propose a change of members or parameters; validators have a group of their own."""


@propose_group.command(name="add-organisation")
@click.argument("file", type=FILE)
@blocks_option
@home_options
def add_organisation(file: Path, blocks: int, **options: Any) -> None:
    """Propose the hospital of FILE (`gov enrol`) as a member.

    \b
    Example:
      medledger gov propose add-organisation hospital-e.member --as admin-hospital-a
    """
    with failures(CLIENT_ERRORS):
        change = load_wire(AddOrganisation, file)
    propose_change(change, blocks=blocks, **options)


@propose_group.command(name="suspend-organisation")
@click.argument("org")
@blocks_option
@home_options
def suspend_organisation(org: str, blocks: int, **options: Any) -> None:
    """Propose that nobody of ORG may do anything more; its nodes vote until they are removed.

    \b
    Example:
      medledger gov propose suspend-organisation hospital-d --as admin-hospital-a
    """
    propose_change(SuspendOrganisation(org=OrgId(org)), blocks=blocks, **options)


@propose_group.command(name="restore-organisation")
@click.argument("org")
@blocks_option
@home_options
def restore_organisation(org: str, blocks: int, **options: Any) -> None:
    """Propose that a suspended ORG may act again.

    \b
    Example:
      medledger gov propose restore-organisation hospital-d --as admin-hospital-a
    """
    propose_change(RestoreOrganisation(org=OrgId(org)), blocks=blocks, **options)


@propose_group.command()
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@blocks_option
@home_options
def parameters(values: tuple[str, ...], blocks: int, **options: Any) -> None:
    """Propose other parameters; those that are not named stay as they are.

    \b
    Example:
      medledger gov propose parameters idle_block_ms=10000 --as admin-hospital-a
    """
    wanted = _numbers(values)

    async def work(client: Client) -> Proposed:
        changed = _changed(await current_parameters(client), wanted)
        return await propose(client, ChangeParameters(parameters=changed), blocks=blocks)

    show_proposed(run_client(make_home(**options), work))


@gov.command(name="vote")
@click.argument("proposal")
@click.option("--accept/--reject", "accepts", required=True, default=None, help="The ballot.")
@force_option
@home_options
def vote_command(proposal: str, *, accepts: bool, force: bool, **options: Any) -> None:
    """Cast the ballot of the actor's hospital; the one that decides executes the change.

    \b
    Example:
      medledger gov vote 7c...01 --accept --as admin-hospital-b
    """
    wanted = Digest(digest_named(proposal, "proposal"))

    async def work(client: Client) -> Standing:
        if accepts and not force:
            await check_goes_on(client, (await find_proposal(client, wanted)).proposal.change)
        return await vote(client, wanted, accepts=accepts)

    standing = run_client(make_home(**options), work)
    show(_row(standing), f"voted; the proposal is {_state(standing)}")


@gov.command(name="withdraw")
@click.argument("proposal")
@home_options
def withdraw_command(proposal: str, **options: Any) -> None:
    """Take back a proposal of the actor's hospital.

    \b
    Example:
      medledger gov withdraw 7c...01 --as admin-hospital-a
    """
    wanted = Digest(digest_named(proposal, "proposal"))
    outcome = run_client(make_home(**options), lambda client: withdraw(client, wanted))
    show({"proposal": wanted, "height": outcome.height}, "withdrawn")


@gov.command(name="list")
@home_options
def list_command(**options: Any) -> None:
    """List the proposals that wait for ballots.

    \b
    Example:
      medledger gov list
    """
    found = run_client(make_home(**options), list_proposals)
    columns = ("proposal", "change", "by_org", "accepts", "rejects", "needed", "expires_height")
    show_rows("Open proposals", columns, [_row(one) for one in found])


@gov.command(name="show")
@click.argument("proposal")
@home_options
def show_command(proposal: str, **options: Any) -> None:
    """Show a proposal, open or closed: what it changes, and who has voted how.

    \b
    Example:
      medledger gov show 7c...01
    """
    wanted = Digest(digest_named(proposal, "proposal"))

    async def work(client: Client) -> dict[str, Any]:
        standing = await find_proposal(client, wanted)
        change = standing.proposal.change
        found = {**_row(standing), "ballots": _ballots(standing)}
        if isinstance(change, ChangeParameters):
            in_force = await current_parameters(client)
            found["parameters"] = {
                name: f"{old} -> {new}"
                for name, (old, new) in parameter_changes(in_force, change.parameters).items()
            }
        return found

    show(run_client(make_home(**options), work))


def propose_change(change: Change, *, blocks: int, force: bool = True, **options: Any) -> None:
    """Propose a change and say under which id; look at who is live first unless forced."""

    async def work(client: Client) -> Proposed:
        if not force:
            await check_goes_on(client, change)
        return await propose(client, change, blocks=blocks)

    show_proposed(run_client(make_home(**options), work))


def show_proposed(proposed: Proposed) -> None:
    show(
        {
            "proposal": proposed.proposal_id,
            "expires_height": proposed.expires_height,
            "height": proposed.height,
        },
        f"proposal {proposed.proposal_id.hex()} is open below block {proposed.expires_height}; "
        "every hospital votes once, yours too",
    )


def _numbers(values: Sequence[str]) -> dict[str, int]:
    """Return parameters by name from `NAME=VALUE` words, or end the command."""
    known = [one.name for one in fields(Parameters)]
    found = {}
    for word in values:
        name, _, text = word.partition("=")
        if name not in known:
            code, listed = "parameters.unknown", ", ".join(known)
            fail(Exit.USAGE, code, f"{name!r} is no parameter; there are {listed}")
        if not text.isascii() or not text.isdecimal() or len(text) > 20:
            fail(Exit.USAGE, "parameters.value", f"{word!r}: give a whole number, NAME=VALUE")
        found[name] = int(text)
    return found


def _changed(in_force: Parameters, wanted: Mapping[str, int]) -> Parameters:
    """Return the parameters with some changed, or end the command where one is out of bounds."""
    try:
        changed = replace(in_force, **wanted)
        encode(changed)
    except (ValueError, EncodeError) as problem:
        fail(Exit.USAGE, "parameters.value", f"out of bounds: {problem}")
    return changed


def _row(standing: Standing) -> dict[str, Any]:
    proposal = standing.proposal
    return {
        "proposal": proposal.proposal_id,
        "outcome": standing.outcome.value,
        "reason": proposal.reason or None,
        "change": " ".join(str(value) for _, value in change_fields(proposal.change)),
        "by_org": proposal.org,
        "accepts": standing.count.accepts,
        "rejects": standing.count.rejects,
        "needed": standing.needed,
        "opened_height": proposal.opened_height,
        "expires_height": proposal.expires_height,
        "closed_height": proposal.closed_height,
    }


def _ballots(standing: Standing) -> dict[str, str]:
    return {one.org: "accepts" if one.accepts else "rejects" for one in standing.proposal.ballots}


def _state(standing: Standing) -> str:
    if standing.outcome is Outcome.OPEN:
        return f"open: {standing.count.accepts} of {standing.needed} hospitals accept"
    reason = standing.proposal.reason
    return f"{standing.outcome.value}: {reason}" if reason else str(standing.outcome.value)
