"""What correct replicas have said: a set that only grows, from which everything can be delivered.

A state of the whole model holds it as an integer, one bit for each vote and each decision. For
every bit there is a mask of those that it contradicts (S1, S2, R4), so that a step is judged by
a few bit operations.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import cast

from consensus.effects import Decide
from consensus.mailbox import V
from consensus.messages import Commit, NewView, PrePrepare, ViewChange, Vote
from crypto.votes import CommitCertificate
from tests.model.fingerprints import fingerprint
from tests.model.replica import Said


@dataclass(frozen=True, slots=True)
class Heard:
    """One vote of the soup, and the mask that says whether it was sent."""

    mask: int
    vote: Vote


@dataclass(slots=True)
class Soup:
    """The registry: which bit stands for what."""

    bits: dict[tuple[int, Hashable], int] = field(default_factory=dict)
    said: list[tuple[int, Said | CommitCertificate]] = field(default_factory=list)
    contradicted: list[int] = field(default_factory=list)
    votes: dict[tuple[type[Vote], int, int], list[Heard]] = field(default_factory=dict)
    of_height: dict[int, int] = field(default_factory=dict)
    seen_at: dict[int, int] = field(default_factory=dict)  # What matters to who is at a height,
    seen_above: dict[int, int] = field(default_factory=dict)  # and to who is one higher.
    proofs: dict[CommitCertificate, int] = field(default_factory=dict)


def bit_of(soup: Soup, replica: int, said: Said) -> int:
    """Return the bit of what a replica said, a new one the first time."""
    known = soup.bits.get((replica, key := _key(said)))
    if known is not None:
        return known
    bit = len(soup.said)
    soup.bits[replica, key] = bit
    soup.contradicted.append(0)
    for other, (sender, before) in enumerate(soup.said):
        if _contradicts((replica, said), (sender, before)):
            soup.contradicted[bit] |= 1 << other
        if _contradicts((sender, before), (replica, said)):
            soup.contradicted[other] |= 1 << bit
    soup.said.append((replica, said))
    height = said.block.height if isinstance(said, Decide) else said.height
    soup.of_height[height] = soup.of_height.get(height, 0) | 1 << bit
    if isinstance(said, Commit):
        soup.seen_above[height] = soup.seen_above.get(height, 0) | 1 << bit
    if not isinstance(said, Decide):
        soup.seen_at[height] = soup.seen_at.get(height, 0) | 1 << bit
        heard = soup.votes.setdefault((type(said), said.height, said.view), [])
        heard.append(Heard(1 << bit, said))
        heard.sort(key=lambda one: one.vote.signer)
    return bit


def proof_bit(soup: Soup, certificate: CommitCertificate) -> int:
    """Return the bit that stands for a certificate once the votes in it are forgotten."""
    for known, bit in soup.proofs.items():
        if fingerprint(known) == fingerprint(certificate):
            return bit
    bit = len(soup.said)
    soup.said.append((-1, certificate))
    soup.contradicted.append(0)
    soup.proofs[certificate] = bit
    soup.of_height[certificate.height] = soup.of_height.get(certificate.height, 0) | 1 << bit
    soup.seen_above[certificate.height] = soup.seen_above.get(certificate.height, 0) | 1 << bit
    return bit


def heard(soup: Soup, mask: int, kind: type[V], height: int, view: int) -> list[V]:
    """Return the votes of one kind and view that were sent, ascending by signer."""
    filed = soup.votes.get((kind, height, view), ())
    votes = [one.vote for one in filed if one.mask & mask]
    return cast("list[V]", votes)  # `bit_of` files each vote under its own kind.


def seen_at(soup: Soup, height: int) -> int:
    """Return the mask of all that matters to a replica at a height: the votes of that height, and
    what proves its parent."""
    return soup.seen_at.get(height, 0) | soup.seen_above.get(height - 1, 0)


def contradiction(soup: Soup, mask: int, bits: tuple[int, ...]) -> str | None:
    """Return what is broken if these are said, in order, after what was said; or None."""
    for bit in bits:
        if mask >> bit & 1:
            continue  # Said before, byte for byte.
        against = soup.contradicted[bit] & mask
        if against:
            return _sentence(soup, bit, (against & -against).bit_length() - 1)
        mask |= 1 << bit
    return None


def _sentence(soup: Soup, bit: int, other: int) -> str:
    (replica, said), (before, _) = soup.said[bit], soup.said[other]
    if isinstance(said, Decide):
        return (
            f"S1: replica {replica} decides otherwise at height {said.block.height} than {before}"
        )
    what = f"replica {replica} sends a {type(said).__name__} of height {said.height}"
    if isinstance(soup.said[other][1], ViewChange) and not isinstance(said, ViewChange):
        return f"R4: {what} view {said.view}, below a view it had left for"
    return f"S2: {what} view {said.view} beside another"


def _key(said: Said) -> Hashable:
    if isinstance(said, Decide):
        return "Decide", said.block.height, said.block.digest
    return fingerprint(said)


def _contradicts(
    later: tuple[int, Said | CommitCertificate], earlier: tuple[int, Said | CommitCertificate]
) -> bool:
    """Whether it breaks an invariant that one thing is said after the other."""
    (replica, said), (before, known) = later, earlier
    if isinstance(said, CommitCertificate) or isinstance(known, CommitCertificate):
        return False
    if isinstance(said, Decide) or isinstance(known, Decide):
        return (
            isinstance(said, Decide)
            and isinstance(known, Decide)
            and said.block.height == known.block.height
            and said.block.digest != known.block.digest
        )
    if replica != before or said.height != known.height:
        return False
    if isinstance(known, ViewChange) and not isinstance(said, ViewChange):
        return said.view < known.view
    return _slot(said) == _slot(known) and _about(said) != _about(known)


def _slot(vote: Vote) -> tuple[object, int, int]:
    kind = PrePrepare if isinstance(vote, NewView) else type(vote)
    return kind, vote.epoch, vote.view


def _about(vote: Vote) -> Hashable:
    return fingerprint(vote.prepared) if isinstance(vote, ViewChange) else vote.digest
