"""When what happened: the progress of the block under agreement, and what went wrong lately.

Filled by the effects that the core asks for, read by who diagnoses and measures. Nothing here
decides anything, and everything is bounded.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from api.metrics import Histogram
from consensus.blocks import Block
from consensus.effects import Broadcast, CheckProposal, Decide, Effect, Persist
from consensus.messages import Commit, Message, NewView, Prepare, PrePrepare, Vote
from consensus.records import FenceRaised
from consensus.state import Departure, ReplicaState, height_of
from ledger.pool import Entry, Pool
from shell.lag import Probe
from shell.proposals import payload_hashes

log = logging.getLogger("medledger.timeline")

PHASES: Final = ("proposed", "voted", "prepared", "committed", "executed")
"""What becomes of a block on one replica, in this order; each phase lasts from the one before."""

VOTE_PHASES: Final[dict[type[Vote], str]] = {
    PrePrepare: "proposed",
    Prepare: "voted",
    Commit: "prepared",
}

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

    `started_s` is the start, `fenced_s` when the fence was raised last in this run, or the start,
    `executed_s` when the last block was executed, or the start, and `proposed_s` when its first
    proposal was here, None if it came without. `left` are the views that were left so far, by why.
    `phases` and `latency` are in seconds. `commits` has the highest height for which a member's
    commit came, `votes_missing` how many blocks went by without one. `lag` is the loop's,
    `probe` what came of timers there, `sync` the journal's.
    """

    clock_s: Callable[[], float] = time.monotonic
    started_s: float = field(init=False)
    fenced_s: float = field(init=False)
    executed_s: float = field(init=False)
    proposed_s: float | None = None
    left: Counter[Departure] = field(default_factory=Counter)
    marks: dict[str, float] = field(default_factory=dict)
    phases: dict[str, Histogram] = field(
        default_factory=lambda: {one: Histogram() for one in PHASES}
    )
    latency: Histogram = field(default_factory=Histogram)
    blocks: int = 0
    transactions: int = 0
    commits: dict[int, int] = field(default_factory=dict)
    votes_missing: Counter[int] = field(default_factory=Counter)
    refusal: Refusal | None = None
    refusals: Counter[str] = field(default_factory=Counter)
    failure: Exception | None = None
    lag: Peak = field(init=False)
    probe: Probe = field(default_factory=Probe)
    sync: Peak = field(init=False)

    def __post_init__(self) -> None:
        self.started_s = self.fenced_s = self.executed_s = self.clock_s()
        self.lag = Peak(self.clock_s)
        self.sync = Peak(self.clock_s)


def note_effect(timeline: Timeline, effect: Effect) -> None:
    """Mark how far the block under agreement has come."""
    match effect:
        case CheckProposal():
            _mark(timeline, "proposed", effect.block.height, effect.view, effect.block.digest)
        case Broadcast(message=PrePrepare() | Prepare() | Commit() as vote):
            _mark(timeline, VOTE_PHASES[type(vote)], vote.height, vote.view, vote.digest)
        case Broadcast(message=NewView() as vote):
            _mark(timeline, "proposed", vote.height, vote.view, vote.digest)
        case Persist(records=records) if any(isinstance(one, FenceRaised) for one in records):
            timeline.fenced_s = timeline.clock_s()
        case Decide():
            _mark(
                timeline, "committed", effect.block.height, effect.block.view, effect.block.digest
            )
        case _:
            pass  # What moves no block forward.


def note_departures(timeline: Timeline, state: ReplicaState) -> None:
    """Tell of every view that was left since the last look, and why."""
    if timeline.left.total() == state.view_changes.total():
        return
    for reason in (state.view_changes - timeline.left).elements():
        place = {"height": height_of(state), "view": state.instance.view}
        log.info("view change", extra={**place, "reason": reason.value})
    timeline.left = state.view_changes.copy()


def note_message(timeline: Timeline, peer_id: int, message: Message) -> None:
    """Remember for which height a member's commit came last."""
    if isinstance(message, Commit) and peer_id >= 0:  # Guests have other ids, and no vote.
        timeline.commits[peer_id] = max(timeline.commits.get(peer_id, 0), message.height)


def note_executed(
    timeline: Timeline, block: Block, waited_ms: Sequence[int], others: Sequence[int]
) -> None:
    """End a height: say how long it took, whose commit did not come, and begin the next.

    `waited_ms` is how long each of its transactions was here; a commit for the block before is
    still in time, as its sender is not behind.
    """
    now_s = timeline.clock_s()
    marks = {**timeline.marks, "executed": now_s}
    took_ms = {}
    before_s = timeline.executed_s
    for phase in PHASES:
        if phase in marks:
            timeline.phases[phase].observe(max(0.0, marks[phase] - before_s))
            took_ms[f"{phase}_ms"] = int((marks[phase] - before_s) * 1_000)
            before_s = marks[phase]
    count = block.transaction_count
    timeline.blocks += 1
    timeline.transactions += count
    for elapsed_ms in waited_ms:
        timeline.latency.observe(elapsed_ms / 1_000)
    for index in others if "prepared" in marks else ():  # A fetched block came without votes.
        if timeline.commits.get(index, 0) < block.height - 1:
            timeline.votes_missing[index] += 1
    place = {"height": block.height, "view": block.view, "digest8": block.digest.hex()[:8]}
    log.info("block", extra={**place, "transactions": count, **took_ms})
    timeline.executed_s, timeline.proposed_s = now_s, timeline.marks.get("proposed")
    timeline.marks.clear()


def pooled(pool: Pool, block: Block) -> tuple[Entry, ...]:
    """Return those of a block's transactions that wait in our pool."""
    entries = (pool.get(one) for one in payload_hashes(block.payload))
    return tuple(entry for entry in entries if entry is not None)


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


def _mark(timeline: Timeline, phase: str, height: int, view: int, digest: bytes) -> None:
    if phase not in timeline.marks:
        timeline.marks[phase] = timeline.clock_s()
        if log.isEnabledFor(logging.DEBUG):
            place = {"height": height, "view": view, "digest8": digest.hex()[:8]}
            log.debug(phase, extra=place)
