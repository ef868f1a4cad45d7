"""What every handler has at hand, and who is asking."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from api.errors import ApiError
from api.limits import Buckets, LimitsConfig, Slots, check_rate, occupied
from api.ports import Ports
from api.sessions import Sessions, find_session
from api.turns import Turn, taking
from ledger.accounts import Account

BEARER: Final = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """What a hospital chooses about its node's HTTP side.

    `origins` are the addresses under which clients reach this node, such as
    `https://ledger.st-mary.example`; none means whatever address a request names as its host.
    """

    origins: tuple[str, ...] = ()
    limits: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(slots=True, kw_only=True)
class Api:
    """The HTTP side of one node.

    `refused` counts problems by code, `served` answers by status; `sent_heights` has for
    each stream of events the last block that was sent; `stopping` ends every stream.
    """

    ports: Ports
    config: ApiConfig
    sessions: Sessions
    by_address: Buckets
    by_account: Buckets
    by_address_sessions: Buckets
    untaken: Buckets
    uploaded: Buckets
    uploads: Slots
    large_bodies: Slots
    large_reads: Slots
    large_turn: Turn
    downloads: Slots
    waiting: Slots
    subscribers: Slots
    refused: dict[str, int] = field(default_factory=dict)
    served: dict[int, int] = field(default_factory=dict)
    sent_heights: dict[web.StreamResponse, int] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


API: Final = web.AppKey("api", Api)
ACCOUNT: Final = web.RequestKey("account", Account)


def make_api(
    ports: Ports, config: ApiConfig, *, clock_s: Callable[[], float] = time.monotonic
) -> Api:
    limits = config.limits
    return Api(
        ports=ports,
        config=config,
        sessions=Sessions(clock_ms=ports.node.clock_ms),
        by_address=Buckets(rate=limits.address, clock_s=clock_s),
        by_account=Buckets(rate=limits.account, clock_s=clock_s),
        by_address_sessions=Buckets(rate=limits.sessions, clock_s=clock_s),
        untaken=Buckets(rate=limits.untaken, clock_s=clock_s),
        uploaded=Buckets(rate=limits.upload_bytes, clock_s=clock_s),
        uploads=Slots(total_max=limits.uploads_max, each_max=limits.uploads_per_account_max),
        large_bodies=Slots(
            total_max=limits.large_bodies_max, each_max=limits.large_bodies_per_address_max
        ),
        large_reads=Slots(
            total_max=limits.large_reads_max, each_max=limits.large_reads_per_client_max
        ),
        large_turn=Turn(share=limits.large_reads_share),
        downloads=Slots(total_max=limits.downloads_max, each_max=limits.downloads_per_account_max),
        waiting=Slots(total_max=limits.waiting_max, each_max=limits.waiting_max),
        subscribers=Slots(
            total_max=limits.subscribers_max, each_max=limits.subscribers_per_client_max
        ),
    )


def token_of(request: web.Request) -> str | None:
    """Return the session token that the request carries."""
    value = request.headers.get("Authorization")
    if value is None:
        return None
    if not value.startswith(BEARER):
        raise ApiError("session.unknown", "the Authorization header is not `Bearer TOKEN`")
    return value.removeprefix(BEARER)


def identify(api: Api, request: web.Request) -> Account | None:
    """Return the account whose session the request carries, None without one."""
    token = token_of(request)
    if token is None:
        return None
    account = find_session(api.sessions, token, api.ports.chain.view())
    check_rate(
        api.by_account,
        account.account_id,
        "limit.account",
        "the account makes more requests than it may; wait as told",
    )
    return account


def account_of(request: web.Request) -> Account:
    """Return who asks, at an address that needs a session."""
    account = maybe_account_of(request)
    assert account is not None, "the route asks for a session before its handler runs"
    return account


def maybe_account_of(request: web.Request) -> Account | None:
    """Return who asks, at an address that is open to all but shows more to some."""
    found: Account | None = request.get(ACCOUNT)
    return found


@asynccontextmanager
async def reading_much(api: Api, request: web.Request) -> AsyncIterator[None]:
    """Read what keeps this node busy, when it is this client's turn; raise `limit.busy`."""
    account = maybe_account_of(request)
    client = address_of(request) if account is None else account.account_id
    with occupied(api.large_reads, client, "too much is being read; ask again"):
        async with taking(api.large_turn):
            yield


def address_of(request: web.Request) -> str:
    return request.remote or "unknown"


def decision_time_ms(api: Api) -> int:
    """Return the later of the tip's time and the node's clock: the clock can only refuse."""
    return max(api.ports.chain.tip().time_ms, api.ports.node.clock_ms())
