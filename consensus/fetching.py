"""One question at a time: what was asked of whom, and when to ask somebody else."""

from consensus.effects import Effect
from consensus.events import TimerKind
from consensus.state import Fetching, ReplicaState, height_of
from consensus.timers import cancel_timer, set_timer
from crypto.hashing import Digest


def pause_fetching(state: ReplicaState, digest: Digest | None) -> list[Effect]:
    """Ask nobody for this until the fetch timer expires: what came was of no use."""
    state.fetching = Fetching(peer=None, height=height_of(state), digest=digest)
    return [set_timer(state, TimerKind.FETCH, state.config.fetch_ms)]


def stop_fetching(state: ReplicaState) -> list[Effect]:
    """Nothing is asked for any more."""
    state.fetching = None
    return cancel_timer(state, TimerKind.FETCH)
