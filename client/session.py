"""Opening a session: a client proves to one node, at one address, which account it speaks for.

What is signed names the chain, the node and the address this side believes it is talking to, so
that no node can use it to open a session elsewhere. The token stays in memory.
"""

from typing import Any, Final

from client.epochs import learn_epochs
from client.errors import AnswerRejected, Untrusted
from client.http import Node, get_json, post_json
from client.proving import now_ms
from client.trust import Trust
from client.wallet import Keys
from crypto.record_ids import AccountId
from crypto.signatures import key_id, public_key, sign_preimage
from crypto.validators import ReplicaId
from ledger.exchange import SessionClaim, session_preimage

CLAIM_MS: Final = 60_000


async def open_session(node: Node, trust: Trust, keys: Keys, *, node_index: int) -> None:
    """Open a session for `keys` and keep its token in `node`; renewed by itself from then on.

    Raises `Untrusted` if the node's challenge names another node than `node_index`.
    """
    node.token, node.renew = "", None
    challenge = await post_json(node, "/v1/sessions/challenge", {"account": keys.account.hex()})
    claim = _make_claim(node, trust, keys, node_index, challenge)
    answer = await post_json(
        node,
        "/v1/sessions",
        {
            "account": claim.account.hex(),
            "key_id": claim.key_id.hex(),
            "nonce": claim.nonce.hex(),
            "origin": claim.origin,
            "issued_ms": claim.issued_ms,
            "expires_ms": claim.expires_ms,
            "signature": sign_preimage(keys.sign_key, session_preimage(claim)).hex(),
        },
    )
    token = answer.get("token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token.isascii() or not 16 <= len(token) <= 256:
        raise AnswerRejected("the node opened a session without a token")
    node.token = token

    async def renew() -> None:
        await open_session(node, trust, keys, node_index=node_index)

    node.renew = renew


async def find_node_index(node: Node, trust: Trust) -> ReplicaId:
    """Return which validator the node says it is; raise `Untrusted` if there is no such one."""
    answer = await get_json(node, "/v1/node")
    if not isinstance(answer, dict) or not isinstance(answer.get("node_index"), int):
        raise AnswerRejected("the node does not say which one it is")
    if answer.get("chain_id") != trust.chain_id.hex():
        raise Untrusted(
            f"{node.url} is of chain {str(answer.get('chain_id'))[:16]}, pinned is "
            f"{trust.chain_id.hex()[:16]}; check the address",
            code="trust.wrong_chain",
        )
    index = ReplicaId(answer["node_index"])
    await learn_epochs(node, trust)
    if trust.validators.member(index) is None:
        raise Untrusted(
            f"{node.url} calls itself node {index}, which is no validator of epoch {trust.epoch}"
        )
    return index


def _make_claim(
    node: Node, trust: Trust, keys: Keys, node_index: int, challenge: Any
) -> SessionClaim:
    try:
        nonce = bytes.fromhex(challenge["nonce"])
        named, ends_ms = int(challenge["node_index"]), int(challenge["expires_ms"])
    except (KeyError, TypeError, ValueError) as problem:
        raise AnswerRejected(f"the node's challenge is malformed: {problem}") from problem
    if named != node_index:
        raise Untrusted(f"{node.url} said it is node {node_index} and asks to sign for {named}")
    if len(nonce) != 32:
        raise AnswerRejected("the node's challenge has no nonce of 32 bytes")
    issued_ms = now_ms()
    return SessionClaim(
        chain_id=trust.chain_id,
        node_index=node_index,
        origin=node.url,
        account=AccountId(keys.account),
        key_id=key_id(public_key(keys.sign_key)),
        nonce=nonce,
        issued_ms=issued_ms,
        expires_ms=min(issued_ms + CLAIM_MS, max(ends_ms, issued_ms + 1)),
    )
