"""The watch of a simulated node over its base primary: the shell's `watch`, on virtual time.

What `shell.watching` does on an event loop is done here by entries of the cluster's queue: four
times a second the node looks, sends again what waits, and tells the core of a suspicion.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from consensus.events import PrimarySuspected
from consensus.messages import Suspicion
from consensus.state import height_of, primary_at
from crypto.votes import FIRST_VIEW
from ledger.owed import owed_between
from shell.watch import NEAR_PARTS, Waiting, Watch, look, on_block
from shell.watching import find_waiting
from tests.simulation.cluster import BASE_TIMEOUT_MS, Cluster
from tests.simulation.host import Host, gossip, tell
from tests.simulation.ledger_application import ledger_of

LOOK_MS: Final = 250
BOUND_MS: Final = 3_000
RESEND_MAX: Final = 64


@dataclass(slots=True)
class Seen:
    """What one start has looked at so far: its watch, the last height, first looks at proposals."""

    boots: int
    height: int
    watch: Watch = field(
        default_factory=lambda: Watch(bound_ms=BOUND_MS, timeout_ms=BASE_TIMEOUT_MS)
    )
    proposed_ms: dict[int, int] = field(default_factory=dict)


def watch_all(cluster: Cluster) -> None:
    """Give every correct node a watch."""
    for host in cluster.correct():
        _look_later(cluster, host, Seen(boots=host.boots, height=0))


def _look_later(cluster: Cluster, host: Host, seen: Seen) -> None:
    cluster.at(LOOK_MS, "look", partial(_look, cluster, host, seen), moves=host.seat)


def _look(cluster: Cluster, host: Host, seen: Seen) -> None:
    """Take in the blocks since the last look, then judge; a start remembers nothing."""
    if host.state is None:
        _look_later(cluster, host, seen)
        return
    if host.boots != seen.boots:
        seen = Seen(boots=host.boots, height=host.application.height)
    _look_later(cluster, host, seen)
    now_ms, waiting = _waiting(cluster, host)
    for one in range(seen.height + 1, host.application.height + 1):
        certified = host.application.certified(one)
        assert certified is not None, "an executed block is stored"
        transactions = certified.block.transaction_count
        proposed_ms = seen.proposed_ms.pop(one, now_ms - LOOK_MS)  # Or since the last look.
        on_block(seen.watch, transactions, waiting, now_ms, proposed_ms=proposed_ms)
    seen.height = host.application.height
    if host.state.instance.proposal is not None:
        seen.proposed_ms.setdefault(height_of(host.state), now_ms)
    base = primary_at(host.state, FIRST_VIEW)
    watched = (host.state.members.epoch, base)
    finding = look(seen.watch, watched, waiting, now_ms, is_near=_is_near(cluster))
    if finding.resend_ms is not None:
        since_ms, before_ms = finding.resend_ms
        pool = ledger_of(host).running.pool
        found = owed_between(pool, since_ms, before_ms, limit=RESEND_MAX)
        gossip(host, tuple(one.transaction.signed for one in found))
    suspicion = finding.suspicion
    if any((one.fault.signer, one.fault.epoch) == watched[::-1] for one in host.evidence):
        suspicion = Suspicion.EQUIVOCATING
    is_news = host.replica not in host.state.complaints
    if suspicion is not None and is_news and base != host.replica:
        tell(host, PrimarySuspected(primary=base, reason=suspicion))


def _is_near(cluster: Cluster) -> bool:
    """Whether pings would come back soon: here the network says how bad it is."""
    faults = cluster.faults
    is_even = not faults.loss and not faults.stragglers
    return is_even and 2 * faults.delay_max_ms < BASE_TIMEOUT_MS // NEAR_PARTS


def _waiting(cluster: Cluster, host: Host) -> tuple[int, Waiting]:
    """Return the node's time, and what waits there."""
    now_ms = cluster.founding.created_ms + cluster.now_ms(host)
    return now_ms, find_waiting(ledger_of(host).running.chain, now_ms)
