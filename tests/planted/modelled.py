"""Planted bugs that the model checker finds, breadth first: no way to any of them is shorter."""

from functools import cache
from typing import Final

from tests.model.bounds import Bounds
from tests.model.explore import explore
from tests.planted import core_switches, switches
from tests.planted.registry import Found, Plant, Planted

STATES_MAX: Final = 500_000
CLEAN_STATES_MAX: Final = 60_000
"""How far a search goes with a bug, and without one."""

BACKUP_LIES: Final = Bounds(byzantine=2, heights=1)
NEW_PRIMARY_LIES: Final = Bounds(byzantine=1, heights=1)

BOTH_PREPARED: Final = (
    "0 proposes",
    "2 is handed pre_prepare v0 h1v0r0a",
    "2 is handed prepares v0 h1v0r0a of 3",
    "0 times out",
    "1 is handed v1 view_changes 0:none 3:none: leads",
)
"""Replica 2 alone prepares a block in view 0; replica 1 leads view 1 without having heard of it."""

CERTIFIED_TWICE: Final = (
    "0 proposes",
    "2 is handed pre_prepare v0 h1v0r0a",
    "3 is handed pre_prepare v0 h1v0r0a",
    "0 is handed prepares v0 h1v0r0a of 1,2",
    "2 is handed prepares v0 h1v0r0a of 1",
    "3 is handed prepares v0 h1v0r0a of 1",
    "2 is handed commits v0 h1v0r0a of 1,0",
    "0 times out",
    "3 times out",
    "0 is handed new_view v1 h1v0r0a from 0:h1v0r0a@v0 1:none 3:h1v0r0a@v0",
    "3 is handed new_view v1 h1v0r0a from 0:h1v0r0a@v0 1:none 3:h1v0r0a@v0",
    "0 is handed prepares v1 h1v0r0a of 3",
    "3 is handed prepares v1 h1v0r0a of 0",
    "0 is handed commits v1 h1v0r0a of 1,3",
    "3 is handed commits v1 h1v0r0a of 1,0",
)
"""One block is decided in view 0 here and in view 1 there: height 2 begins with both proofs."""


def modelled(
    name: str,
    plant: Plant,
    bounds: Bounds,
    *found_by: str,
    states: int = STATES_MAX,
    after: tuple[str, ...] = (),
) -> Planted:
    return Planted(
        name=name,
        plant=plant,
        where="model",
        within=f"{states:,} states",
        search=lambda: first_violation(bounds, states, after),
        search_clean=lambda: clean_violation(bounds, after),
        found_by=found_by,
    )


@cache
def clean_violation(bounds: Bounds, after: tuple[str, ...]) -> Found | None:
    """Search without a bug, once for all bugs of the same bounds."""
    return first_violation(bounds, CLEAN_STATES_MAX, after)


def first_violation(bounds: Bounds, states: int, after: tuple[str, ...]) -> Found | None:
    """Return the shortest path to a violation, and what is broken there."""
    result = explore(bounds, states_max=states, after=after)
    if result.violation is None:
        return None
    return Found(f"{len(result.path)} steps, {result.states:,} states", result.violation)


PLANTED: Final = (
    modelled("model: quorum 2f", switches.quorum_of_2f, BACKUP_LIES, "S1"),
    modelled(
        "model: commit signed after ViewChange",
        switches.commit_after_view_change,
        BACKUP_LIES,
        "R4",
    ),
    modelled(
        "model: new primary ignores prepared certificates",
        switches.prepared_certificates_ignored,
        BACKUP_LIES,
        "S1",
    ),
    modelled(
        "model: backup skips recomputing the choice",
        switches.choice_not_recomputed,
        NEW_PRIMARY_LIES,
        "S1",
    ),
    modelled(
        "NewView counts a repeated signer twice",
        core_switches.repeated_signer_counted,
        NEW_PRIMARY_LIES,
        "S1",
    ),
    modelled(
        "implicit right to propose above view 0",
        core_switches.implicit_right_to_propose,
        NEW_PRIMARY_LIES,
        "S1",
    ),
    modelled(
        "stale timer discards a prepared block",
        core_switches.timer_discards_prepared,
        BACKUP_LIES,
        "S1",
    ),
    modelled(
        "vote at h+1 before the decision at h is durable",
        core_switches.vote_before_execution,
        Bounds(byzantine=2, executes_apart=True),
        "D1",
    ),
    modelled(
        "prepared certificate not journaled",
        core_switches.certificate_not_journaled,
        Bounds(byzantine=2, heights=1, restarts=1),
        "S1",
    ),
    modelled(
        "votes forgotten by a restart",
        core_switches.votes_forgotten,
        Bounds(byzantine=2, heights=1, restarts=1),
        "S2",
    ),
    modelled(
        "certificate accepted from another height",
        core_switches.certificate_of_another_height,
        Bounds(byzantine=2, view_max=0),
        "S4",
        "S1",
    ),
    modelled(
        "vote accepted from another epoch",
        core_switches.vote_of_another_epoch,
        Bounds(byzantine=2, view_max=0, leaves=True),
        "S1",
        "S3",
    ),
    modelled(
        "view carried over from the parent's certificate",
        core_switches.view_carried_over,
        Bounds(byzantine=1),
        "S1",
        after=CERTIFIED_TWICE,
    ),
    modelled(
        "new primary picks the lowest view",
        core_switches.lowest_view_chosen,
        Bounds(byzantine=3, heights=1, view_max=2),
        "S1",
        after=BOTH_PREPARED,
    ),
)
