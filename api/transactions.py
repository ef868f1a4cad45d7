"""Transactions: taking them in, saying what became of them, showing them to who may see them."""

import asyncio

from aiohttp import web

from api.context import (
    Api,
    account_of,
    address_of,
    decision_time_ms,
    maybe_account_of,
    reading_much,
)
from api.entitlement import may_see_log
from api.errors import ApiError
from api.limits import charge, check_rate, occupied
from api.parsing import (
    JSON,
    MSGPACK,
    SMALL_BODY_BYTES_MAX,
    check_media_type,
    is_msgpack_wanted,
    parse_base64,
    parse_json,
    parse_wire,
    path_hex,
    query_integer,
    read_body,
)
from api.ports import NotTaken, Submitted, TransactionStatus
from api.render import Json, render_receipt, render_status
from crypto.hashing import Digest, Domain, digest
from crypto.merkle import make_inclusion_proof
from crypto.record_ids import AccountId
from crypto.schema import decode, encode
from crypto.votes import Height
from ledger.accounts import Account, Role, get_account
from ledger.exchange import SUBMIT_BYTES_MAX, SUBMIT_ITEMS_MAX, ReceiptProof, SubmitBatch
from ledger.receipts import Receipt
from ledger.replay import Status
from ledger.transactions import (
    SIDECARS_MAX,
    SignedTransaction,
    TransactionBody,
    hash_signed,
    transaction_id,
)

DIGEST_BYTES = 32
LOOKED_AT_BEFORE_A_TURN = 64
JSON_BYTES_MAX = 12 << 20
"""The same batch in base64 and JSON is a third longer."""

Item = tuple[bytes, tuple[bytes, ...]]


async def submit(api: Api, request: web.Request) -> web.StreamResponse:
    """Take a batch; 200 if every outcome is known, 202 while one is open."""
    check_media_type(request, MSGPACK, JSON)
    if request.content_type == MSGPACK:
        body = await _read_batch(api, request, bytes_max=SUBMIT_BYTES_MAX)
        batch = parse_wire(SubmitBatch, body)
        items = [(item.signed, item.sidecars) for item in batch.items]
    else:
        items = _items_in_json(await _read_batch(api, request, bytes_max=JSON_BYTES_MAX))
    answers = await _hand_in(api, request, items)
    is_open = any(
        isinstance(one, Submitted) and one.status.state in (Status.PENDING, Status.UNKNOWN)
        for one in answers
    )
    return web.json_response([_answer(one) for one in answers], status=202 if is_open else 200)


async def get_status(api: Api, request: web.Request) -> web.StreamResponse:
    """Say what this node can prove about a transaction; wait for its end if asked to."""
    tx_id = Digest(path_hex(request, "tx_id", DIGEST_BYTES))
    wait_ms = query_integer(request, "wait_ms", default=0, high=api.config.limits.wait_ms_max)
    if wait_ms:
        with occupied(api.waiting, address_of(request), "too many clients wait; ask again"):
            status = await api.ports.transactions.wait_final(tx_id, wait_ms)
    else:
        status = api.ports.transactions.status(tx_id)
    are_shown = _may_see_events(api, maybe_account_of(request), status)
    return web.json_response(render_status(status, are_events_shown=are_shown))


async def get_receipt(api: Api, request: web.Request) -> web.StreamResponse:
    """Return the receipt, as JSON or, with its canonical bytes, to who may see all of it."""
    tx_id = Digest(path_hex(request, "tx_id", DIGEST_BYTES))
    signed, receipt = _decided(api, tx_id)
    are_shown = _may_see(api, maybe_account_of(request), signed, receipt)
    if is_msgpack_wanted(request):
        if not are_shown:
            raise ApiError("state.not_entitled", "the receipt is for who it speaks of")
        return web.Response(body=encode(receipt), content_type=MSGPACK)
    return web.json_response(render_receipt(receipt, are_events_shown=are_shown))


async def get_proof(api: Api, request: web.Request) -> web.StreamResponse:
    """Return transaction and receipt with the ways to their roots, to who may see all of it."""
    tx_id = Digest(path_hex(request, "tx_id", DIGEST_BYTES))
    signed, receipt = _decided(api, tx_id)
    if not _may_see(api, account_of(request), signed, receipt):
        raise ApiError("state.not_entitled", "the receipt is for who it speaks of")
    async with reading_much(api, request):
        proof = await _prove(api, signed, receipt)
    return web.Response(body=encode(proof), content_type=MSGPACK)


async def get_body(api: Api, request: web.Request) -> web.StreamResponse:
    """Return what was signed: kind and window; sender and payload to who may see them."""
    tx_id = Digest(path_hex(request, "tx_id", DIGEST_BYTES))
    account = account_of(request)
    signed, receipt = _decided(api, tx_id)
    body = _body_of(signed)
    found: Json = {
        "tx_id": tx_id.hex(),
        "kind": body.kind,
        "valid_from_ms": body.valid_from_ms,
        "valid_until_ms": body.valid_until_ms,
        "sidecars": len(body.sidecars),
        "size_bytes": len(signed),
    }
    are_shown = _may_see(api, account, signed, receipt)
    sender = get_account(api.ports.chain.view(), body.sender)
    if are_shown or sender is None or sender.role is not Role.PATIENT:
        found["sender"] = body.sender.hex()
    if are_shown:
        found["payload_hex"] = body.payload.hex()
        found["signed_hex"] = signed.hex()
    return web.json_response(found)


async def _hand_in(
    api: Api, request: web.Request, items: list[Item]
) -> tuple[Submitted | NotTaken, ...]:
    """Hand a batch in; who sends much that is good for nothing has to wait.

    Every signature costs a check, valid or not, and anybody may name anybody as the sender.
    """
    account = maybe_account_of(request)
    client = address_of(request) if account is None else account.account_id
    text = "too many transactions under way or turned away; wait as told"
    check_rate(api.untaken, client, "limit.rate", text, amount=0.0)
    charge(api.untaken, client, len(items))
    answers: tuple[Submitted | NotTaken, ...] = ()
    try:
        answers = await api.ports.transactions.submit(items)
    finally:
        spoilt = sum(isinstance(one, NotTaken) and one.definite for one in answers)
        charge(api.untaken, client, spoilt - len(items))
    return answers


async def _prove(api: Api, signed: bytes, receipt: Receipt) -> ReceiptProof:
    """Make the ways to the roots from the leaves of the whole block, a few at a time."""
    chain = api.ports.chain
    block, above = (
        chain.block(Height(receipt.height)),
        chain.sealed_header(Height(receipt.height + 1)),
    )
    if block is None or above is None:
        raise ApiError("state.behind", "the block above is not decided here yet; try again")
    hashes, leaves = [], []
    for index, one in enumerate(block.transactions):
        hashes.append(hash_signed(one, chain.chain_id))
        body = decode(SignedTransaction, one).body
        _, found = _decided(api, transaction_id(chain.chain_id, body))
        leaves.append(digest(Domain.RECEIPT, chain.chain_id, encode(found)))
        if index % LOOKED_AT_BEFORE_A_TURN == 0:
            await asyncio.sleep(0)
    return ReceiptProof(
        signed=signed,
        receipt=receipt,
        header=block.sealed_header.header,
        above=above,
        tx_path=make_inclusion_proof(hashes, receipt.index),
        receipt_path=make_inclusion_proof(leaves, receipt.index),
    )


async def _read_batch(api: Api, request: web.Request, *, bytes_max: int) -> bytes:
    """Return the body; only so many large ones are gathered in memory at a time."""
    size_bytes = request.content_length
    if size_bytes is not None and size_bytes <= SMALL_BODY_BYTES_MAX:
        return await read_body(request, bytes_max=bytes_max)
    with occupied(api.large_bodies, address_of(request), "too many large bodies; try again"):
        return await read_body(request, bytes_max=bytes_max)


def _items_in_json(body: bytes) -> list[Item]:
    value = parse_json(body)
    rows = value.get("transactions") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= SUBMIT_ITEMS_MAX:
        raise ApiError(
            "request.malformed", f"`transactions` is not a list of 1..{SUBMIT_ITEMS_MAX} items"
        )
    return [_item_in_json(row) for row in rows]


def _item_in_json(row: object) -> Item:
    if not isinstance(row, dict) or not {"signed"} <= set(row) <= {"signed", "sidecars"}:
        raise ApiError("request.malformed", "the members of a transaction are signed, sidecars")
    sidecars = row.get("sidecars", [])
    if not isinstance(sidecars, list) or len(sidecars) > SIDECARS_MAX:
        raise ApiError("request.malformed", f"`sidecars` is not a list of 0..{SIDECARS_MAX} items")
    contents = tuple([parse_base64(one, "a sidecar") for one in sidecars])
    return parse_base64(row["signed"], "signed"), contents


def _answer(answer: Submitted | NotTaken) -> Json:
    """Render one answer; who hands a transaction in knows it, so its receipt is shown whole."""
    if isinstance(answer, Submitted):
        return render_status(answer.status, are_events_shown=True)
    return {
        "tx_id": None if answer.tx_id is None else answer.tx_id.hex(),
        "code": answer.code,
        "detail": answer.text,
        "definite": answer.definite,
    }


def _decided(api: Api, tx_id: Digest) -> tuple[bytes, Receipt]:
    found = api.ports.transactions.transaction(tx_id)
    if found is None:
        raise ApiError(
            "transaction.unknown", f"no decided block here holds transaction {tx_id.hex()[:16]}"
        )
    return found


def _body_of(signed: bytes) -> TransactionBody:
    return decode(TransactionBody, decode(SignedTransaction, signed).body)


def _may_see_events(api: Api, account: Account | None, status: TransactionStatus) -> bool:
    if status.receipt is None or not status.receipt.events or account is None:
        return False
    found = api.ports.transactions.transaction(status.tx_id)
    return found is not None and _may_see(api, account, *found)


def _may_see(api: Api, account: Account | None, signed: bytes, receipt: Receipt) -> bool:
    """Whether the account sent the transaction, or may see the log of everybody it concerns."""
    if account is None:
        return False
    if _body_of(signed).sender == account.account_id:
        return True
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    subjects = {one.subject for one in receipt.events if one.subject is not None}
    return bool(subjects) and all(
        may_see_log(view, account, AccountId(subject), time_ms) for subject in subjects
    )
