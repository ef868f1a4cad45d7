"""The watch of a simulated node over its base primary: the shell's `watch`, on virtual time.

What `shell.watching` does on an event loop is done here by entries of the cluster's queue: four
times a second the node looks, sends again what waits, and tells the core of a suspicion.
"""

from functools import partial
from typing import Final

from consensus.events import PrimarySuspected
from consensus.state import primary_at
from crypto.votes import FIRST_VIEW
from ledger.owed import owed_between
from shell.proposals import HASH_BYTES
from shell.watch import Waiting, Watch, look, on_block
from shell.watching import find_waiting
from tests.simulation.cluster import BASE_TIMEOUT_MS, Cluster
from tests.simulation.host import Host, gossip, tell
from tests.simulation.ledger_application import ledger_of

LOOK_MS: Final = 250
BOUND_MS: Final = 3_000
RESEND_MAX: Final = 64


def watch_all(cluster: Cluster) -> None:
    """Give every correct node a watch."""
    for host in cluster.correct():
        _look_later(cluster, host, _new_watch(), 0, host.boots)


def _look_later(cluster: Cluster, host: Host, watch: Watch, height: int, boots: int) -> None:
    action = partial(_look, cluster, host, watch, height, boots)
    cluster.at(LOOK_MS, "look", action, moves=host.seat)


def _look(cluster: Cluster, host: Host, watch: Watch, height: int, boots: int) -> None:
    """Take in the blocks since the last look, then judge; a start remembers nothing."""
    if host.state is None:
        _look_later(cluster, host, watch, height, boots)
        return
    if host.boots != boots:
        watch, height, boots = _new_watch(), host.application.height, host.boots
    _look_later(cluster, host, watch, host.application.height, boots)
    now_ms, waiting = _waiting(cluster, host)
    for one in range(height + 1, host.application.height + 1):
        certified = host.application.certified(one)
        assert certified is not None, "an executed block is stored"
        on_block(watch, len(certified.block.payload) // HASH_BYTES, waiting, now_ms)
    base = primary_at(host.state, FIRST_VIEW)
    finding = look(watch, (host.state.members.epoch, base), waiting, now_ms)
    if finding.resend_ms is not None:
        since_ms, before_ms = finding.resend_ms
        pool = ledger_of(host).running.pool
        found = owed_between(pool, since_ms, before_ms, limit=RESEND_MAX)
        gossip(host, tuple(one.transaction.signed for one in found))
    if finding.suspicion is not None and base != host.replica:
        tell(host, PrimarySuspected(primary=base, reason=finding.suspicion))


def _new_watch() -> Watch:
    return Watch(bound_ms=BOUND_MS, timeout_ms=BASE_TIMEOUT_MS)


def _waiting(cluster: Cluster, host: Host) -> tuple[int, Waiting]:
    """Return the node's time, and what waits there."""
    now_ms = cluster.founding.created_ms + cluster.now_ms(host)
    return now_ms, find_waiting(ledger_of(host).running.chain, now_ms)
