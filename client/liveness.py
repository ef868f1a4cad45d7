"""Who of the validators is live, as one node sees it, and what a change would mean for them.

The ledger cannot know who is live, so nobody is stopped by it from voting the chain to a halt: the
one who proposes or votes looks first (`ledger.membership_plan`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from client.connection import Client
from client.errors import AnswerRejected, ClientError
from client.http import get_json
from ledger.governance_payloads import AddValidator, Change, RemoveValidator
from ledger.membership_plan import MembershipPlan, plan_change

BEHIND_BLOCKS: Final = 100
"""A node that is further behind does not keep the chain going."""

IN_FORCE: Final = ("voting", "joining")
"""States of the nodes that vote once every change is effective."""


class WouldStall(ClientError):
    """With the validators that are live now, the change would stop the chain."""

    code = "validators.would_stall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The validators as one node sees them.

    `members` vote once every change is effective; `live` are all nodes that answer, learners too;
    `heights` how far each was when last heard of; `rows` what the node says of each of them.
    """

    node_index: int
    height: int
    members: tuple[int, ...]
    live: frozenset[int]
    heights: Mapping[int, int]
    rows: tuple[Mapping[str, Any], ...]


def seen_by(
    node: Mapping[str, Any], validators: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]
) -> Seen:
    """Return what `/v1/node`, `/v1/validators` and `/v1/peers` of one node say together.

    Raises `AnswerRejected` for answers that are no node's.
    """
    try:
        own, height = int(node["node_index"]), int(validators["height"])
        heights = {own: height}
        live = {own}
        for peer in peers:
            if peer["state"] == "connected" and peer["height"] is not None:
                heights[int(peer["node"])] = int(peer["height"])
                if int(peer["height"]) >= height - BEHIND_BLOCKS:
                    live.add(int(peer["node"]))
        rows = tuple(dict(row) for row in validators["validators"])
        members = tuple(int(row["index"]) for row in rows if row["state"] in IN_FORCE)
    except (KeyError, TypeError, ValueError) as problem:
        raise AnswerRejected(
            f"the node's account of validators is malformed: {problem}"
        ) from problem
    return Seen(
        node_index=own,
        height=height,
        members=members,
        live=frozenset(live),
        heights=heights,
        rows=rows,
    )


async def look(client: Client) -> Seen:
    """Ask the client's node who is live."""
    node = await get_json(client.node, "/v1/node")
    validators = await get_json(client.node, "/v1/validators")
    answer = await get_json(client.node, "/v1/peers")
    peers = answer.get("peers") if isinstance(answer, dict) else None
    if not isinstance(peers, list):
        raise AnswerRejected("the node's account of its peers is malformed")
    return seen_by(node, validators, peers)


def plan_of(seen: Seen, change: Change) -> MembershipPlan | None:
    """Return what a change means for those who are live; None if it changes nobody's vote."""
    match change:
        case AddValidator():
            if change.node.claim.index in seen.members:
                return None
            return plan_change(seen.members, seen.live, add=(change.node.claim.index,))
        case RemoveValidator():
            if change.index not in seen.members or len(seen.members) == 1:
                return None  # A learner goes unnoticed; the last validator the ledger keeps.
            return plan_change(seen.members, seen.live, remove=(change.index,))
        case _:
            return None


async def check_goes_on(client: Client, change: Change) -> None:
    """Raise `WouldStall` if the change would leave fewer than a quorum of live validators."""
    plan = plan_of(await look(client), change)
    if plan is not None and plan.stalls:
        raise WouldStall(
            f"as node {client.node_index} sees it, {plan.reason}; bring them up first, or say"
            " --force if you know better"
        )
