"""Planted bugs that the simulator finds, on clusters drawn from a stated number of seeds."""

from collections.abc import Callable
from typing import Final

from tests.planted import ledger_switches, member_switches, switches
from tests.planted.clusters import (
    RUN_MS,
    changed_cluster,
    changing_cluster,
    complaining_cluster,
    dying_cluster,
    equivocating_cluster,
    governed_cluster,
    lonely_cluster,
    lying_cluster,
    powerless_cluster,
    quiet_cluster,
    repeating_cluster,
    skewed_cluster,
    split_cluster,
    variants_cluster,
    whispering_cluster,
)
from tests.planted.registry import Found, Plant, Planted
from tests.simulation.byzantine import TimePusher, WrongRoot
from tests.simulation.cluster import Cluster
from tests.simulation.ideal import ideal_world
from tests.simulation.members import ADD, REKEY, REMOVE
from tests.simulation.run import violation_of

FORGOTTEN: Final = ("S1", "S2", "R4", "L1")
"""What comes of forgetting what one has signed: a second vote, or, where a peer shows the first one
and everybody fences himself, a standstill."""

Draw = Callable[[int], Cluster]


def first_violation(draw: Draw, seeds: int, *, judges_order: bool = False) -> Found | None:
    """Return the first seed that breaks something, and what; the watches over each vote (is it
    durable, is it a member's) sleep unless they are to find it: the harm itself has to be seen."""
    for seed in range(seeds):
        with ideal_world():
            cluster = draw(seed)
            cluster.monitor.checks_durability = cluster.monitor.checks_voters = judges_order
            violation = violation_of(cluster, RUN_MS)
        if violation:
            return Found(f"seed {seed}", violation)
    return None


def simulated(
    name: str, plant: Plant, draw: Draw, seeds: int, *found_by: str, judges_order: bool = False
) -> Planted:
    return Planted(
        name=name,
        plant=plant,
        where="simulation",
        within=f"{seeds} seed{'s' if seeds > 1 else ''}",
        search=lambda: first_violation(draw, seeds, judges_order=judges_order),
        found_by=found_by,
    )


PLANTED: Final = (
    simulated(
        "quorum 2f+1 at n = 6", switches.quorum_of_2f_plus_1, split_cluster(6), 1, "S1", "S5"
    ),
    simulated("quorum 2f", switches.quorum_of_2f, split_cluster(4), 1, "S1", "S5"),
    simulated(
        "vote not journaled before send", switches.votes_not_journaled, dying_cluster, 3, *FORGOTTEN
    ),
    simulated("view not persisted", switches.view_not_journaled, dying_cluster, 6, *FORGOTTEN),
    simulated(  # Those who listen before they vote are shown what they forgot: only D1 is broken.
        "sent before durable",
        switches.sent_before_durable,
        dying_cluster,
        3,
        "D1",
        judges_order=True,
    ),
    simulated(  # Where nobody can show them, they vote again: the harm that D1 is there to prevent.
        "sent before durable, and nobody heard",
        switches.sent_before_durable,
        whispering_cluster,
        5,
        "S2",
    ),
    simulated(
        "commit signed after ViewChange",
        switches.commit_after_view_change,
        changing_cluster,
        5,
        "R4",
    ),
    simulated(
        "new primary ignores prepared certificates",
        switches.prepared_certificates_ignored,
        lonely_cluster(),
        5,
        "S1",
        "S5",
    ),
    simulated(
        "backup skips recomputing the choice",
        switches.choice_not_recomputed,
        lonely_cluster(1),
        20,
        "S1",
        "S5",
    ),
    simulated(
        "a vote of an earlier view is evidence",
        switches.earlier_vote_accuses,
        changing_cluster,
        3,
        "E1",
    ),
    simulated(
        "one complaint suffices",
        switches.one_complaint_suffices,
        complaining_cluster,
        1,
        "P1",
    ),
    simulated(
        "prepares counted without their digest",
        switches.prepares_counted_without_their_digest,
        equivocating_cluster,
        5,
        "S1",
        "L1",
    ),
    simulated(
        "body not journaled", ledger_switches.body_not_journaled, dying_cluster, 3, "X1", "L1"
    ),
    simulated(
        "timer in v > 0 without q", ledger_switches.timer_without_quorum, skewed_cluster, 1, "L1"
    ),
    simulated(
        "a wrong root in a proposal stops replicas",
        ledger_switches.wrong_root_stops,
        lying_cluster(WrongRoot),
        1,
        "S5",
    ),
    simulated(
        "a flipped last record treated as torn",
        ledger_switches.flipped_record_taken_for_torn,
        changed_cluster,
        5,
        "C1",
    ),
    simulated(
        "replay window lost on restart",
        ledger_switches.replay_window_lost,
        repeating_cluster,
        2,
        "S4",
        "X1",
    ),
    simulated(
        "state applied twice after a crash between batch and event",
        ledger_switches.tip_written_apart,
        powerless_cluster,
        20,
        "S5",
        "X1",
    ),
    simulated(
        "set-order nondeterminism in execution", ledger_switches.set_order, quiet_cluster, 1, "S5"
    ),
    simulated(
        "expiry by local clock", ledger_switches.expiry_by_local_clock, quiet_cluster, 1, "S5"
    ),
    simulated(
        "one client's signature variants block every proposal",
        ledger_switches.variants_refused,
        variants_cluster,
        3,
        "L1",
    ),
    simulated(
        "block time not checked",
        ledger_switches.time_not_checked,
        lying_cluster(lambda _: TimePusher(5_000)),
        1,
        "T1",
    ),
    simulated(
        "a removed member's vote still counts",
        member_switches.leavers_count,
        governed_cluster(REMOVE),
        1,
        "M1",
    ),
    simulated(
        "a set is in force one block early",
        member_switches.set_in_force_early,
        governed_cluster(ADD),
        1,
        "M1",
    ),
    simulated(
        "a re-keyed member's former key still accepted",
        member_switches.former_key_accepted,
        governed_cluster(REKEY),
        1,
        "S3",
    ),
    simulated(
        "journal never flushed", ledger_switches.flush_forgotten, powerless_cluster, 2, "S5", "S2"
    ),
)
