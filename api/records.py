"""A patient's records, rights, requests and log, and why somebody may or may not see them."""

import asyncio
from typing import Final

from aiohttp import web

from api.context import Api, account_of, decision_time_ms
from api.entitlement import (
    check_may_know_patient,
    check_may_see_log,
    may_know_record,
    may_see_log,
)
from api.errors import ApiError
from api.parsing import parse_hex, path_hex, query_hex, query_integer, query_text
from api.render import (
    Json,
    render_cursor,
    render_decision,
    render_ended_grant,
    render_explanation,
    render_grant,
    render_log_entry,
    render_record,
    render_request,
    render_version,
)
from crypto.record_ids import AccountId, RecordId
from ledger.access_state import get_ended_grants, get_grants, get_requests
from ledger.accounts import Account
from ledger.decision import DENIED, Action, Decision, decide_about
from ledger.explain import explain
from ledger.purposes import TREAT, is_admitted
from ledger.records_state import (
    Record,
    current_seal,
    get_record,
    get_version,
    patient_prefix,
    patient_records,
    record_versions,
)
from ledger.state import StateView

PSEUDONYM_BYTES: Final = 32
RECORD_BYTES: Final = 16
PAGE: Final = 64
PAGE_MAX: Final = 256
LOG_PAGE_MAX: Final = 256
ENDED_MAX: Final = 64
VERSIONS_MAX: Final = 1_024
WALKED_BEFORE_A_TURN: Final = 64
_PLACE_MAX: Final = 2**63


async def list_records(api: Api, request: web.Request) -> web.StreamResponse:
    """Return the records of a patient that the asker may know of, oldest first, a page at a time.

    Others are passed over in silence; `next` is there if more may follow.
    """
    pseudonym, account = _pseudonym(request), account_of(request)
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    check_may_know_patient(view, account, pseudonym, time_ms)
    limit = max(1, query_integer(request, "limit", default=PAGE, high=PAGE_MAX))
    cursor = _record_cursor(request, pseudonym)
    found: list[Json] = []
    is_more = True
    while is_more and len(found) < limit:
        page = list(patient_records(view, pseudonym, after=cursor, limit=WALKED_BEFORE_A_TURN))
        is_more = len(page) == WALKED_BEFORE_A_TURN
        for cursor, record in page:  # noqa: B007 - the place to go on from.
            if may_know_record(view, account, record.facts, time_ms):
                found.append(_rendered(view, record))
                if len(found) == limit:
                    is_more = True
                    break
        await asyncio.sleep(0)  # A long record must not hold up the node.
    answer: Json = {"records": found}
    if found and is_more:
        answer["next"] = cursor.hex()
    return web.json_response(answer)


async def list_grants(api: Api, request: web.Request) -> web.StreamResponse:
    """Return the rights a patient has given: in force, and the latest that ended."""
    pseudonym = _pseudonym(request)
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    check_may_know_patient(view, account_of(request), pseudonym, time_ms)
    ended = get_ended_grants(view, pseudonym, limit=ENDED_MAX)
    return web.json_response(
        {
            "grants": [render_grant(one) for one in get_grants(view, pseudonym)],
            "ended": [render_ended_grant(one) for _, one in ended],
        }
    )


async def list_requests(api: Api, request: web.Request) -> web.StreamResponse:
    """Return what the patient was asked: all of it to who sees the log, one's own to others."""
    pseudonym, account = _pseudonym(request), account_of(request)
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    sees_all = may_see_log(view, account, pseudonym, time_ms)
    found = [
        render_request(one)
        for one in get_requests(view, pseudonym)
        if sees_all or one.requester == account.account_id
    ]
    return web.json_response({"requests": found})


async def get_log(api: Api, request: web.Request) -> web.StreamResponse:
    """Return who did what about a patient, in chain order after a cursor."""
    pseudonym = _pseudonym(request)
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    check_may_see_log(view, account_of(request), pseudonym, time_ms)
    limit = max(1, query_integer(request, "limit", default=PAGE, high=LOG_PAGE_MAX))
    after_text = query_text(request, "after", default="")
    after = parse_log_cursor(after_text) if after_text else None
    entries = api.ports.chain.log(pseudonym, after=after, limit=limit)
    answer: Json = {"entries": [render_log_entry(one, view) for one in entries]}
    if len(entries) == limit:
        answer["next"] = render_cursor(entries[-1])
    return web.json_response(answer)


async def get_one_record(api: Api, request: web.Request) -> web.StreamResponse:
    """Return what the ledger knows of a record."""
    view, record = _visible_record(api, request)
    return web.json_response(_rendered(view, record))


async def list_versions(api: Api, request: web.Request) -> web.StreamResponse:
    """Return a record's versions, latest first."""
    view, record = _visible_record(api, request)
    versions = record_versions(view, record, limit=VERSIONS_MAX)
    found = [render_version(one, current_seal(view, one)) for one in versions]
    return web.json_response({"record_id": record.facts.record_id.hex(), "versions": found})


async def explain_access(api: Api, request: web.Request) -> web.StreamResponse:
    """Say whether and why an account may do something with a record, or with a patient at all.

    The words are for the patient and for who may know of the record; others get the code alone,
    and the same for a record that does not exist, so that it tells nothing about whose an id is.
    """
    account = account_of(request)
    pseudonym = AccountId(query_hex(request, "patient", PSEUDONYM_BYTES))
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    own = account.account_id.hex()
    asked = parse_hex(query_text(request, "requester", default=own), PSEUDONYM_BYTES, "requester")
    requester = AccountId(asked)
    if requester != account.account_id and not may_see_log(view, account, pseudonym, time_ms):
        raise ApiError(
            "explain.not_yours", "only the patient or the hospital's auditor asks about others"
        )
    action = _action(request)
    purpose = query_text(request, "purpose", default=TREAT)
    record_text = query_text(request, "record", default="")
    if not record_text:
        decision = decide_about(
            view,
            requester=requester,
            pseudonym=pseudonym,
            action=action,
            purpose=purpose,
            time_ms=time_ms,
        )
        return web.json_response(_without_words(decision))
    record_id = RecordId(parse_hex(record_text, RECORD_BYTES, "record"))
    record = get_record(view, record_id)
    if record is None or record.facts.pseudonym != pseudonym:
        if may_see_log(view, account, pseudonym, time_ms):
            raise _unknown_record(record_id)
        return web.json_response(_without_words(_unseen(account, purpose)))
    found = explain(
        view,
        requester=requester,
        record_id=record_id,
        action=action,
        purpose=purpose,
        time_ms=time_ms,
    )
    assert found is not None, "the record was just found"
    if may_know_record(view, account, record.facts, time_ms):
        return web.json_response(render_explanation(found))
    return web.json_response(_without_words(_unseen(account, purpose)))


def parse_log_cursor(text: str) -> tuple[int, int, int]:
    """Return the place that a cursor `height.index.number` names."""
    parts = text.split(".")
    if len(parts) == 3 and all(
        one.isascii() and one.isdecimal() and len(one) <= 19 for one in parts
    ):
        height, index, number = (int(one) for one in parts)
        if height < _PLACE_MAX and index < 2**32 and number < 2**32:
            return height, index, number
    raise ApiError("request.malformed", "a cursor has the form height.index.number")


def _pseudonym(request: web.Request) -> AccountId:
    return AccountId(path_hex(request, "pseudonym", PSEUDONYM_BYTES))


def _record_cursor(request: web.Request, pseudonym: AccountId) -> bytes:
    text = query_text(request, "after", default="")
    if not text:
        return b""
    prefix = patient_prefix(pseudonym)
    size = len(prefix) + 8 + RECORD_BYTES
    cursor = parse_hex(text, size, "after")
    if not cursor.startswith(prefix):
        raise ApiError("request.malformed", "the cursor is another patient's")
    return cursor


def _rendered(view: StateView, record: Record) -> Json:
    version = get_version(view, record.facts.record_id, record.latest)
    assert version is not None, "a record's latest version stands in state"
    return render_record(record, version, current_seal(view, version))


def _visible_record(api: Api, request: web.Request) -> tuple[StateView, Record]:
    record_id = RecordId(path_hex(request, "record_id", RECORD_BYTES))
    account: Account = account_of(request)
    view = api.ports.chain.view()
    record = get_record(view, record_id)
    if record is None or not may_know_record(view, account, record.facts, decision_time_ms(api)):
        raise _unknown_record(record_id)
    return view, record


def _unknown_record(record_id: RecordId) -> ApiError:
    return ApiError(
        "record.not_visible", f"no record {record_id.hex()} that this account may know of"
    )


def _action(request: web.Request) -> Action:
    text = query_text(request, "action", default=Action.READ.value)
    try:
        return Action(text)
    except ValueError as problem:
        known = ", ".join(one.value for one in Action)
        raise ApiError("request.malformed", f"action is one of {known}") from problem


def _unseen(account: Account, purpose: str) -> Decision:
    """Return what is said to somebody about a record that they may not know of, real or not."""
    is_purpose = is_admitted(account.role, purpose)
    rule, code = ("default", DENIED) if is_purpose else ("purpose", "access.purpose")
    return Decision(permitted=False, rule=rule, code=code)


def _without_words(decision: Decision) -> Json:
    return {**render_decision(decision), "because": [one.hex() for one in decision.because]}
