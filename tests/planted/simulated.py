"""Planted bugs that the simulator finds, on clusters drawn from a stated number of seeds."""

from collections.abc import Callable
from typing import Final

from tests.planted import switches
from tests.planted.clusters import (
    changing_cluster,
    dying_cluster,
    equivocating_cluster,
    lonely_cluster,
    split_cluster,
)
from tests.planted.registry import Found, Plant, Planted
from tests.simulation.cluster import Cluster
from tests.simulation.ideal import ideal_world
from tests.simulation.run import violation_of

RUN_MS: Final = 16_000
FORGOTTEN: Final = ("S1", "S2", "R4", "L1")
"""What comes of forgetting what one has signed: a second vote, or, where a peer shows the first one
and everybody fences himself, a standstill."""

Draw = Callable[[int], Cluster]


def first_violation(draw: Draw, seeds: int) -> Found | None:
    """Return the first seed that breaks something, and what; the durable-before-sent watch sleeps,
    so that the harm itself has to be seen."""
    for seed in range(seeds):
        with ideal_world():
            cluster = draw(seed)
            cluster.monitor.checks_durability = False
            violation = violation_of(cluster, RUN_MS)
        if violation:
            return Found(f"seed {seed}", violation)
    return None


def simulated(name: str, plant: Plant, draw: Draw, seeds: int, *found_by: str) -> Planted:
    return Planted(
        name=name,
        plant=plant,
        where="simulation",
        within=f"{seeds} seed{'s' if seeds > 1 else ''}",
        search=lambda: first_violation(draw, seeds),
        found_by=found_by,
    )


PLANTED: Final = (
    simulated(
        "quorum 2f+1 at n = 6", switches.quorum_of_2f_plus_1, split_cluster(6), 1, "S1", "S5"
    ),
    simulated("quorum 2f", switches.quorum_of_2f, split_cluster(4), 1, "S1", "S5"),
    simulated(
        "vote not journaled before send",
        switches.votes_not_journaled,
        dying_cluster,
        30,
        "S1",
        "S2",
        "L1",  # The others' echoes show the forgotten votes: all are fenced, nobody goes on.
    ),
    simulated("view not persisted", switches.view_not_journaled, dying_cluster, 60, *FORGOTTEN),
    simulated("sent before durable", switches.sent_before_durable, dying_cluster, 60, *FORGOTTEN),
    simulated(
        "commit signed after ViewChange",
        switches.commit_after_view_change,
        changing_cluster,
        20,
        "R4",
    ),
    simulated(
        "new primary ignores prepared certificates",
        switches.prepared_certificates_ignored,
        lonely_cluster(),
        10,
        "S1",
        "S5",
    ),
    simulated(
        "backup skips recomputing the choice",
        switches.choice_not_recomputed,
        lonely_cluster(1),
        30,
        "S1",
        "S5",
    ),
    simulated(
        "prepares counted without their digest",
        switches.prepares_counted_without_their_digest,
        equivocating_cluster,
        20,
        "S1",
        "L1",
    ),
)
