"""What transactions of the governance family carry: changes, ballots, and what nodes say.

A change names the whole of what is to be: a node's claim, a new member's accounts, all parameters.
What bytes alone can break is checked at decode, what needs the state by `ledger.contracts`.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias

from crypto.hashing import Digest
from crypto.schema import U64, Count, Size
from crypto.validators import Epoch, ReplicaId
from ledger.accounts import OrgId, check_slug
from ledger.founders import ADMINS_AT_FOUNDING_MAX, FoundingAccount, check_founders
from ledger.nodes import NodeStatement
from ledger.parameters import Parameters

PROPOSAL_BYTES_MAX: Final = 48 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOrganisation:
    """A new member with its key agent and admins, each with its keys' proofs for this chain."""

    WIRE_TAG: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PROPOSAL_BYTES_MAX

    org: OrgId
    name: Annotated[str, Size(1, 128)]
    agent: FoundingAccount
    admins: Annotated[tuple[FoundingAccount, ...], Count(1, ADMINS_AT_FOUNDING_MAX)]

    def __post_init__(self) -> None:
        check_slug(self.org)
        check_founders(self.agent, self.admins)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendOrganisation:
    """A member whose accounts may do nothing more; its nodes vote until they are removed."""

    WIRE_TAG: ClassVar[int] = 2

    org: OrgId


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrganisation:
    """A suspended member that may act again."""

    WIRE_TAG: ClassVar[int] = 3

    org: OrgId


@dataclass(frozen=True, slots=True, kw_only=True)
class AddValidator:
    """A node that becomes a learner; it votes two blocks after its own `validator.ready`."""

    WIRE_TAG: ClassVar[int] = 4

    node: NodeStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveValidator:
    """A validator or learner that goes for ever."""

    WIRE_TAG: ClassVar[int] = 5

    index: ReplicaId


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyValidator:
    """Other keys, or another address, for the node of the claim's index."""

    WIRE_TAG: ClassVar[int] = 6

    node: NodeStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeParameters:
    """All parameters as they are to be."""

    WIRE_TAG: ClassVar[int] = 7

    parameters: Parameters


Change: TypeAlias = (
    AddOrganisation
    | SuspendOrganisation
    | RestoreOrganisation
    | AddValidator
    | RemoveValidator
    | RekeyValidator
    | ChangeParameters
)
"""What a proposal may propose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """`governance.propose`: one change, open to ballots below the block `expires_height`.

    `epoch` is the newest in the state that the proposer has seen. The transaction's id is the
    proposal's.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PROPOSAL_BYTES_MAX

    epoch: Epoch
    expires_height: U64
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """`governance.vote`: the ballot of the sender's organisation on one proposal.

    It repeats the proposal's epoch and the organisation, so that it counts for nothing else.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256

    proposal: Digest
    epoch: Epoch
    org: OrgId
    accepts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """`governance.withdraw`: the proposing organisation takes its proposal back."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    proposal: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """`validator.ready`: the learner `index` has executed every block up to `height`."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    index: ReplicaId
    height: U64
