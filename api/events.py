"""What happens on the chain, pushed as server-sent events; a cursor resumes after a break.

The cursor is a height: after every block comes `event: block` with the height as its id, and
before it, with a session, the log events of the asker (or of a patient the asker may follow) in
that block. A subscriber that resumes with the last id it saw gets everything after that block
again: each event at least once, in order.
"""

import asyncio
import json
from typing import Final

from aiohttp import web

from api.context import Api, address_of, decision_time_ms, maybe_account_of, token_of
from api.entitlement import check_may_see_log, may_see_log
from api.errors import ApiError
from api.limits import occupied
from api.parsing import parse_hex, query_decimal, query_text
from api.render import Json, render_log_entry
from api.sessions import find_session
from crypto.record_ids import AccountId
from crypto.votes import Height
from ledger.accounts import Account
from ledger.blocks import header_digest
from ledger.exchange import SealedHeader

QUIET_MS: Final = 15_000
"""After this long without a block a comment keeps the connection alive."""

LOG_PAGE: Final = 256
WRITE_TIMEOUT_S: Final = 30.0
_END: Final = 2**32 - 1


async def subscribe(api: Api, request: web.Request) -> web.StreamResponse:
    """Stream events after the cursor `after` (or `Last-Event-ID`); from now on without one."""
    account = maybe_account_of(request)
    subject = _subject(api, request, account)
    height = _cursor(api, request)
    key = address_of(request) if account is None else account.account_id
    with occupied(api.subscribers, key, "too many subscribers; close one, or try again"):
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        await response.prepare(request)
        try:
            await _follow(api, request, response, subject, height)
        finally:
            api.sent_heights.pop(response, None)
        await response.write_eof()
    return response


async def _follow(
    api: Api,
    request: web.Request,
    response: web.StreamResponse,
    subject: AccountId | None,
    height: int,
) -> None:
    """Send block after block until the client goes, its session ends or the node stops."""
    while not api.stopping.is_set():
        api.sent_heights[response] = height
        following = Height(height + 1)
        await _wait_block(api, following)
        if api.ports.chain.tip().height < following:
            await _send(response, b": still here\n\n")
            continue
        if subject is not None and not _still_may(api, request, subject):
            await _send(response, _message("end", {"code": "session.unknown"}))
            return
        sealed = api.ports.chain.sealed_header(following)
        if sealed is None:
            await _send(response, _message("end", {"code": "block.unknown"}))
            return
        for one in _of_subject(api, subject, following):
            await _send(response, _message("log", one))
        await _send(response, _message("block", _block(sealed), event_id=str(following)))
        await asyncio.sleep(0)  # Who begins far back must not hold up the node.
        height = following


async def _wait_block(api: Api, height: Height) -> None:
    """Return when the block is there, when nothing happened for a while, or when the node stops."""
    if api.ports.chain.tip().height >= height:
        return
    waits = (
        asyncio.ensure_future(api.ports.chain.wait_height(height, QUIET_MS)),
        asyncio.ensure_future(api.stopping.wait()),
    )
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()  # A chain that cannot be asked any more ends the stream.
    finally:
        for one in waits:
            one.cancel()


def _of_subject(api: Api, subject: AccountId | None, height: int) -> list[Json]:
    """Return the subject's log events in one block."""
    if subject is None:
        return []
    found: list[Json] = []
    view = api.ports.chain.view()
    after: tuple[int, int, int] | None = (height - 1, _END, _END)
    while after is not None:
        page = api.ports.chain.log(subject, after=after, limit=LOG_PAGE)
        here = [one for one in page if one.height == height]
        found += [render_log_entry(one, view) for one in here]
        is_more = len(here) == LOG_PAGE
        after = (here[-1].height, here[-1].index, here[-1].number) if is_more else None
    return found


def _still_may(api: Api, request: web.Request, subject: AccountId) -> bool:
    """Whether the session is still open and still shows this log."""
    token = token_of(request)
    assert token is not None, "only a session has a subject"
    view = api.ports.chain.view()
    try:
        account = find_session(api.sessions, token, view)
    except ApiError:
        return False
    if account.account_id == subject:
        return True
    return may_see_log(view, account, subject, decision_time_ms(api))


def _subject(api: Api, request: web.Request, account: Account | None) -> AccountId | None:
    """Return whose log is followed: one's own, or the `subject` that one may see."""
    if account is None:
        return None
    text = query_text(request, "subject", default="")
    if not text:
        return account.account_id
    subject = AccountId(parse_hex(text, 32, "subject"))
    check_may_see_log(api.ports.chain.view(), account, subject, decision_time_ms(api))
    return subject


def _cursor(api: Api, request: web.Request) -> int:
    tip = int(api.ports.chain.tip().height)
    text = query_text(request, "after", default=request.headers.get("Last-Event-ID", ""))
    if not text:
        return tip
    height = query_decimal(text, "after")
    if height > tip:
        raise ApiError("block.unknown", f"the cursor {height} is above the tip, which is {tip}")
    return height


def _block(sealed: SealedHeader) -> Json:
    header = sealed.header
    return {
        "height": header.height,
        "digest": header_digest(header).hex(),
        "time_ms": header.time_ms,
        "tx_count": header.tx_count,
    }


def _message(event: str, content: Json, *, event_id: str = "") -> bytes:
    lines = [f"id: {event_id}"] if event_id else []
    lines += [f"event: {event}", f"data: {json.dumps(content)}"]
    return ("\n".join(lines) + "\n\n").encode()


async def _send(response: web.StreamResponse, message: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(message)
