"""Server-sent events: in order, at least once, resumed by a cursor, each to who may see it."""

import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from api.context import ApiConfig, make_api
from api.health import events_lag
from api.limits import LimitsConfig
from ledger.identity_payloads import Suspend
from tests.api.asking import Server, running
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import grant, revoke
from tests.unit.ledger.record_samples import AUDITOR, DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of

Message = dict[str, Any]


@asynccontextmanager
async def subscribed(
    server: Server, query: str = "", by: str | None = None, *, last_id: str | None = None
) -> AsyncIterator[AsyncIterator[Message]]:
    headers = {} if by is None else {"Authorization": f"Bearer {await server.token(by)}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with server.http.get(f"{server.url}/v1/events{query}", headers=headers) as response:
        assert response.status == 200, await response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield messages(response.content)


async def messages(lines: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """Parse the event stream as a browser does."""
    found: Message = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            found[name] = json.loads(value) if name == "data" else value
        elif found:
            yield found
            found = {}


async def take(stream: AsyncIterator[Message], count: int) -> list[Message]:
    return [await anext(stream) for _ in range(count)]


async def test_blocks_come_in_order_from_the_cursor_on(server: Server, node: MemoryNode) -> None:
    start = node.tip().height
    for _ in range(3):
        node.decide([])

    async with subscribed(server, f"?after={start}") as stream:
        found = await take(stream, 3)

    assert [one["event"] for one in found] == ["block"] * 3
    assert [one["data"]["height"] for one in found] == [start + 1, start + 2, start + 3]
    assert [one["id"] for one in found] == [str(start + 1), str(start + 2), str(start + 3)]


async def test_how_far_the_slowest_subscriber_is_behind_is_a_number(node: MemoryNode) -> None:
    api = make_api(node.ports(), ApiConfig())
    start = node.tip().height
    for _ in range(3):
        node.decide([])

    alone = events_lag(api)
    api.sent_heights[web.StreamResponse()] = start
    api.sent_heights[web.StreamResponse()] = start + 2
    behind = events_lag(api)

    assert (alone, behind) == (0, 3)


async def test_without_a_cursor_it_begins_with_the_next_block(
    server: Server, node: MemoryNode
) -> None:
    async with subscribed(server) as stream:
        await node.awaited.wait()
        node.decide([])
        await node.announce()
        found = await anext(stream)

    assert found["data"]["height"] == node.tip().height


async def test_what_happens_to_a_patient_comes_before_its_block(
    server: Server, node: MemoryNode
) -> None:
    start = node.tip().height
    given = grant(node, SOUTH_DOCTOR)
    revoke(node, given)

    async with subscribed(server, f"?after={start}", PATIENT) as stream:
        found = await take(stream, 4)

    assert [one["event"] for one in found] == ["log", "block", "log", "block"]
    assert [one["data"]["kind"] for one in found[::2]] == ["access.granted", "access.revoked"]
    assert "id" not in found[0], "a break between a log event and its block repeats the event"


async def test_it_resumes_after_the_last_id_that_was_seen(server: Server, node: MemoryNode) -> None:
    start = node.tip().height
    grants = [grant(node, SOUTH_DOCTOR).hex() for _ in range(4)]
    seen: list[str] = []
    last_id = str(start)

    for taken in (3, 2, 4):
        async with subscribed(server, by=PATIENT, last_id=last_id) as stream:
            for one in await take(stream, taken):
                if one["event"] == "log":
                    seen.append(one["data"]["tx_id"])
                last_id = one.get("id", last_id)

    assert list(dict.fromkeys(seen)) == grants, "each at least once, in order"
    assert last_id == str(start + 4)


async def test_others_get_blocks_alone(server: Server, node: MemoryNode) -> None:
    start = node.tip().height
    grant(node, SOUTH_DOCTOR)

    async with subscribed(server, f"?after={start}") as stream:
        anybody = await anext(stream)
    async with subscribed(server, f"?after={start}", SOUTH_DOCTOR) as stream:
        grantee = await anext(stream)

    assert anybody["event"] == grantee["event"] == "block"


async def test_an_auditor_follows_a_patient_and_a_stranger_does_not(
    server: Server, node: MemoryNode
) -> None:
    start = node.tip().height
    grant(node, SOUTH_DOCTOR)
    query = f"?after={start}&subject={account_of(PATIENT).hex()}"

    async with subscribed(server, query, AUDITOR) as stream:
        found = await anext(stream)
    refused = await server.get(f"/v1/events{query}", by=DOCTOR)

    assert found["data"]["kind"] == "access.granted"
    assert refused.code == "patient.not_visible"


async def test_a_suspended_subscriber_gets_no_more(server: Server, node: MemoryNode) -> None:
    async with subscribed(server, by=PATIENT) as stream:
        await node.awaited.wait()
        payload = Suspend(account_id=account_of(PATIENT), reason="moved")
        node.accept("identity.suspend", payload, "first admin of north")
        await node.announce()
        found = [one async for one in stream]

    assert [one["event"] for one in found] == ["end"]


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?after=999999", "?after=1&after=2"])
async def test_other_cursors_are_refused_by_name(server: Server, query: str) -> None:
    answer = await server.get(f"/v1/events{query}")

    assert answer.code in ("request.malformed", "block.unknown")


async def test_a_pruned_past_is_told(server: Server) -> None:
    async with subscribed(server, "?after=0") as stream:
        found = [one async for one in stream]

    assert found == [{"event": "end", "data": {"code": "block.unknown"}}]


async def test_subscribers_are_bounded(node: MemoryNode) -> None:
    config = ApiConfig(limits=LimitsConfig(subscribers_per_client_max=1))
    async with running(node, config) as server, subscribed(server):
        second = await server.get("/v1/events")

    assert second.code == "limit.busy"


async def test_a_node_that_stops_ends_its_subscriptions(node: MemoryNode) -> None:
    async with running(node) as server, subscribed(server) as stream:
        await node.awaited.wait()
        server.api.api.stopping.set()
        found = [one async for one in stream]

    assert found == []
