"""Merkle trees as of RFC 6962: roots over lists, and proofs that a leaf stands in one.

Leaves are hashed behind 0x00, inner nodes behind 0x01, and a list is split at the largest power of
two below its length, so no leaf passes for a node and no list has the root of another. The number
of leaves and the index of a leaf are part of what a proof is checked against.
"""

import hashlib
from collections.abc import Sequence

from crypto.errors import InvalidProof
from crypto.hashing import Digest

EMPTY_ROOT = Digest(hashlib.sha256(b"").digest())


def merkle_root(leaves: Sequence[bytes]) -> Digest:
    """Return the Merkle tree hash of a list (RFC 6962 §2.1)."""
    if not leaves:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        # Pairs from the left, an odd last one moves up: the split at the largest power of two.
        paired = [
            sha256(b"\x01" + level[index] + level[index + 1]).digest()
            for index in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return Digest(level[0])


def make_inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[Digest, ...]:
    """Return the audit path of the leaf at `index`, from its sibling upwards (§2.1.1)."""
    assert 0 <= index < len(leaves), "the leaf is in the list"
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    path: list[Digest] = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(Digest(level[sibling]))
        paired = [
            hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest()
            for at in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            paired.append(level[-1])
        level, index = paired, index // 2
    return tuple(path)


def check_inclusion(
    root: Digest, leaf: bytes, index: int, count: int, path: Sequence[bytes]
) -> None:
    """Raise `InvalidProof` unless `leaf` stands at `index` of the `count` leaves behind `root`.

    RFC 9162 §2.1.3.2; the path has exactly the length that index and count determine.
    """
    if not 0 <= index < count:
        raise InvalidProof(f"leaf {index} of {count}")
    if any(len(sibling) != len(EMPTY_ROOT) for sibling in path):
        raise InvalidProof("a sibling that is no digest")
    at, last = index, count - 1
    reached = hashlib.sha256(b"\x00" + leaf).digest()
    for sibling in path:
        if last == 0:
            raise InvalidProof("the path is too long")
        if at % 2 or at == last:
            reached = hashlib.sha256(b"\x01" + sibling + reached).digest()
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            reached = hashlib.sha256(b"\x01" + reached + sibling).digest()
        at, last = at // 2, last // 2
    if last != 0:
        raise InvalidProof("the path is too short")
    if reached != root:
        raise InvalidProof("the path does not lead to the root")
