"""Access: a patient gives and ends rights; others ask for them.

A right's id, and a request's, is the id of the transaction that made it.
"""

from typing import Final, NamedTuple

from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import encode
from ledger.access_payloads import (
    AccessApprove,
    AccessDeny,
    AccessGrant,
    AccessRequest,
    AccessRevoke,
    Terms,
)
from ledger.access_state import (
    ENTRY_BYTES_MAX,
    GRANTS_MAX,
    EndedGrant,
    Ending,
    Grant,
    GrantsInForce,
    grants_in_force,
    grants_key,
    put_ended_grant,
)
from ledger.accounts import Account, get_account
from ledger.contract import ANY_ROLE, Context, Kind, Lane
from ledger.contracts.requests import on_deny, on_request, take_request
from ledger.contracts.terms import check_own, check_terms, terms_fields
from ledger.errors import Refused
from ledger.grants import is_within


def on_grant(context: Context, grant: AccessGrant) -> None:
    """Give a right."""
    patient = check_own(context, grant.pseudonym)
    given = _give(context, patient, grant.terms, request_id=None)
    context.emit(
        "access.granted", given.pseudonym, ("grant", given.grant_id), *terms_fields(given.terms)
    )


def on_approve(context: Context, approve: AccessApprove) -> None:
    """Answer a request with a right that is no wider than what was asked for."""
    patient = check_own(context, approve.pseudonym)
    request = take_request(context, approve.pseudonym, approve.request)
    if context.time_ms >= request.expires_ms:
        raise Refused(
            "access.request_expired",
            "the request has lapsed; grant without it, or let it be made again",
            (("expires_ms", request.expires_ms),),
        )
    requester = get_account(context.state, request.requester)
    assert requester is not None, "whoever asked is registered"
    if not is_within(context.state, approve.terms, request.wanted, requester):
        raise Refused(
            "access.wider_than_asked",
            "an approval may narrow what was asked for, never widen it; use a grant to give more",
        )
    given = _give(context, patient, approve.terms, request_id=request.request_id)
    context.emit(
        "access.approved",
        given.pseudonym,
        ("grant", given.grant_id),
        ("request", request.request_id),
        *terms_fields(given.terms),
    )


def on_revoke(context: Context, revoke: AccessRevoke) -> None:
    """End a right at once; what is sealed from now on has no envelope for it."""
    check_own(context, revoke.pseudonym)
    kept = _sweep(context, revoke.pseudonym)
    found = [one for one in kept if one.grant.grant_id == revoke.grant]
    if not found:
        raise Refused(
            "access.unknown_grant",
            f"no grant {revoke.grant.hex()[:16]} is in force; it may have ended already",
        )
    grant = found[0].grant
    others = [one.encoded for one in kept if one not in found]
    _put_grants(context, revoke.pseudonym, others)
    _set_aside(context, grant, Ending.REVOKED, context.time_ms)
    context.emit(
        "access.revoked",
        revoke.pseudonym,
        ("grant", grant.grant_id),
        *terms_fields(grant.terms),
    )


def _give(context: Context, patient: Account, terms: Terms, *, request_id: Digest | None) -> Grant:
    check_terms(context, patient, terms)
    grant = Grant(
        grant_id=context.transaction.tx_id,
        pseudonym=patient.account_id,
        terms=terms,
        request_id=request_id,
        height=context.height,
        time_ms=context.time_ms,
    )
    kept = _sweep(context, patient.account_id)
    limit = min(context.parameters.grants_per_patient_max, GRANTS_MAX)
    if len(kept) >= limit:
        raise _full(limit)
    encoded = [*(one.encoded for one in kept), encode(grant)]
    if _put_grants(context, patient.account_id, encoded) > ENTRY_BYTES_MAX:
        raise _full(len(kept))
    return grant


class Kept(NamedTuple):
    """A grant that stays in force, with its bytes, so that it is not encoded again."""

    encoded: bytes
    grant: Grant


def _sweep(context: Context, pseudonym: AccountId) -> list[Kept]:
    """Set aside what has expired and return the others; the caller writes them back."""
    kept: list[Kept] = []
    entry = grants_in_force(context.state, pseudonym)
    for encoded, grant in zip(entry.encoded, entry.grants, strict=True):
        if context.time_ms < grant.terms.until_ms:
            kept.append(Kept(encoded, grant))
        else:
            _set_aside(context, grant, Ending.EXPIRED, grant.terms.until_ms)
    return kept


def _set_aside(context: Context, grant: Grant, ending: Ending, ended_ms: int) -> None:
    ended = EndedGrant(
        grant=grant, ending=ending, ended_ms=ended_ms, ended_by=context.transaction.tx_id
    )
    put_ended_grant(context.state, ended)


def _put_grants(context: Context, pseudonym: AccountId, encoded: list[bytes]) -> int:
    """Write a pseudonym's grants and return the bytes they take."""
    entry = encode(GrantsInForce(encoded=tuple(sorted(encoded))))
    context.state.put(grants_key(pseudonym), entry)
    return len(entry)


def _full(limit: int) -> Refused:
    return Refused(
        "access.grants_full",
        f"the patient has {limit} grants in force, as many as there is room for; revoke one",
        (("grants", limit),),
    )


KINDS: Final[tuple[Kind, ...]] = (
    Kind(name="access.request", payload=AccessRequest, signer=ANY_ROLE, handler=on_request),
    Kind(name="access.approve", payload=AccessApprove, signer=ANY_ROLE, handler=on_approve),
    Kind(name="access.deny", payload=AccessDeny, signer=ANY_ROLE, handler=on_deny),
    Kind(name="access.grant", payload=AccessGrant, signer=ANY_ROLE, handler=on_grant),
    Kind(
        name="access.revoke",
        payload=AccessRevoke,
        signer=ANY_ROLE,
        handler=on_revoke,
        lane=Lane.EMERGENCY,
    ),
)
