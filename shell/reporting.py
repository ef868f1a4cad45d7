"""Bringing evidence to the ledger: a transaction signed by the node's own key, until it is there.

Several nodes hold the same proof as a rule, and the ledger takes a fault once. So they take turns:
each waits a little longer than the one before it, and whoever finds the fault recorded has nothing
to do. Whether the accused or anybody else keeps a transaction out is the watch's business
(`shell.watch`): it waits in every pool like any other.
"""

import asyncio
import logging
import secrets
from dataclasses import replace
from typing import Any, Final

from api.ports import NotTaken
from crypto.evidence import Fault
from crypto.signatures import public_key
from ledger.nodes import node_account_id
from ledger.proposals import evidence_key
from ledger.transactions import make_transaction, sign_transaction
from shell.chain import Chain
from shell.evidence import Report, unsettled
from shell.intake import Intake, submit
from shell.own_keys import OwnKeys
from shell.replica import Replica

log = logging.getLogger("medledger.evidence")

LOOK_S: Final = 0.5
TURN_MS: Final = 2_000
"""How much longer each next node waits: a block comes sooner than that as a rule."""

WINDOW_MS: Final = 60_000
BACKDATED_MS: Final = 5_000


async def keep_reporting(replica: Replica, intake: Intake) -> None:
    """Report what is not recorded yet, again and again."""
    while True:
        await asyncio.sleep(LOOK_S)
        for fault in unsettled(replica.reports):
            await report(replica, intake, fault)


async def report(replica: Replica, intake: Intake, fault: Fault) -> None:
    """Submit the proof of one fault if it is this node's turn and the ledger lacks it."""
    known, chain = replica.reports.by_fault, replica.chain
    if fault not in known:
        return  # Forgotten meanwhile: there are too many.
    if is_recorded(chain, fault) or _is_too_old(chain, fault):
        known[fault] = replace(known[fault], is_settled=True)
        return
    now_ms = intake.clock.now_ms()
    if not _is_due(replica, known[fault], now_ms):
        return
    signed = make_node_transaction(
        chain, replica.keys, "governance.evidence", known[fault].evidence, now_ms
    )
    known[fault] = replace(known[fault], retry_ms=now_ms + WINDOW_MS)
    (answer,) = await submit(intake, [(signed, ())])
    if isinstance(answer, NotTaken):
        details = {"node": fault.signer, "code": answer.code, "reason": answer.text}
        log.warning("evidence not taken", extra=details)


def is_recorded(chain: Chain, fault: Fault) -> bool:
    """Whether the ledger names this fault already."""
    return chain.view().get(evidence_key(fault)) is not None


def make_node_transaction(
    chain: Chain, keys: OwnKeys, kind: str, payload: Any, now_ms: int
) -> bytes:
    """Return a transaction of this node's own account, signed with its vote key."""
    start_ms = max(now_ms, chain.tip.time_ms) - BACKDATED_MS
    window_ms = min(BACKDATED_MS + WINDOW_MS, chain.parameters().tx_window_ms_max)
    body = make_transaction(
        chain_id=chain.chain_id,
        sender=node_account_id(public_key(keys.present.vote).data),
        kind=kind,
        payload=payload,
        valid_from_ms=start_ms,
        valid_until_ms=start_ms + window_ms,
        nonce=secrets.token_bytes(16),
    )
    return sign_transaction(body, keys.present.vote)


def _is_due(replica: Replica, known: Report, now_ms: int) -> bool:
    """Whether this node's turn has come; the votes' own height must be reached first."""
    fault = known.evidence.fault
    if replica.chain.tip.height + 1 < fault.height or now_ms < known.retry_ms:
        return False
    others = [one for one in replica.state.members.order if one != fault.signer]
    own = replica.state.config.replica
    if own not in others:
        return False
    return now_ms >= known.found_ms + others.index(own) * TURN_MS


def _is_too_old(chain: Chain, fault: Fault) -> bool:
    return chain.tip.height >= fault.height + chain.parameters().evidence_blocks_max
