"""A node that lies: it hands every request on to an honest one, and alters answers on the way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

Lie = Callable[[bytes], bytes]


@dataclass(slots=True)
class LyingProxy:
    """What is altered: answers whose method and path begin with a key go through its function.

    What `swallowed` names never reaches the honest node; it is answered with the bytes there, and
    what `refusing` names with the status there.
    """

    upstream: str
    lies: dict[str, Lie] = field(default_factory=dict)
    swallowed: dict[str, bytes] = field(default_factory=dict)
    refusing: dict[str, int] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request, http: aiohttp.ClientSession) -> web.Response:
        line = f"{request.method} {request.path}"
        self.seen.append(line)
        for beginning, answer_instead in self.swallowed.items():
            if line.startswith(beginning):
                return web.Response(body=answer_instead, content_type="application/json")
        for beginning, status in self.refusing.items():
            if line.startswith(beginning):
                return web.Response(status=status)
        headers = {
            name: value for name, value in request.headers.items() if name != "Transfer-Encoding"
        }
        async with http.request(
            request.method,
            self.upstream + request.raw_path,
            headers=headers,
            data=await request.read(),
        ) as answer:
            body, status = await answer.read(), answer.status
            content_type = answer.content_type
        if status < 300:
            for beginning, lie in self.lies.items():
                if line.startswith(beginning):
                    body = lie(body)
        return web.Response(status=status, body=body, content_type=content_type)


@asynccontextmanager
async def lying(upstream: str) -> AsyncIterator[tuple[LyingProxy, str]]:
    """Run a proxy before `upstream`; yield it with its address."""
    proxy = LyingProxy(upstream)
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def handle(request: web.Request) -> web.Response:
            return await proxy.handle(request, http)

        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{tail:.*}", handle)
        async with TestServer(app) as server:
            yield proxy, str(server.make_url("")).rstrip("/")
