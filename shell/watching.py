"""Watching the base primary: what the node sees goes into `shell.watch`, what follows from it out.

The watch itself is arithmetic; here is where its numbers come from, and who is told.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from config import Timeouts
from consensus.events import PrimarySuspected
from consensus.state import primary_at
from crypto.votes import FIRST_VIEW
from ledger.owed import count_admissible, note_crowded, owed_between, owed_since_ms
from ledger.pool import Entry
from shell.chain import Chain
from shell.replica import Replica, deliver
from shell.watch import Waiting, Watch, look, on_block

LOOK_S: Final = 0.25
RESEND_MAX: Final = 64
"""Transactions sent again at once: the oldest of them is what matters."""


@dataclass(slots=True, kw_only=True)
class Watching:
    """A replica, its watch, and how transactions are sent to everybody again."""

    replica: Replica
    watch: Watch
    resend: Callable[[Sequence[Entry]], None]


def make_watching(
    replica: Replica, timeouts: Timeouts, resend: Callable[[Sequence[Entry]], None]
) -> Watching:
    watch = Watch(bound_ms=timeouts.liveness_bound_ms, timeout_ms=timeouts.base_timeout_ms)
    return Watching(replica=replica, watch=watch, resend=resend)


async def keep_watching(watching: Watching) -> None:
    """Look at the primary again and again."""
    while True:
        await asyncio.sleep(LOOK_S)
        look_now(watching)


def note_block(watching: Watching, transactions: int) -> None:
    """Take in a block that was just executed; what it decided has left the pool."""
    now_ms = watching.replica.clock.now_ms()
    waiting = find_waiting(watching.replica.chain, now_ms)
    on_block(watching.watch, transactions, waiting, now_ms)


def look_now(watching: Watching) -> None:
    """Send again what waits, and tell the core of a suspicion; nobody suspects itself."""
    replica = watching.replica
    state, pool = replica.state, replica.proposals.pool
    now_ms = replica.clock.now_ms()
    base = primary_at(state, FIRST_VIEW)
    watched = (state.members.epoch, base)
    finding = look(watching.watch, watched, find_waiting(replica.chain, now_ms), now_ms)
    if finding.resend_ms is not None:
        since_ms, before_ms = finding.resend_ms
        watching.resend(owed_between(pool, since_ms, before_ms, limit=RESEND_MAX))
    if finding.suspicion is not None and base != state.config.replica:
        deliver(replica, PrimarySuspected(primary=base, reason=finding.suspicion))


def find_waiting(chain: Chain, now_ms: int) -> Waiting:
    """Return what a primary owes now; what it may rightly have turned away does not count."""
    pool, time_ms = chain.pool, max(now_ms, chain.tip.time_ms + 1)
    block_max = chain.parameters().block_transactions_max
    note_crowded(pool, now_ms)
    return Waiting(
        oldest_ms=owed_since_ms(pool, time_ms),
        count=count_admissible(pool, time_ms, limit=block_max + 1),
        block_max=block_max,
    )
