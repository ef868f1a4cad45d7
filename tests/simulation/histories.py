"""Histories drawn from a seed: which replicas, which network, which faults, and when.

Byzantine and wiped replicas together stay within f; crashes, pauses and partitions do not, because
a replica with its journal is never a danger, only absent.
"""

import random
from functools import partial

from crypto.quorum import QuorumSystem
from tests.simulation.byzantine import draw_behaviour
from tests.simulation.cluster import Cluster, Faults, reported, start_cluster

SIZES = (1, 2, 3, 4, 4, 4, 5, 6, 7, 10)
HISTORY_MS = 12_000


def run_history(seed: int, *, replicas: int | None = None, byzantine: int | None = None) -> Cluster:
    """Run one drawn history to its end: faults, healing, L1, and nothing acknowledged lost."""
    cluster = draw_cluster(seed, replicas=replicas, byzantine=byzantine)
    with reported(cluster):
        cluster.run(until_ms=HISTORY_MS)
        cluster.heal()
        cluster.run_until_level()
        cluster.check_nothing_lost()
    return cluster


def draw_cluster(
    seed: int, *, replicas: int | None = None, byzantine: int | None = None
) -> Cluster:
    """Draw a cluster and schedule everything that will go wrong in it."""
    draw = random.Random(f"history {seed}")
    count = draw.choice(SIZES) if replicas is None else replicas
    faulty_max = QuorumSystem(count).f
    faulty = draw.randint(0, faulty_max) if byzantine is None else byzantine
    liars = draw.sample(range(count), faulty)
    cluster = start_cluster(
        replicas=count,
        seed=seed,
        faults=draw_network(draw),
        behaviours={replica: draw_behaviour(draw) for replica in liars},
    )
    cluster.load(every_ms=draw.choice((20, 60, 200, 1_000)), until_ms=HISTORY_MS)
    for _ in range(draw.randint(0, 4)):
        draw_outage(draw, cluster)
    for _ in range(draw.randint(0, 3)):
        draw_partition(draw, cluster)
    if faulty < faulty_max and draw.random() < 0.4:
        victim = draw.choice([one for one in range(count) if one not in liars])
        cluster.at(draw.randint(500, HISTORY_MS), "wipe", partial(cluster.wipe, victim))
    return cluster


def draw_network(draw: random.Random) -> Faults:
    """A network between quiet and awful."""
    if draw.random() < 0.3:
        return Faults()
    return Faults(
        loss=draw.choice((0.0, 0.01, 0.05, 0.2)),
        duplication=draw.choice((0.0, 0.05, 0.3)),
        delay_min_ms=1,
        delay_max_ms=draw.choice((5, 20, 100, 400)),
        stragglers=draw.choice((0.0, 0.01, 0.1)),
    )


def draw_outage(draw: random.Random, cluster: Cluster) -> None:
    """One replica or all of them are away for a while: crashed, or only paused."""
    count = len(cluster.hosts)
    begin, length = draw.randint(100, HISTORY_MS - 50), draw.choice((1, 50, 700, 4_000))
    victims = list(range(count)) if draw.random() < 0.15 else [draw.randrange(count)]
    is_crash = draw.random() < 0.7
    for victim in victims:
        what = "outage" if is_crash else "pause"
        act = partial(cluster.take_down if is_crash else cluster.pause, victim, for_ms=length)
        cluster.at(begin + draw.randint(0, 20), what, act)
    if draw.random() < 0.5:  # And a crash at whatever effect comes then, not between events.
        boundary = draw.randrange(20, 2_000)
        cluster.kill_at.setdefault(draw.randrange(count), {})[boundary] = None


def draw_partition(draw: random.Random, cluster: Cluster) -> None:
    """Two groups that cannot talk, a link that works one way, or a bridge between two groups."""
    members = list(range(len(cluster.hosts)))
    if len(members) < 2:
        return
    draw.shuffle(members)
    cut = draw.randint(1, len(members) - 1)
    one, other = members[:cut], members[cut:]
    begin, length = draw.randint(100, HISTORY_MS), draw.choice((200, 2_000, 6_000))
    shape = draw.choice(("full", "one way", "bridge"))
    if shape == "bridge" and len(other) > 1:
        other = other[1:]
    links = [(a, b) for a in one for b in other]
    if shape != "one way":
        links += [(b, a) for a, b in links]
    cluster.at(begin, f"partition {shape}", partial(cluster.cut, links))
    cluster.at(begin + length, "mend", partial(cluster.mend, links))
