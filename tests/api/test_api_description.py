"""The description served and the page for people say what the table of routes says."""

import re
from pathlib import Path

import pytest

from api.errors import CODES
from api.openapi import make_openapi
from api.routes import ROUTES, Access, Route
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.record_samples import DOCTOR

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


async def test_the_description_is_served(server: Server) -> None:
    answer = await server.get("/openapi.json")

    assert answer.json["openapi"] == "3.1.0"
    assert set(answer.json["paths"]) == {route.path for route in ROUTES}


def test_every_operation_says_what_it_does_and_who_may() -> None:
    described = make_openapi("1")["paths"]
    assert isinstance(described, dict)

    operations = [one for methods in described.values() for one in methods.values()]

    assert len(operations) == len(ROUTES)
    assert len({one["operationId"] for one in operations}) == len(ROUTES)
    for one in operations:
        assert one["summary"].endswith((".", ";"))
        assert isinstance(one["security"], list)


def test_path_parameters_of_the_description_are_those_of_the_path() -> None:
    described = make_openapi("1")["paths"]
    assert isinstance(described, dict)

    for path, methods in described.items():
        for operation in methods.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.access is Access.SESSION],
    ids=lambda route: f"{route.method} {route.path}",
)
async def test_an_address_that_needs_a_session_refuses_without_one(
    server: Server, route: Route
) -> None:
    path = re.sub(r"\{\w+\}", "00", route.path)

    answer = await server.ask(route.method, path)

    assert answer.code == "session.required"


def test_the_page_lists_every_route() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)

    assert rows == [(route.method, route.path, route.access.value) for route in ROUTES]


def test_the_page_lists_every_code() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| (\d{3}) \| (yes|no) \| (.+) \|$", PAGE.read_text(), re.MULTILINE
    )

    assert rows == [
        (code, str(kind.status), "yes" if kind.definite else "no", kind.meaning)
        for code, kind in CODES.items()
    ]


async def test_health_and_numbers_for_monitoring(server: Server, node: MemoryNode) -> None:
    live = await server.get("/v1/health/live")
    ready = await server.get("/v1/health/ready")
    await server.get("/v1/nothing")
    metrics = (await server.get("/metrics")).body.decode()
    node.freshness = False
    not_ready = await server.get("/v1/health/ready")

    assert live.json == {"live": True}
    assert ready.status == 200
    assert not_ready.status == 503
    assert f"medledger_height {node.tip().height}" in metrics
    assert 'medledger_peers{state="connected"} 1' in metrics
    assert 'medledger_refused_total{code="request.not_found"} 1' in metrics


async def test_operators_ask_on_the_nodes_own_machine_or_with_a_session(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_home = await server.get("/v1/consensus")
    monkeypatch.setattr("api.app._is_local", lambda _request: False)
    from_afar = await server.get("/v1/consensus")
    with_session = await server.get("/v1/peers", by=DOCTOR)

    assert at_home.json["view"] == 0
    assert from_afar.code == "session.required"
    assert with_session.json["peers"][0]["node"] == 2
