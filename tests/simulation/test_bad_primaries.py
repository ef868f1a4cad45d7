"""Rule 13 in simulation: primaries that make progress and yet are bad, and the replicas' watch.

The watch is the shell's (`shell.watch`), fed from the simulated nodes on virtual time as a running
node feeds it. Each story is told twice: unwatched it must go wrong, or the test would show nothing.
"""

from dataclasses import replace

from consensus.state import Departure
from tests.simulation.byzantine import Behaviour, Censor, Slow
from tests.simulation.cluster import Cluster, start_cluster
from tests.simulation.founding import PATIENTS
from tests.simulation.histories import NEVER
from tests.simulation.ideal import ideal_world
from tests.simulation.ledger_application import ledger_of
from tests.simulation.watching import BOUND_MS, watch_all
from tests.unit.ledger.small_consortium import account_of

BAD = 0
RUN_MS = 16_000


def bad_cluster(behaviour: Behaviour, seed: int) -> Cluster:
    """Without rotation: else the bad primary's turn would soon be over by itself."""
    cluster = start_cluster(replicas=4, seed=seed, behaviours={BAD: behaviour}, rotate_every=NEVER)
    cluster.load(every_ms=60, until_ms=RUN_MS)
    return cluster


def run(behaviour: Behaviour, *, is_watched: bool, seed: int) -> Cluster:
    with ideal_world():
        cluster = bad_cluster(behaviour, seed)
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
        for entry in ledger_of(host).running.pool.entries()
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
        cluster = bad_cluster(turning, 4)
        watch_all(cluster)
        cluster.run(until_ms=2 * BOUND_MS)
        before = departures(cluster)
        turning.for_ms = 800
        cluster.run(until_ms=RUN_MS)

    assert Departure.COMPLAINT_SLOW not in before
    assert Departure.COMPLAINT_SLOW in departures(cluster)


def test_a_primary_that_is_slow_from_the_first_block_on_is_replaced() -> None:
    """There was never a better one to compare it with: its proposals are late by themselves."""
    unwatched = run(Slow(for_ms=800), is_watched=False, seed=5)
    watched = run(Slow(for_ms=800), is_watched=True, seed=5)

    assert Departure.COMPLAINT_SLOW not in departures(unwatched)
    assert Departure.COMPLAINT_SLOW in departures(watched)


def test_a_primary_that_is_far_away_like_everybody_is_left_alone() -> None:
    with ideal_world():
        cluster = bad_cluster(Slow(for_ms=800), 6)
        cluster.faults = replace(cluster.faults, delay_max_ms=90)
        watch_all(cluster)
        cluster.run(until_ms=RUN_MS)

    assert Departure.COMPLAINT_SLOW not in departures(cluster)
