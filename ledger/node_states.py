"""What a node is at one height: its entry speaks of two blocks later, its epoch of now."""

from crypto.validators import ValidatorSet
from ledger.nodes import NodeEntry, NodeStanding

JOINING = "joining"
LEAVING = "leaving"


def node_state(node: NodeEntry, voting: ValidatorSet) -> str:
    """Return `voting`, `learner`, `removed`, or what it is between: `joining`, `leaving`.

    `voting` is the set of the height in question; who joins or leaves does so when the newest epoch
    begins.
    """
    is_voting = voting.member(node.index) is not None
    if is_voting:
        return LEAVING if node.standing is NodeStanding.REMOVED else NodeStanding.VOTING.value
    return JOINING if node.standing is NodeStanding.VOTING else node.standing.value
