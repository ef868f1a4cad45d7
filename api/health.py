"""What operators and their monitoring ask: is it alive, is it ready, where does it stand."""

import dataclasses

from aiohttp import web

from api.context import Api
from api.diagnosis import diagnose
from api.facts import plain_facts
from api.metrics import CONTENT_TYPE, render


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
    measures = {
        **api.ports.node.measures(),
        "refused_total": [((code,), count) for code, count in sorted(api.refused.items())],
        "events_lag": [((), events_lag(api))],
        "served_total": [((str(status),), count) for status, count in sorted(api.served.items())],
    }
    return web.Response(text=render(measures), headers={"Content-Type": CONTENT_TYPE})


def events_lag(api: Api) -> int:
    """Return how many blocks the subscriber that is furthest behind has not been sent yet."""
    tip = api.ports.chain.tip().height
    return tip - min(api.sent_heights.values(), default=tip)
