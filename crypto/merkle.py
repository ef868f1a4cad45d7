"""Merkle trees over lists (RFC 6962, RFC 9162): roots, and proofs of inclusion and of extension.

The root of an empty list is SHA-256 of nothing; of one leaf SHA-256(0x00 || leaf); of more,
SHA-256(0x01 || left || right), split at the largest power of two below their number. The prefixes
keep a leaf from passing for an inner node. Nothing is ever duplicated to fill a level, so lists of
different length never share a root, and a proof is checked against the number of leaves: it has
exactly as many hashes as the place needs. Index and count must come from what is signed.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from crypto.errors import InvalidProof
from crypto.hashing import Digest

EMPTY_ROOT: Final = Digest(sha256().digest())

_LEAF: Final = b"\x00"
_INNER: Final = b"\x01"
_HASH_BYTES: Final = 32


def merkle_root(leaves: Sequence[bytes]) -> Digest:
    """Return the root of a list of leaves (RFC 9162 §2.1.1)."""
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        level = _level_above(level)
    return Digest(level[0])


def make_inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[Digest, ...]:
    """Return the hashes beside the path of a leaf, from the leaf up (RFC 9162 §2.1.3.1)."""
    assert 0 <= index < len(leaves), "a leaf of the list"
    path = []
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(Digest(level[index ^ 1]))
        index >>= 1
        level = _level_above(level)
    return tuple(path)


def check_inclusion(
    root: Digest, leaf: bytes, index: int, count: int, path: Sequence[bytes]
) -> None:
    """Raise `InvalidProof` unless `leaf` is number `index` of the `count` leaves under `root`.

    RFC 9162 §2.1.3.2.
    """
    if not 0 <= index < count:
        raise InvalidProof(f"leaf {index} of {count}")
    _check_hashes(path)
    reached = sha256(_LEAF + leaf).digest()
    place, last = index, count - 1
    for beside in path:
        if last == 0:
            raise InvalidProof("a path with hashes too many")
        if place & 1 or place == last:
            reached = _hash_inner(beside, reached)
            place, last = _climb_past_lone(place, last)
        else:
            reached = _hash_inner(reached, beside)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise InvalidProof("a path with hashes too few")
    if reached != root:
        raise InvalidProof("the path does not lead to the root")


def make_consistency_proof(leaves: Sequence[bytes], old_count: int) -> tuple[Digest, ...]:
    """Return the proof that the list begins with its first `old_count` leaves (§2.1.4.1)."""
    assert 0 <= old_count <= len(leaves), "a beginning of the list"
    if old_count in (0, len(leaves)):
        return ()
    proof = []
    first, end = 0, len(leaves)
    while old_count != end:
        middle = first + _split(end - first)
        if old_count <= middle:
            proof.append(merkle_root(leaves[middle:end]))
            end = middle
        else:
            proof.append(merkle_root(leaves[first:middle]))
            first = middle
    if first:  # Otherwise this subtree is the whole old tree, whose root the verifier has.
        proof.append(merkle_root(leaves[first:end]))
    return tuple(reversed(proof))


def check_consistency(
    old_root: Digest, old_count: int, root: Digest, count: int, proof: Sequence[bytes]
) -> None:
    """Raise `InvalidProof` unless the list under `root` begins with that under `old_root`.

    RFC 9162 §2.1.4.2. Every list begins with the empty one and with itself, which takes no hashes.
    """
    if not 0 <= old_count <= count:
        raise InvalidProof(f"{old_count} leaves that grew to {count}")
    _check_hashes(proof)
    if old_count in (0, count):
        expected = EMPTY_ROOT if old_count == 0 else root
        if proof or old_root != expected or (count == 0 and root != EMPTY_ROOT):
            raise InvalidProof("a list that does not begin so")
        return
    place, last = old_count - 1, count - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    beside = list(proof)
    if place == 0:  # The old tree is a whole subtree of the new one.
        beside.insert(0, old_root)
    if not beside:
        raise InvalidProof("a proof with hashes too few")
    old_reached = reached = beside[0]
    for one in beside[1:]:
        if last == 0:
            raise InvalidProof("a proof with hashes too many")
        if place & 1 or place == last:
            old_reached, reached = _hash_inner(one, old_reached), _hash_inner(one, reached)
            place, last = _climb_past_lone(place, last)
        else:
            reached = _hash_inner(reached, one)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise InvalidProof("a proof with hashes too few")
    if old_reached != old_root or reached != root:
        raise InvalidProof("the proof does not lead to both roots")


def _level_above(level: list[bytes]) -> list[bytes]:
    """Return the hashes of the pairs of a level; a lone last hash rises unchanged."""
    above = [
        sha256(_INNER + left + right).digest()
        for left, right in zip(level[::2], level[1::2], strict=False)
    ]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _hash_inner(left: bytes, right: bytes) -> bytes:
    return sha256(_INNER + left + right).digest()


def _climb_past_lone(place: int, last: int) -> tuple[int, int]:
    """Return where the last node of a level stands when it next has a sibling on its left."""
    while not place & 1 and place:
        place, last = place >> 1, last >> 1
    return place, last


def _split(count: int) -> int:
    """Return the largest power of two below a count of at least two."""
    return 1 << ((count - 1).bit_length() - 1)


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(one) != _HASH_BYTES for one in hashes):
        raise InvalidProof("a hash that has not 32 bytes")
