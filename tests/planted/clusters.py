"""Clusters with a grudge: each is drawn so that one kind of mistake can show."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from consensus.messages import Commit, Prepare, PrePrepare
from tests.simulation.byzantine import Behaviour, Complainer, Equivocator, Forgetter, Silent
from tests.simulation.cluster import Carried, Cluster, Faults, start_cluster
from tests.simulation.histories import Fault, happen
from tests.simulation.members import ADD, Change, begin_changes

RUN_MS: Final = 10_000
"""How long a cluster is tormented before it is healed."""


def split_cluster(replicas: int) -> Callable[[int], Cluster]:
    """Two halves that cannot talk, with clients on both sides."""

    def draw(seed: int) -> Cluster:
        cluster = start_cluster(replicas=replicas, seed=seed)
        cluster.load(every_ms=50, until_ms=RUN_MS)
        members = list(range(replicas))
        half = replicas // 2
        cluster.at(300, "split", lambda: cluster.partition(members[:half], members[half:]))
        return cluster

    return draw


def dying_cluster(seed: int) -> Cluster:
    """Replicas that die at effect boundaries, over and over."""
    cluster = start_cluster(replicas=4, seed=seed, faults=Faults(loss=0.05, delay_max_ms=60))
    cluster.load(every_ms=30, until_ms=8_000)
    for _ in range(40):
        boundaries = cluster.kill_at.setdefault(cluster.random.randrange(4), {})
        boundaries[cluster.random.randrange(900)] = None
    return cluster


def changing_cluster(seed: int) -> Cluster:
    """Primaries that vanish at awkward moments on a network that loses a quarter of everything."""
    faults = Faults(loss=0.25, delay_max_ms=250, stragglers=0.1)
    cluster = start_cluster(replicas=4, seed=seed, faults=faults)
    cluster.load(every_ms=40, until_ms=RUN_MS)
    for time in range(500, RUN_MS, 400):
        cluster.at(time, "outage", lambda: isolate(cluster))
    return cluster


def complaining_cluster(seed: int) -> Cluster:
    """One replica complains about every primary, and none of them gives a reason to."""
    cluster = start_cluster(replicas=4, seed=seed, behaviours={3: Complainer()})
    cluster.load(every_ms=50, until_ms=4_000)
    return cluster


def isolate(cluster: Cluster) -> None:
    """Cut one drawn replica off for a while."""
    cut_off(cluster, cluster.random.randrange(len(cluster.hosts)), for_ms=700)


def lonely_cluster(liar: int | None = None) -> Callable[[int], Cluster]:
    """One replica alone gathers the commits of a block, and is then cut off with its decision.

    The network loses commits to all others, and prepares to one of them, so that nobody else
    decides and few have prepared; it mends before the next view decides (attack 4).
    """

    def draw(seed: int) -> Cluster:
        behaviours = {} if liar is None else {liar: Forgetter()}
        cluster = start_cluster(replicas=4, seed=seed, behaviours=behaviours)
        cluster.load(every_ms=40, until_ms=9_000)
        lucky, unprepared = cluster.random.sample([one for one in (0, 2, 3) if one != liar], 2)

        def is_lost(_: int, to: int, parcel: Carried) -> bool:
            return (isinstance(parcel, Commit) and to != lucky) or (
                isinstance(parcel, Prepare) and to == unprepared
            )

        def on_decision(replica: int, height: int) -> None:
            if replica == lucky and cluster.is_lost is not None:
                cut_off(cluster, lucky, for_ms=6_000)

        def begin() -> None:
            cluster.is_lost, cluster.on_decision = is_lost, on_decision

        def end() -> None:
            cluster.is_lost = None

        begins = cluster.random.randint(300, 1_000)
        cluster.at(begins, "lose commits", begin)
        cluster.at(begins + 900, "lose no more", end)
        return cluster

    return draw


def cut_off(cluster: Cluster, victim: int, *, for_ms: int) -> None:
    """Isolate one replica for a while."""
    others = [one for one in range(len(cluster.hosts)) if one != victim]
    links = [(victim, one) for one in others] + [(one, victim) for one in others]
    cluster.cut(links)
    cluster.at(for_ms, "mend", lambda: cluster.mend(links))


def equivocating_cluster(seed: int) -> Cluster:
    cluster = start_cluster(replicas=4, seed=seed, behaviours={0: Equivocator()})
    cluster.load(every_ms=50, until_ms=6_000)
    return cluster


def quiet_cluster(seed: int) -> Cluster:
    """Nothing goes wrong, and much is to be executed."""
    cluster = start_cluster(replicas=4, seed=seed)
    cluster.load(every_ms=20, until_ms=6_000)
    return cluster


def lying_cluster(behaviour: Callable[[random.Random], Behaviour]) -> Callable[[int], Cluster]:
    """The first primary lies in one way."""

    def draw(seed: int) -> Cluster:
        liar = behaviour(random.Random(seed))
        cluster = start_cluster(replicas=4, seed=seed, behaviours={0: liar})
        cluster.load(every_ms=50, until_ms=8_000)
        return cluster

    return draw


def repeating_cluster(seed: int) -> Cluster:
    """Everybody is restarted together, and clients submit again what was decided."""
    cluster = start_cluster(replicas=(1, 4)[seed % 2], seed=seed)
    cluster.clients.again = 0.4
    cluster.load(every_ms=30, until_ms=8_000)
    for time in range(1_000, 8_000, 1_500):
        for host in cluster.hosts:
            cluster.at(time, "outage", partial(cluster.take_down, host.replica, for_ms=100))
    return cluster


def changed_cluster(seed: int) -> Cluster:
    """One bit of a journal changes while its node is down."""
    cluster = start_cluster(replicas=4, seed=seed)
    cluster.load(every_ms=50, until_ms=6_000)
    flip = Fault(
        kind="bit flip", at_ms=2_000, replicas=(seed % 4,), for_ms=100, amount=2 * seed + 1
    )
    cluster.at(flip.at_ms, flip.kind, partial(happen, cluster, flip))
    return cluster


def powerless_cluster(seed: int) -> Cluster:
    """Nodes lose power, one after the other, and inside their calls to the disk."""
    cluster = start_cluster(replicas=4, seed=seed)
    cluster.load(every_ms=30, until_ms=8_000)
    for time in range(1_000, 8_000, 500):
        victim = cluster.random.randrange(4)
        cluster.at(time, "power", partial(cluster.take_down, victim, for_ms=200, loses_power=True))
        places = cluster.kill_at.setdefault(cluster.random.randrange(4), {})
        places[cluster.random.randrange(2_000)] = None
    return cluster


def variants_cluster(seed: int) -> Cluster:
    """One body in many signatures, each replica hearing of another one first."""
    cluster = start_cluster(replicas=4, seed=seed, faults=Faults(delay_max_ms=60))
    cluster.clients.variants = 0.6
    cluster.load(every_ms=15, until_ms=RUN_MS)
    return cluster


def governed_cluster(*kinds: str) -> Callable[[int], Cluster]:
    """Five members that change one after the other, on a quiet network."""

    def draw(seed: int) -> Cluster:
        cluster = start_cluster(replicas=5, seed=seed)
        changes = [
            Change(kind=kind, index=5 if kind == ADD else 1 + at, at_ms=300)
            for at, kind in enumerate(kinds)
        ]
        begin_changes(cluster, tuple(changes))
        cluster.load(every_ms=50, until_ms=6_000)
        return cluster

    return draw


def whispering_cluster(seed: int) -> Cluster:
    """A primary whose proposal reaches one other alone, and that dies as it speaks.

    The other is cut off with what it has heard, so that nobody can tell the next start of the
    primary. Views last so long that it is the primary still.
    """
    cluster = start_cluster(replicas=4, seed=seed)
    for host in cluster.hosts:
        host.config = replace(host.config, base_timeout_ms=5_000)
    cluster.load(every_ms=40, until_ms=9_000)
    began = cluster.random.randint(300, 1_500)

    def is_lost(sender: int, to: int, parcel: Carried) -> bool:
        if not isinstance(parcel, PrePrepare):
            return False
        witness = (sender + 1) % 4
        dies_at = {cluster.boundaries.get(sender, 0): None}
        cluster.kill_at.setdefault(sender, {}).update(dies_at)
        cluster.at(0, "silence", partial(silence, witness))
        return to != witness

    def silence(witness: int) -> None:
        if cluster.is_lost is not None:
            cluster.is_lost = None
            cut_off(cluster, witness, for_ms=6_000)

    cluster.at(began, "whisper", lambda: setattr(cluster, "is_lost", is_lost))
    return cluster


def skewed_cluster(seed: int) -> Cluster:
    """One replica is alone at its height for a minute, while two others sleep.

    One more is silent for good, so that the three others need each other. Whoever counts views
    alone is far above the others when they wake.
    """
    cluster = start_cluster(replicas=4, seed=seed, behaviours={3: Silent()})
    cluster.load(every_ms=50, until_ms=2_500)
    for sleeper in (1, 2):
        cluster.at(2_000, "sleep", partial(cluster.take_down, sleeper, for_ms=60_000))
    return cluster
