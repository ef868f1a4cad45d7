"""Clusters with a grudge: each is drawn so that one kind of mistake can show."""

from collections.abc import Callable

from consensus.messages import Commit, Prepare
from tests.simulation.byzantine import Equivocator, Forgetter
from tests.simulation.cluster import Cluster, Faults, start_cluster
from tests.simulation.host import Parcel


def split_cluster(replicas: int) -> Callable[[int], Cluster]:
    """Two halves that cannot talk, with clients on both sides."""

    def draw(seed: int) -> Cluster:
        cluster = start_cluster(replicas=replicas, seed=seed)
        cluster.load(every_ms=50, until_ms=12_000)
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
    cluster.load(every_ms=40, until_ms=15_000)
    for time in range(500, 15_000, 400):
        cluster.at(time, "outage", lambda: isolate(cluster))
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

        def is_lost(_: int, to: int, parcel: Parcel) -> bool:
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
