"""Sessions: an account proves its key to this one node, at this one address, once, for 15 minutes.

A challenge is not kept: it carries its own end and this process's mark over account and end, so a
flood of challenges costs no memory. Only nonces that opened a session are remembered, until they
are over. Tokens are kept hashed. A session is not a permission, and whose account is suspended or
has another key by now has none: that is looked up in state at every request.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from api.errors import ApiError
from crypto.errors import InvalidKey, InvalidSignature
from crypto.hashing import is_equal
from crypto.record_ids import AccountId
from crypto.signatures import SignatureJob, check_job
from ledger.accounts import Account, get_account, is_active
from ledger.exchange import SessionClaim, session_preimage
from ledger.state import StateView

CHALLENGE_MS: Final = 60_000
CLAIM_MS: Final = 60_000
SKEW_MS: Final = 60_000
"""How far a client's clock may run ahead of this node's."""

SESSION_MS: Final = 900_000
SESSIONS_MAX: Final = 20_000
SESSIONS_PER_ACCOUNT_MAX: Final = 16
TOKEN_BYTES: Final = 32
_MARK_BYTES: Final = 16
_SALT_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session; it ends with the key that opened it."""

    account: bytes
    key_id: bytes
    expires_ms: int


@dataclass(slots=True, kw_only=True)
class Sessions:
    """What this process remembers of sessions: tokens by their hash, oldest first; used nonces.

    `secret` marks the challenges of this process.
    """

    clock_ms: Callable[[], int]
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    known: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)
    used: OrderedDict[bytes, int] = field(default_factory=OrderedDict)


def make_challenge(sessions: Sessions, account: AccountId) -> tuple[bytes, int]:
    """Return a nonce of 32 bytes for the account, and when it is over."""
    expires_ms = sessions.clock_ms() + CHALLENGE_MS
    head = expires_ms.to_bytes(8, "big") + secrets.token_bytes(_SALT_BYTES)
    return head + _mark(sessions, account, head), expires_ms


def open_session(
    sessions: Sessions, claim: SessionClaim, signature: bytes, *, origin: str, view: StateView
) -> tuple[str, int]:
    """Return a token and when it ends; raise unless the claim proves the account's key, here.

    `claim.chain_id` and `claim.node_index` are this node's own: a claim signed for another node
    fails by its signature.
    """
    now_ms = sessions.clock_ms()
    _check_nonce(sessions, claim, now_ms)
    _check_times(claim, now_ms)
    if claim.origin != origin:
        raise ApiError(
            "session.origin", "the claim was signed for another address than this node's; check it"
        )
    account = get_account(view, claim.account)
    if account is None or not is_active(view, account):
        raise ApiError("session.account", "the account is not registered, or it is suspended")
    if claim.key_id != account.sign_key_id:
        raise ApiError("session.key", "the key is not the account's sign key in force")
    _check_signature(account, claim, signature)
    _remember_nonce(sessions, claim.nonce, now_ms)
    return _keep(sessions, account, now_ms)


def find_session(sessions: Sessions, token: str, view: StateView) -> Account:
    """Return the account that the token speaks for; raise `session.unknown` or its like."""
    name = _hashed(token)
    session = sessions.known.get(name)
    if session is None or sessions.clock_ms() >= session.expires_ms:
        sessions.known.pop(name, None)
        raise ApiError("session.unknown", "no such session is open here; open a new one")
    account = get_account(view, session.account)
    if account is None or not is_active(view, account):
        del sessions.known[name]
        raise ApiError("session.account", "the account of this session is suspended")
    if account.sign_key_id != session.key_id:
        del sessions.known[name]
        raise ApiError("session.key", "the key that opened this session has ended")
    return account


def end_session(sessions: Sessions, token: str) -> None:
    sessions.known.pop(_hashed(token), None)


def _check_nonce(sessions: Sessions, claim: SessionClaim, now_ms: int) -> None:
    head, mark = claim.nonce[:-_MARK_BYTES], claim.nonce[-_MARK_BYTES:]
    is_ours = is_equal(mark, _mark(sessions, claim.account, head))
    if not is_ours or now_ms >= int.from_bytes(head[:8], "big") or claim.nonce in sessions.used:
        raise ApiError(
            "session.nonce", "the challenge is over, was used, or is not this node's; ask for one"
        )


def _check_times(claim: SessionClaim, now_ms: int) -> None:
    if not 0 < claim.expires_ms - claim.issued_ms <= CLAIM_MS:
        raise ApiError("session.expired", f"a claim is valid for at most {CLAIM_MS // 1_000} s")
    if now_ms >= claim.expires_ms or claim.issued_ms > now_ms + SKEW_MS:
        raise ApiError(
            "session.expired", "the claim is not valid now; compare the clock with /v1/node"
        )


def _check_signature(account: Account, claim: SessionClaim, signature: bytes) -> None:
    key = account.sign_key
    try:
        check_job(SignatureJob(key.scheme, key.data, signature, session_preimage(claim)))
    except (InvalidSignature, InvalidKey) as problem:
        raise ApiError(
            "session.signature",
            "the signature does not cover this claim: another key, node, chain or time was signed",
        ) from problem


def _remember_nonce(sessions: Sessions, nonce: bytes, now_ms: int) -> None:
    """Mark a nonce as used; forget those that are over by now."""
    sessions.used[nonce] = now_ms + CHALLENGE_MS
    while sessions.used and next(iter(sessions.used.values())) <= now_ms:
        sessions.used.popitem(last=False)


def _keep(sessions: Sessions, account: Account, now_ms: int) -> tuple[str, int]:
    """Make the token; the account's oldest session, or the oldest of all, makes room."""
    _forget_ended(sessions, now_ms)
    own = [name for name, one in sessions.known.items() if one.account == account.account_id]
    if len(own) >= SESSIONS_PER_ACCOUNT_MAX:
        del sessions.known[own[0]]
    elif len(sessions.known) >= SESSIONS_MAX:
        sessions.known.popitem(last=False)
    token = secrets.token_hex(TOKEN_BYTES)
    expires_ms = now_ms + SESSION_MS
    sessions.known[_hashed(token)] = Session(
        account=account.account_id, key_id=account.sign_key_id, expires_ms=expires_ms
    )
    return token, expires_ms


def _forget_ended(sessions: Sessions, now_ms: int) -> None:
    while sessions.known and next(iter(sessions.known.values())).expires_ms <= now_ms:
        sessions.known.popitem(last=False)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _mark(sessions: Sessions, account: bytes, head: bytes) -> bytes:
    return hmac.digest(sessions.secret, account + head, "sha256")[:_MARK_BYTES]
