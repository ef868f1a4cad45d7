"""Watching the base primary: what the node sees goes into `shell.watch`, what follows from it out.

The watch itself is arithmetic; here is where its numbers come from, and who is told.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from config import Timeouts
from consensus.events import PrimarySuspected
from consensus.messages import Suspicion
from consensus.state import primary_at
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW
from ledger.owed import count_admissible, note_crowded, owed_between, owed_since_ms
from ledger.pool import Entry
from p2p.statistics import PeerState
from shell.chain import Chain
from shell.evidence import has_equivocated
from shell.replica import Replica, deliver
from shell.timeline import since_ms
from shell.watch import NEAR_PARTS, Waiting, Watch, look, on_block

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


def note_block(watching: Watching, transactions: int, size_bytes: int) -> None:
    """Take in a block that was just executed; what it decided has left the pool.

    `size_bytes` are those of its transactions, with their sidecars, that were in the pool.
    """
    now_ms = watching.replica.clock.now_ms()
    waiting = find_waiting(watching.replica.chain, now_ms)
    timeline = watching.replica.timeline
    at_s = timeline.proposed_s
    proposed_ms = None if at_s is None else now_ms - since_ms(timeline, at_s)
    limits = watching.replica.chain.parameters()
    on_block(
        watching.watch,
        transactions,
        waiting,
        now_ms,
        proposed_ms=proposed_ms,
        has_room=size_bytes + limits.transaction_bytes_max <= limits.block_bytes_max,
    )


def look_now(watching: Watching) -> None:
    """Send again what waits, and tell the core of a suspicion; nobody suspects itself."""
    replica = watching.replica
    state, pool = replica.state, replica.proposals.pool
    now_ms = replica.clock.now_ms()
    base = primary_at(state, FIRST_VIEW)
    watched = (state.members.epoch, base)
    waiting = find_waiting(replica.chain, now_ms)
    finding = look(watching.watch, watched, waiting, now_ms, is_near=is_near(watching, base))
    if finding.resend_ms is not None:
        since_ms, before_ms = finding.resend_ms
        watching.resend(owed_between(pool, since_ms, before_ms, limit=RESEND_MAX))
    suspicion = finding.suspicion
    if has_equivocated(replica.reports, base, state.members.epoch):
        suspicion = Suspicion.EQUIVOCATING  # Proven, and so worth more than any measurement.
    is_news = state.config.replica not in state.complaints
    if suspicion is not None and is_news and base != state.config.replica:
        deliver(replica, PrimarySuspected(primary=base, reason=suspicion))


def is_near(watching: Watching, base: ReplicaId) -> bool:
    """Whether most others answer pings at once, and this process was not held up lately.

    The base is not asked: it could make itself look far by answering late.
    """
    replica, most_ms = watching.replica, watching.watch.timeout_ms // NEAR_PARTS
    links = replica.network.statistics().peers
    rtts_ms = sorted(
        link.rtt_ms
        for link in links
        if link.rtt_ms is not None
        and link.state is PeerState.CONNECTED
        and link.peer_id != base
        and link.peer_id in replica.state.members.order
    )
    if len(rtts_ms) < max(1, replica.state.members.quorum.strong - 2):
        return False
    return rtts_ms[len(rtts_ms) // 2] < most_ms and replica.timeline.lag.value_ms() < most_ms


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
