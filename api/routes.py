"""The one table of addresses: what serves them, who may ask, what they speak.

The server, `/openapi.json` and `docs/api.md` are all made from it or held to it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiohttp import web

from api import blobs, chain, events, governance, health, people, records, transactions
from api.context import Api

Handler = Callable[[Api, web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who may ask at an address."""

    OPEN = "open"
    """Anybody who reaches the node."""

    MORE = "more"
    """Anybody; a session shows more, or is needed for part of it."""

    SESSION = "session"
    """Whoever has a session."""

    OPERATOR = "operator"
    """Whoever has a session, and anybody on the node's own machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address: `takes` and `gives` are media types, `query` the parameters it knows."""

    method: str
    path: str
    handler: Handler
    access: Access
    gives: tuple[str, ...] = ("application/json",)
    takes: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    status: int = 200

    @property
    def summary(self) -> str:
        """The first sentence of the handler's docstring."""
        text = (self.handler.__doc__ or "").strip().split("\n", 1)[0]
        assert text, "every handler says what it does"
        return text


_MSGPACK: Final = "application/msgpack"
_JSON: Final = "application/json"
_OCTETS: Final = "application/octet-stream"
_PATIENT: Final = "/v1/patients/{pseudonym}"
_TRANSACTION: Final = "/v1/transactions/{tx_id}"


def _get(path: str, handler: Handler, access: Access, *query: str) -> Route:
    return Route(method="GET", path=path, handler=handler, access=access, query=query)


CHAIN_ROUTES: Final = (
    _get("/v1/genesis", chain.get_genesis, Access.OPEN),
    _get("/v1/node", chain.get_node, Access.OPEN),
    _get("/v1/blocks/{height}", chain.get_block, Access.OPEN, "first", "limit"),
    Route(
        method="GET",
        path="/v1/blocks/{height}/outcomes",
        handler=chain.get_outcomes,
        access=Access.OPEN,
        query=("first", "limit"),
        gives=(_MSGPACK,),
    ),
    Route(
        method="GET",
        path="/v1/headers/{height}",
        handler=chain.get_header,
        access=Access.OPEN,
        gives=(_MSGPACK,),
    ),
    Route(
        method="GET",
        path="/v1/epochs",
        handler=chain.get_epochs,
        access=Access.OPEN,
        query=("after",),
        gives=(_MSGPACK,),
    ),
    Route(
        method="POST",
        path="/v1/state/witness",
        handler=chain.witness,
        access=Access.MORE,
        takes=(_MSGPACK,),
        gives=(_MSGPACK,),
    ),
    Route(
        method="POST",
        path="/v1/state/scan",
        handler=chain.scan,
        access=Access.MORE,
        takes=(_MSGPACK,),
        gives=(_MSGPACK,),
    ),
)

TRANSACTION_ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/transactions",
        handler=transactions.submit,
        access=Access.MORE,
        takes=(_MSGPACK, _JSON),
        status=202,
    ),
    _get(_TRANSACTION, transactions.get_status, Access.MORE, "wait_ms"),
    Route(
        method="GET",
        path=f"{_TRANSACTION}/receipt",
        handler=transactions.get_receipt,
        access=Access.MORE,
        gives=(_JSON, _MSGPACK),
    ),
    Route(
        method="GET",
        path=f"{_TRANSACTION}/proof",
        handler=transactions.get_proof,
        access=Access.SESSION,
        gives=(_MSGPACK,),
    ),
    _get(f"{_TRANSACTION}/body", transactions.get_body, Access.SESSION),
)

SESSION_ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/sessions/challenge",
        handler=people.challenge,
        access=Access.OPEN,
        takes=(_JSON,),
    ),
    Route(
        method="POST",
        path="/v1/sessions",
        handler=people.open_one,
        access=Access.OPEN,
        takes=(_JSON,),
        status=201,
    ),
    Route(
        method="DELETE",
        path="/v1/sessions",
        handler=people.close_one,
        access=Access.SESSION,
        gives=(),
        status=204,
    ),
)

PEOPLE_ROUTES: Final = (
    _get("/v1/people/{account}", people.get_person, Access.SESSION),
    _get("/v1/organisations", people.list_organisations, Access.OPEN),
    _get("/v1/organisations/{org}", people.get_one_organisation, Access.OPEN),
    _get(f"{_PATIENT}/records", records.list_records, Access.SESSION, "after", "limit"),
    _get(f"{_PATIENT}/log", records.get_log, Access.SESSION, "after", "limit"),
    _get(f"{_PATIENT}/grants", records.list_grants, Access.SESSION),
    _get(f"{_PATIENT}/requests", records.list_requests, Access.SESSION),
    _get("/v1/records/{record_id}", records.get_one_record, Access.SESSION),
    _get("/v1/records/{record_id}/versions", records.list_versions, Access.SESSION),
    _get(
        "/v1/access/explain",
        records.explain_access,
        Access.SESSION,
        *("patient", "record", "requester", "action", "purpose"),
    ),
)

GOVERNANCE_ROUTES: Final = (
    _get("/v1/validators", governance.list_validators, Access.OPEN),
    _get("/v1/validators/{index}", governance.get_validator, Access.OPEN),
    _get("/v1/proposals", governance.list_proposals, Access.OPEN),
    _get("/v1/proposals/{proposal}", governance.get_one_proposal, Access.OPEN),
)

BYTES_ROUTES: Final = (
    Route(
        method="PUT",
        path="/v1/blobs/{cid}",
        handler=blobs.put_blob,
        access=Access.SESSION,
        takes=(_OCTETS,),
        status=201,
    ),
    Route(
        method="GET",
        path="/v1/blobs/{cid}",
        handler=blobs.get_blob,
        access=Access.SESSION,
        gives=(_OCTETS,),
        query=("read",),
    ),
    Route(
        method="GET",
        path="/v1/sidecars/{digest}",
        handler=blobs.get_sidecar,
        access=Access.SESSION,
        gives=(_OCTETS,),
        query=("read",),
    ),
)

OPERATOR_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/events",
        handler=events.subscribe,
        access=Access.MORE,
        gives=("text/event-stream",),
        query=("after", "subject"),
    ),
    _get("/v1/consensus", health.consensus, Access.OPERATOR),
    _get("/v1/peers", health.peers, Access.OPERATOR),
    _get("/v1/evidence", health.evidence, Access.OPERATOR),
    _get("/v1/doctor", health.doctor, Access.OPERATOR),
    _get("/v1/health/live", health.is_live, Access.OPEN),
    _get("/v1/health/ready", health.is_ready, Access.OPEN),
    Route(
        method="GET",
        path="/metrics",
        handler=health.metrics,
        access=Access.OPERATOR,
        gives=("text/plain",),
    ),
)

ROUTES: Final[tuple[Route, ...]] = (
    *CHAIN_ROUTES,
    *TRANSACTION_ROUTES,
    *SESSION_ROUTES,
    *PEOPLE_ROUTES,
    *GOVERNANCE_ROUTES,
    *BYTES_ROUTES,
    *OPERATOR_ROUTES,
)
