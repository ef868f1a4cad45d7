"""The HTTP side of a node: routes put behind limits, sessions and one way of saying no.

Every answer that is no result is a problem with a stable code (`api.errors`); a fault of ours is
logged here and told without its details. Browsers get no foreign origin and nothing to keep.
"""

import asyncio
import ipaddress
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.chain import VERSION
from api.context import ACCOUNT, API, Api, ApiConfig, address_of, identify, make_api
from api.errors import ApiError, as_api_error, from_http, problem_response
from api.limits import check_rate
from api.listening import listen
from api.openapi import PATH, make_openapi
from api.ports import Ports
from api.routes import ROUTES, Access, Handler, Route

log = logging.getLogger("medledger.api")
http_log = logging.getLogger("medledger.api.http")

LINE_BYTES_MAX: Final = 8_190
HEADERS_MAX: Final = 64
IDLE_S: Final = 30.0
"""How long a connection may take for its next request's head."""

_AT_HOME: Final = re.compile(r"(localhost|127\.[0-9.]{5,11}|\[::1\])(:[0-9]{1,5})?")

STARTED: Final = web.RequestKey("started", web.StreamResponse)
LINGER_S: Final = 2.0
CLOSE_S: Final = 2.0

SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class RunningApi:
    """A server that listens on `port`."""

    port: int
    api: Api
    runner: web.AppRunner
    listener: asyncio.Server

    async def close(self) -> None:
        """Take no new requests, end the streams, and stop."""
        self.api.stopping.set()
        self.listener.close()
        await self.runner.cleanup()
        await self.listener.wait_closed()


async def start_api(
    ports: Ports, *, host: str, port: int, config: ApiConfig | None = None
) -> RunningApi:
    """Listen on `host` and `port` (0 for any free one); raises `OSError` if that is taken."""
    config = config or ApiConfig()
    app = make_app(ports, config)
    http_log.addFilter(_is_no_bad_request)  # Adding it again changes nothing.
    runner = web.AppRunner(
        app,
        logger=http_log,
        access_log=None,
        auto_decompress=False,
        handle_signals=False,
        keepalive_timeout=IDLE_S,
        lingering_time=LINGER_S,
        max_field_size=LINE_BYTES_MAX,
        max_headers=HEADERS_MAX,
        max_line_size=LINE_BYTES_MAX,
        shutdown_timeout=CLOSE_S,
    )
    await runner.setup()
    server = runner.server
    assert server is not None, "a runner that is set up has its server"
    try:
        listener = await listen(
            server,
            host=host,
            port=port,
            total_max=config.limits.connections_max,
            each_max=config.limits.connections_per_address_max,
        )
    except OSError:
        await runner.cleanup()
        raise
    bound = listener.sockets[0].getsockname()[1]
    return RunningApi(port=bound, api=app[API], runner=runner, listener=listener)


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """Leave out what is no HTTP: a stranger's affair, who could fill the disk with tracebacks."""
    problem = record.exc_info[1] if record.exc_info else None
    return not isinstance(problem, HttpProcessingError)


def make_app(ports: Ports, config: ApiConfig) -> web.Application:
    """Return the application; every route stands in `api.routes`."""
    app = web.Application(middlewares=[_guard])
    app[API] = make_api(ports, config)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _bound(route))
    description = json.dumps(make_openapi(VERSION)).encode()

    async def describe(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=description, content_type="application/json")

    app.router.add_get(PATH, describe)
    app.on_response_prepare.append(_harden)
    return app


def _bound(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a route's handler behind the check of who asks."""
    handler: Handler = route.handler

    async def handle(request: web.Request) -> web.StreamResponse:
        api = request.app[API]
        account = None if route.access is Access.OPEN else identify(api, request)
        is_at_home = route.access is Access.OPERATOR and _is_local(request)
        if account is None and not is_at_home and route.access in (Access.SESSION, Access.OPERATOR):
            raise ApiError("session.required", "open a session: /v1/sessions/challenge comes first")
        if account is not None:
            request[ACCOUNT] = account
        return await handler(api, request)

    return handle


@web.middleware
async def _guard(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Let a request through the limits to its handler; turn whatever goes wrong into a problem."""
    api = request.app[API]
    try:
        _check_client(api, request)
        response = await handler(request)
    except web.HTTPException as answer:
        response = _refused(api, request, from_http(answer.status))
        if "Allow" in answer.headers:
            response.headers["Allow"] = answer.headers["Allow"]
    except (ConnectionError, web.RequestPayloadError):
        broken = ApiError("request.broken", "the request broke off, or its body is malformed")
        response = _refused(api, request, broken)
    except Exception as problem:
        error = as_api_error(problem)
        if error is None:  # The outermost loop of a request: logged, told, and no further.
            log.exception("request failed", extra={"path": request.path, "method": request.method})
            error = ApiError("node.internal", "a fault of this node; its log has more")
        response = _refused(api, request, error)
    api.served[response.status] = api.served.get(response.status, 0) + 1
    return response


def _check_client(api: Api, request: web.Request) -> None:
    if api.stopping.is_set():
        raise ApiError("node.stopping", "the node is stopping; ask another one")
    check_rate(
        api.by_address,
        address_of(request),
        "limit.rate",
        "more requests than one address may make; wait as told",
    )
    origin = request.headers.get("Origin")
    own = api.config.origins or (f"http://{request.host}", f"https://{request.host}")
    if origin is not None and origin not in own:
        raise ApiError("request.foreign_origin", "pages of other origins may not ask this node")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise ApiError("request.media_type", "bodies are read as they are: send no encoding")


def _refused(api: Api, request: web.Request, error: ApiError) -> web.StreamResponse:
    """Count and tell a refusal; in the middle of a stream, cut it short of its announced end."""
    api.refused[error.code] = api.refused.get(error.code, 0) + 1
    started: web.StreamResponse | None = request.get(STARTED)
    if started is None:
        return problem_response(error)
    log.info("stream cut", extra={"path": request.path, "code": error.code})
    if request.transport is not None:
        request.transport.abort()
    return started


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    request[STARTED] = response
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall("Server", None)


def _is_local(request: web.Request) -> bool:
    """Whether the request comes from the node's own machine and means it by name.

    A page of another origin can have its name lead to loopback, and a proxy there asks for others.
    """
    try:
        is_loopback = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False
    return is_loopback and _AT_HOME.fullmatch(request.host) is not None
