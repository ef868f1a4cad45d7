"""Crashes between two effects and inside every disk call: durability rests on their order."""

import random

from tests.simulation.cluster import Cluster, Faults, start_cluster
from tests.simulation.histories import finish
from tests.simulation.ideal import ideal_world
from tests.simulation.report import reported

KILLS_WANTED = 500
KILLS_EACH = 16


def killed_cluster(seed: int) -> Cluster:
    """A cluster whose replicas die at drawn places, often several at once."""
    draw = random.Random(f"kills {seed}")
    replicas = draw.choice((1, 3, 4, 4, 5, 6, 7))
    faults = Faults(loss=draw.choice((0.0, 0.0, 0.05)), delay_max_ms=draw.choice((10, 60)))
    cluster = start_cluster(replicas=replicas, seed=seed, faults=faults)
    cluster.load(every_ms=60, until_ms=7_000)
    for _ in range(KILLS_EACH):
        boundaries = cluster.kill_at.setdefault(draw.randrange(replicas), {})
        boundaries[draw.randrange(900)] = None
    return cluster


def test_500_kill_points_no_double_vote_and_nothing_acknowledged_lost() -> None:
    """S2, restarts included: no replica signs two votes for one (epoch, height, view, type)."""
    kills = votes = acknowledged = seeds = 0

    while kills < KILLS_WANTED:
        with ideal_world():
            cluster = killed_cluster(seeds)
            with reported(cluster):
                finish(cluster, 8_000)
        kills += cluster.kills
        votes += len(cluster.monitor.votes)
        acknowledged += len(cluster.monitor.acknowledged)
        seeds += 1

    print(f"\n{kills} kill points in {seeds} histories, {votes} votes, {acknowledged} acknowledged")
    assert kills >= KILLS_WANTED
    assert votes > 10 * kills
    assert acknowledged > kills


def test_every_place_of_the_first_blocks_in_turn() -> None:
    """Not drawn: replica 0, then 1, dies at its place number 0, 1, 2 ... of one short run.

    A place is the moment before an effect, or inside a call to the disk. What a torn write leaves
    is within f: the replica fences itself.
    """
    killed = 0

    for replica in (0, 1):
        for place in range(70):
            with ideal_world():
                cluster = start_cluster(replicas=4, seed=place)
                cluster.kill_at[replica] = {place: None}
                cluster.load(every_ms=40, until_ms=600)
                with reported(cluster):
                    finish(cluster, 2_500)
            killed += cluster.kills

    assert killed == 140
