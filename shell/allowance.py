"""What one peer may cost this node: two buckets that fill with time, arithmetic only.

One holds frames, the other our own working time in microseconds, so that neither many small
messages nor few costly ones crowd out the others. What should not have been sent costs extra. An
empty bucket means: read no further until it has something in it again. A correct peer comes near
neither, whatever its load.
"""

from dataclasses import dataclass
from typing import Final

FRAMES_PER_S: Final = 500
FRAMES_MAX: Final = 2_000
"""Frames that may come at once after a silence: what a link that was cut has kept for us."""

WORK_US_PER_S: Final = 250_000
WORK_US_MAX: Final = 500_000
"""A quarter of one core for each peer, and half a second of work at once."""

INVALID_US: Final = 20_000
"""What a message with a wrong signature, or none that decodes, costs beside its work."""

PAUSE_S_MIN: Final = 0.05
PAUSE_S_MAX: Final = 2.0
REFILLED_PARTS: Final = 20
"""A paused peer is read again when a twentieth of the empty bucket is there."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """The buckets of one peer as they were at `at_s`, and what became of its frames so far."""

    frames: float = FRAMES_MAX
    work_us: float = WORK_US_MAX
    at_s: float = 0.0
    taken: int = 0
    dropped: int = 0
    pauses: int = 0
    worked_us: float = 0.0


def take_frame(allowance: Allowance, now_s: float) -> bool:
    """Whether a frame is looked at now; one beyond the allowance is dropped and counted."""
    _fill(allowance, now_s)
    if allowance.frames < 1 or allowance.work_us <= 0:
        allowance.dropped += 1
        return False
    allowance.frames -= 1
    allowance.taken += 1
    return True


def spend(allowance: Allowance, work_us: float, *, is_invalid: bool = False) -> None:
    """Take the time that a frame has cost; it may leave a debt."""
    allowance.worked_us += work_us
    allowance.work_us -= work_us + (INVALID_US if is_invalid else 0)


def pause_s(allowance: Allowance) -> float:
    """Return for how long the peer should not be read; 0: it may go on."""
    if allowance.frames >= 1 and allowance.work_us > 0:
        return 0.0
    frames = FRAMES_MAX / REFILLED_PARTS - allowance.frames
    work_us = WORK_US_MAX / REFILLED_PARTS - allowance.work_us
    needed_s = max(frames / FRAMES_PER_S, work_us / WORK_US_PER_S)
    return min(max(needed_s, PAUSE_S_MIN), PAUSE_S_MAX)


def _fill(allowance: Allowance, now_s: float) -> None:
    passed_s = max(0.0, now_s - allowance.at_s)
    allowance.frames = min(FRAMES_MAX, allowance.frames + passed_s * FRAMES_PER_S)
    allowance.work_us = min(WORK_US_MAX, allowance.work_us + passed_s * WORK_US_PER_S)
    allowance.at_s = now_s
