"""`medledger validators`: who votes, what a change would mean, and proposing one."""

from pathlib import Path
from typing import Any

import click

from client.errors import AnswerRejected
from client.liveness import Seen, seen_by
from client.plain_http import get_json
from commands.gov import FILE, blocks_option, force_option, propose_change
from commands.home import CLIENT_ERRORS, home_options
from commands.http_status import fetch_peers, node_url_option, told_by_node
from commands.output import Exit, fail, failures, show, show_rows
from crypto.validators import ReplicaId
from genesis.files import load_wire
from ledger.governance_payloads import AddValidator, RekeyValidator, RemoveValidator
from ledger.membership_plan import MembershipPlan, Standing, plan_change
from ledger.nodes import NodeStatement


@click.group()
def validators() -> None:
    """Validators: list, plan, add, remove, rekey."""


@validators.command(name="list")
@node_url_option
def list_command(url: str) -> None:
    """List the nodes that vote, will vote or learn, as one node sees them.

    \b
    Example:
      medledger validators list --node http://127.0.0.1:8080
    """
    seen = _look(url)
    rows = []
    for row in seen.rows:
        index = row["index"]
        rows.append(
            {
                **row,
                "state": _state(row),
                "live": index in seen.live,
                "height": seen.heights.get(index),
                "evidence": row["evidence_count"],
            }
        )
    columns = ("index", "org", "state", "live", "height", "p2p_address", "evidence")
    show_rows("Validators", columns, rows)


@validators.command()
@click.option("--add", "added", type=int, multiple=True, metavar="INDEX", help="A new validator.")
@click.option("--remove", "removed", type=int, multiple=True, metavar="INDEX", help="One to go.")
@force_option
@node_url_option
def plan(added: tuple[int, ...], removed: tuple[int, ...], url: str, *, force: bool) -> None:
    """Say what a change of the set would mean for the nodes that are live now; change nothing.

    Who is not connected counts as down. Exit status 1 if the chain would stop.

    \b
    Example:
      medledger validators plan --add 4
    """
    seen = _look(url)
    try:
        planned = plan_change(seen.members, seen.live, add=added, remove=removed)
    except ValueError as problem:
        fail(Exit.USAGE, "validators.plan", str(problem))
    found = _plan_fields(seen, planned)
    if planned.stalls and not force:
        fail(Exit.REFUSED, "validators.would_stall", planned.reason, found=found)
    show(found)


@validators.command()
@click.argument("file", type=FILE)
@force_option
@blocks_option
@home_options
def add(file: Path, blocks: int, *, force: bool, **options: Any) -> None:
    """Propose the node of the claim FILE as a validator, as an admin of its hospital.

    It learns once enough hospitals have accepted, and votes when it says itself that it is ready.

    \b
    Example:
      medledger validators add node-4.claim --as admin-hospital-e
    """
    change = AddValidator(node=_claim(file))
    propose_change(change, blocks=blocks, force=force, **options)


@validators.command()
@click.argument("index", type=click.IntRange(0, 65_535))
@force_option
@blocks_option
@home_options
def remove(index: int, blocks: int, *, force: bool, **options: Any) -> None:
    """Propose that the validator or learner INDEX goes, for ever.

    \b
    Example:
      medledger validators remove 3 --as admin-hospital-a
    """
    change = RemoveValidator(index=ReplicaId(index))
    propose_change(change, blocks=blocks, force=force, **options)


@validators.command()
@click.argument("file", type=FILE)
@blocks_option
@home_options
def rekey(file: Path, blocks: int, **options: Any) -> None:
    """Propose the keys and address of the claim FILE for the node whose index it names.

    \b
    Example:
      medledger validators rekey node-3.claim --as admin-hospital-d
    """
    propose_change(RekeyValidator(node=_claim(file)), blocks=blocks, **options)


def _claim(file: Path) -> NodeStatement:
    with failures(CLIENT_ERRORS):
        return load_wire(NodeStatement, file)


def _look(url: str) -> Seen:
    """Ask one node who votes and who is live, or end the command."""
    with told_by_node(url):
        node, found = {**get_json(url, "/v1/node")}, {**get_json(url, "/v1/validators")}
    peers = fetch_peers(url)
    with failures({AnswerRejected: Exit.UNKNOWN}):
        return seen_by(node, found, peers)


def _state(row: Any) -> str:
    """Return for example `leaving at block 812`."""
    begins = row["from_height"]
    return str(row["state"]) if begins is None else f"{row['state']} at block {begins}"


def _plan_fields(seen: Seen, planned: MembershipPlan) -> dict[str, Any]:
    return {
        "seen_by_node": seen.node_index,
        "live": sorted(seen.live),
        "before": _standing_fields(planned.before),
        "after": _standing_fields(planned.after),
        "stalls": planned.stalls,
        "reason": planned.reason or None,
    }


def _standing_fields(standing: Standing) -> dict[str, int]:
    return {
        "validators": standing.n,
        "live": standing.live,
        "quorum": standing.quorum,
        "tolerated_faults": standing.f,
        "more_failures_survivable": max(0, standing.spare),
    }
