"""A learner that has caught up says so itself, and votes two blocks later.

Nobody else can say it: a set grows only by a node that is there. That is why growing by a learner
stalls nothing that was not stalled before: with n validators of which a quorum is live, the n + 1
of them that are live with the learner are a quorum too.
"""

from dataclasses import replace
from typing import Final

from ledger.accounts import Role
from ledger.contract import Context, Kind, Lane, Rule
from ledger.contracts.changes import change_set, node_in_place, tell_epoch, voting_nodes
from ledger.errors import Refused
from ledger.governance_payloads import Ready
from ledger.nodes import NodeStanding, node_account_id, put_node


def on_ready(context: Context, payload: Ready) -> None:
    """Let a learner vote from the second block after this one."""
    node = node_in_place(context.state, payload.index)
    if context.sender.account_id != node_account_id(node.vote_key):
        raise Refused("validator.other_node", f"node {node.index} says itself that it is ready")
    if node.standing is NodeStanding.VOTING:
        raise Refused("validator.not_learner", f"node {node.index} is a validator")
    behind = context.height - payload.height
    if not 0 < behind <= context.parameters.ready_blocks_max:
        raise Refused(
            "validator.behind",
            f"the learner is at block {payload.height}, this is block {context.height}",
            (("height", context.height),),
        )
    voting = replace(node, standing=NodeStanding.VOTING, changed_height=context.height)
    members = sorted([*voting_nodes(context.state), voting], key=lambda one: one.index)
    change_set(context, members)
    put_node(context.state, voting)
    tell_epoch(context)
    context.emit(
        "validator.ready",
        None,
        ("index", node.index),
        ("org", node.org),
        ("height", payload.height),
    )


KINDS: Final = (
    Kind(
        name="validator.ready",
        payload=Ready,
        signer=Rule((Role.NODE,)),
        handler=on_ready,
        lane=Lane.GOVERNANCE,
    ),
)
