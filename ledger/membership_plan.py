"""What a change of the replica set means for those who keep it running, before anybody votes.

Pure arithmetic over a set and who of it is live; the ledger itself cannot know that. A set goes on
while its live members are a quorum. Adding one to four raises the quorum from three to four: with
one of the old four down, the chain would stop (Fabric and Besu both document it).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.quorum import QuorumSystem


@dataclass(frozen=True, slots=True)
class Standing:
    """A set of `n` validators of which `live` answer."""

    n: int
    live: int

    @property
    def f(self) -> int:
        """So many may be faulty in any way."""
        return QuorumSystem(self.n).f

    @property
    def quorum(self) -> int:
        return QuorumSystem(self.n).strong

    @property
    def spare(self) -> int:
        """So many more may fail by stopping before the chain stops; below zero, it has."""
        return self.live - self.quorum

    @property
    def is_stalled(self) -> bool:
        return self.spare < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipPlan:
    """The set before a change and after it, with what speaks against it.

    `stalls`: with the members that are live now, the chain would stop where it goes on today, or
    would be further from going on.
    """

    before: Standing
    after: Standing
    stalls: bool
    reason: str


def plan_change(
    members: Collection[int],
    live: Collection[int],
    *,
    add: Sequence[int] = (),
    remove: Sequence[int] = (),
) -> MembershipPlan:
    """Return what adding and removing members, by index, would do.

    `live` names everybody that answers, those to be added among them. Raises `ValueError` for an
    index that is a member already, for one that is none, and for a set without a member.
    """
    old = frozenset(members)
    for index in add:
        if index in old:
            raise ValueError(f"{index} is a validator already")
    for index in remove:
        if index not in old:
            raise ValueError(f"{index} is no validator")
    new = (old | frozenset(add)) - frozenset(remove)
    if not new:
        raise ValueError("nobody would be left to vote")
    before = Standing(len(old), len(old & frozenset(live)))
    after = Standing(len(new), len(new & frozenset(live)))
    stalls = after.is_stalled and after.spare < before.spare
    return MembershipPlan(
        before=before, after=after, stalls=stalls, reason=_reason(after) if stalls else ""
    )


def _reason(after: Standing) -> str:
    down = after.n - after.live
    need = _NEEDS.format(quorum=after.quorum, n=after.n)
    return f"{need}, and {down} of them would be down: the chain would stop"


_NEEDS: Final = "of {n} validators {quorum} must be live"
