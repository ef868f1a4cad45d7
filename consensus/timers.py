"""Delays of the protocol (rules 9 and 14), and the one way to start and stop a timer.

A timer only asks. Its expiry carries the serial of its setting, so that one which was replaced or
stopped while its expiry was already on the way asks nothing.
"""

from typing import Final

from consensus.effects import CancelTimer, Effect, SetTimer
from consensus.events import Timer, TimerKind
from consensus.state import Config, ReplicaState, height_of, is_primary, may_vote, pace_of
from crypto.votes import FIRST_VIEW, View

DOUBLINGS_MAX: Final = 32

GATHERED_PER_DELAY: Final = 5
DELAYS_MAX: Final = 10
"""Every five transactions of a block lengthen the next gathering by one delay, up to ten in all."""

GATHER_PARTS: Final = 4
"""A primary gathers for a quarter of the first view's timeout at the most."""

CERTIFY_DELAYS: Final = 4
"""How long, in gathering delays, a block that only certifies waits for one that does more."""


def timeout_ms(config: Config, view: View) -> int:
    """Return how long a view may take: it doubles with each view change, up to the cap."""
    doubled = config.base_timeout_ms << min(view, DOUBLINGS_MAX)
    return min(doubled, config.timeout_cap_ms)


def gather_delay_ms(state: ReplicaState) -> int:
    """Return how long a primary gathers: a lone transaction waits little, many go together.

    What a block costs beside its transactions is shared by more of them as more come (rule 14).
    """
    before = min(state.tip.transaction_count, GATHERED_PER_DELAY * (DELAYS_MAX - 1))
    config = state.config
    grown_ms = config.gather_ms * (GATHERED_PER_DELAY + before) // GATHERED_PER_DELAY
    return min(grown_ms, _longest_ms(config))


def certify_delay_ms(state: ReplicaState) -> int:
    """Return how long the certificate of the tip's results waits for further transactions."""
    return min(CERTIFY_DELAYS * state.config.gather_ms, _longest_ms(state.config))


def _longest_ms(config: Config) -> int:
    """Return what others bear of gathering: they count it into the time that a view may take."""
    return timeout_ms(config, FIRST_VIEW) // GATHER_PARTS


def set_timer(state: ReplicaState, kind: TimerKind, delay_ms: int) -> Effect:
    state.timer_serial += 1
    state.timers[kind] = state.timer_serial
    return SetTimer(timer=Timer(kind=kind, serial=state.timer_serial), delay_ms=delay_ms)


def cancel_timer(state: ReplicaState, kind: TimerKind) -> list[Effect]:
    serial = state.timers.pop(kind, None)
    if serial is None:
        return []
    return [CancelTimer(timer=Timer(kind=kind, serial=serial))]


def take_expiry(state: ReplicaState, timer: Timer) -> bool:
    """Note that a timer has run out; False if it was not the one that runs."""
    if state.timers.get(timer.kind) != timer.serial:
        return False
    del state.timers[timer.kind]
    return True


def start_first_view(state: ReplicaState) -> list[Effect] | None:
    """Start the timers of view 0: short when a block is due, long when nothing waits.

    A block that only certifies the one before waits a little, and not once something waits.
    """
    instance, config = state.instance, state.config
    if instance.view != FIRST_VIEW or instance.is_timed or not may_vote(state):
        return None
    instance.is_timed = True
    instance.is_idle = not state.has_backlog and not state.tip.transaction_count
    instance.is_certifying = not state.has_backlog and not instance.is_idle
    idle_ms = pace_of(state).idle_block_ms if instance.is_idle else 0
    effects = [set_timer(state, TimerKind.VIEW_CHANGE, idle_ms + timeout_ms(config, FIRST_VIEW))]
    if is_primary(state) and instance.proposal is None:
        due_ms = certify_delay_ms(state) if instance.is_certifying else gather_delay_ms(state)
        effects.append(set_timer(state, TimerKind.PROPOSE, idle_ms or due_ms))
    return effects


def on_backlog(state: ReplicaState, *, waiting: bool) -> list[Effect]:
    """Something waits (or nothing does): an idle or certifying first view becomes a busy one."""
    state.has_backlog = waiting
    instance = state.instance
    is_quiet = instance.is_idle or instance.is_certifying
    if not (waiting and is_quiet and instance.view == FIRST_VIEW and may_vote(state)):
        return []
    effects: list[Effect] = []
    if instance.is_idle:
        delay_ms = timeout_ms(state.config, FIRST_VIEW)
        effects.append(set_timer(state, TimerKind.VIEW_CHANGE, delay_ms))
    instance.is_idle = instance.is_certifying = False
    if TimerKind.PROPOSE in state.timers:
        effects.append(set_timer(state, TimerKind.PROPOSE, gather_delay_ms(state)))
    return effects


def start_joined_view(state: ReplicaState) -> list[Effect] | None:
    """Start the timer of a view above 0 once a quorum is known to be there (rule 9)."""
    instance = state.instance
    if instance.view == FIRST_VIEW or instance.is_timed or not may_vote(state):
        return None
    place = (height_of(state), instance.view)
    there = 1 + sum(  # A position never falls: that of a node which began anew may be too high.
        (peer.height, peer.view) >= place and replica in state.members.order
        for replica, peer in state.peers.items()
    )
    if there < state.members.quorum.strong:
        return None
    instance.is_timed = True
    return [set_timer(state, TimerKind.VIEW_CHANGE, timeout_ms(state.config, instance.view))]


def on_lag(state: ReplicaState, lag_ms: int) -> list[Effect]:
    """Remember how long this process was absent while the view's timer ran."""
    if TimerKind.VIEW_CHANGE in state.timers:
        instance = state.instance
        longest_ms = timeout_ms(state.config, instance.view)
        instance.lag_ms = min(instance.lag_ms + lag_ms, longest_ms)
    return []


def extend_by_lag(state: ReplicaState) -> list[Effect] | None:
    """Give the primary back the time that was ours, once in a view; None: no extension."""
    instance = state.instance
    if instance.is_extended or not instance.lag_ms:
        return None
    instance.is_extended = True
    return [set_timer(state, TimerKind.VIEW_CHANGE, instance.lag_ms)]
