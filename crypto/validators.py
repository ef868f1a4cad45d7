"""The members of the replica set: who they are, by which key they vote, in which order.

A member keeps its index for as long as it is one, and the order of the set is the order of the
indexes: replacing a key moves nobody's turn to be primary.
"""

import bisect
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, NewType

from crypto.hashing import Digest, Domain, digest
from crypto.quorum import QuorumSystem
from crypto.schema import U16, U64, Bytes32, Count, Name, encode

ReplicaId = NewType("ReplicaId", U16)
"""Stable index of a member; never given to another member."""

Epoch = NewType("Epoch", U64)
"""Generation of the replica set; no vote counts across epochs."""

MEMBERS_MAX: Final = 128
"""The largest replica set; bounds every certificate and every message that carries some."""


RESTART_EPOCHS: Final = 1_000_000
"""By how much a restart of the chain raises the epoch: what is below counts the sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """One member.

    `org` is the organisation that runs it; `vote_key` is an Ed25519 public key (RFC 8032);
    `tls_pin` is the SHA-256 of the public key that its connections present.
    """

    index: ReplicaId
    org: Name
    vote_key: Bytes32
    tls_pin: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorSet:
    """The members of one epoch, ascending by index, each vote key once."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32 << 10

    members: Annotated[tuple[Validator, ...], Count(1, MEMBERS_MAX)]

    def __post_init__(self) -> None:
        indexes = [member.index for member in self.members]
        if indexes != sorted(set(indexes)):
            raise ValueError("members are listed once each, ascending by index")
        if len({member.vote_key for member in self.members}) < len(self.members):
            raise ValueError("two members share a vote key")

    @property
    def quorum(self) -> QuorumSystem:
        return QuorumSystem(len(self.members))

    def digest(self) -> Digest:
        return digest(Domain.VALIDATOR_SET, encode(self))

    def member(self, index: ReplicaId) -> Validator | None:
        """Return the member of that index, if there is one."""
        at = bisect.bisect_left(self.members, index, key=lambda member: member.index)
        if at < len(self.members) and self.members[at].index == index:
            return self.members[at]
        return None


def set_number(epoch: Epoch) -> Epoch:
    """Return which set votes in an epoch, counted from the founders'; restarts change no set."""
    return Epoch(epoch % RESTART_EPOCHS)


def under_restart(epoch: Epoch, restart: Epoch) -> Epoch:
    """Return the epoch in which the set of `epoch` votes after the restart into `restart`."""
    return Epoch(restart - set_number(restart) + set_number(epoch))


def after_restart(epoch: Epoch) -> Epoch:
    """Return the epoch in which a chain goes on that was stopped in `epoch`: with the same set."""
    return Epoch(epoch + RESTART_EPOCHS)
