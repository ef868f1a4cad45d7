"""What the state tree asks of whoever stores its nodes, and what it hands over to be stored."""

from dataclasses import dataclass
from typing import Protocol

from crypto.hashing import Digest
from ledger.tree.inner import InnerNode


class NodeReader(Protocol):
    """Where the nodes of committed versions are read from."""

    def get_node(self, key: bytes) -> bytes | None:
        """Return the bytes stored under a node key, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUpdate:
    """What one version of the tree writes and replaces.

    `new_nodes` are (node key, bytes) to store in the batch that makes the version durable;
    `stale_nodes` the keys of nodes to which this and later versions do not refer, so that they
    may be deleted once no older version has to be provable; `inner_nodes` the new inner nodes in
    memory, for `NodeCache.admit`.
    """

    version: int
    root: Digest
    new_nodes: tuple[tuple[bytes, bytes], ...]
    stale_nodes: tuple[bytes, ...]
    inner_nodes: tuple[tuple[bytes, InnerNode], ...]
