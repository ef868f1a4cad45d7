"""Attack 22: a process that was not running does not blame the primary for its own absence."""

import asyncio
import time
from pathlib import Path
from threading import Event

import pytest

from consensus.events import BacklogChanged
from consensus.state import Departure
from shell.lag import Lag, Probe, keep_probing, note_delay, take_lag_ms
from shell.replica import deliver
from tests.unit.p2p.loopback import until
from tests.unit.shell.one_of_four import running_one


async def test_a_deadline_that_passed_while_the_loop_was_held_is_moved_once(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        state = one.node.replica.state
        deliver(one.node.replica, BacklogChanged(waiting=True))  # Starts a timeout of 200 ms.

        Event().wait(0.8)  # Nobody sets it: holding the loop is the fault.
        for _ in range(5):
            await asyncio.sleep(0)

        assert state.instance.is_extended
        assert state.view_changes == {}
        await until(lambda: state.view_changes == {Departure.TIMER: 1})


def test_an_absence_is_told_once_by_whoever_finds_out_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lag = Lag(tick_due_s=10.0, told_s=9.0)
    monkeypatch.setattr(time, "monotonic", lambda: 12.0)

    told_ms = [take_lag_ms(lag, due_s) for due_s in (11.5, 10.5, lag.tick_due_s)]

    assert told_ms == [2_000, 0, 0], "the watch was due before the first timer"
    assert lag.ms_max == 2_000


def test_a_long_step_counts_for_all_the_timers_that_were_due_meanwhile() -> None:
    delays = Probe().delays

    note_delay(delays, 0.0004)
    note_delay(delays, 0.095)

    assert sum(delays.counts) == 1 + 10, "one on time, and one late for each 10 ms"
    above_50_ms = sum(delays.counts[delays.bounds.index(0.05) + 1 :])
    assert above_50_ms == 5


async def test_a_step_that_holds_the_loop_is_told_from_others_that_held_the_processor() -> None:
    probe = Probe()
    probing = asyncio.create_task(keep_probing(probe))
    await until(lambda: sum(probe.delays.counts) > 0)

    Event().wait(0.12)  # A step that waits: nobody else wants the processor for it.
    await until(lambda: probe.delays.total > 0.12)

    probing.cancel()
    above_50_ms = slice(probe.held.bounds.index(0.05) + 1, None)
    assert sum(probe.held.counts[above_50_ms]) >= 5
    assert sum(probe.delays.counts[above_50_ms]) >= sum(probe.held.counts[above_50_ms])
    assert probe.held.total <= probe.delays.total
