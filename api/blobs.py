"""Sealed records and sidecars: bytes in for who has a session, bytes out for who has entered it.

A read entry on the ledger names the reader, the seal, this node and an end. The rules are asked
again at the tip when an answer starts and before every further leaf of 1 MiB, so a right that ends
in the middle cuts the stream there.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from api.context import Api, account_of, decision_time_ms
from api.entitlement import ACCOUNT_BYTES, is_agent, may_know_record
from api.errors import ApiError
from api.limits import check_rate, occupied
from api.parsing import parse_cid, path_hex, query_hex
from crypto.cid import CID_BYTES, Cid, encode_cid_text
from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import decode
from crypto.validators import ReplicaId
from ledger.accounts import Account, directory_key, get_directory_entry
from ledger.records_payloads import SEALED_BYTES_MAX, RecordRead
from ledger.records_state import (
    ReadEntry,
    Seal,
    get_read_entry,
    get_record,
    get_seal,
    seal_key,
)
from ledger.serving import decide_serving
from ledger.state import StateView
from ledger.transactions import SignedTransaction, TransactionBody

OCTETS: Final = "application/octet-stream"
DIGEST_BYTES: Final = 32
WRITE_TIMEOUT_S: Final = 60.0
CHUNK_TIMEOUT_S: Final = 60.0


async def put_blob(api: Api, request: web.Request) -> web.StreamResponse:
    """Take sealed bytes in; they are a blob only once they have the content address named."""
    account, cid = account_of(request), parse_cid(request.match_info["cid"])
    size_bytes = request.content_length
    if size_bytes is None:
        raise ApiError("request.length_required", "say Content-Length: the bytes are measured")
    if not 1 <= size_bytes <= SEALED_BYTES_MAX:
        raise ApiError("blob.too_large", f"a blob has 1..{SEALED_BYTES_MAX} bytes")
    with occupied(api.uploads, account.account_id, "too many uploads are open; try again"):
        check_rate(
            api.uploaded,
            account.account_id,
            "limit.upload_quota",
            "the account has uploaded its share for now; try again later",
            amount=size_bytes,
        )
        stored = await api.ports.blobs.put_blob(cid, size_bytes, _arriving(request))
    return web.json_response(
        {
            "cid": encode_cid_text(Cid(stored.cid)),
            "size_bytes": stored.size_bytes,
            "receipts": [[index, signature.hex()] for index, signature in stored.receipts],
            "wanted": stored.wanted,
        },
        status=201,
    )


async def get_blob(api: Api, request: web.Request) -> web.StreamResponse:
    """Stream sealed bytes to the reader a committed read entry names, from `Range` on."""
    account, cid = account_of(request), parse_cid(request.match_info["cid"])
    seal, entry = _entered(api, request, account, cid)
    check_servable(api, entry)
    start = _range_start(request, seal.size_bytes)
    with occupied(api.downloads, account.account_id, "too many downloads are open; try again"):
        chunks = api.ports.blobs.open_blob(cid, start=start)
        return await _serve(api, request, entry, chunks, start, seal.size_bytes)


async def get_sidecar(api: Api, request: web.Request) -> web.StreamResponse:
    """Return an envelope or a directory note to whom it is meant for."""
    digest = Digest(path_hex(request, "digest", DIGEST_BYTES))
    _check_up_to_date(api)
    account, view = account_of(request), api.ports.chain.view()
    places = api.ports.blobs.sidecar_places(digest)
    refusal = ApiError("sidecar.unknown", f"no live sidecar {digest.hex()[:16]} is known here")
    for place in places:
        found = _check_place(api, view, account, digest, place)
        if found is None:
            content = await api.ports.blobs.sidecar(digest)
            if content is not None:
                return web.Response(body=content, content_type=OCTETS)
        else:
            refusal = found
    raise refusal


def check_servable(api: Api, entry: ReadEntry) -> None:
    """Raise unless bytes may go to the entry's reader now; asked again and again while they do."""
    if api.stopping.is_set():
        raise ApiError("node.stopping", "the node is stopping; go on with another one")
    _check_up_to_date(api)
    decision = decide_serving(
        api.ports.chain.view(),
        entry,
        serving_node=api.ports.node.node_index,
        time_ms=decision_time_ms(api),
    )
    if not decision.permitted:
        raise ApiError(
            decision.code, f"not served: rule `{decision.rule}` denies it now ({decision.code})"
        )


def _check_up_to_date(api: Api) -> None:
    """Raise unless peers have confirmed this node's height: rights may have ended meanwhile."""
    if not api.ports.node.is_fresh():
        raise ApiError(
            "node.behind", "too few peers have confirmed this node's height lately; try again"
        )


def _entered(api: Api, request: web.Request, account: Account, cid: Cid) -> tuple[Seal, ReadEntry]:
    """Return the seal with these bytes and the read entry that the request names for it."""
    view = api.ports.chain.view()
    read = _read_of(api, account, Digest(query_hex(request, "read", DIGEST_BYTES)))
    seal = get_seal(view, cid)
    if seal is None or (seal.record_id, seal.version_id, seal.seal_id) != (
        read.record_id,
        read.version_id,
        read.seal_id,
    ):
        raise ApiError("read.other_seal", "the read entry is about other bytes than these")
    entry = _entry_of(view, account, seal, read.serving_node)
    assert entry is not None, "an accepted read has left its entry"
    return seal, entry


def _read_of(api: Api, account: Account, tx_id: Digest) -> RecordRead:
    """Return what the account's accepted read transaction asked for."""
    found = api.ports.transactions.transaction(tx_id)
    if found is None:
        raise ApiError("read.unknown", f"no decided block here holds read {tx_id.hex()[:16]}")
    signed, receipt = found
    body = decode(TransactionBody, decode(SignedTransaction, signed).body)
    is_theirs = body.sender == account.account_id and body.kind == "records.read"
    if not is_theirs or not receipt.accepted:
        raise ApiError("read.not_yours", "this is no read that the ledger accepted from you")
    return decode(RecordRead, body.payload)


def _entry_of(view: StateView, account: Account, seal: Seal, serving_node: int) -> ReadEntry | None:
    record = get_record(view, seal.record_id)
    assert record is not None, "a seal's record stands in state"
    return get_read_entry(
        view,
        pseudonym=record.facts.pseudonym,
        record_id=seal.record_id,
        version_id=seal.version_id,
        seal_id=seal.seal_id,
        reader=account.account_id,
        serving_node=ReplicaId(serving_node),
    )


def _range_start(request: web.Request, size_bytes: int) -> int:
    """Return where to begin; only `bytes=N-` is spoken here."""
    value = request.headers.get("Range")
    if value is None:
        return 0
    digits = value.removeprefix("bytes=").removesuffix("-")
    is_form = value == f"bytes={digits}-" and digits.isascii() and digits.isdecimal()
    if not is_form or len(digits) > 15 or int(digits) >= size_bytes:
        raise ApiError("request.range", f"use `Range: bytes=N-` with N below {size_bytes}")
    return int(digits)


async def _serve(
    api: Api,
    request: web.Request,
    entry: ReadEntry,
    chunks: AsyncGenerator[bytes],
    start: int,
    size_bytes: int,
) -> web.StreamResponse:
    """Send the chunks, checking before each: where the right ends the connection is cut."""
    async with aclosing(chunks) as stream:
        first = await anext(stream, b"")  # A blob that cannot be had is a problem, not a stream.
        check_servable(api, entry)
        response = _streamed(start, size_bytes)
        await response.prepare(request)
        await _write(response, first)
        async for chunk in stream:
            check_servable(api, entry)
            await _write(response, chunk)
    await response.write_eof()
    return response


def _streamed(start: int, size_bytes: int) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if start else 200)
    response.content_type = OCTETS
    response.content_length = size_bytes - start
    response.headers["Accept-Ranges"] = "bytes"
    if start:
        response.headers["Content-Range"] = f"bytes {start}-{size_bytes - 1}/{size_bytes}"
    return response


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    """Send a chunk; a reader that takes nothing for a minute loses the connection."""
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(chunk)


async def _arriving(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; raise for a sender that says nothing for a minute."""
    while True:
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT_S):
                chunk = await request.content.readany()
        except TimeoutError as problem:
            raise ApiError(
                "request.timeout", f"no bytes for {CHUNK_TIMEOUT_S:.0f} s; send the blob again"
            ) from problem
        if not chunk:
            return
        yield chunk


def _check_place(
    api: Api, view: StateView, account: Account, digest: Digest, place: bytes
) -> ApiError | None:
    """Return why the account may not have the sidecar that this state entry names; None if so."""
    note_prefix, envelope_prefix = directory_key(b"", b""), seal_key(Cid(b""))
    if place.startswith(note_prefix):
        pair = place[len(note_prefix) :]
        about, recipient = pair[:ACCOUNT_BYTES], pair[ACCOUNT_BYTES:]
        entry = get_directory_entry(view, about, recipient)
        if entry is None or entry.note != digest:
            return ApiError("sidecar.unknown", "the note has been replaced")
        if account.account_id in (about, recipient):
            return None
        return ApiError("sidecar.not_entitled", "the note is sealed to somebody else")
    assert place.startswith(envelope_prefix), "sidecars are envelopes and notes"
    cid = Cid(place[len(envelope_prefix) : len(envelope_prefix) + CID_BYTES])
    return _check_envelope(api, view, account, digest, get_seal(view, cid))


def _check_envelope(
    api: Api, view: StateView, account: Account, digest: Digest, seal: Seal | None
) -> ApiError | None:
    """An envelope goes to its recipient: the patient, the key agent, the reader once entered."""
    found = [] if seal is None else [one for one in seal.envelopes if one.sidecar == digest]
    if seal is None or not found:
        return ApiError("sidecar.unknown", "the envelope has been replaced")
    record = get_record(view, seal.record_id)
    assert record is not None, "a seal's record stands in state"
    facts = record.facts
    if account.account_id == facts.pseudonym:
        return None
    if is_agent(view, account):
        if may_know_record(view, account, facts, decision_time_ms(api)):
            return None
        return ApiError("access.denied", "no right in force makes this the agent's to open")
    if found[0].recipient != AccountId(account.account_id):
        return ApiError("sidecar.not_entitled", "the envelope is sealed to somebody else")
    entry = _entry_of(view, account, seal, api.ports.node.node_index)
    if entry is None:
        return ApiError("read.required", "enter the read on the ledger first, naming this node")
    try:
        check_servable(api, entry)
    except ApiError as refusal:
        return refusal
    return None
