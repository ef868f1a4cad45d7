"""Rule 13 in simulation: primaries that make progress and yet are bad, and the replicas' watch.

The watch is the shell's (`shell.watch`), fed from the simulated nodes on virtual time as a running
node feeds it. Each story is told twice: unwatched it must go wrong, or the test would show nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from consensus.events import PrimarySuspected
from consensus.state import Departure, primary_at
from crypto.votes import FIRST_VIEW
from shell.proposals import HASH_BYTES
from shell.watch import Waiting, Watch, look, on_block
from tests.simulation import founding
from tests.simulation.byzantine import Behaviour, Censor, Slow
from tests.simulation.cluster import BASE_TIMEOUT_MS, Cluster, start_cluster
from tests.simulation.founding import PATIENTS
from tests.simulation.host import Host, tell
from tests.simulation.ideal import ideal_world
from tests.simulation.ledger_application import ledger_of
from tests.unit.ledger.small_consortium import account_of

LOOK_MS = 250
BOUND_MS = 3_000
BAD = 0
RUN_MS = 16_000


@pytest.fixture(autouse=True)
def _without_rotation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Else the bad primary's turn would soon be over by itself."""
    parameters = replace(founding.PARAMETERS, rotate_every=100_000)
    monkeypatch.setattr(founding, "PARAMETERS", parameters)
    founding.found.cache_clear()
    yield
    founding.found.cache_clear()


def watch_all(cluster: Cluster) -> None:
    """Give every correct node a watch."""
    for host in cluster.correct():
        watch = Watch(bound_ms=BOUND_MS, timeout_ms=BASE_TIMEOUT_MS)
        cluster.at(LOOK_MS, "look", partial(look_again, cluster, host, watch, 0))


def look_again(cluster: Cluster, host: Host, watch: Watch, height: int) -> None:
    """What `shell.watching` does: take in the blocks since the last look, then judge."""
    if host.state is not None:
        waiting = waiting_at(cluster, host)
        for one in range(height + 1, host.application.height + 1):
            block = ledger_of(host).running.chain.certified_block(one)
            assert block is not None, "an executed block is stored"
            on_block(watch, len(block.block.payload) // HASH_BYTES, waiting, cluster.now)
        height = host.application.height
        base = primary_at(host.state, FIRST_VIEW)
        finding = look(watch, (host.state.members.epoch, base), waiting, cluster.now)
        if finding.suspicion is not None and base != host.replica:
            tell(host, PrimarySuspected(primary=base, reason=finding.suspicion))
    cluster.at(LOOK_MS, "look", partial(look_again, cluster, host, watch, height))


def waiting_at(cluster: Cluster, host: Host) -> Waiting:
    running, created_ms = ledger_of(host).running, cluster.founding.created_ms
    now_ms = created_ms + cluster.now_ms(host)
    oldest_ms = running.pool.waiting_since_ms(max(now_ms, running.chain.tip.time_ms + 1))
    return Waiting(
        oldest_ms=None if oldest_ms is None else oldest_ms - created_ms,
        count=len(running.pool),
        block_max=running.chain.parameters().block_transactions_max,
    )


def run(behaviour: Behaviour, *, is_watched: bool, seed: int) -> Cluster:
    with ideal_world():
        cluster = start_cluster(replicas=4, seed=seed, behaviours={BAD: behaviour})
        cluster.load(every_ms=60, until_ms=RUN_MS)
        if is_watched:
            watch_all(cluster)
        cluster.run(until_ms=RUN_MS)
    return cluster


def departures(cluster: Cluster) -> set[Departure]:
    return {
        reason
        for host in cluster.correct()
        if host.state is not None
        for reason in host.state.view_changes
    }


def longest_wait_ms(cluster: Cluster, account: bytes) -> int:
    """How long the oldest transaction of an account has waited at a correct node, now."""
    waits = (
        cluster.founding.created_ms + cluster.now_ms(host) - entry.added_ms
        for host in cluster.correct()
        for entry in ledger_of(host).running.pool.added_before(1 << 60, limit=1 << 20)
        if entry.transaction.body.sender == account
    )
    return max(waits, default=0)


def test_a_client_that_the_primary_censors_is_served_by_the_next() -> None:
    victim = account_of(PATIENTS[0])

    unwatched = run(Censor(victim), is_watched=False, seed=1)
    watched = run(Censor(victim), is_watched=True, seed=1)

    assert Departure.COMPLAINT_CENSORING not in departures(unwatched)
    assert Departure.COMPLAINT_CENSORING in departures(watched)
    assert longest_wait_ms(unwatched, victim) > 3 * BOUND_MS, "the censor makes progress unharmed"
    assert longest_wait_ms(watched, victim) < 2 * BOUND_MS


def test_a_healthy_primary_is_not_complained_about() -> None:
    cluster = run(Behaviour(), is_watched=True, seed=3)

    assert departures(cluster) <= {Departure.TIMER, Departure.JOINED, Departure.FOLLOWED}
    assert all(not host.state.complaints for host in cluster.correct() if host.state is not None)


def test_a_primary_just_under_the_timeout_is_replaced() -> None:
    """Attack 11: it answers well for a while, then delays each block almost to the timeout."""
    turning = Slow(for_ms=0)
    with ideal_world():
        cluster = start_cluster(replicas=4, seed=4, behaviours={BAD: turning})
        cluster.load(every_ms=60, until_ms=RUN_MS)
        watch_all(cluster)
        cluster.run(until_ms=2 * BOUND_MS)
        before = departures(cluster)
        turning.for_ms = 800
        cluster.run(until_ms=RUN_MS)

    assert Departure.COMPLAINT_SLOW not in before
    assert Departure.COMPLAINT_SLOW in departures(cluster)
