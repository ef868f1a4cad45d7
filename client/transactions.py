"""Signing a transaction, handing it in, and waiting until it is known what became of it.

Handing in may be repeated: a node knows a transaction by its id. When nobody can tell any more
within its validity window, the outcome is unknown, and it is said so.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from client.errors import AnswerRejected, NotReachable, OutcomeUnknown, Refused
from client.http import Node, get_json, pause_before, post_wire
from client.proving import now_ms
from client.trust import Trust
from client.wallet import Keys
from crypto.hashing import Digest
from crypto.schema import encode
from ledger.exchange import SubmitBatch, SubmitItem
from ledger.replay import Status
from ledger.transactions import make_transaction, sign_transaction, transaction_id

WINDOW_MS: Final = 300_000
"""How long a transaction stays valid."""

BACKDATED_MS: Final = 60_000
"""Its validity begins this much in the past: the chain's time may be behind this clock."""

WAIT_MS: Final = 10_000
PATIENCE_MS: Final = 60_000
"""How long to wait for a receipt before saying that the outcome is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a transaction; `events` as the node shows them, for people to read."""

    tx_id: Digest
    state: Status
    height: int
    index: int
    code: str
    events: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A transaction ready to be handed in, as often as need be."""

    tx_id: Digest
    kind: str
    item: SubmitItem


async def submit(
    node: Node,
    trust: Trust,
    keys: Keys,
    kind: str,
    payload: Any,
    *,
    sidecars: Sequence[tuple[Digest, bytes]] = (),
    patience_ms: int = PATIENCE_MS,
) -> Outcome:
    """Sign, hand in and wait; return the receipt of an accepted transaction.

    Raises `Refused` with the ledger's or the node's code, or `OutcomeUnknown`.
    """
    signed = sign_payload(trust, keys, kind, payload, sidecars=sidecars)
    return await hand_in(node, signed, patience_ms=patience_ms)


def sign_payload(
    trust: Trust,
    keys: Keys,
    kind: str,
    payload: Any,
    *,
    sidecars: Sequence[tuple[Digest, bytes]] = (),
) -> Signed:
    """Return a signed transaction of the account that `keys` belong to."""
    start_ms = now_ms() - BACKDATED_MS
    body = make_transaction(
        chain_id=trust.chain_id,
        sender=keys.account,
        kind=kind,
        payload=payload,
        valid_from_ms=start_ms,
        valid_until_ms=start_ms + BACKDATED_MS + WINDOW_MS,
        nonce=secrets.token_bytes(16),
        sidecars=[digest for digest, _ in sidecars],
    )
    item = SubmitItem(
        signed=sign_transaction(body, keys.sign_key),
        sidecars=tuple(content for _, content in sidecars),
    )
    tx_id = transaction_id(trust.chain_id, encode(body))
    return Signed(tx_id=tx_id, kind=kind, item=item)


async def hand_in(node: Node, signed: Signed, *, patience_ms: int = PATIENCE_MS) -> Outcome:
    """Hand a signed transaction in and wait for its receipt.

    A node that has lost it (it was restarted, say) gets it again: handing in twice does nothing
    twice.
    """
    deadline_ms = now_ms() + patience_ms
    answer = await _offer(node, signed)
    while True:
        outcome = _finished(signed, answer)
        if outcome is not None:
            return outcome
        if now_ms() >= deadline_ms:
            raise _unknown(signed, "no block holds it yet")
        if answer["state"] == Status.UNKNOWN.value:
            await pause_before(node, 1)
            answer = await _offer(node, signed)
        else:
            answer = await _wait(node, signed)


async def get_status(node: Node, tx_id: Digest, *, wait_ms: int = 0) -> dict[str, Any]:
    """Return what the node knows of a transaction: tx_id, state, receipt."""
    answer = await get_json(node, f"/v1/transactions/{tx_id.hex()}", {"wait_ms": str(wait_ms)})
    if not isinstance(answer, dict) or "state" not in answer:
        raise AnswerRejected("the node's answer about a transaction is malformed")
    return answer


async def _offer(node: Node, signed: Signed) -> dict[str, Any]:
    """Hand it in; return what state it is in, or raise `Refused` if the node does not take it."""
    try:
        answers = await post_wire(node, "/v1/transactions", SubmitBatch(items=(signed.item,)))
    except NotReachable as problem:
        raise _unknown(signed, str(problem)) from problem
    except Refused as problem:
        if problem.status >= 500:  # The node's own trouble: it may have taken it before.
            raise _unknown(signed, str(problem)) from problem
        raise
    if not isinstance(answers, list) or len(answers) != 1 or not isinstance(answers[0], dict):
        raise AnswerRejected("the node's answer to a transaction is malformed")
    answer: dict[str, Any] = answers[0]
    if "state" in answer:
        return answer
    raise Refused(
        str(answer.get("code", "transaction.refused")),
        str(answer.get("detail") or f"the node did not take {signed.kind}"),
        definite=answer.get("definite") is True,
        tx_id=signed.tx_id,
    )


async def _wait(node: Node, signed: Signed) -> dict[str, Any]:
    """Ask what became of it, letting the node wait a while before it answers."""
    started_ms = now_ms()
    try:
        answer = await get_status(node, signed.tx_id, wait_ms=WAIT_MS)
    except (NotReachable, Refused) as problem:
        raise _unknown(signed, str(problem)) from problem
    if answer["state"] == Status.PENDING.value and now_ms() - started_ms < WAIT_MS // 10:
        await pause_before(node, 1)  # The node did not wait: do not press it.
    return answer


def _finished(signed: Signed, answer: dict[str, Any]) -> Outcome | None:
    """Return the outcome if the answer tells it, None while it is open; raise `Refused`."""
    try:
        state = Status(answer["state"])
        if answer.get("tx_id", signed.tx_id.hex()) != signed.tx_id.hex():
            raise AnswerRejected("the node answers about another transaction")
        receipt = answer.get("receipt") or {}
        if state is Status.COMMITTED:
            return Outcome(
                tx_id=signed.tx_id,
                state=state,
                height=int(receipt["height"]),
                index=int(receipt["index"]),
                code=str(receipt["code"]),
                events=tuple(receipt.get("events", ())),
            )
    except (KeyError, TypeError, ValueError) as problem:
        raise AnswerRejected(f"the node's receipt is malformed: {problem}") from problem
    if state is Status.REFUSED:
        raise _refused(signed, answer, receipt)
    if state is Status.PRUNED:
        raise _unknown(
            signed,
            f"it stands in block {answer.get('height')}, whose receipts this node has pruned",
        )
    if state is Status.EXPIRED:
        raise Refused(
            "transaction.expired",
            f"{signed.kind} was in no block before its validity ended; send it anew",
            tx_id=signed.tx_id,
        )
    return None


def _refused(signed: Signed, answer: dict[str, Any], receipt: dict[str, Any]) -> Refused:
    code = str(receipt.get("code", "refused"))
    told = answer.get("text") or answer.get("detail") or receipt.get("text")
    return Refused(
        code,
        str(told or f"the ledger refused {signed.kind}: {code}"),
        tx_id=signed.tx_id,
    )


def _unknown(signed: Signed, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        signed.tx_id,
        f"it is not known whether {signed.kind} {signed.tx_id.hex()} was committed ({why}); "
        "ask for it again before sending anew",
    )
