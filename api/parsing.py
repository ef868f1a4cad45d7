"""Reading requests: bounded bodies, strict JSON, parameters of one spelling."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from aiohttp import web

from api.errors import ApiError
from crypto.cid import CID_BYTES, Cid, check_cid, decode_cid_text
from crypto.errors import DecodeError, InvalidCid
from crypto.schema import decode

T = TypeVar("T")

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
SMALL_BODY_BYTES_MAX: Final = 64 << 10
BODY_TIMEOUT_S: Final = 30.0
INTEGER_MAX: Final = 2**64 - 1
JSON_ITEMS_MAX: Final = 1 << 16
"""Objects, lists and commas of a body: what a parser makes of more holds the node up."""


async def read_body(request: web.Request, *, bytes_max: int) -> bytes:
    """Return the whole body; raise for more than `bytes_max` bytes or a client that dawdles."""
    declared = request.content_length
    if declared is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    gathered = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                gathered += chunk
                if len(gathered) > bytes_max:
                    raise _too_large(bytes_max)
    except TimeoutError as problem:
        raise ApiError(
            "request.timeout", f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s"
        ) from problem
    return bytes(gathered)


async def read_json(request: web.Request, *, bytes_max: int = SMALL_BODY_BYTES_MAX) -> Any:
    """Return the JSON object of a body."""
    check_media_type(request, JSON)
    value = parse_json(await read_body(request, bytes_max=bytes_max))
    if not isinstance(value, dict):
        raise ApiError("request.malformed", "the body is not a JSON object")
    return value


async def read_wire(request: web.Request, kind: type[T], *, bytes_max: int) -> T:
    """Return the canonical encoding of `kind` that the body is."""
    check_media_type(request, MSGPACK)
    return parse_wire(kind, await read_body(request, bytes_max=bytes_max))


def parse_wire(kind: type[T], body: bytes) -> T:
    try:
        return decode(kind, body)
    except DecodeError as problem:
        raise ApiError(
            "request.malformed", f"the body is no canonical {kind.__name__}: {problem}"
        ) from problem


def parse_json(body: bytes) -> Any:
    """Return JSON in which no name occurs twice and every number is an integer."""
    if sum(body.count(one) for one in (b"{", b"[", b",")) > JSON_ITEMS_MAX:
        raise ApiError("request.malformed", f"the body holds more than {JSON_ITEMS_MAX} items")
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=_refused_number,
            parse_constant=_refused_number,
        )
    except (ValueError, RecursionError) as problem:
        raise ApiError("request.malformed", f"the body is not JSON: {problem}") from problem


def check_media_type(request: web.Request, *allowed: str) -> None:
    if request.content_type not in allowed:
        raise ApiError(
            "request.media_type", f"send the body as {' or '.join(allowed)}, in no encoding"
        )


def is_msgpack_wanted(request: web.Request) -> bool:
    return request.headers.get("Accept", "").partition(";")[0].strip() == MSGPACK


def parse_hex(text: object, size: int, name: str) -> bytes:
    """Return the bytes that `text` spells in lower-case hex."""
    if isinstance(text, str) and len(text) == 2 * size and text.isascii() and text == text.lower():
        try:
            found = bytes.fromhex(text)
        except ValueError:
            found = b""
        if len(found) == size:
            return found
    raise ApiError("request.malformed", f"{name} is not {size} bytes in lower-case hex")


def parse_base64(text: object, name: str) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass  # Said below, like every other wrong form.
    raise ApiError("request.malformed", f"{name} is not base64")


def parse_integer(value: object, name: str, *, high: int = INTEGER_MAX) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high:
        return value
    raise ApiError("request.malformed", f"{name} is not an integer in 0..{high}")


def path_hex(request: web.Request, name: str, size: int) -> bytes:
    return parse_hex(request.match_info[name], size, name)


def query_hex(request: web.Request, name: str, size: int) -> bytes:
    """Return a required parameter."""
    return parse_hex(query_text(request, name), size, name)


def query_text(request: web.Request, name: str, *, default: str | None = None) -> str:
    found = request.query.getall(name, [])
    if len(found) > 1:
        raise ApiError("request.malformed", f"{name} is there {len(found)} times")
    if found:
        return found[0]
    if default is None:
        raise ApiError("request.malformed", f"the parameter {name} is missing")
    return default


def query_integer(request: web.Request, name: str, *, default: int, high: int) -> int:
    """Return a parameter; above `high` it counts as `high`."""
    return min(query_decimal(query_text(request, name, default=str(default)), name), high)


def query_decimal(text: str, name: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 20:
        return parse_integer(int(text), name)
    raise ApiError("request.malformed", f"{name} is not a whole number")


def parse_cid(text: str) -> Cid:
    """Return a content address from its text form, or from its 36 bytes in hex."""
    try:
        if len(text) == 2 * CID_BYTES:
            return check_cid(parse_hex(text, CID_BYTES, "cid"))
        return decode_cid_text(text)
    except InvalidCid as problem:
        raise ApiError("cid.invalid", f"not a content address: {problem}") from problem


def check_members(body: Mapping[str, object], names: tuple[str, ...]) -> None:
    """Raise unless the JSON object has exactly these members."""
    if set(body) != set(names):
        raise ApiError("request.malformed", f"the members of the body are {', '.join(names)}")


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _refused_number(text: str) -> object:
    raise ValueError(f"{text[:20]} is no integer")


def _too_large(bytes_max: int) -> ApiError:
    return ApiError("request.too_large", f"the body is above {bytes_max} bytes")
