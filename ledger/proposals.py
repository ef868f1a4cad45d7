"""Proposals, ballots and evidence as they stand in state, and when a proposal is decided.

governance/proposal/<proposal 32>   Proposal, for ever
governance/open-proposals           OpenProposals
governance/evidence/<index, u16><epoch, u64><height, u64><view, u32><vote type, u8>
                                    EvidenceEntry, all numbers big-endian
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Annotated, ClassVar, Final, NamedTuple, assert_never

from crypto.evidence import Fault
from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import U64, Count, Size, decode, encode
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View, VoteType
from ledger.accounts import ORGANISATIONS_MAX, OrgId, Status, get_organisations
from ledger.governance_payloads import (
    AddOrganisation,
    AddValidator,
    Change,
    ChangeParameters,
    RekeyValidator,
    RemoveValidator,
    RestoreOrganisation,
    SuspendOrganisation,
)
from ledger.state import Overlay, StateView

OPEN_PROPOSALS_MAX: Final = 256
EVIDENCE_PER_NODE_MAX: Final = 256
OPEN_PROPOSALS_KEY: Final = b"governance/open-proposals"


class Outcome(Enum):
    """What became of a proposal.

    An open one whose `expires_height` has come is expired whether or not its entry says so yet.
    """

    OPEN = "open"
    EXECUTED = "executed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """How one organisation voted, by which of its admins, in which block."""

    org: OrgId
    accepts: bool
    by: AccountId
    height: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal and its ballots, ascending by organisation.

    `proposal_id` is the id of the transaction that made it. `reason` is the refusal's code if the
    change had the votes and could not be executed, else empty.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256 << 10

    proposal_id: Digest
    epoch: Epoch
    change: Change
    by: AccountId
    org: OrgId
    opened_height: U64
    expires_height: U64
    ballots: Annotated[tuple[Ballot, ...], Count(0, ORGANISATIONS_MAX)]
    outcome: Outcome
    closed_height: U64 | None
    reason: Annotated[str, Size(0, 64)]

    def __post_init__(self) -> None:
        if any(one.org >= two.org for one, two in pairwise(self.ballots)):
            raise ValueError("ballots are not strictly ascending by organisation")
        if (self.outcome is Outcome.OPEN) != (self.closed_height is None):
            raise ValueError("a proposal is open, or closed at a height")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenProposal:
    """A proposal that waits for ballots, as the list of all of them names it."""

    proposal_id: Digest
    org: OrgId
    expires_height: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenProposals:
    """Everything that waits for ballots, in the order it was proposed."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32 << 10

    proposals: Annotated[tuple[OpenProposal, ...], Count(0, OPEN_PROPOSALS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceEntry:
    """A proven fault: two different votes of one node in one slot.

    `digests` are what the two votes say, `by` who reported them, in transaction `tx_id` of block
    `reported_height`.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512

    index: ReplicaId
    epoch: Epoch
    height: Height
    view: View
    vote: VoteType
    digests: tuple[Digest, Digest]
    by: AccountId
    tx_id: Digest
    reported_height: U64


class Majority(NamedTuple):
    """More than `numerator / denominator` of the active organisations accept."""

    numerator: int
    denominator: int


TWO_THIRDS: Final = Majority(2, 3)
HALF: Final = Majority(1, 2)


class Tally(NamedTuple):
    """Ballots of organisations that are active now, and how many such organisations there are."""

    accepts: int
    rejects: int
    organisations: int


def majority_of(change: Change) -> Majority:
    """Return the rule for a class of changes.

    The rules are part of this version, not parameters: half of the members could else vote
    themselves the right to change the other half's validators.
    """
    match change:
        case AddOrganisation() | SuspendOrganisation() | RestoreOrganisation():
            return TWO_THIRDS
        case AddValidator() | RemoveValidator() | RekeyValidator():
            return TWO_THIRDS
        case ChangeParameters():
            return HALF
        case _:
            assert_never(change)


def tally(view: StateView, proposal: Proposal) -> Tally:
    """Count the ballots of organisations that may act today."""
    active = {one.org for one in get_organisations(view) if one.status is Status.ACTIVE}
    counted = [ballot.accepts for ballot in proposal.ballots if ballot.org in active]
    accepts = sum(counted)
    return Tally(accepts, len(counted) - accepts, len(active))


def votes_needed(majority: Majority, count: Tally) -> int:
    """Return how many organisations have to accept."""
    return count.organisations * majority.numerator // majority.denominator + 1


def is_accepted(majority: Majority, count: Tally) -> bool:
    return count.accepts >= votes_needed(majority, count)


def is_rejected(majority: Majority, count: Tally) -> bool:
    """Whether even every ballot that is still to come could not make the majority."""
    hopeful = count._replace(accepts=count.organisations - count.rejects)
    return not is_accepted(majority, hopeful)


def is_open(proposal: Proposal, height: int) -> bool:
    """Whether a ballot in the block `height` could count."""
    return proposal.outcome is Outcome.OPEN and height < proposal.expires_height


def proposal_key(proposal_id: bytes) -> bytes:
    return b"governance/proposal/" + proposal_id


def get_proposal(view: StateView, proposal_id: bytes) -> Proposal | None:
    encoded = view.get(proposal_key(proposal_id))
    return None if encoded is None else decode(Proposal, encoded)


def put_proposal(state: Overlay, proposal: Proposal) -> None:
    state.put(proposal_key(proposal.proposal_id), encode(proposal))


def get_open_proposals(view: StateView) -> tuple[OpenProposal, ...]:
    """Return what waits for ballots, and what expired since the last proposal was made."""
    encoded = view.get(OPEN_PROPOSALS_KEY)
    return () if encoded is None else decode(OpenProposals, encoded).proposals


def put_open_proposals(state: Overlay, proposals: tuple[OpenProposal, ...]) -> None:
    state.put(OPEN_PROPOSALS_KEY, encode(OpenProposals(proposals=proposals)))


def evidence_prefix(index: int) -> bytes:
    return b"governance/evidence/" + index.to_bytes(2, "big")


def evidence_key(fault: Fault) -> bytes:
    return (
        evidence_prefix(fault.signer)
        + fault.epoch.to_bytes(8, "big")
        + fault.height.to_bytes(8, "big")
        + fault.view.to_bytes(4, "big")
        + fault.vote.value.to_bytes(1, "big")
    )


def get_evidence(view: StateView, index: int) -> Iterator[EvidenceEntry]:
    """Yield a node's proven faults, by slot."""
    for _, encoded in view.scan(evidence_prefix(index), limit=EVIDENCE_PER_NODE_MAX):
        yield decode(EvidenceEntry, encoded)


def put_evidence(state: Overlay, fault: Fault, entry: EvidenceEntry) -> None:
    state.put(evidence_key(fault), encode(entry))
