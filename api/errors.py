"""What this side may answer with instead of a result: stable codes, statuses, one sentence each.

Every refusal leaves as `application/problem+json`. `definite` says that the same request can never
succeed; without it another moment, another session or another node may change the answer. Errors
that come through the ports carry the codes of the rooms behind them: the table knows those too.
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

PROBLEM_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """How an error code is answered."""

    status: int
    definite: bool
    meaning: str


CODES: Final[dict[str, Kind]] = {
    "request.malformed": Kind(400, True, "the body, a parameter or the path is not of its form"),
    "request.not_found": Kind(404, True, "there is no such address here"),
    "request.method": Kind(405, True, "the address exists, the method does not"),
    "request.broken": Kind(400, False, "the request broke off, or its chunks are malformed"),
    "request.timeout": Kind(408, False, "the body did not arrive in time"),
    "request.length_required": Kind(411, True, "an upload says its length first"),
    "request.too_large": Kind(413, True, "the body is above the limit of its address"),
    "request.media_type": Kind(415, True, "a body of this type or encoding is not read here"),
    "request.range": Kind(416, True, "the range lies outside the blob"),
    "request.foreign_origin": Kind(403, True, "a page of another origin may not ask"),
    "request.rejected": Kind(400, True, "the request is no HTTP that is spoken here"),
    "limit.rate": Kind(429, False, "more requests than one client may make; wait as told"),
    "limit.account": Kind(429, False, "more requests than one account may make; wait as told"),
    "limit.busy": Kind(503, False, "as many such requests as this node serves at a time are open"),
    "limit.upload_quota": Kind(429, False, "the account has uploaded its share for now"),
    "limit.too_expensive": Kind(413, True, "the answer would be too large; ask for less"),
    "session.required": Kind(401, False, "what concerns people needs a session"),
    "session.unknown": Kind(401, False, "the token is not one of a session that is open here"),
    "session.nonce": Kind(
        401, False, "the challenge is not one of this node, is over, or was used"
    ),
    "session.origin": Kind(401, False, "the claim was signed for another address"),
    "session.expired": Kind(401, False, "the claim's times are over or too far apart"),
    "session.key": Kind(401, False, "the key is not the account's sign key in force"),
    "session.signature": Kind(401, False, "the signature does not cover this claim"),
    "session.account": Kind(401, False, "the account is unknown or suspended"),
    "transaction.unknown": Kind(404, False, "no decided block here holds the transaction"),
    "block.unknown": Kind(404, False, "the height is not decided yet, or its block is pruned"),
    "history.pruned": Kind(410, False, "decided, and no longer kept here; ask another node"),
    "person.unknown": Kind(404, False, "no account of this id is registered"),
    "organisation.unknown": Kind(404, False, "no organisation of this name is a member"),
    "validator.unknown": Kind(404, False, "no node of this index is or was a validator"),
    "proposal.unknown": Kind(404, False, "no proposal was made under this id"),
    "patient.not_visible": Kind(403, False, "nothing permits this account to know of the patient"),
    "record.not_visible": Kind(404, False, "no such record that this account may know of"),
    "explain.not_yours": Kind(403, False, "only the patient or an auditor asks about others"),
    "state.not_entitled": Kind(403, False, "a state entry that this account may not see"),
    "state.not_certified": Kind(503, False, "the chain has no block yet"),
    "state.behind": Kind(503, False, "the height asked for is not certified here yet"),
    "read.unknown": Kind(404, False, "the read entry is not in a decided block here"),
    "read.not_yours": Kind(403, True, "the read entry is another account's, or no read entry"),
    "read.other_seal": Kind(403, True, "the read entry is about another seal than these bytes"),
    "read.required": Kind(403, False, "bytes are served only after a committed read entry"),
    "serving.other_node": Kind(403, True, "the read entry names another node"),
    "serving.entry_expired": Kind(403, True, "the read entry is over; enter the read anew"),
    "sidecar.unknown": Kind(404, False, "no live state entry names the sidecar, or none has it"),
    "sidecar.not_entitled": Kind(403, False, "the sidecar is sealed to somebody else"),
    "node.behind": Kind(503, False, "too few peers have confirmed this node's height lately"),
    "node.stopping": Kind(503, False, "the node is stopping; ask another one"),
    "node.internal": Kind(500, False, "a fault of this node; its log has more"),
    "outcome.unknown": Kind(504, False, "not known in time; the transaction may still commit"),
    "access.denied": Kind(403, False, "no right permits it"),
    "access.purpose": Kind(403, False, "the role may not claim this purpose"),
    "access.not_delegated": Kind(403, False, "nobody has delegated this"),
    "identity.unknown": Kind(403, False, "the account is not registered"),
    "identity.suspended": Kind(403, False, "the account is suspended"),
    "organisation.suspended": Kind(403, False, "the account's organisation is suspended"),
    "records.seal_ended": Kind(403, True, "the version has another seal in force by now"),
    "cid.invalid": Kind(400, True, "not a content address"),
    "blob.missing": Kind(503, False, "nobody who keeps the bytes can be asked now"),
    "blob.erased": Kind(410, True, "the bytes were erased for good"),
    "blob.corrupt": Kind(503, False, "the stored bytes are damaged and not mended yet"),
    "blob.mismatch": Kind(422, True, "the bytes are not those of the content address or length"),
    "blob.too_large": Kind(413, True, "above the largest blob this node takes"),
    "blob.quota": Kind(507, False, "the node's blob store is full"),
    "blob.busy": Kind(503, False, "as many uploads as this node serves at a time are open"),
    "storage.full": Kind(507, False, "the node's disk is full"),
    "storage.disk": Kind(503, False, "the node's disk failed; ask another node"),
    "sidecar.corrupt": Kind(503, False, "the stored sidecar is damaged; ask another node"),
    "sidecar.full": Kind(503, False, "too many sidecars wait to be decided"),
    "state.height": Kind(503, False, "the state of this height cannot be proven now"),
    "database.closed": Kind(503, False, "the node is stopping; ask another one"),
}
"""Every code of a problem; `docs/api.md` shows the same table."""


class ApiError(Exception):
    """A request that is answered with a problem; `code` is one of `CODES`.

    `retry_after_s` tells when to come again, if that is known.
    """

    def __init__(self, code: str, text: str, *, retry_after_s: int | None = None) -> None:
        assert code in CODES, f"{code} has its row in the table of codes"
        super().__init__(text)
        self.code = code
        self.retry_after_s = retry_after_s


def as_api_error(problem: BaseException) -> ApiError | None:
    """Return an error of the ports as a refusal; None for what no code of the table names."""
    if isinstance(problem, ApiError):
        return problem
    if isinstance(problem, TimeoutError):
        return ApiError(
            "outcome.unknown",
            "not known in time; a transaction that was handed in may still commit: ask for it",
        )
    code = getattr(problem, "code", None)
    if isinstance(code, str) and code in CODES:
        return ApiError(code, str(problem))
    return None


def from_http(status: int) -> ApiError:
    """Return what aiohttp itself refuses, in our words."""
    match status:
        case 404:
            return ApiError("request.not_found", "no such address; see /openapi.json")
        case 405:
            return ApiError("request.method", "the address takes another method; see /openapi.json")
        case 413:
            return ApiError("request.too_large", "the body is above the limit of this address")
        case _:
            return ApiError("request.rejected", "not a request that is understood here")


def problem_body(code: str, text: str) -> dict[str, object]:
    """Return the members of a problem."""
    kind = CODES[code]
    return {
        "type": "about:blank",
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "code": code,
        "detail": text,
        "definite": kind.definite,
    }


def problem_response(error: ApiError) -> web.Response:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if CODES[error.code].status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=CODES[error.code].status,
        body=json.dumps(problem_body(error.code, str(error))).encode(),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )
