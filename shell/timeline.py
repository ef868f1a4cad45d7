"""When what happened: the progress of the block under agreement, and what went wrong lately.

Filled by the effects that the core asks for, read by who diagnoses and measures. Nothing here
decides anything, and everything is bounded.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from consensus.blocks import Block
from consensus.effects import Broadcast, CheckProposal, Decide, Effect
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange

WINDOW_S: Final = 30.0
"""For how long an absence of the loop, or a slow flush, is worth telling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A proposal that was refused, at `at_s`; `text` begins with the code of the reason."""

    height: int
    view: int
    proposer: int
    text: str
    at_s: float


@dataclass(slots=True)
class Peak:
    """The largest of what was noted in the last half minute, in milliseconds."""

    clock_s: Callable[[], float]
    noted: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, value_ms: int) -> None:
        """Keep a value until it is old or a larger one comes: values kept only fall."""
        while self.noted and self.noted[-1][1] <= value_ms:
            self.noted.pop()
        self.noted.append((self.clock_s(), value_ms))
        self._forget()

    def value_ms(self) -> int:
        self._forget()
        return self.noted[0][1] if self.noted else 0

    def _forget(self) -> None:
        while self.noted and self.noted[0][0] < self.clock_s() - WINDOW_S:
            self.noted.popleft()


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Times are those of `clock_s` (monotonic); `marks` are those of the height under agreement.

    `executed_s` is when the last block was executed, or the start. `view_changes_sent` counts, over
    all heights, how often this replica left a view; `lag` is the loop's, `sync` the journal's.
    """

    clock_s: Callable[[], float] = time.monotonic
    executed_s: float = field(init=False)
    marks: dict[str, float] = field(default_factory=dict)
    refusal: Refusal | None = None
    failure: Exception | None = None
    refusals: Counter[str] = field(default_factory=Counter)
    view_changes_sent: int = 0
    lag: Peak = field(init=False)
    sync: Peak = field(init=False)

    def __post_init__(self) -> None:
        self.executed_s = self.clock_s()
        self.lag = Peak(self.clock_s)
        self.sync = Peak(self.clock_s)


def note_effect(timeline: Timeline, effect: Effect) -> None:
    """Mark how far the block under agreement has come."""
    match effect:
        case CheckProposal() | Broadcast(message=PrePrepare() | NewView()):
            _mark(timeline, "proposed")
        case Broadcast(message=Prepare()):
            _mark(timeline, "checked")
        case Broadcast(message=Commit()):
            _mark(timeline, "prepared")
        case Broadcast(message=ViewChange()):
            timeline.view_changes_sent += 1
        case Decide():
            _mark(timeline, "committed")
        case _:
            pass  # What moves no block forward.


def note_executed(timeline: Timeline) -> None:
    """Begin the next height."""
    timeline.executed_s = timeline.clock_s()
    timeline.marks.clear()


def note_refusal(timeline: Timeline, block: Block, view: int, text: str) -> None:
    """Remember the block refused in `view`; who proposes a block again answers for it anew."""
    timeline.refusals[text.partition(":")[0]] += 1
    timeline.refusal = Refusal(
        height=block.height,
        view=view,
        proposer=block.proposer,
        text=text,
        at_s=timeline.clock_s(),
    )


def since_ms(timeline: Timeline, at_s: float) -> int:
    """Return how many milliseconds ago a moment of this timeline was."""
    return int((timeline.clock_s() - at_s) * 1_000)


def _mark(timeline: Timeline, phase: str) -> None:
    timeline.marks.setdefault(phase, timeline.clock_s())
