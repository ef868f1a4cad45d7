"""Access: a patient gives and ends rights; others ask for them.

A right's id, and a request's, is the id of the transaction that made it.
"""

from bisect import insort
from collections.abc import Sequence
from typing import Final

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
    NO_END_MS,
    EndedGrant,
    Ending,
    Grant,
    GrantsInForce,
    grant_of,
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
    kept = _kept(context, revoke.pseudonym)
    found = [one for one in kept.grants if one.grant_id == revoke.grant]
    if not found:
        raise Refused(
            "access.unknown_grant",
            f"no grant {revoke.grant.hex()[:16]} is in force; it may have ended already",
        )
    grant = found[0]
    others = [one for one in kept.encoded if grant_of(one).grant_id != revoke.grant]
    _put_grants(context, revoke.pseudonym, _listed(others))
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
    kept = _kept(context, patient.account_id)
    limit = min(context.parameters.grants_per_patient_max, GRANTS_MAX)
    if len(kept.encoded) >= limit:
        raise _full(limit)
    encoded = list(kept.encoded)
    insort(encoded, encode(grant))
    given = GrantsInForce(
        encoded=tuple(encoded), first_end_ms=min(kept.first_end_ms, terms.until_ms)
    )
    if _put_grants(context, patient.account_id, given) > ENTRY_BYTES_MAX:
        raise _full(len(kept.encoded))
    return grant


def _kept(context: Context, pseudonym: AccountId) -> GrantsInForce:
    """Set aside what has expired and return the others; the caller writes them back."""
    entry = grants_in_force(context.state, pseudonym)
    if context.time_ms < entry.first_end_ms:
        return entry
    kept: list[bytes] = []
    for encoded, grant in zip(entry.encoded, entry.grants, strict=True):
        if context.time_ms < grant.terms.until_ms:
            kept.append(encoded)
        else:
            _set_aside(context, grant, Ending.EXPIRED, grant.terms.until_ms)
    return _listed(kept)


def _listed(encoded: Sequence[bytes]) -> GrantsInForce:
    """Return the entry of these grants, which ascend."""
    ends = [grant_of(one).terms.until_ms for one in encoded]
    return GrantsInForce(encoded=tuple(encoded), first_end_ms=min(ends, default=NO_END_MS))


def _set_aside(context: Context, grant: Grant, ending: Ending, ended_ms: int) -> None:
    ended = EndedGrant(
        grant=grant, ending=ending, ended_ms=ended_ms, ended_by=context.transaction.tx_id
    )
    put_ended_grant(context.state, ended)


def _put_grants(context: Context, pseudonym: AccountId, grants: GrantsInForce) -> int:
    """Write a pseudonym's grants and return the bytes they take."""
    entry = encode(grants)
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
