"""A session must not be opened through somebody in between, whatever host a request names."""

from dataclasses import replace
from pathlib import Path

import pytest

from api.context import ApiConfig
from config import Endpoint, InvalidConfig, NodeConfig, api_origins, dump_config, load_config
from tests.api.asking import Server, running
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.record_samples import DOCTOR

CONFIG = NodeConfig(node_index=1, directory=Path(), api=Endpoint(port=8443))


async def test_a_claim_signed_for_a_relay_opens_no_session_at_the_node(node: MemoryNode) -> None:
    """The relay forwards the claim with its own name as `Host`, as any proxy can."""
    config = replace(CONFIG, api_origin="https://ledger.north.example")

    async with running(node, ApiConfig(origins=api_origins(config))) as server:
        nonce = await server.challenge(DOCTOR)
        answer = await server.open_session(DOCTOR, nonce=nonce, origin="https://relay.example")
        relayed = await server.ask(
            "POST",
            "/v1/sessions/challenge",
            headers={"Host": "relay.example", "Origin": "https://relay.example"},
            json={"account": "00" * 32},
        )

    assert answer.code == "session.origin"
    assert relayed.code == "request.foreign_origin"


def test_a_node_on_loopback_is_reached_under_its_own_address_only() -> None:
    assert api_origins(CONFIG) == ("http://127.0.0.1:8443", "http://localhost:8443")


def test_a_node_with_a_name_is_reached_under_that_name_only() -> None:
    named = replace(CONFIG, api_origin="https://ledger.north.example")

    assert api_origins(named) == ("https://ledger.north.example",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])  # noqa: S104
def test_a_node_that_listens_everywhere_has_to_say_its_name(host: str) -> None:
    with pytest.raises(InvalidConfig):
        api_origins(replace(CONFIG, api=Endpoint(host=host, port=8443)))


@pytest.mark.parametrize(
    "origin", ["ledger.north.example", "https://ledger.north.example/", "https://a b", "ftp://a"]
)
def test_an_origin_is_scheme_host_and_port_and_nothing_else(origin: str) -> None:
    with pytest.raises(InvalidConfig):
        api_origins(replace(CONFIG, api_origin=origin))


def test_the_origin_stands_in_the_settings_file(tmp_path: Path) -> None:
    named = replace(CONFIG, directory=tmp_path, api_origin="https://ledger.north.example")
    (tmp_path / "node.toml").write_text(dump_config(named), encoding="utf-8")

    assert load_config(tmp_path / "node.toml") == named


@pytest.mark.parametrize("path", ["/metrics", "/v1/peers", "/v1/consensus"])
async def test_what_operators_see_is_not_for_pages_or_proxies_on_the_nodes_machine(
    server: Server, path: str
) -> None:
    """A page whose name was made to lead to loopback, or a proxy there, comes from "at home"."""
    at_home = await server.get(path)
    rebound = await server.get(path, headers={"Host": f"evil.example:{server.api.port}"})

    assert at_home.status == 200
    assert rebound.code == "session.required"
