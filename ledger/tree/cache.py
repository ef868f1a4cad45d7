"""A bounded cache of inner nodes in front of a reader; nodes are verified as they load."""

from collections import OrderedDict

from ledger.tree.errors import NodeCorrupt, NodeMissing
from ledger.tree.hashing import HASH_BYTES, hash_key, hash_leaf, hash_value
from ledger.tree.inner import InnerNode, decode_node, node_hash
from ledger.tree.node import decode_leaf, depth_of, leaf_key, record_key_hash, root_key
from ledger.tree.ports import NodeReader, TreeUpdate


class NodeCache:
    """The most recently written or loaded inner nodes, at most `nodes_max` of about 2 KiB each.

    An update writes every node anew that it reads, so the upper levels and whatever changes often
    stay; a hit moves nothing, which keeps it cheap. Node keys carry the version that wrote them, so
    a cached node is never out of date; those that an update replaced are dropped by `admit`. Leaves
    are not cached: an update reads none, and a proof reads one. `hits` and `misses` count the inner
    nodes asked for.
    """

    __slots__ = ("_nodes", "_reader", "hits", "misses", "nodes_max")

    def __init__(self, reader: NodeReader, *, nodes_max: int) -> None:
        assert nodes_max >= 0
        self._reader = reader
        self._nodes: OrderedDict[bytes, InnerNode] = OrderedDict()
        self.nodes_max = nodes_max
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def get_inner(self, key: bytes, expected_hash: bytes | None) -> InnerNode:
        """Return an inner node; raise `NodeMissing`, or `NodeCorrupt` if its hash is another.

        Only a root has no parent that says which hash to expect.
        """
        node = self._nodes.get(key)
        if node is not None:
            self.hits += 1
            return node
        self.misses += 1
        node = decode_node(self._get_bytes(key), depth_of(key))
        if expected_hash is not None and node_hash(node) != expected_hash:
            raise NodeCorrupt(f"inner node {key.hex()} does not have its hash")
        self._put(key, node)
        return node

    def get_root(self, version: int) -> InnerNode:
        """Return the root node that `version` wrote."""
        return self.get_inner(root_key(version), None)

    def get_leaf(self, record: bytes) -> tuple[bytes, bytes]:
        """Return (state key, value) of the leaf that a record names, verified against it."""
        key = leaf_key(record)
        state_key, value = decode_leaf(self._get_bytes(key))
        key_hash = hash_key(state_key)
        if key_hash != record_key_hash(record):
            raise NodeCorrupt(f"leaf {key.hex()} has the state key of another")
        if hash_leaf(key_hash, hash_value(value)) != record[:HASH_BYTES]:
            raise NodeCorrupt(f"leaf {key.hex()} does not have its hash")
        return state_key, value

    def admit(self, update: TreeUpdate) -> None:
        """Take over the inner nodes of an update that has been stored, drop what it replaced."""
        for key in update.stale_nodes:
            self._nodes.pop(key, None)
        for key, node in update.inner_nodes:
            self._put(key, node)

    def _get_bytes(self, key: bytes) -> bytes:
        encoded = self._reader.get_node(key)
        if encoded is None:
            raise NodeMissing(f"node {key.hex()} is not stored")
        return encoded

    def _put(self, key: bytes, node: InnerNode) -> None:
        self._nodes[key] = node
        if len(self._nodes) > self.nodes_max:
            self._nodes.popitem(last=False)
