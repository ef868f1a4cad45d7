"""Requests: somebody asks a patient for a right, the patient answers, or the request lapses.

Part of the access contract (`ledger.contracts.access` lists its kinds). What has lapsed is cleared
away when the list it stands in next changes; until then block time tells.
"""

from typing import Final, NamedTuple

from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import encode
from ledger.access_payloads import AccessDeny, AccessRequest, Grantee, Person, WholeOrganisation
from ledger.access_state import (
    ENTRY_BYTES_MAX,
    REQUESTS_MADE_MAX,
    REQUESTS_MAX,
    PendingRequests,
    Request,
    RequestMade,
    RequestsMade,
    get_requests,
    get_requests_made,
    pending_requests,
    requester_key,
    requests_key,
)
from ledger.accounts import Account
from ledger.contract import Context
from ledger.contracts.terms import (
    check_no_representation,
    check_own,
    check_terms,
    terms_fields,
)
from ledger.errors import Refused
from ledger.grants import is_grantee
from ledger.patients import check_patient

REQUEST_MS_MAX: Final = 90 * 24 * 3_600_000
"""How long a request may wait for an answer."""

REQUESTS_PER_PAIR_MAX: Final = 4
"""Requests one account may have waiting with one patient, so that none fills the patient's list."""


class Waiting(NamedTuple):
    """A request that has not lapsed, with its bytes, so that it is not encoded again."""

    encoded: bytes
    request: Request


def on_request(context: Context, asked: AccessRequest) -> None:
    """Ask a patient for a right."""
    requester = context.sender
    check_no_representation(context)
    patient = check_patient(context.state, asked.pseudonym)
    if patient.account_id == requester.account_id:
        raise Refused("access.own_records", "a patient needs no right to the own records")
    if not _may_ask_for(requester, asked.wanted.grantee):
        raise Refused(
            "access.not_asker",
            "ask for yourself, for your organisation, or for a role in it",
        )
    check_terms(context, patient, asked.wanted)
    if not context.time_ms < asked.expires_ms <= context.time_ms + REQUEST_MS_MAX:
        raise Refused(
            "access.request_period",
            f"a request waits until a time at most {REQUEST_MS_MAX} ms ahead",
            (("expires_ms", asked.expires_ms),),
        )
    request = Request(
        request_id=context.transaction.tx_id,
        pseudonym=asked.pseudonym,
        requester=requester.account_id,
        wanted=asked.wanted,
        expires_ms=asked.expires_ms,
        height=context.height,
        time_ms=context.time_ms,
    )
    _add_request(context, request)
    context.emit(
        "access.requested",
        request.pseudonym,
        ("request", request.request_id),
        ("requester", request.requester),
        *terms_fields(request.wanted),
    )


def on_deny(context: Context, deny: AccessDeny) -> None:
    """Answer a request with no."""
    check_own(context, deny.pseudonym)
    request = take_request(context, deny.pseudonym, deny.request)
    context.emit(
        "access.request_denied",
        deny.pseudonym,
        ("request", request.request_id),
        ("requester", request.requester),
    )


def take_request(context: Context, pseudonym: AccountId, request_id: Digest) -> Request:
    """Remove a request from where it waits and return it; it may have lapsed."""
    waiting = get_requests(context.state, pseudonym)
    request = next((one for one in waiting if one.request_id == request_id), None)
    if request is None:
        raise Refused(
            "access.unknown_request",
            f"no request {request_id.hex()[:16]} waits; it may be answered or lapsed",
        )
    unlapsed = _unlapsed(context, pseudonym)
    others = [one.encoded for one in unlapsed if one.request.request_id != request_id]
    _put_requests(context, pseudonym, others)
    made = get_requests_made(context.state, request.requester)
    _put_requests_made(
        context, request.requester, [one for one in made if one.request_id != request_id]
    )
    return request


def _may_ask_for(requester: Account, grantee: Grantee) -> bool:
    if isinstance(grantee, Person):
        return grantee.account == requester.account_id
    return is_grantee(WholeOrganisation(org=grantee.org), requester)


def _add_request(context: Context, request: Request) -> None:
    waiting = _unlapsed(context, request.pseudonym)
    limit = min(context.parameters.requests_per_patient_max, REQUESTS_MAX)
    if len(waiting) >= limit:
        raise Refused("access.requests_full", "the patient has too many requests to answer")
    own = sum(1 for one in waiting if one.request.requester == request.requester)
    if own >= REQUESTS_PER_PAIR_MAX:
        raise Refused(
            "access.requests_full",
            f"{own} requests of yours wait with this patient",
            (("requests", own),),
        )
    made = [
        one
        for one in get_requests_made(context.state, request.requester)
        if context.time_ms < one.expires_ms
    ]
    if len(made) >= REQUESTS_MADE_MAX:
        raise Refused(
            "access.requests_full",
            f"{len(made)} requests of yours wait for answers",
            (("requests", len(made)),),
        )
    encoded = [*(one.encoded for one in waiting), encode(request)]
    if _put_requests(context, request.pseudonym, encoded) > ENTRY_BYTES_MAX:
        raise Refused("access.requests_full", "the patient has too many requests to answer")
    pointer = RequestMade(
        request_id=request.request_id,
        pseudonym=request.pseudonym,
        expires_ms=request.expires_ms,
    )
    _put_requests_made(context, request.requester, [*made, pointer])


def _unlapsed(context: Context, pseudonym: AccountId) -> list[Waiting]:
    entry = pending_requests(context.state, pseudonym)
    return [
        Waiting(encoded, request)
        for encoded, request in zip(entry.encoded, entry.requests, strict=True)
        if context.time_ms < request.expires_ms
    ]


def _put_requests(context: Context, pseudonym: AccountId, encoded: list[bytes]) -> int:
    """Write what a pseudonym has to answer and return the bytes it takes."""
    entry = encode(PendingRequests(encoded=tuple(sorted(encoded))))
    context.state.put(requests_key(pseudonym), entry)
    return len(entry)


def _put_requests_made(context: Context, requester: AccountId, made: list[RequestMade]) -> None:
    ordered = tuple(sorted(made, key=lambda one: one.request_id))
    context.state.put(requester_key(requester), encode(RequestsMade(requests=ordered)))
