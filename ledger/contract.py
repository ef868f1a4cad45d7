"""What a native contract is: a table from kinds to payload schema, signers and handler.

A handler is a pure function of the state, the block's height and time and the transaction; it
writes, emits events, and says no by raising `Refused`. Modules of contracts import this one, so it
knows `ledger.transactions` by name only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from crypto.hashing import ChainId, Digest
from ledger.accounts import Account, Role
from ledger.errors import Refused
from ledger.parameters import Parameters
from ledger.receipts import Event, EventValue
from ledger.state import Overlay, StateView

if TYPE_CHECKING:
    from crypto.signatures import SignatureJob
    from ledger.transactions import Transaction


class Lane(Enum):
    """Which reserved share of a block a kind travels in."""

    EMERGENCY = "emergency"
    GOVERNANCE = "governance"
    REST = "rest"

    __hash__ = object.__hash__  # An enumeration's own is written in Python; a pool asks often.


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may sign a kind: an active account with one of `roles`; none listed means any role."""

    roles: tuple[Role, ...] = ()


ANY_ROLE = Rule()


class SidecarPlace(NamedTuple):
    """A sidecar that an accepted transaction brought, and the state entry that keeps it alive.

    The sidecar may be stored and served exactly as long as the entry at `key` holds its digest.
    """

    digest: Digest
    key: bytes


@dataclass(slots=True, kw_only=True)
class Context:
    """What a handler sees of the block and the transaction it serves.

    `time_ms` is the block's time; `sender` is active and signed with its key in force. Events and
    sidecar places are collected here and dropped with the writes if the handler refuses.
    """

    state: Overlay
    chain_id: ChainId
    height: int
    time_ms: int
    parameters: Parameters
    transaction: "Transaction"
    sender: Account
    events: list[Event] = field(default_factory=list)
    sidecars: list[SidecarPlace] = field(default_factory=list)

    def emit(self, kind: str, subject: bytes | None, *fields: tuple[str, EventValue]) -> None:
        """Tell the log of `subject` (a pseudonym; None: nobody's) what happened."""
        self.events.append(Event(kind=kind, subject=subject, fields=fields))

    def keep_sidecar(self, digest: Digest, key: bytes) -> None:
        """Claim a sidecar that the body lists, for the state entry at `key` that names it.

        A transaction is refused unless its handler claims exactly the sidecars it lists.
        """
        self.sidecars.append(SidecarPlace(digest, key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of transaction: its name, payload wire type, signers, handler and lane.

    `inner_jobs` names the signatures inside the payload that the handler is going to check, as
    far as a state lets one guess: workers check them before, so that the handler need not
    (`crypto.signatures.remember_valid`). It decides nothing.
    """

    name: str
    payload: type[Any]
    signer: Rule
    handler: Callable[[Context, Any], None]
    lane: Lane = Lane.REST
    inner_jobs: "Callable[[StateView, Transaction], tuple[SignatureJob, ...]] | None" = None


def check_signer(rule: Rule, sender: Account) -> None:
    """Raise `Refused` unless the sender's role may sign."""
    if rule.roles and sender.role not in rule.roles:
        allowed = ", ".join(role.value for role in rule.roles)
        raise Refused("role.not_allowed", f"a {sender.role.value} signs, where {allowed} may")
