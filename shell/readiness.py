"""A learner says by itself that it has caught up, again and again until the ledger has heard it.

`validator.ready` is signed with the node's vote key for the account that the ledger made of it. It
may be refused for a while, when another change of the set is on its way; the next one then tells.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import Final

from crypto.hashing import Digest
from crypto.signatures import public_key
from ledger.governance_payloads import Ready
from ledger.nodes import NodeStanding, get_node, node_account_id
from ledger.replay import Status
from ledger.transactions import decode_transaction, make_transaction, sign_transaction
from shell.freshness import is_fresh
from shell.intake import Intake, submit
from shell.membership import Following
from shell.replica import Replica

log = logging.getLogger("medledger.readiness")

PAUSE_S: Final = 1.0
WINDOW_MS: Final = 60_000


@dataclass(slots=True, kw_only=True)
class Readiness:
    """What is needed to say so; `said` is the transaction that says it, if one was sent."""

    replica: Replica
    following: Following
    intake: Intake
    said: Digest | None = None


async def keep_ready(readiness: Readiness, *, pause_s: float = PAUSE_S) -> None:
    """Look now and then whether this node is a learner that is ready, and say so."""
    while True:
        await asyncio.sleep(pause_s)
        if is_ready(readiness) and not _is_waiting(readiness):
            await _say_ready(readiness)


def is_ready(readiness: Readiness) -> bool:
    """Whether this node is a learner, under its present keys, and as far as f + 1 members say."""
    chain, keys = readiness.replica.chain, readiness.following.keys
    entry = get_node(chain.view(), keys.replica)
    if entry is None or entry.standing is not NodeStanding.LEARNER:
        return False
    return entry.vote_key == public_key(keys.present.vote).data and is_fresh(readiness.replica)


def _is_waiting(readiness: Readiness) -> bool:
    if readiness.said is None:
        return False
    return readiness.replica.chain.status(readiness.said).state is Status.PENDING


async def _say_ready(readiness: Readiness) -> None:
    chain, key = readiness.replica.chain, readiness.following.keys.present.vote
    now_ms = max(readiness.replica.clock.now_ms(), chain.tip.time_ms)
    body = make_transaction(
        chain_id=chain.chain_id,
        sender=node_account_id(public_key(key).data),
        kind="validator.ready",
        payload=Ready(index=readiness.following.keys.replica, height=chain.tip.height),
        valid_from_ms=now_ms,
        valid_until_ms=now_ms + min(WINDOW_MS, chain.parameters().tx_window_ms_max),
        nonce=secrets.token_bytes(16),
    )
    signed = sign_transaction(body, key)
    readiness.said = decode_transaction(signed, chain.chain_id).tx_id
    (answer,) = await submit(readiness.intake, [(signed, ())])
    log.info("said to be ready", extra={"height": chain.tip.height, "answer": str(answer)})
