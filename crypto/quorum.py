"""Quorum sizes: the one place where a number of replicas becomes a number of votes.

With `n` replicas of which at most `f = (n - 1) // 3` are faulty, two sets of `q` replicas share
at least `2q - n`. For a correct replica to be among them whatever the faulty ones do, `2q - n`
must exceed `f`, so the smallest safe quorum is `q = (n + f) // 2 + 1`. The familiar `2f + 1` is
that number only when `n = 3f + 1`; at n = 6 it would let a clean 3|3 partition fork the chain.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuorumSystem:
    """Quorum sizes for `n` replicas of which at most `f` are faulty (PBFT §4: n >= 3f + 1).

    >>> [QuorumSystem(n).strong for n in (1, 2, 3, 4, 5, 6, 7)]
    [1, 2, 2, 3, 4, 4, 5]
    """

    n: int

    def __post_init__(self) -> None:
        assert self.n >= 1, "a set of replicas has a member"
        assert 2 * self.strong - self.n > self.f, "two quorums share a correct replica"
        assert self.strong <= self.n - self.f, "the correct replicas alone form a quorum"

    @property
    def f(self) -> int:
        """How many replicas may be faulty."""
        return (self.n - 1) // 3

    @property
    def weak(self) -> int:
        """So many replicas hold a correct one."""
        return self.f + 1

    @property
    def strong(self) -> int:
        """So many replicas share a correct one with every other set of that size."""
        return (self.n + self.f) // 2 + 1
