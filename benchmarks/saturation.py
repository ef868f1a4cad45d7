"""The knee: the highest rate that a system keeps up with, found by offering rates open loop."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

KEPT_UP: Final = 0.97
"""So much of what is offered has to be committed at the same pace."""

P99_MS_MAX: Final = 1_000.0
STEPS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A rate that was offered and what came of it; `p99_ms` is None if nothing was committed."""

    offered_tps: float
    tps: float
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The best rate that held, None if none did, and all that was tried for it."""

    best: Trial | None
    trials: tuple[Trial, ...]


def has_held(trial: Trial, *, p99_ms_max: float = P99_MS_MAX) -> bool:
    """Whether the system kept up: nearly all committed in time, and no queue that grows."""
    if trial.p99_ms is None or trial.p99_ms > p99_ms_max:
        return False
    return trial.tps >= KEPT_UP * trial.offered_tps


async def find_knee(
    attempt: Callable[[float], Awaitable[Trial]],
    saturated_tps: float,
    *,
    steps: int = STEPS,
    p99_ms_max: float = P99_MS_MAX,
) -> Knee:
    """Halve the interval between a rate that holds and one that does not, `steps` times.

    `saturated_tps` is what the system commits when it always has work: it holds no more than that
    in the long run. Half of it is the first guess; a system that does not hold even that gets less.
    """
    low, high, best = 0.0, 1.1 * saturated_tps, None
    rate, trials = saturated_tps / 2, []
    for _ in range(steps):
        trial = await attempt(rate)
        trials.append(trial)
        if has_held(trial, p99_ms_max=p99_ms_max):
            low, best = rate, trial
        else:
            high = rate
        rate = (low + high) / 2
    return Knee(best=best, trials=tuple(trials))


def knee_of(trials: list[Trial], *, p99_ms_max: float = P99_MS_MAX) -> Trial | None:
    """Return the greatest rate of a curve up to which every lower one held, too."""
    best = None
    for trial in sorted(trials, key=lambda one: one.offered_tps):
        if not has_held(trial, p99_ms_max=p99_ms_max):
            break
        best = trial
    return best
