"""The smallest history that still fails: faults, liars and load are taken away one by one.

What fails must stay the same by name (S1, L1...). Then the history is cut behind the moment of
failure, so that nothing is left in it that came too late to matter.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from tests.simulation.cluster import Faults
from tests.simulation.histories import History
from tests.simulation.run import Outcome, run_one

RUNS_MAX: Final = 60


def shrink(
    history: History, outcome: Outcome, run: Callable[[History], Outcome] = run_one
) -> History:
    """Return a history with as few faults as were found to be needed."""
    smallest, runs, has_shrunk = history, 0, True
    while has_shrunk and runs < RUNS_MAX:
        has_shrunk = False
        for smaller in _smaller(smallest):
            runs += 1
            if run(smaller).name == outcome.name:
                smallest, has_shrunk = smaller, True
                break
            if runs >= RUNS_MAX:
                break
    return smallest


def _smaller(history: History) -> Iterator[History]:
    faults = history.faults
    half = len(faults) // 2
    if half > 1:
        yield replace(history, faults=faults[:half])
        yield replace(history, faults=faults[half:])
    for at in range(len(faults)):
        yield replace(history, faults=faults[:at] + faults[at + 1 :])
    for at in range(len(history.liars)):
        yield replace(history, liars=history.liars[:at] + history.liars[at + 1 :])
    for at in range(len(history.changes)):
        yield replace(history, changes=history.changes[:at] + history.changes[at + 1 :])
    if history.network != Faults():
        yield replace(history, network=Faults())
    last = max((fault.at_ms + fault.for_ms for fault in faults), default=0) + 1_000
    if last < history.until_ms:
        yield replace(history, until_ms=last)
