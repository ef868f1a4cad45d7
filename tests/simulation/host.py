"""One simulated node: the real core, and everything a shell does around it, minus the waiting.

`Host` performs effects strictly in order on a simulated disk and asks a `World` for time, messages
and crashes. Worlds differ: the simulator draws them from a seed, a scenario file spells them out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, assert_never

from consensus.blocks import CertifiedBlock
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
from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.events import (
    BacklogChanged,
    Event,
    MessageReceived,
    ProposalChecked,
    ProposalMade,
    Timer,
    TimerExpired,
    TimerKind,
)
from consensus.messages import (
    FETCH_COUNT_MAX,
    Blocks,
    Message,
    NewView,
    PrePrepare,
    Proposal,
    decode_message,
)
from consensus.state import Config, ReplicaState, height_of
from consensus.verification import make_verifiable, message_signature_jobs
from crypto.errors import DecodeError
from crypto.evidence import Evidence
from crypto.hashing import Digest
from crypto.validators import ReplicaId, ValidatorSet
from p2p.visiting import VISITED
from storage.errors import BlockCorrupt
from tests.simulation.application import Application
from tests.simulation.ideal import is_signed

BLOCKS_BYTES_MAX = 64 << 10
ASKED_MAX = 4
"""Rounds of asking for bodies before a proposal is refused for the lack of them."""


@dataclass(frozen=True, slots=True)
class Gossip:
    """Transactions on their way into pools."""

    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BodiesWanted:
    """Asks for the bodies of a proposal."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BodiesGiven:
    """Bodies that were asked for."""

    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that claim to be a message."""

    encoded: bytes


Parcel: TypeAlias = Message | Gossip | BodiesWanted | BodiesGiven | Raw
"""Whatever travels between two hosts."""


class World(Protocol):
    """What is around a host."""

    def now_ms(self, host: "Host") -> int: ...

    def send(self, sender: ReplicaId, to: ReplicaId, parcel: Parcel) -> None: ...

    def start_timer(self, host: "Host", timer: Timer, delay_ms: int) -> None: ...

    def stop_timer(self, host: "Host", timer: Timer) -> None: ...

    def later(self, host: "Host", what: str, action: Callable[[], None], delay_ms: int) -> None:
        """Run an action of this host after a delay, unless it has crashed by then."""

    def work_ms(self, what: str) -> int:
        """How long the shell takes for a piece of work."""

    def reaches_boundary(self, host: "Host", effect: Effect) -> bool:
        """Called before each effect; False: the host crashes here."""

    def observe(self, host: "Host", effect: Effect) -> None:
        """Called after each effect has been performed."""


@dataclass(slots=True, kw_only=True)
class Host:
    """A node; `state` is None while it is down. `boots` counts its starts.

    `validators` is the newest set that it knows of, `peers` is whom it speaks to.
    `twin` sets a second process with the same key apart. `checking` holds the checks under way
    with how often bodies were asked for.
    """

    world: World
    replica: ReplicaId
    validators: ValidatorSet
    peers: tuple[ReplicaId, ...]
    application: Application
    config: Config
    state: ReplicaState | None = None
    boots: int = 0
    evidence: list[Evidence] = field(default_factory=list)
    twin: int = 0
    queue: deque[Event] = field(default_factory=deque)
    is_performing: bool = False
    had_backlog: bool = False
    checking: dict[Digest, CheckProposal] = field(default_factory=dict)
    asked: dict[Digest, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    invalid: int = 0

    @property
    def seat(self) -> int:
        """The place of this process among all: a replica's number, or above all of them."""
        return self.twin or self.replica


def make_host(
    world: World, config: Config, validators: ValidatorSet, application: Application
) -> Host:
    """A node as `init` leaves it, not started yet."""
    application.begin(config)
    return Host(
        world=world,
        replica=config.replica,
        validators=validators,
        peers=tuple(one.index for one in validators.members if one.index != config.replica),
        application=application,
        config=config,
    )


def start(host: Host) -> None:
    """Start or restart a node from what is on its disk."""
    assert host.state is None, "a running node is not started"
    host.boots += 1
    boot = b"%04d%02d%010d" % (host.replica, host.twin, host.boots)
    host.config = replace(host.config, boot_id=boot)
    host.had_backlog = False
    host.state, effects = host.application.start(host.config, host.world.now_ms(host))
    _perform_all(host, effects)


def crash(host: Host) -> None:
    """Lose everything that is not on disk."""
    host.state = None
    host.queue.clear()
    host.checking.clear()
    host.asked.clear()
    host.is_performing = False
    host.application.crash()


def submit(host: Host, transaction: bytes) -> None:
    """A client hands a transaction to this node, which gossips it."""
    if host.state is None or not host.application.offer(transaction, host.world.now_ms(host)):
        return
    gossip(host, (transaction,))
    tell_backlog(host)


def gossip(host: Host, transactions: tuple[bytes, ...]) -> None:
    for peer in host.peers:
        host.world.send(host.replica, peer, Gossip(transactions))


def receive(host: Host, sender: ReplicaId, parcel: Parcel) -> None:
    """Take what the network delivers; nothing unverified reaches the core."""
    if host.state is None:
        return
    application = host.application
    match parcel:
        case Gossip(transactions):
            now_ms = host.world.now_ms(host)
            for transaction in transactions:
                application.offer(transaction, now_ms)
            _try_checks(host)
            tell_backlog(host)
        case BodiesWanted(hashes):
            found = [application.body(key) for key in hashes]
            given = tuple(body for body in found if body is not None)
            host.world.send(host.replica, sender, BodiesGiven(given))
        case BodiesGiven(bodies):
            for body in bodies:
                application.take_body(body)
            _try_checks(host)
            tell_backlog(host)
        case Raw(encoded):
            try:
                message = decode_message(encoded)
            except DecodeError:
                host.invalid += 1
            else:
                receive(host, sender, message)
        case _:
            message = make_verifiable(parcel, application.validator_sets())
            if _is_wanted(host, sender, message) and is_verified(host, message):
                if isinstance(message, PrePrepare | NewView):
                    _note_heard(host, message)
                tell(host, MessageReceived(sender=sender, message=message))
            else:
                host.invalid += 1


def take_visited(host: Host, message: Blocks) -> None:
    """Hand the blocks of a visit to the core, as `shell.visits` does."""
    known = make_verifiable(message, host.application.validator_sets())
    if is_verified(host, known):
        tell(host, MessageReceived(sender=ReplicaId(VISITED), message=known))
    else:
        host.invalid += 1


def _note_heard(host: Host, message: PrePrepare | NewView) -> None:
    """Block times are compared with the clock at which a proposal came."""
    proposal = message.pre_prepare if isinstance(message, NewView) else message
    host.application.note_heard(proposal.block, host.world.now_ms(host))


def is_verified(host: Host, message: Message) -> bool:
    """What the real verifier and decoder demand of a message before the core sees it."""
    application = host.application
    try:
        jobs = message_signature_jobs(message, application.validator_sets(), host.config.chain_id)
    except (InvalidMessage, UnknownEpoch):
        return False
    if not all(is_signed(job) for job in jobs):
        return False
    match message:
        case PrePrepare():
            return application.is_consistent(message.block)
        case NewView():
            return application.is_consistent(message.pre_prepare.block)
        case Proposal() | Blocks():
            return application.is_sound_upload(message)
        case _:
            return True


def _is_wanted(host: Host, sender: ReplicaId, message: Message) -> bool:
    """Blocks are taken only from the peer that was asked for them: nobody else may upload any."""
    if not isinstance(message, Blocks | Proposal):
        return True
    asked = None if host.state is None else host.state.fetching
    return asked is not None and asked.peer == sender


def expire(host: Host, timer: Timer) -> None:
    if host.state is None:
        return
    if timer.kind is TimerKind.STATUS:  # As often as the shell looks what time has changed.
        now_ms = host.world.now_ms(host)
        host.application.tidy(now_ms)
        repeated = tuple(host.application.to_repeat(now_ms))
        if repeated:
            gossip(host, repeated)
        tell_backlog(host)
    tell(host, TimerExpired(timer=timer))


def tell(host: Host, event: Event) -> None:
    """Hand an event to the core and perform what it asks; events in between wait their turn."""
    host.queue.append(event)
    if host.is_performing:
        return
    while host.queue and host.state is not None:
        _perform_all(host, handle(host.state, host.queue.popleft()))


def _perform_all(host: Host, effects: Sequence[Effect]) -> None:
    host.is_performing = True
    for effect in effects:
        if not host.world.reaches_boundary(host, effect):
            return
        _perform(host, effect)
        host.world.observe(host, effect)
    host.is_performing = False
    while host.queue and host.state is not None and not host.is_performing:
        _perform_all(host, handle(host.state, host.queue.popleft()))


def _perform(host: Host, effect: Effect) -> None:
    world = host.world
    match effect:
        case Persist():
            host.application.persist(effect.records)
        case Send():
            world.send(host.replica, effect.to, effect.message)
        case Broadcast():
            for peer in host.peers:
                world.send(host.replica, peer, effect.message)
        case SendBlocks():
            _send_blocks(host, effect)
        case SendProposal():
            _send_proposal(host, effect)
        case RequestProposal():
            world.later(host, "propose", lambda: _make(host, effect), world.work_ms("propose"))
        case CheckProposal():
            host.checking[effect.block.digest] = effect
            world.later(host, "check", lambda: _check(host, effect), world.work_ms("check"))
        case Decide():
            world.later(host, "execute", lambda: _execute(host, effect), world.work_ms("execute"))
        case SetTimer():
            world.start_timer(host, effect.timer, effect.delay_ms)
        case CancelTimer():
            world.stop_timer(host, effect.timer)
        case ReportEvidence():
            host.evidence.append(effect.evidence)
        case Ignore():
            host.ignored[effect.reason] = host.ignored.get(effect.reason, 0) + 1
        case _:
            assert_never(effect)


def _make(host: Host, request: RequestProposal) -> None:
    assert host.state is not None, "a crashed host makes nothing"
    block = host.application.propose(request, host.world.now_ms(host))
    if block is not None:
        tell(host, ProposalMade(height=request.height, view=request.view, block=block))


def _check(host: Host, wanted: CheckProposal, *, may_ask: bool = True) -> None:
    """Answer a check once the bodies are there, and once the block is due."""
    block = wanted.block
    if wanted.height != host.application.height + 1 or host.checking.get(block.digest) != wanted:
        return
    verdict = host.application.check(wanted, host.world.now_ms(host))
    refusal = verdict.refusal
    if verdict.missing and not may_ask:
        return
    if verdict.missing:
        asked = host.asked[block.digest] = host.asked.get(block.digest, 0) + 1
        if asked <= ASKED_MAX:
            _ask(host, wanted, verdict.missing, asked)
            return
        refusal = "bodies.missing"
    elif verdict.wait_ms:
        host.world.later(host, "wait until due", lambda: _check(host, wanted), verdict.wait_ms)
        return
    del host.checking[block.digest]
    host.asked.pop(block.digest, None)
    tell(
        host,
        ProposalChecked(
            height=wanted.height, view=wanted.view, digest=block.digest, refusal=refusal
        ),
    )
    if host.state is not None:
        host.application.retain(height_of(host.state), tuple(host.state.instance.blocks))


def _ask(host: Host, wanted: CheckProposal, missing: tuple[bytes, ...], asked: int) -> None:
    """Ask who promised to have the bodies, then everybody."""
    for holder in wanted.holders if asked == 1 else host.peers:
        if holder != host.replica:
            host.world.send(host.replica, holder, BodiesWanted(missing))
    delay_ms = host.config.fetch_ms
    host.world.later(host, "check again", lambda: _check(host, wanted), delay_ms)


def _try_checks(host: Host) -> None:
    """New bodies may be the ones a check waits for."""
    for wanted in list(host.checking.values()):
        if host.state is not None and host.asked.get(wanted.block.digest):
            _check(host, wanted, may_ask=False)


def _execute(host: Host, decided: Decide) -> None:
    """Store and execute in one step, as one synced batch does; then tell the core."""
    host.checking.clear()
    host.asked.clear()
    executed = host.application.execute(decided)
    tell_backlog(host)
    if host.state is not None and host.world.reaches_boundary(host, decided):
        tell(host, executed)


def _send_blocks(host: Host, effect: SendBlocks) -> None:
    count = min(effect.count, FETCH_COUNT_MAX)
    host.world.send(host.replica, effect.to, blocks_from(host, effect.from_height, count))


def blocks_from(host: Host, first: int, count: int) -> Blocks:
    """Return decided blocks from a height on, as many as there are and may travel at once."""
    chosen: list[CertifiedBlock] = []
    size = 0
    for height in range(first, first + count):
        try:
            one = host.application.certified(height)
        except BlockCorrupt:  # The peer asks somebody else.
            break
        if one is None or size > BLOCKS_BYTES_MAX:
            break
        chosen.append(one)
        size += len(one.bodies) + len(one.block.payload)
    return Blocks(blocks=tuple(chosen))


def _send_proposal(host: Host, effect: SendProposal) -> None:
    found = host.application.proposal(effect.digest)
    if found is not None:
        block, bodies = found
        host.world.send(host.replica, effect.to, Proposal(block=block, bodies=bodies))


def tell_backlog(host: Host) -> None:
    if host.state is None:
        return
    has_backlog = host.application.has_backlog(host.world.now_ms(host))
    if has_backlog != host.had_backlog:
        host.had_backlog = has_backlog
        tell(host, BacklogChanged(waiting=has_backlog))
