"""Crashes exactly between two effects: the order of the list is all that durability rests on."""

import random

from tests.simulation.cluster import Cluster, Faults, reported, start_cluster

KILLS_WANTED = 500
KILLS_EACH = 14


def killed_cluster(seed: int) -> Cluster:
    """A cluster whose replicas die at drawn effect boundaries, often several at once."""
    draw = random.Random(f"kills {seed}")
    replicas = draw.choice((1, 3, 4, 4, 5, 6, 7))
    faults = Faults(loss=draw.choice((0.0, 0.0, 0.05)), delay_max_ms=draw.choice((10, 60)))
    cluster = start_cluster(replicas=replicas, seed=seed, faults=faults)
    cluster.load(every_ms=60, until_ms=9_000)
    for _ in range(KILLS_EACH):
        boundaries = cluster.kill_at.setdefault(draw.randrange(replicas), {})
        boundaries[draw.randrange(600)] = None
    return cluster


def test_500_kill_points_no_double_vote_and_nothing_acknowledged_lost() -> None:
    """S2, restarts included: no replica signs two votes for one (epoch, height, view, type)."""
    kills = votes = acknowledged = seeds = 0

    while kills < KILLS_WANTED:
        cluster = killed_cluster(seeds)
        with reported(cluster):
            cluster.run(until_ms=10_000)
            cluster.heal()
            cluster.run_until_level()
            cluster.check_nothing_lost()
        kills += cluster.kills
        votes += len(cluster.monitor.votes)
        acknowledged += len(cluster.monitor.acknowledged)
        seeds += 1

    print(f"\n{kills} kill points in {seeds} histories, {votes} votes, {acknowledged} acknowledged")
    assert kills >= KILLS_WANTED
    assert votes > 10 * kills
    assert acknowledged > kills


def test_every_effect_boundary_of_the_first_blocks_in_turn() -> None:
    """Not drawn: replica 0, then 1, dies before its effect number 0, 1, 2 ... of one short run."""
    killed = 0

    for replica in (0, 1):
        for boundary in range(90):
            cluster = start_cluster(replicas=4, seed=boundary)
            cluster.kill_at[replica] = {boundary: None}
            cluster.load(every_ms=40, until_ms=600)
            with reported(cluster):
                cluster.run(until_ms=4_000)
                cluster.heal()
                cluster.run_until_level()
                cluster.check_nothing_lost()
            killed += cluster.kills

    assert killed == 180
