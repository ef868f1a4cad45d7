"""What others may do wrong to this room, each with a stable code."""

from typing import ClassVar


class ConsensusError(Exception):
    """Root of the room's errors."""

    code: ClassVar[str] = "consensus.error"


class InvalidMessage(ConsensusError):
    """A message whose votes cannot be those of the epoch it names."""

    code = "consensus.message"


class UnknownEpoch(ConsensusError):
    """A message of an epoch whose members this replica does not know (yet, or any more).

    Nothing in it can be checked; it is at most a hint that there is something to catch up on.
    """

    code = "consensus.unknown_epoch"


class InvalidRestart(ConsensusError):
    """A restart document, or a statement in it, that does not allow the chain to be restarted."""

    code = "recover.document"


class ForeignJournal(ConsensusError):
    """The vote journal in this directory belongs to another chain or another replica."""

    code = "consensus.foreign_journal"
