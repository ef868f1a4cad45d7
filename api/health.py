"""What operators and their monitoring ask: is it alive, is it ready, where does it stand."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

from aiohttp import web

from api.context import Api
from api.diagnosis import diagnose
from api.facts import plain_facts

METRICS_TYPE: Final = "text/plain; version=0.0.4"

Sample = tuple[str, Mapping[str, str], float]

_GAUGES: Final = (
    ("height", "height", "Height of the last executed block.", 1.0),
    ("view", "view", "View of the running instance.", 1.0),
    ("epoch", "epoch", "Generation of the replica set.", 1.0),
    ("pool_transactions", "pool_transactions", "Transactions waiting.", 1.0),
    ("pool_bytes", "pool_bytes", "Bytes of transactions waiting.", 1.0),
    ("loop_lag_seconds", "loop_lag_ms_max", "Longest delay of the event loop.", 0.001),
)


async def is_live(_api: Api, _request: web.Request) -> web.StreamResponse:
    """Answer at all."""
    return web.json_response({"live": True})


async def is_ready(api: Api, _request: web.Request) -> web.StreamResponse:
    """Say whether this node may serve: enough peers have confirmed its height lately."""
    is_fresh = api.ports.node.is_fresh() and not api.stopping.is_set()
    answer = {"ready": is_fresh, "height": api.ports.chain.tip().height}
    return web.json_response(answer, status=200 if is_fresh else 503)


async def consensus(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return the replica's position in the protocol."""
    return web.json_response(api.ports.node.consensus())


async def peers(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return one row for each other member's node."""
    return web.json_response({"peers": api.ports.node.peers()})


async def evidence(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return the proven faults of members: who signed two votes for one slot."""
    return web.json_response({"evidence": api.ports.node.evidence()})


async def doctor(api: Api, _request: web.Request) -> web.StreamResponse:
    """Say in one sentence why no block comes, or that all is well, and from which facts."""
    facts = api.ports.node.facts()
    found = diagnose(facts)
    answer = {**dataclasses.asdict(found), "facts": plain_facts(facts)}
    return web.json_response(answer)


async def metrics(api: Api, _request: web.Request) -> web.StreamResponse:
    """Return the numbers for monitoring, in the Prometheus text format."""
    overview, rows = api.ports.node.consensus(), api.ports.node.peers()
    lines: list[str] = []
    for name, member, text, scale in _GAUGES:
        value = overview.get(member)
        if isinstance(value, int | float):
            lines += _family(name, "gauge", text, [(name, {}, value * scale)])
    lines += _family("peers", "gauge", "Peers by state.", _peer_states(rows))
    lines += _family(
        "peer_rtt_seconds",
        "gauge",
        "Round trip to a peer.",
        _by_peer(rows, "peer_rtt_seconds", "rtt_ms"),
    )
    lines += _family(
        "clock_offset_seconds",
        "gauge",
        "How far a peer's clock is ahead.",
        _by_peer(rows, "clock_offset_seconds", "clock_offset_ms"),
    )
    refused = [
        ("refused_total", {"code": code}, float(n)) for code, n in sorted(api.refused.items())
    ]
    lines += _family("refused_total", "counter", "Requests refused, by code.", refused)
    served = [("served_total", {"status": str(s)}, float(n)) for s, n in sorted(api.served.items())]
    lines += _family("served_total", "counter", "Requests answered, by status.", served)
    return web.Response(text="\n".join(lines) + "\n", headers={"Content-Type": METRICS_TYPE})


def _peer_states(rows: list[dict[str, object]]) -> list[Sample]:
    counts: dict[str, int] = {}
    for row in rows:
        state = str(row.get("state"))
        counts[state] = counts.get(state, 0) + 1
    return [("peers", {"state": state}, float(count)) for state, count in sorted(counts.items())]


def _by_peer(rows: list[dict[str, object]], name: str, member: str) -> list[Sample]:
    return [
        (name, {"peer": str(row.get("node"))}, value / 1_000)
        for row in rows
        if isinstance(value := row.get(member), int | float)
    ]


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> list[str]:
    rows = []
    for sample, labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(held)}"' for label, held in labels.items())
        rows.append(f"medledger_{sample}{f'{{{shown}}}' if shown else ''} {value:g}")
    if not rows:
        return []
    return [f"# HELP medledger_{name} {text}", f"# TYPE medledger_{name} {kind}", *rows]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
