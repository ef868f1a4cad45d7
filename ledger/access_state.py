"""Rights as they stand in state: grants in force, grants that ended, requests waiting.

    access/grants/<pseudonym 32>                              GrantsInForce
    access/ended/<pseudonym 32><2^64-1 - ended u64><grant 32> EndedGrant (newest first)
    access/requests/<pseudonym 32>                            PendingRequests
    access/requester/<account 32>                             RequestsMade

All grants in force for a pseudonym are one value: a decision reads one key, and one proof of that
key says completely who has a right, or that nobody has. It is bounded in number and bytes. A grant
whose period is over stays in it until the next change of the pseudonym's grants moves it aside;
until then the decision passes over it, because it compares with block time.

Inside a list each grant stands as its own encoded bytes: changing the list moves bytes about, and a
grant is decoded once, not whenever its neighbours change. The id comes first in those bytes, so
their order is the order of ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import U64, Count, Size, decode, encode
from ledger.access_payloads import Terms
from ledger.records_payloads import is_ascending
from ledger.state import Overlay, StateView

GRANTS_MAX: Final = 240
"""Grants in force a pseudonym may ever have; the parameter is lower. Recipients of one seal, and so
these, the patient and the agents, fit the sidecars of one transaction."""

NO_END_MS: Final = 2**64 - 1
"""When the first of no grants ends."""

REQUESTS_MAX: Final = 240
REQUESTS_MADE_MAX: Final = 64
"""Requests one account may have waiting, all patients together."""

ENTRY_BYTES_MAX: Final = 64 << 10
"""Bytes of one value here, so that a proof of it stays a message."""

ITEM_BYTES_MAX: Final = 6 << 10
"""Bytes of one grant or request: its scope lists at most 256 records."""

EncodedItem = Annotated[bytes, Size(1, ITEM_BYTES_MAX)]

_DECODED_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A right the patient gave; `grant_id` is the id of the transaction that gave it.

    `request_id` is the request it answers, if one was made.
    """

    WIRE_BYTES_MAX: ClassVar[int] = ITEM_BYTES_MAX

    grant_id: Digest
    pseudonym: AccountId
    terms: Terms
    request_id: Digest | None
    height: U64
    time_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsInForce:
    """A pseudonym's grants, ascending by id; `encoded` are `Grant`s.

    `first_end_ms` is the block time at which the first of them ends, `NO_END_MS` if there is none:
    until then a change need not look into them.
    """

    WIRE_VERSION: ClassVar[int] = 2
    WIRE_BYTES_MAX: ClassVar[int] = ENTRY_BYTES_MAX

    encoded: Annotated[tuple[EncodedItem, ...], Count(0, GRANTS_MAX)]
    first_end_ms: U64

    def __post_init__(self) -> None:
        if not is_ascending(self.encoded):
            raise ValueError("grants do not ascend")

    @property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(grant_of(one) for one in self.encoded)


NO_GRANTS: Final = GrantsInForce(encoded=(), first_end_ms=NO_END_MS)


class Ending(Enum):
    """Why a grant is no longer in force."""

    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedGrant:
    """A grant that is over since `ended_ms`; `ended_by` is the transaction that moved it aside."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 10

    grant: Grant
    ending: Ending
    ended_ms: U64
    ended_by: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a right, waiting until `expires_ms`; `request_id` is its transaction's id."""

    WIRE_BYTES_MAX: ClassVar[int] = ITEM_BYTES_MAX

    request_id: Digest
    pseudonym: AccountId
    requester: AccountId
    wanted: Terms
    expires_ms: U64
    height: U64
    time_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequests:
    """The requests a pseudonym has not answered, ascending by id; some may have lapsed.

    `encoded` are `Request`s.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = ENTRY_BYTES_MAX

    encoded: Annotated[tuple[EncodedItem, ...], Count(0, REQUESTS_MAX)]

    def __post_init__(self) -> None:
        if not is_ascending(self.encoded):
            raise ValueError("requests do not ascend")

    @property
    def requests(self) -> tuple[Request, ...]:
        return tuple(_request(one) for one in self.encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMade:
    """Where one's own request waits."""

    request_id: Digest
    pseudonym: AccountId
    expires_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsMade:
    """The requests an account has waiting, ascending by id; some may have lapsed."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = ENTRY_BYTES_MAX

    requests: Annotated[tuple[RequestMade, ...], Count(0, REQUESTS_MADE_MAX)]

    def __post_init__(self) -> None:
        if not is_ascending([request.request_id for request in self.requests]):
            raise ValueError("requests do not ascend")


def grants_key(pseudonym: AccountId) -> bytes:
    return b"access/grants/" + pseudonym


def ended_prefix(pseudonym: AccountId) -> bytes:
    return b"access/ended/" + pseudonym


def ended_key(pseudonym: AccountId, ended_ms: int, grant_id: Digest) -> bytes:
    newest_first = (2**64 - 1 - ended_ms).to_bytes(8, "big")
    return ended_prefix(pseudonym) + newest_first + grant_id


def requests_key(pseudonym: AccountId) -> bytes:
    return b"access/requests/" + pseudonym


def requester_key(account_id: AccountId) -> bytes:
    return b"access/requester/" + account_id


def get_grants(view: StateView, pseudonym: AccountId) -> tuple[Grant, ...]:
    """Return the pseudonym's grants by id; check the period of each before relying on it."""
    return grants_in_force(view, pseudonym).grants


def grants_in_force(view: StateView, pseudonym: AccountId) -> GrantsInForce:
    """Return the entry that holds the pseudonym's grants."""
    encoded = view.get(grants_key(pseudonym))
    return NO_GRANTS if encoded is None else _grants(encoded)


def get_ended_grants(
    view: StateView, pseudonym: AccountId, *, after: bytes = b"", limit: int
) -> Iterator[tuple[bytes, EndedGrant]]:
    """Yield grants moved aside, newest end first, each with the cursor that follows it."""
    prefix = ended_prefix(pseudonym)
    for key, encoded in view.scan(prefix, start=after and after + b"\x00", limit=limit):
        yield key, decode(EndedGrant, encoded)


def get_requests(view: StateView, pseudonym: AccountId) -> tuple[Request, ...]:
    """Return what the pseudonym has been asked and not answered; some may have lapsed."""
    return pending_requests(view, pseudonym).requests


def pending_requests(view: StateView, pseudonym: AccountId) -> PendingRequests:
    """Return the entry that holds what the pseudonym has been asked."""
    encoded = view.get(requests_key(pseudonym))
    return PendingRequests(encoded=()) if encoded is None else _requests(encoded)


def get_requests_made(view: StateView, account_id: AccountId) -> tuple[RequestMade, ...]:
    """Return the requests an account has waiting; some may have lapsed."""
    encoded = view.get(requester_key(account_id))
    return () if encoded is None else decode(RequestsMade, encoded).requests


def is_in_force(terms: Terms, time_ms: int) -> bool:
    """Whether the period covers `time_ms`: at `until_ms` it does not."""
    return terms.from_ms <= time_ms < terms.until_ms


def put_ended_grant(state: Overlay, ended: EndedGrant) -> None:
    key = ended_key(ended.grant.pseudonym, ended.ended_ms, ended.grant.grant_id)
    state.put(key, encode(ended))


@lru_cache(maxsize=_DECODED_MAX)
def _grants(encoded: bytes) -> GrantsInForce:
    return decode(GrantsInForce, encoded)


@lru_cache(maxsize=_DECODED_MAX)
def _requests(encoded: bytes) -> PendingRequests:
    return decode(PendingRequests, encoded)


@lru_cache(maxsize=4 * _DECODED_MAX)
def grant_of(encoded: bytes) -> Grant:
    """Return one of the grants that an entry lists."""
    return decode(Grant, encoded)


@lru_cache(maxsize=_DECODED_MAX)
def _request(encoded: bytes) -> Request:
    return decode(Request, encoded)
