"""The OpenAPI 3.1 description of this node's HTTP side, made from the table of routes."""

import re
from typing import Final

from api.errors import CODES, PROBLEM_TYPE
from api.routes import ROUTES, Access, Route

PATH: Final = "/openapi.json"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")

Json = dict[str, object]


def make_openapi(version: str) -> Json:
    """Return the description."""
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "medledger node",
            "version": version,
            "description": "Ids and digests are lower-case hex, times are milliseconds since 1970.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"session": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": _problem_schema()},
            "responses": {
                "Problem": {
                    "description": "A refusal; `code` is stable.",
                    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def _operation(route: Route) -> Json:
    found: Json = {
        "summary": route.summary,
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "parameters": [
            *[_parameter(name, "path") for name in _PARAMETER.findall(route.path)],
            *[_parameter(name, "query") for name in route.query],
        ],
        "responses": {
            str(route.status): {
                "description": "Done.",
                "content": {kind: {} for kind in route.gives},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
        "security": _security(route.access),
    }
    if route.takes:
        found["requestBody"] = {"required": True, "content": {kind: {} for kind in route.takes}}
    return found


def _parameter(name: str, place: str) -> Json:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": {"type": "string"},
    }


def _security(access: Access) -> list[Json]:
    """Say what a request has to carry; an empty requirement means that it may do without."""
    session: Json = {"session": []}
    match access:
        case Access.OPEN:
            return []
        case Access.SESSION:
            return [session]
        case Access.MORE | Access.OPERATOR:
            return [session, {}]


def _problem_schema() -> Json:
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "definite"],
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"enum": sorted(CODES)},
            "detail": {"type": "string"},
            "definite": {
                "type": "boolean",
                "description": "Whether the same request can never succeed.",
            },
        },
    }
