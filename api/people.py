"""Sessions being opened and closed; people and organisations as the ledger knows them."""

from aiohttp import web

from api.context import Api, account_of, address_of, decision_time_ms, token_of
from api.entitlement import may_see_entry
from api.errors import ApiError
from api.limits import check_rate
from api.parsing import check_members, parse_hex, parse_integer, path_hex, read_json
from api.render import render_account, render_organisation
from api.sessions import end_session, make_challenge, open_session
from crypto.record_ids import AccountId
from crypto.validators import ReplicaId
from ledger.accounts import account_key, get_account, get_organisation, get_organisations
from ledger.exchange import SessionClaim

ACCOUNT_BYTES = 32
CLAIM_MEMBERS = ("account", "key_id", "nonce", "origin", "issued_ms", "expires_ms", "signature")


async def challenge(api: Api, request: web.Request) -> web.StreamResponse:
    """Give a nonce to sign, good for one minute and one session."""
    _check_session_rate(api, request)
    body = await read_json(request)
    check_members(body, ("account",))
    account = AccountId(parse_hex(body["account"], ACCOUNT_BYTES, "account"))
    nonce, expires_ms = make_challenge(api.sessions, account)
    answer = {
        "nonce": nonce.hex(),
        "node_index": api.ports.node.node_index,
        "expires_ms": expires_ms,
    }
    return web.json_response(answer)


async def open_one(api: Api, request: web.Request) -> web.StreamResponse:
    """Open a session for a signed claim."""
    _check_session_rate(api, request)
    body = await read_json(request)
    check_members(body, CLAIM_MEMBERS)
    origin = body["origin"]
    if not isinstance(origin, str) or origin not in _origins(api, request):
        raise ApiError(
            "session.origin",
            "the claim was signed for another address than this node's; connect by its own",
        )
    claim = SessionClaim(
        chain_id=api.ports.chain.chain_id,
        node_index=ReplicaId(api.ports.node.node_index),
        origin=origin,
        account=AccountId(parse_hex(body["account"], ACCOUNT_BYTES, "account")),
        key_id=parse_hex(body["key_id"], 16, "key_id"),
        nonce=parse_hex(body["nonce"], 32, "nonce"),
        issued_ms=parse_integer(body["issued_ms"], "issued_ms"),
        expires_ms=parse_integer(body["expires_ms"], "expires_ms"),
    )
    signature = parse_hex(body["signature"], 64, "signature")
    token, expires_ms = open_session(
        api.sessions, claim, signature, origin=origin, view=api.ports.chain.view()
    )
    return web.json_response({"token": token, "expires_ms": expires_ms}, status=201)


async def close_one(_api: Api, request: web.Request) -> web.StreamResponse:
    """End the session that asks."""
    token = token_of(request)
    assert token is not None, "the route asks for a session before its handler runs"
    end_session(_api.sessions, token)
    return web.Response(status=204)


async def get_person(api: Api, request: web.Request) -> web.StreamResponse:
    """Return an account's public facts and keys; a patient's to who may know of the patient."""
    account_id = path_hex(request, "account", ACCOUNT_BYTES)
    view = api.ports.chain.view()
    found = get_account(view, account_id)
    is_visible = may_see_entry(
        view, account_of(request), account_key(account_id), decision_time_ms(api)
    )
    if found is None or not is_visible:
        raise ApiError("person.unknown", f"no account {account_id.hex()[:16]} that you may know of")
    return web.json_response(render_account(found))


async def list_organisations(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return every member of the consortium, by slug."""
    found = [render_organisation(one) for one in get_organisations(api.ports.chain.view())]
    return web.json_response({"organisations": found})


async def get_one_organisation(api: Api, request: web.Request) -> web.StreamResponse:
    """Return one member."""
    org = request.match_info["org"]
    found = get_organisation(api.ports.chain.view(), org) if len(org) <= 32 else None
    if found is None:
        raise ApiError("organisation.unknown", f"no member is called {org[:32]!r}")
    return web.json_response(render_organisation(found))


def _origins(api: Api, request: web.Request) -> tuple[str, ...]:
    """Return the addresses a claim may be signed for."""
    return api.config.origins or (f"http://{request.host}", f"https://{request.host}")


def _check_session_rate(api: Api, request: web.Request) -> None:
    check_rate(
        api.by_address_sessions,
        address_of(request),
        "limit.rate",
        "more sessions than one address may open; wait as told",
    )
