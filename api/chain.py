"""The chain: the node and its founding, blocks, headers, and state entries with their proofs."""

import asyncio
from typing import Final

from aiohttp import web

from api.context import Api, address_of, decision_time_ms, maybe_account_of, reading_much
from api.entitlement import is_prefix_walkable, may_see_entry
from api.errors import ApiError
from api.limits import occupied
from api.parsing import JSON, MSGPACK, query_decimal, query_integer, read_wire
from api.ports import StoredBlock
from api.render import render_block, render_tip
from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.votes import Height
from ledger.accounts import Account
from ledger.blocks import header_digest
from ledger.contracts.governance import get_epoch
from ledger.exchange import (
    EPOCH_LINKS_MAX,
    OUTCOMES_MAX,
    WITNESS_KEYS_MAX,
    BlockOutcomes,
    EpochLink,
    EpochLinks,
    ScanQuery,
    SealedHeader,
    TransactionOutcome,
    Witness,
    WitnessQuery,
)
from ledger.transactions import SignedTransaction, transaction_id

VERSION: Final = "0.1.0"
TRANSACTIONS_PAGE: Final = 1_024
TRANSACTIONS_PAGE_MAX: Final = 4_096
SCANNED_MAX: Final = 4_096
"""Entries looked at for one scan, shown or not."""

LOOKED_AT_BEFORE_A_TURN: Final = 64

PROOF_VALUES_BYTES_MAX: Final = 3 << 20
"""Values of one answer: with the paths beside them they stay below a witness's limit."""


async def get_genesis(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return the founding document, whose digest is the chain id."""
    return web.Response(body=api.ports.chain.genesis, content_type=JSON)


async def get_node(api: Api, _request: web.Request) -> web.StreamResponse:
    """Say which node this is and how far it is."""
    chain, node = api.ports.chain, api.ports.node
    return web.json_response(
        {
            "chain_id": chain.chain_id.hex(),
            "node_index": node.node_index,
            "organisation": node.organisation,
            "version": VERSION,
            "tip": render_tip(chain.tip()),
            "certified_height": chain.certified_height(),
            "clock_ms": node.clock_ms(),
        }
    )


async def get_block(api: Api, request: web.Request) -> web.StreamResponse:
    """Return a decided block: header, signers, a page of transaction ids."""
    first = query_integer(request, "first", default=0, high=2**32)
    limit = query_integer(request, "limit", default=TRANSACTIONS_PAGE, high=TRANSACTIONS_PAGE_MAX)
    async with reading_much(api, request):
        block = api.ports.chain.block(_height(api, request))
        if block is None:
            raise _unknown_block(request)
        page = block.transactions[first : first + limit]
        return web.json_response(render_block(block, _ids(block, page), first=first))


async def get_outcomes(api: Api, request: web.Request) -> web.StreamResponse:
    """Return what became of each transaction of a block, a page at a time, in canonical bytes."""
    first = query_integer(request, "first", default=0, high=2**32 - 1)
    limit = query_integer(request, "limit", default=OUTCOMES_MAX, high=OUTCOMES_MAX)
    async with reading_much(api, request):
        height = _height(api, request)
        sealed, receipts = api.ports.chain.sealed_header(height), api.ports.chain.receipts(height)
        if sealed is None or receipts is None:
            raise _unknown_block(request)
        page = BlockOutcomes(
            height=height,
            digest=header_digest(sealed.header),
            tx_count=len(receipts),
            first=first,
            outcomes=tuple(
                TransactionOutcome(tx_id=one.tx_id, code=one.code)
                for one in receipts[first : first + limit]
            ),
        )
        return web.Response(body=encode(page), content_type=MSGPACK)


async def get_header(api: Api, request: web.Request) -> web.StreamResponse:
    """Return a header with the certificate that decided it, in canonical bytes."""
    sealed = api.ports.chain.sealed_header(_height(api, request))
    if sealed is None:
        raise _unknown_block(request)
    assert type(sealed) is SealedHeader, "the port gives the wire type"
    return web.Response(body=encode(sealed), content_type=MSGPACK)


async def get_epochs(api: Api, request: web.Request) -> web.StreamResponse:
    """Prove the validators of later epochs: the last header before each, and its set."""
    after = query_integer(request, "after", default=0, high=2**63)
    chain = api.ports.chain
    async with reading_much(api, request):
        view, links = chain.view(), []
        for epoch in range(after + 1, after + 1 + EPOCH_LINKS_MAX):
            entry = get_epoch(view, epoch)
            sealed = None if entry is None else chain.sealed_header(Height(entry.first_height - 1))
            if entry is None or sealed is None:
                break  # None, or one whose first block's parent is not decided yet.
            links.append(EpochLink(sealed_header=sealed, validators=entry.validators))
        return web.Response(body=encode(EpochLinks(links=tuple(links))), content_type=MSGPACK)


async def witness(api: Api, request: web.Request) -> web.StreamResponse:
    """Prove state entries at the newest certified state, absent ones too."""
    query = await read_wire(request, WitnessQuery, bytes_max=WitnessQuery.WIRE_BYTES_MAX)
    await _wait_certified(api, request, query.at_least_height, query.wait_ms)
    account = maybe_account_of(request)
    keys = tuple(dict.fromkeys(query.keys))
    view, time_ms = api.ports.chain.view(), decision_time_ms(api)
    for key in keys:
        if not may_see_entry(view, account, key, time_ms):
            raise _not_entitled(account, key)
    certified = api.ports.chain.certified_view()
    _check_affordable(sum(len(certified.get(key) or b"") for key in keys))
    return _proven(api, keys)


async def scan(api: Api, request: web.Request) -> web.StreamResponse:
    """Prove the entries under a prefix that the asker may see, in key order, from `start` on.

    Entries the asker may not see are passed over in silence; fewer than `limit` entries mean that
    no more follow.
    """
    query = await read_wire(request, ScanQuery, bytes_max=ScanQuery.WIRE_BYTES_MAX)
    if not 1 <= query.limit <= WITNESS_KEYS_MAX:
        raise ApiError("request.malformed", f"limit is not in 1..{WITNESS_KEYS_MAX}")
    if not is_prefix_walkable(query.prefix):
        raise ApiError("state.not_entitled", "only the entries of one subject may be walked")
    account = maybe_account_of(request)
    if account is None and not query.prefix.startswith(b"governance/"):
        raise _not_entitled(account, query.prefix)
    await _wait_certified(api, request, query.at_least_height, query.wait_ms)
    return _proven(api, await _visible_keys(api, account, query))


async def _visible_keys(api: Api, account: Account | None, query: ScanQuery) -> tuple[bytes, ...]:
    found: list[bytes] = []
    value_bytes = seen = 0
    start, is_more = max(query.prefix, query.start), True
    while is_more and len(found) < query.limit:
        if seen >= SCANNED_MAX:
            raise ApiError(
                "limit.too_expensive", "too much lies under this prefix; name a longer one"
            )
        chain, time_ms = api.ports.chain, decision_time_ms(api)
        view, page_max = chain.view(), min(LOOKED_AT_BEFORE_A_TURN, query.limit - len(found))
        page = list(chain.certified_view().scan(query.prefix, start=start, limit=page_max))
        for key, value in page:
            if may_see_entry(view, account, key, time_ms):
                found.append(key)
                value_bytes += len(value)
        seen, is_more = seen + len(page), len(page) == page_max
        start = page[-1][0] + b"\x00" if page else start
        await asyncio.sleep(0)  # Much that may not be shown must not hold up the node.
    _check_affordable(value_bytes)
    return tuple(found)


async def _wait_certified(
    api: Api, request: web.Request, at_least_height: int, wait_ms: int
) -> None:
    """Return once the state after `at_least_height` is certified: by the block that follows it."""
    chain = api.ports.chain
    wanted = Height(min(at_least_height + 1, 2**63))
    if chain.tip().height < wanted:
        timeout_ms = min(wait_ms, api.config.limits.wait_ms_max)
        with occupied(api.waiting, address_of(request), "too many clients wait; ask again"):
            await chain.wait_height(wanted, timeout_ms)
    if chain.tip().height < wanted:
        raise ApiError(
            "state.behind",
            f"the state after block {at_least_height} is not certified here yet, the newest is "
            f"that after block {chain.certified_height()}; try again",
        )


def _proven(api: Api, keys: tuple[bytes, ...]) -> web.Response:
    answer = api.ports.chain.witness(keys)
    assert type(answer) is Witness, "the port gives the wire type"
    return web.Response(body=encode(answer), content_type=MSGPACK)


def _check_affordable(value_bytes: int) -> None:
    if value_bytes > PROOF_VALUES_BYTES_MAX:
        raise ApiError(
            "limit.too_expensive",
            f"the entries hold {value_bytes} bytes, one answer at most {PROOF_VALUES_BYTES_MAX};"
            " ask for fewer",
        )


def _not_entitled(account: Account | None, key: bytes) -> ApiError:
    table = b"/".join(key.split(b"/", 2)[:2]).decode("ascii", "replace")
    if account is None:
        return ApiError("session.required", f"open a session to see entries of {table}")
    return ApiError(
        "state.not_entitled", f"this account may not see an entry asked for, of {table}"
    )


def _height(api: Api, request: web.Request) -> Height:
    text = request.match_info["height"]
    if text == "latest":
        return api.ports.chain.tip().height
    return Height(query_decimal(text, "height"))


def _unknown_block(request: web.Request) -> ApiError:
    height = request.match_info["height"][:20]
    return ApiError("block.unknown", f"block {height} is not decided here, or not kept")


def _ids(block: StoredBlock, page: tuple[bytes, ...]) -> list[Digest]:
    chain_id = block.sealed_header.header.chain_id
    return [transaction_id(chain_id, decode(SignedTransaction, one).body) for one in page]
