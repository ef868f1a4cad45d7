"""Whether the base primary serves what waits: arithmetic over times that are passed in (rule 13).

Two suspicions, both about a primary that makes progress and is therefore left alone by timers.

*Censoring*: a transaction waits longer than the liveness bound although everybody has had it since
half of it, and the primary passed it over in blocks that had room. Blocks without room accuse
nobody: then there is more to do than fits.

*Slow*: during a whole window, as long as the bound, either more than one block's worth waited and
far fewer transactions were decided than in the best window lately; or blocks that were due took
most of the timeout, and several times what they took at best. And, whatever was best: if its
proposals come most of the timeout after they are due, one window after the other, while the others'
links answer at once and this process is not held up itself. Until its proposal is here a block
waits for the primary alone, so that needs no better primary to compare with.

The bound doubles after a change that did not help, and falls back once what waited then is gone:
a consortium that is merely overloaded must not spin through its members. All times are in
milliseconds of one clock.
"""

from dataclasses import dataclass, field
from typing import Final

from consensus.messages import Suspicion
from crypto.validators import Epoch, ReplicaId

PASSED_OVER_MIN: Final = 3
"""Blocks with room that must leave out what has waited for half the bound."""

FAR_BELOW: Final = 4
"""A window is slow below the best one divided by this, or above the best delay times this."""

LATE_WINDOWS_MIN: Final = 2
"""Windows in a row in which proposals came late."""

NEAR_PARTS: Final = 8
"""Round trips, and absences of our own, below the timeout divided by this explain no late one."""

DELAYS_MIN: Final = 3
DELAYS_MAX: Final = 1_024
DOUBLINGS_MAX: Final = 6
FORGET_PARTS: Final = 8
"""Of the best window an eighth is forgotten with each window that did not reach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits here now.

    `oldest_ms` is since when the oldest transaction waits that every correct primary has room for,
    None if there is none; `count` are those that a block may hold now, of which it takes at most
    `block_max`. More than one above that need not be counted.
    """

    oldest_ms: int | None
    count: int
    block_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What to do.

    What arrived from the first to before the second time of `resend_ms` is sent to all again;
    a `suspicion` is about the base.
    """

    resend_ms: tuple[int, int] | None = None
    suspicion: Suspicion | None = None


@dataclass(slots=True, kw_only=True)
class Window:
    """What one stretch of time showed; `is_saturated` while more than a block's worth waited.

    `delays_ms` is how long due blocks took, `waits_ms` how long until their proposals were here;
    `is_near` while neither the network nor our own absence explains such a wait.
    """

    start_ms: int
    transactions: int = 0
    delays_ms: list[int] = field(default_factory=list)
    waits_ms: list[int] = field(default_factory=list)
    is_saturated: bool = True
    is_near: bool = True


@dataclass(slots=True, kw_only=True)
class Watch:
    """What is remembered of the base primary, and the best that was seen of any.

    `base` is a member in an epoch; it passed over what came at `passed_ms` that many times.
    `due_ms` is since when a block is due; `late_windows` in a row its proposals came late.
    `complained_ms` is when this node complained last, `unhelped` about what, until a change has
    helped; what arrived before `resent_ms` was sent again.
    """

    bound_ms: int
    timeout_ms: int
    base: tuple[Epoch, ReplicaId] | None = None
    base_since_ms: int = 0
    passed_over: int = 0
    passed_ms: int | None = None
    resent_ms: int = 0
    has_complained: bool = False
    doublings: int = 0
    complained_ms: int = 0
    unhelped: Suspicion | None = None
    due_ms: int | None = None
    late_windows: int = 0
    window: Window = field(default_factory=lambda: Window(start_ms=0))
    best_per_s: int = 0
    best_delay_ms: int | None = None


def bound_ms(watch: Watch) -> int:
    """Return how long an admissible transaction may wait under one primary at present."""
    return watch.bound_ms << watch.doublings


def on_block(
    watch: Watch,
    transactions: int,
    waiting: Waiting,
    now_ms: int,
    *,
    proposed_ms: int | None = None,
    has_room: bool = True,
) -> None:
    """Take in a decided block, what waits after it, and when it was proposed, if that is known.

    `has_room`: its bytes leave room for the largest transaction.
    """
    watch.window.transactions += transactions
    if watch.due_ms is not None and len(watch.window.delays_ms) < DELAYS_MAX:
        watch.window.delays_ms.append(now_ms - watch.due_ms)
        if proposed_ms is not None:
            watch.window.waits_ms.append(max(0, proposed_ms - watch.due_ms))
    is_due = transactions > 0 or waiting.count > 0
    watch.due_ms = now_ms if is_due else None
    if transactions >= waiting.block_max or not has_room:
        return
    half_ms = bound_ms(watch) // 2
    is_same = waiting.oldest_ms == watch.passed_ms
    watch.passed_ms = waiting.oldest_ms
    if _age_ms(watch, waiting, now_ms) <= half_ms:
        watch.passed_over = 0
    else:
        watch.passed_over = watch.passed_over + 1 if is_same else 1


def look(
    watch: Watch,
    base: tuple[Epoch, ReplicaId],
    waiting: Waiting,
    now_ms: int,
    *,
    is_near: bool = False,
) -> Finding:
    """Judge the base primary now; called several times within a bound.

    `is_near`: round trips and our own absences are short at present (`NEAR_PARTS`).
    """
    if base != watch.base:
        _on_base(watch, base, now_ms)
    if watch.due_ms is None and waiting.count:
        watch.due_ms = now_ms
    _settle(watch, waiting)
    if waiting.count <= waiting.block_max:
        watch.window.is_saturated = False
    watch.window.is_near = watch.window.is_near and is_near
    slow, censoring = _slow(watch, now_ms), _censoring(watch, waiting, now_ms)
    suspicion = censoring or slow
    if suspicion is not None:
        suspicion = _complain(watch, suspicion, now_ms)
    return Finding(resend_ms=_resend(watch, waiting, now_ms), suspicion=suspicion)


def _on_base(watch: Watch, base: tuple[Epoch, ReplicaId], now_ms: int) -> None:
    """Give a new primary its own time; what was best stays known."""
    watch.base, watch.base_since_ms = base, now_ms
    watch.passed_over = 0
    watch.has_complained = False
    watch.window = Window(start_ms=now_ms)
    watch.due_ms = None
    watch.late_windows = 0


def _settle(watch: Watch, waiting: Waiting) -> None:
    """See whether the change helped: what waited at the complaint is gone."""
    if watch.unhelped is not Suspicion.CENSORING:
        return
    if waiting.oldest_ms is None or waiting.oldest_ms > watch.complained_ms:
        _forgive(watch)


def _forgive(watch: Watch) -> None:
    watch.unhelped = None
    watch.doublings = 0


def _censoring(watch: Watch, waiting: Waiting, now_ms: int) -> Suspicion | None:
    if watch.passed_over < PASSED_OVER_MIN:
        return None
    return Suspicion.CENSORING if _age_ms(watch, waiting, now_ms) > bound_ms(watch) else None


def _slow(watch: Watch, now_ms: int) -> Suspicion | None:
    """Judge the window when it is over, and begin the next."""
    window, length_ms = watch.window, bound_ms(watch)
    elapsed_ms = now_ms - window.start_ms
    if elapsed_ms < length_ms:
        return None
    watch.window = Window(start_ms=now_ms)
    is_late = _has_late_proposals(watch, window)
    watch.late_windows = watch.late_windows + 1 if is_late else 0
    is_slow = _has_slow_blocks(watch, window) or watch.late_windows >= LATE_WINDOWS_MIN
    if window.is_saturated:
        per_s = window.transactions * 1000 // elapsed_ms
        is_slow = is_slow or per_s * FAR_BELOW < watch.best_per_s
        watch.best_per_s = max(per_s, watch.best_per_s - watch.best_per_s // FORGET_PARTS)
    is_well = not is_slow and not is_late
    if watch.unhelped is Suspicion.SLOW and is_well and not watch.has_complained:
        _forgive(watch)  # A whole window of another primary was well.
    return Suspicion.SLOW if is_slow else None


def _has_slow_blocks(watch: Watch, window: Window) -> bool:
    if len(window.delays_ms) < DELAYS_MIN:
        return False
    delay_ms = sum(window.delays_ms) // len(window.delays_ms)
    best_ms = watch.best_delay_ms
    if best_ms is None or delay_ms < best_ms:
        watch.best_delay_ms = delay_ms
        return False
    watch.best_delay_ms = best_ms + best_ms // FORGET_PARTS + 1
    return delay_ms > watch.timeout_ms // 2 and delay_ms > best_ms * FAR_BELOW


def _has_late_proposals(watch: Watch, window: Window) -> bool:
    if not window.is_near or len(window.waits_ms) < DELAYS_MIN:
        return False
    return sum(window.waits_ms) // len(window.waits_ms) > watch.timeout_ms // 2


def _complain(watch: Watch, suspicion: Suspicion, now_ms: int) -> Suspicion | None:
    """Complain once about one base; the next bound is longer if the last change did not help."""
    if watch.has_complained:
        return None
    watch.has_complained = True
    if watch.unhelped is not None:
        watch.doublings = min(watch.doublings + 1, DOUBLINGS_MAX)
    watch.unhelped, watch.complained_ms = suspicion, now_ms
    return suspicion


def _resend(watch: Watch, waiting: Waiting, now_ms: int) -> tuple[int, int] | None:
    """Return between which times of arrival all is sent again: each once, at half the bound."""
    since_ms, before_ms = watch.resent_ms, now_ms - watch.bound_ms // 2
    if waiting.oldest_ms is None or waiting.oldest_ms >= before_ms or before_ms <= since_ms:
        return None
    watch.resent_ms = before_ms
    return since_ms, before_ms


def _age_ms(watch: Watch, waiting: Waiting, now_ms: int) -> int:
    """Return how long the oldest has waited under this base; 0 if nothing waits."""
    if waiting.oldest_ms is None:
        return 0
    return now_ms - max(waiting.oldest_ms, watch.base_since_ms)
