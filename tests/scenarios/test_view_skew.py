"""Random expiries, losses and restarts leave each replica in a view of its own; time heals it."""

import random

import pytest

from consensus.events import TimerKind
from tests.scenarios.script import (
    Table,
    bring_up,
    hand_over,
    heartbeats,
    make_table,
    run_out,
    settle,
    submit,
    take_down,
)

DRAWS = 30
ROUNDS_MAX = 12
"""Rounds of heartbeats and expired timers in which a new block must be decided."""


def shake(table: Table, draw: random.Random) -> None:
    """Deliver a third of what is sent, lose the rest, let timers expire, restart at random."""
    for _ in range(40):
        replica = draw.randrange(len(table.hosts))
        if draw.random() < 0.15:
            take_down(table, str(replica))
            bring_up(table, str(replica))
        elif (replica, TimerKind.VIEW_CHANGE) in table.timers and draw.random() < 0.5:
            run_out(table, str(replica), "view_change")
        else:
            lose_some(table, draw)
            settle_one(table, draw)


def lose_some(table: Table, draw: random.Random) -> None:
    table.flight = [one for one in table.flight if draw.random() < 0.5]


def settle_one(table: Table, draw: random.Random) -> None:
    """Deliver up to three messages, in any order."""
    for _ in range(min(3, len(table.flight))):
        sender, to, parcel = table.flight.pop(draw.randrange(len(table.flight)))
        hand_over(table, sender, to, parcel)


def let_time_pass(table: Table) -> None:
    """One round: every heartbeat, everything delivered, then every timer that still runs."""
    for replica in range(len(table.hosts)):
        run_out(table, str(replica), "status")
    settle(table)
    for replica, kind in [key for key in table.timers if key[1] is not TimerKind.STATUS]:
        if (replica, kind) in table.timers:
            run_out(table, str(replica), kind.value)
    settle(table)


@pytest.mark.parametrize("draw", range(DRAWS))
def test_replicas_in_different_views_meet_again_without_help(draw: int) -> None:
    """L1, and the monitor of the table holds S1, S2, R4 and D1 all along."""
    table = make_table(4 + draw % 4)
    shake(table, random.Random(draw))
    views = {host.state.instance.view for host in table.hosts if host.state is not None}
    tip = max(host.application.height for host in table.hosts)
    table.flight.clear()
    heartbeats(table, "on")
    submit(table, "0", "aspirin")

    rounds = 0
    while min(host.application.height for host in table.hosts) <= tip:
        let_time_pass(table)
        rounds += 1
        assert rounds <= ROUNDS_MAX, f"views {sorted(views)} do not meet"


def test_the_draws_do_leave_replicas_in_different_views() -> None:
    skewed = 0
    for draw in range(DRAWS):
        table = make_table(4 + draw % 4)
        shake(table, random.Random(draw))
        views = {host.state.instance.view for host in table.hosts if host.state is not None}
        skewed += len(views) > 1

    assert skewed >= DRAWS // 2
