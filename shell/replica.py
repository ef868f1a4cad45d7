"""The replica as it runs: one queue of events into the pure core, its effects performed in order.

The order of effects is the protocol's promise ("durable before sent"), so one effect ends before
the next begins, and events that arrive meanwhile wait. Work that takes long (checking a proposal,
executing a block, uploading blocks) is started here and comes back as an event.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from consensus.core import handle
from consensus.effects import (
    Broadcast,
    CancelTimer,
    CheckProposal,
    Decide,
    Effect,
    Ignore,
    Persist,
    ReportEvidence,
    RequestProposal,
    Send,
    SendBlocks,
    SendProposal,
    SetTimer,
)
from consensus.events import (
    BacklogChanged,
    BlockExecuted,
    Event,
    LoopLagged,
    ProposalChecked,
    ProposalMade,
    TimerExpired,
    TimerKind,
)
from consensus.messages import Message, Status, encode_message
from consensus.state import ReplicaState, height_of
from crypto.hashing import Digest
from p2p.network import Network
from shell.allowance import Allowance
from shell.blocks import Uploads, push_blocks, push_proposal
from shell.bodies import Bodies
from shell.chain import Chain
from shell.clock import Clock
from shell.evidence import Reports, keep_report
from shell.execution import execute
from shell.journal import VoteJournal, forget_votes, persist
from shell.kinds import Kind
from shell.lag import NOTICED_MS, TICK_MS, Lag, take_lag_ms
from shell.membership import is_mute
from shell.mending import Mending
from shell.own_keys import OwnKeys
from shell.proposals import (
    Proposals,
    check,
    forget,
    make_proposal,
    retain,
)
from shell.timeline import (
    Timeline,
    note_departures,
    note_effect,
    note_executed,
    note_refusal,
    pooled,
)
from storage.sidecars import SidecarStore

log = logging.getLogger("medledger.replica")


def log_fatal(problem: Exception) -> None:
    """Say what went wrong: the default of a replica that nobody watches."""
    log.critical("fatal", exc_info=problem)


def ignore_tip() -> None:
    """Take no notice of a new tip."""


def ignore_block(_transactions: int, _size_bytes: int) -> None:
    """Take no notice of a block."""


@dataclass(slots=True, kw_only=True)
class Replica:
    """The core's state with what performs its effects.

    `on_tip` is called when a block is executed, before the core is told of it; then `on_block`
    with the number of its transactions, and the bytes of those that were in the pool.
    `anchor` are height and digest of the block that the node's invite vouches for, if it has one.
    `events` wait while one is handled; `statuses` are the peers' latest heartbeats with the local
    time of arrival (ms); `invalid` counts what a peer must not have sent,
    `allowances` say what each may still cost us.
    """

    state: ReplicaState
    votes: VoteJournal
    chain: Chain
    proposals: Proposals
    bodies: Bodies
    sidecars: SidecarStore
    mending: Mending
    network: Network
    keys: OwnKeys
    clock: Clock
    first_effects: tuple[Effect, ...]
    anchor: tuple[int, Digest] | None = None
    on_fatal: Callable[[Exception], None] = log_fatal
    on_tip: Callable[[], None] = ignore_tip
    on_block: Callable[[int, int], None] = ignore_block
    events: deque[Event] = field(default_factory=deque)
    is_draining: bool = False
    is_stopped: bool = False
    has_backlog: bool = False
    timers: dict[TimerKind, asyncio.TimerHandle] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)
    invalid: Counter[int] = field(default_factory=Counter)
    allowances: dict[int, Allowance] = field(default_factory=dict)
    reports: Reports = field(default_factory=Reports)
    uploads: Uploads = field(default_factory=Uploads)
    statuses: dict[int, tuple[Status, int]] = field(default_factory=dict)
    lag: Lag = field(default_factory=Lag)
    timeline: Timeline = field(default_factory=Timeline)


def start(replica: Replica) -> None:
    """Perform what restoring asked for, and begin to watch the loop's own lag."""
    effects, replica.first_effects = replica.first_effects, ()
    replica.is_draining = True  # Events that these effects cause wait until all are performed.
    try:
        _perform_all(replica, effects)  # Nothing is under way yet: a failure ends the start.
    finally:
        replica.is_draining = False
    _drain(replica)
    _spawn(replica, _watch_lag(replica))


async def close(replica: Replica) -> None:
    """Stop timers and work under way; the journal stays open for its owner to close."""
    for timer in replica.timers.values():
        timer.cancel()
    for task in tuple(replica.tasks):
        task.cancel()
    await asyncio.gather(*replica.tasks, return_exceptions=True)


def deliver(replica: Replica, event: Event) -> None:
    """Hand an event to the core, after those that wait already.

    An effect that fails (a full disk, a journal that cannot be flushed) leaves a core that believes
    what is not true of the disk: from then on the replica hears and says nothing, and the node has
    to be started again from what is durable.
    """
    if replica.is_stopped:
        return
    replica.events.append(event)
    if not replica.is_draining:
        _drain(replica)


def _drain(replica: Replica) -> None:
    """Handle what waits, one event after the other, each with all its effects."""
    replica.is_draining = True
    try:
        while replica.events and not replica.is_stopped:
            _perform_all(replica, handle(replica.state, replica.events.popleft()))
    except Exception as problem:  # noqa: BLE001 - whatever failed, this node must not vote on
        stop_for(replica, problem)
    finally:
        replica.is_draining = False


def stop_for(replica: Replica, problem: Exception) -> None:
    """Say nothing any more, and let the node end."""
    replica.is_stopped = True
    replica.timeline.failure = replica.timeline.failure or problem
    replica.events.clear()
    for timer in replica.timers.values():
        timer.cancel()
    replica.on_fatal(problem)


def update_backlog(replica: Replica) -> None:
    """Tell the core when something begins or ceases to wait for a block."""
    time_ms = max(replica.clock.now_ms(), replica.chain.tip.time_ms + 1)
    has_backlog = replica.proposals.pool.has_admissible(time_ms)
    if has_backlog != replica.has_backlog:
        replica.has_backlog = has_backlog
        deliver(replica, BacklogChanged(waiting=has_backlog))


def is_asked(replica: Replica, peer_id: int) -> bool:
    """Whether this replica waits for blocks from a peer: nobody else may upload any."""
    asked = replica.state.fetching
    return asked is not None and asked.peer == peer_id


def _perform_all(replica: Replica, effects: Iterable[Effect]) -> None:
    note_departures(replica.timeline, replica.state)
    for effect in effects:
        note_effect(replica.timeline, effect)
        _perform(replica, effect)


def _perform(replica: Replica, effect: Effect) -> None:
    match effect:
        case Persist():
            persist(replica.votes, replica.proposals, replica.sidecars, effect.records)
            replica.timeline.sync.note(replica.votes.journal.sync_times.last_us // 1_000)
        case Send():
            replica.network.send(effect.to, Kind.CONSENSUS, _encoded(replica, effect.message))
        case Broadcast():
            replica.network.broadcast(Kind.CONSENSUS, _encoded(replica, effect.message))
        case SendBlocks():
            network, uploads = replica.network, replica.uploads
            _spawn(replica, push_blocks(network, uploads, replica.mending, effect))
        case SendProposal():
            network, uploads = replica.network, replica.uploads
            _spawn(replica, push_proposal(network, uploads, replica.proposals, effect))
        case RequestProposal():
            _make_proposal(replica, effect)
        case CheckProposal():
            _spawn(replica, _check_proposal(replica, effect))
        case Decide():
            _spawn(replica, _execute(replica, effect))
        case SetTimer():
            _set_timer(replica, effect)
        case CancelTimer():
            _cancel_timer(replica, effect.timer.kind)
        case ReportEvidence():
            keep_report(replica.reports, effect.evidence, replica.clock.now_ms())
        case Ignore():
            replica.ignored[effect.reason] += 1
            if log.isEnabledFor(logging.DEBUG):
                details = {"peer": effect.sender, "type": effect.kind, "reason": effect.reason}
                log.debug("ignored", extra=details)
        case _:
            assert_never(effect)


def _make_proposal(replica: Replica, effect: RequestProposal) -> None:
    block = make_proposal(replica.proposals, effect)
    if block is not None:
        deliver(replica, ProposalMade(height=effect.height, view=effect.view, block=block))


async def _check_proposal(replica: Replica, effect: CheckProposal) -> None:
    refusal = await check(replica.proposals, replica.bodies, effect)
    if refusal is not None:
        log.warning(
            "proposal refused",
            extra={"height": effect.height, "view": effect.view, "reason": refusal},
        )
        note_refusal(replica.timeline, effect.block, effect.view, refusal)
    deliver(
        replica,
        ProposalChecked(
            height=effect.height, view=effect.view, digest=effect.block.digest, refusal=refusal
        ),
    )
    state = replica.state
    retain(replica.proposals, height_of(state), state.instance.blocks)


async def _execute(replica: Replica, effect: Decide) -> None:
    """Execute a decided block; whatever goes wrong here ends the node (`_on_task_done`)."""
    taken = pooled(replica.proposals.pool, effect.block)
    await execute(replica.chain, replica.proposals, replica.sidecars, effect)
    height, now_ms = effect.block.height, replica.clock.now_ms()
    others = [one for one in replica.state.members.order if one != replica.state.config.replica]
    note_executed(replica.timeline, effect.block, [now_ms - one.added_ms for one in taken], others)
    forget(replica.proposals, height)
    forget_votes(replica.votes, height)
    replica.on_tip()
    update_backlog(replica)
    count = effect.block.transaction_count
    replica.on_block(count, sum(one.size_bytes for one in taken))
    chain = replica.chain
    deliver(
        replica,
        BlockExecuted(
            height=height,
            digest=effect.block.digest,
            validators=chain.later_set,
            pace=chain.later_pace,
            is_mute=is_mute(chain, replica.keys, chain.later_set),
        ),
    )


def _set_timer(replica: Replica, effect: SetTimer) -> None:
    _cancel_timer(replica, effect.timer.kind)
    delay_s = effect.delay_ms / 1000
    expiry, due_s = TimerExpired(timer=effect.timer), time.monotonic() + delay_s
    handle_ = asyncio.get_running_loop().call_later(delay_s, _expire, replica, expiry, due_s)
    replica.timers[effect.timer.kind] = handle_


def _expire(replica: Replica, expiry: TimerExpired, due_s: float) -> None:
    """Hand an expiry to the core, which first hears of a lag that the watch would tell later."""
    _note_lag(replica, due_s)
    deliver(replica, expiry)


def _cancel_timer(replica: Replica, kind: TimerKind) -> None:
    timer = replica.timers.pop(kind, None)
    if timer is not None:
        timer.cancel()


def _encoded(replica: Replica, message: Message) -> bytes:
    if isinstance(message, Status):
        message = replace(message, clock_ms=replica.clock.now_ms())
    return encode_message(message)


async def _watch_lag(replica: Replica) -> None:
    """Notice when this process slept or was busy, and what time alone changes in the pool."""
    while True:
        replica.lag.tick_due_s = time.monotonic() + TICK_MS / 1000
        await asyncio.sleep(TICK_MS / 1000)
        _note_lag(replica, replica.lag.tick_due_s)
        replica.proposals.pool.expire(replica.chain.tip.time_ms)
        update_backlog(replica)


def _note_lag(replica: Replica, due_s: float) -> None:
    lag_ms = take_lag_ms(replica.lag, due_s)
    replica.timeline.lag.note(lag_ms)
    if lag_ms >= NOTICED_MS:
        deliver(replica, LoopLagged(lag_ms=lag_ms))


def _spawn(replica: Replica, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    replica.tasks.add(task)
    task.add_done_callback(lambda done: _on_task_done(replica, done))


def _on_task_done(replica: Replica, task: asyncio.Task[None]) -> None:
    replica.tasks.discard(task)
    if not task.cancelled() and (problem := task.exception()) is not None:
        assert isinstance(problem, Exception), "tasks raise ordinary errors"
        stop_for(replica, problem)
