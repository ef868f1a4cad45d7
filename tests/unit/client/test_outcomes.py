"""What a client says of a transaction: done, refused by whom and why, or nobody knows."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from client.errors import AnswerRejected, OutcomeUnknown, Refused
from client.http import Node, Patience, open_node
from client.transactions import Signed, hand_in, sign_payload
from client.trust import make_trust
from client.wallet import Keys
from ledger.identity_payloads import Suspend
from ledger.replay import Status
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.record_samples import DOCTOR, NURSE
from tests.unit.ledger.small_consortium import (
    account_of,
    genesis,
    seal_private_key,
    signing_key,
)

QUICK = Patience(attempts=2, pause_s=0.001, connect_timeout_s=2, read_timeout_s=5)


def signed_by(label: str) -> Signed:
    keys = Keys(
        label=label,
        account=account_of(label),
        sign_key=signing_key(label),
        seal_keys=(seal_private_key(label),),
    )
    payload = Suspend(account_id=account_of(NURSE), reason="left")
    return sign_payload(make_trust(genesis()), keys, "identity.suspend", payload)


SIGNED = signed_by("first admin of north")
TX_ID = SIGNED.tx_id.hex()
PENDING = {"tx_id": TX_ID, "state": "PENDING"}
UNKNOWN = {"tx_id": TX_ID, "state": "UNKNOWN"}
RECEIPT = {"height": 7, "index": 0, "accepted": True, "code": "ok"}
COMMITTED = {"tx_id": TX_ID, "state": "COMMITTED", "receipt": RECEIPT}


@asynccontextmanager
async def node_saying(
    offered: Sequence[Any], asked: Sequence[Any] = ()
) -> AsyncIterator[tuple[Node, list[str]]]:
    """A node with these answers to offers and questions, in order; an int is a status."""
    seen: list[str] = []
    answers = {"POST": list(offered), "GET": list(asked)}

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.method)
        told = answers[request.method].pop(0)
        if isinstance(told, int):
            problem = {"code": "node.trouble", "detail": "trouble"}
            return web.json_response(problem, status=told)
        return web.Response(
            body=json.dumps([told] if request.method == "POST" else told).encode(),
            content_type="application/json",
        )

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with (
        TestServer(app) as server,
        open_node(str(server.make_url("")), patience=QUICK) as node,
    ):
        yield node, seen


async def test_a_pending_transaction_is_waited_for() -> None:
    async with node_saying([PENDING], [PENDING, COMMITTED]) as (node, seen):
        outcome = await hand_in(node, SIGNED)

    assert (outcome.state, outcome.height, outcome.code) == (Status.COMMITTED, 7, "ok")
    assert seen == ["POST", "GET", "GET"]


async def test_a_node_that_forgot_it_gets_it_again() -> None:
    async with node_saying([PENDING, COMMITTED], [UNKNOWN]) as (node, seen):
        outcome = await hand_in(node, SIGNED)

    assert outcome.height == 7
    assert seen == ["POST", "GET", "POST"]


async def test_patience_ends_with_an_unknown_outcome_that_names_the_transaction() -> None:
    async with node_saying([PENDING]) as (node, _):
        with pytest.raises(OutcomeUnknown, match=TX_ID) as unknown:
            await hand_in(node, SIGNED, patience_ms=0)

    assert unknown.value.tx_id == SIGNED.tx_id


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_node_in_trouble_leaves_the_outcome_unknown(status: int) -> None:
    async with node_saying([status, status]) as (node, _):
        with pytest.raises(OutcomeUnknown):
            await hand_in(node, SIGNED)


async def test_trouble_while_waiting_leaves_the_outcome_unknown() -> None:
    async with node_saying([PENDING], [500]) as (node, _):
        with pytest.raises(OutcomeUnknown):
            await hand_in(node, SIGNED)


async def test_a_refusal_at_the_door_says_whether_it_is_definite() -> None:
    refusal = {"tx_id": TX_ID, "code": "pool.full", "detail": "no room", "definite": False}
    async with node_saying([refusal]) as (node, _):
        with pytest.raises(Refused, match="no room") as refused:
            await hand_in(node, SIGNED)

    assert (refused.value.code, refused.value.definite) == ("pool.full", False)


async def test_a_request_refused_whole_is_refused() -> None:
    async with node_saying([413]) as (node, _):
        with pytest.raises(Refused) as refused:
            await hand_in(node, SIGNED)

    assert refused.value.status == 413


async def test_a_transaction_that_ran_out_of_time_is_refused_as_expired() -> None:
    async with node_saying([{"tx_id": TX_ID, "state": "EXPIRED"}]) as (node, _):
        with pytest.raises(Refused) as refused:
            await hand_in(node, SIGNED)

    assert refused.value.code == "transaction.expired"


@pytest.mark.parametrize(
    "answer",
    [
        {**COMMITTED, "tx_id": "00" * 32},
        {**COMMITTED, "receipt": {}},
        {"tx_id": TX_ID, "state": "DONE"},
        "COMMITTED",
    ],
    ids=["another's", "no receipt", "no such state", "no object"],
)
async def test_an_answer_that_is_none_is_refused(answer: Any) -> None:
    async with node_saying([answer]) as (node, _):
        with pytest.raises(AnswerRejected):
            await hand_in(node, SIGNED)


async def test_the_same_transaction_again_brings_the_same_receipt() -> None:
    small = SmallNode()
    async with serve(small) as url, open_node(url, patience=QUICK) as node:
        first = await hand_in(node, SIGNED)
        height = small.chain.height
        second = await hand_in(node, SIGNED)

    assert replace(first, events=()) == replace(second, events=())
    assert small.chain.height == height


async def test_what_the_ledger_refuses_carries_its_code_and_its_id() -> None:
    mistaken = signed_by(DOCTOR)
    async with serve(SmallNode()) as url, open_node(url, patience=QUICK) as node:
        with pytest.raises(Refused) as refused:
            await hand_in(node, mistaken)

    assert (refused.value.code, refused.value.tx_id) == ("role.not_allowed", mistaken.tx_id)
