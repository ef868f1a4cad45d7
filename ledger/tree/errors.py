"""What can be wrong with the stored nodes of the state tree."""

from ledger.errors import LedgerError


class TreeError(LedgerError):
    """The tree on this node's disk cannot be read; no peer can cause it, and none is to blame."""

    code = "tree.unreadable"


class NodeMissing(TreeError):
    """A node that the tree refers to is not stored: pruned with its version, or lost."""

    code = "tree.node_missing"


class NodeCorrupt(TreeError):
    """A stored node that does not decode, or does not have the hash its parent holds for it."""

    code = "tree.node_corrupt"
