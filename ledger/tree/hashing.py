"""What the state tree hashes: the sparse Merkle tree over key hashes, defined without any storage.

The tree is binary over the 256 bits of SHA-256(state key), first bit at the root, and every
subtree that holds a single leaf *is* that leaf:

    root(no leaf)      = SHA-256(STATE_EMPTY)
    root(one leaf)     = SHA-256(STATE_LEAF  || key hash || value hash)
    root(more leaves)  = SHA-256(STATE_INNER || root(leaves with bit 0) || root(leaves with bit 1))

so a root depends on the set of keys and values alone. The four domains keep a leaf, an inner
node, a value and the empty tree from ever passing for one another; each preimage of an inner
node or a leaf is 87 or 88 bytes, two SHA-256 blocks, which the domain does not lengthen.
"""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from crypto.hashing import Digest, Domain, digest

KEY_HASH_BITS: Final = 256
HASH_BYTES: Final = 32

EMPTY: Final = digest(Domain.STATE_EMPTY)
"""Hash of a subtree without leaves."""

_KEY: Final = Domain.STATE_KEY.value
_VALUE: Final = Domain.STATE_VALUE.value
_LEAF: Final = Domain.STATE_LEAF.value
_INNER: Final = Domain.STATE_INNER.value


def hash_key(state_key: bytes) -> Digest:
    """Return where in the tree the leaf of `state_key` belongs."""
    return Digest(sha256(_KEY + state_key).digest())


def hash_value(value: bytes) -> Digest:
    """Return what a leaf commits to: a proof of another leaf shows this and not the value."""
    return Digest(sha256(_VALUE + value).digest())


def hash_leaf(key_hash: bytes, value_hash: bytes) -> Digest:
    """Return the hash of a leaf, and of any subtree that holds only this leaf."""
    return Digest(sha256(_LEAF + key_hash + value_hash).digest())


def hash_inner(left: bytes, right: bytes) -> Digest:
    """Return the hash of a subtree with at least two leaves, from those of its halves."""
    return Digest(sha256(_INNER + left + right).digest())


def bit_at(key_hash: bytes, depth: int) -> int:
    """Return the bit that chooses the half at `depth`, from 0 at the root."""
    return key_hash[depth >> 3] >> (7 - (depth & 7)) & 1


def fold_path(key_hash: bytes, reached: bytes, siblings: Sequence[bytes]) -> bytes:
    """Return the root above the node `reached`, which lies len(siblings) deep towards `key_hash`.

    The siblings are listed from the root down.
    """
    for depth in range(len(siblings) - 1, -1, -1):
        if bit_at(key_hash, depth):
            reached = hash_inner(siblings[depth], reached)
        else:
            reached = hash_inner(reached, siblings[depth])
    return reached


def shared_bits(one: bytes, other: bytes) -> int:
    """Return how many leading bits two key hashes have in common."""
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return KEY_HASH_BITS - difference.bit_length()


def subtree_hash(key_hashes: Sequence[bytes], leaf_hashes: Sequence[bytes], depth: int) -> bytes:
    """Return the hash of the subtree, `depth` bits deep, that holds exactly these leaves.

    Their key hashes ascend and have the first `depth` bits in common.
    """
    count = len(key_hashes)
    if count < 2:
        return leaf_hashes[0] if count else EMPTY
    parting = shared_bits(key_hashes[0], key_hashes[-1])
    if count == 2:
        left, right = leaf_hashes
    else:
        middle = bisect_left(key_hashes, 1, key=lambda key_hash: bit_at(key_hash, parting))
        left = subtree_hash(key_hashes[:middle], leaf_hashes[:middle], parting + 1)
        right = subtree_hash(key_hashes[middle:], leaf_hashes[middle:], parting + 1)
    above = sha256(_INNER + left + right).digest()
    path = key_hashes[0]
    for level in range(parting - 1, depth - 1, -1):
        pair = EMPTY + above if bit_at(path, level) else above + EMPTY
        above = sha256(_INNER + pair).digest()
    return above
