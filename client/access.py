"""Rights: granting with the keys that go with it, asking, answering, ending, explaining, the log.

A right is one transaction; the keys of records that exist already follow as pages of envelopes.
Ending a right shows first what was opened under it, because nobody can un-read, and then seals the
records afresh, so that keys keep what honest nodes keep from the first block on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from client.connection import Client, act, ask, ask_view, check_done, later_heights, scan
from client.errors import AnswerRejected, NotFound, Refused
from client.handing_on import HandedOn, hand_on_keys, reseal_records
from client.http import get_json
from client.proving import joined
from client.transactions import Outcome
from client.transfers import Progress
from client.trust import ProvenView
from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId
from crypto.schema import decode
from ledger.access_payloads import (
    AccessApprove,
    AccessDeny,
    AccessGrant,
    AccessLevel,
    AccessRequest,
    AccessRevoke,
    AllRecords,
    Grantee,
    Person,
    Scope,
    Terms,
)
from ledger.access_state import (
    Grant,
    Request,
    ended_prefix,
    get_grants,
    get_requests,
    grants_key,
    requests_key,
)
from ledger.accounts import account_key
from ledger.decision import Action
from ledger.explain import Explanation, explain
from ledger.listing import opened_under
from ledger.purposes import TREAT
from ledger.records_state import ReadEntry, get_record, reads_prefix, record_key
from ledger.words import END_OF_TIME_MS

REQUEST_MS: Final = 30 * 24 * 3_600_000
"""How long a request waits for its answer unless told otherwise."""

LOG_PAGE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A right that was given, and the keys handed on with it."""

    grant_id: Digest
    outcome: Outcome
    keys: HandedOn


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A right that was ended: what had been opened under it, and what was sealed afresh."""

    grant: Grant
    outcome: Outcome
    opened: tuple[ReadEntry, ...]
    keys: HandedOn


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One event of a patient's log; `cursor` names its place, `sentence` tells it."""

    cursor: str
    height: int
    time_ms: int
    kind: str
    tx_id: str
    sentence: str


async def grant_access(
    client: Client,
    *,
    grantee: Grantee | AccountId,
    scope: Scope | None = None,
    level: AccessLevel = AccessLevel.READ,
    purposes: Sequence[str] = (TREAT,),
    from_ms: int | None = None,
    until_ms: int | None = None,
    progress: Progress | None = None,
) -> Granted:
    """Give a right to the actor's records, and hand the keys of existing ones on.

    All records for reading to treat, from now on until it is revoked, unless told otherwise.
    `progress` is told records done and in all.
    """
    terms = await make_terms(
        client,
        grantee=grantee,
        scope=scope,
        level=level,
        purposes=purposes,
        from_ms=from_ms,
        until_ms=until_ms,
    )
    pseudonym = client.actor.account
    outcome = await act(client, "access.grant", AccessGrant(pseudonym=pseudonym, terms=terms))
    await _check_in_force(client, outcome)
    keys = await hand_on_keys(client, pseudonym, scope=terms.scope, progress=progress)
    return Granted(grant_id=outcome.tx_id, outcome=outcome, keys=keys)


async def request_access(
    client: Client,
    patient: AccountId,
    *,
    grantee: Grantee | None = None,
    scope: Scope | None = None,
    level: AccessLevel = AccessLevel.READ,
    purposes: Sequence[str] = (TREAT,),
    until_ms: int | None = None,
    expires_ms: int | None = None,
) -> Outcome:
    """Ask a patient for a right, for the actor or `grantee`; the outcome's `tx_id` is its id."""
    now = await chain_time_ms(client)
    terms = await make_terms(
        client,
        grantee=grantee or client.actor.account,
        scope=scope,
        level=level,
        purposes=purposes,
        from_ms=now,
        until_ms=until_ms,
    )
    payload = AccessRequest(
        pseudonym=patient, wanted=terms, expires_ms=expires_ms or now + REQUEST_MS
    )
    return await act(client, "access.request", payload)


async def approve_request(
    client: Client,
    request_id: Digest,
    *,
    terms: Terms | None = None,
    progress: Progress | None = None,
) -> Granted:
    """Answer a request with the right that was asked for, or with narrower `terms`."""
    pseudonym = client.actor.account
    if terms is None:
        terms = (await find_request(client, request_id)).wanted
    payload = AccessApprove(pseudonym=pseudonym, request=request_id, terms=terms)
    outcome = await act(client, "access.approve", payload)
    await _check_in_force(client, outcome)
    keys = await hand_on_keys(client, pseudonym, scope=terms.scope, progress=progress)
    return Granted(grant_id=outcome.tx_id, outcome=outcome, keys=keys)


async def deny_request(client: Client, request_id: Digest) -> Outcome:
    """Answer a request with no."""
    payload = AccessDeny(pseudonym=client.actor.account, request=request_id)
    return await act(client, "access.deny", payload)


async def revoke_access(
    client: Client,
    grant_id: Digest,
    *,
    reseal: bool = True,
    progress: Progress | None = None,
) -> Revoked:
    """End a right at once; then seal what it covered afresh, unless told not to."""
    pseudonym = client.actor.account
    grants = await list_grants(client, pseudonym)
    grant = next((one for one in grants if one.grant_id == grant_id), None)
    if grant is None:
        raise NotFound(
            f"no grant {grant_id.hex()} is in force; it may have ended already",
            code="access.unknown_grant",
        )
    opened = await find_opened(client, grant)
    payload = AccessRevoke(pseudonym=pseudonym, grant=grant_id)
    outcome = await act(client, "access.revoke", payload)
    left = {one.grant_id for one in await list_grants(client, pseudonym)}
    check_done(outcome, "the right has ended", is_done=grant_id not in left)
    keys = HandedOn()
    if reseal:
        scope = grant.terms.scope
        keys = await reseal_records(client, pseudonym, scope=scope, progress=progress)
    return Revoked(grant=grant, outcome=outcome, opened=opened, keys=keys)


async def find_opened(client: Client, grant: Grant) -> tuple[ReadEntry, ...]:
    """Return what the grantee has opened of what the grant covers: the part nobody can take back.

    Each entry is proven; that none is left out is the node's word.
    """
    reads = await scan(client, reads_prefix(grant.pseudonym))
    record_ids = {
        decode(ReadEntry, value).record_id for value in reads.entries.values() if value is not None
    }
    view = reads
    ordered = sorted(record_ids)
    for start in range(0, len(ordered), 32):
        keys = [record_key(one) for one in ordered[start : start + 32]]
        _, records = await ask_view(client, lambda view: None, keys)
        view = joined(view, records)
    return tuple(opened_under(view, grant))


async def list_grants(client: Client, pseudonym: AccountId) -> tuple[Grant, ...]:
    """Return a patient's grants, proven and complete; some may be past their period."""
    return await ask(client, lambda view: get_grants(view, pseudonym), (grants_key(pseudonym),))


async def list_requests(
    client: Client, pseudonym: AccountId, *, at_least_height: int = 0
) -> tuple[Request, ...]:
    """Return what a patient has been asked and not answered, proven and complete."""
    return await ask(
        client,
        lambda view: get_requests(view, pseudonym),
        (requests_key(pseudonym),),
        at_least_height=at_least_height,
    )


async def find_request(client: Client, request_id: Digest) -> Request:
    """Return a request that waits for the actor's answer; raise `NotFound`."""
    pseudonym = client.actor.account
    async for height in later_heights(client):
        for request in await list_requests(client, pseudonym, at_least_height=height):
            if request.request_id == request_id:
                return request
    raise NotFound(
        f"no request {request_id.hex()} waits; it may be answered or lapsed",
        code="access.unknown_request",
    )


async def explain_access(
    client: Client,
    record_id: RecordId,
    *,
    requester: AccountId,
    action: Action = Action.READ,
    purpose: str = TREAT,
) -> Explanation:
    """Say why somebody may or may not do something with a record, from proven state.

    For the patient and whoever may know of the record; others get `Refused` from the node.
    """
    first = await ask(client, lambda view: get_record(view, record_id), (record_key(record_id),))
    if first is None:
        raise NotFound(
            f"record {record_id.hex()} does not exist on this chain", code="record.unknown"
        )
    pseudonym = first.facts.pseudonym
    ended = await scan(client, ended_prefix(pseudonym))

    def question(view: ProvenView) -> Explanation | None:
        return explain(
            joined(ended, view),
            requester=requester,
            record_id=record_id,
            action=action,
            purpose=purpose,
            time_ms=view.time_ms,
        )

    keys = (
        record_key(record_id),
        account_key(pseudonym),
        account_key(requester),
        grants_key(pseudonym),
    )
    answer = await ask(client, question, keys)
    assert answer is not None, "the record was there a moment ago"
    return answer


async def read_log(
    client: Client, pseudonym: AccountId, *, after: str = "", lines_max: int = 100_000
) -> tuple[LogLine, ...]:
    """Return a patient's log in plain words, in the chain's order; the words are the node's."""
    lines: list[LogLine] = []
    while len(lines) < lines_max:
        params = {"limit": str(LOG_PAGE), **({"after": after} if after else {})}
        answer = await get_json(client.node, f"/v1/patients/{pseudonym.hex()}/log", params)
        page, after = _log_page(answer)
        lines.extend(page)
        if not after or not page:
            break
    return tuple(lines[:lines_max])


async def make_terms(
    client: Client,
    *,
    grantee: Grantee | AccountId,
    scope: Scope | None = None,
    level: AccessLevel = AccessLevel.READ,
    purposes: Sequence[str] = (TREAT,),
    from_ms: int | None = None,
    until_ms: int | None = None,
) -> Terms:
    """Return the terms of a right, from the chain's time on unless told otherwise.

    Raises `Refused` (`access.terms`) for a period or purpose that cannot be.
    """
    start_ms = await chain_time_ms(client) if from_ms is None else from_ms
    try:
        return Terms(
            grantee=Person(account=AccountId(grantee)) if isinstance(grantee, bytes) else grantee,
            scope=scope or AllRecords(),
            level=level,
            purposes=tuple(sorted(set(purposes))),
            from_ms=start_ms,
            until_ms=END_OF_TIME_MS if until_ms is None else until_ms,
        )
    except ValueError as problem:
        raise Refused("access.terms", f"no such right can be given: {problem}") from problem


async def chain_time_ms(client: Client) -> int:
    """Return the chain's proven time: a right from then on is in force in the next block."""
    _, view = await ask_view(client, lambda view: None, (account_key(client.actor.account),))
    return view.time_ms


async def _check_in_force(client: Client, outcome: Outcome) -> None:
    grants = {one.grant_id for one in await list_grants(client, client.actor.account)}
    check_done(outcome, "the right was given", is_done=outcome.tx_id in grants)


def _log_page(answer: Any) -> tuple[list[LogLine], str]:
    try:
        lines = [
            LogLine(
                cursor=f"{one['height']}.{one['index']}.{one['number']}",
                height=int(one["height"]),
                time_ms=int(one["time_ms"]),
                kind=str(one["kind"]),
                tx_id=str(one["tx_id"]),
                sentence=str(one["sentence"]),
            )
            for one in answer["entries"]
        ]
        return lines, str(answer.get("next") or "")
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise AnswerRejected(f"the node's log is malformed: {problem}") from problem
