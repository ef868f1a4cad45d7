"""One simulated node: the real core, and everything a shell does around it, minus the waiting.

`Host` performs effects strictly in order on a simulated disk and asks a `World` for time, messages
and crashes. Worlds differ: the simulator draws them from a seed, a scenario file spells them out.
"""

from collections import deque
from collections.abc import Callable
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
    BlockExecuted,
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
)
from consensus.records import JournalStarted, ProposalRecord
from consensus.restore import Decided, restore
from consensus.state import Config, ReplicaState, Tip
from consensus.verification import make_verifiable, message_signature_jobs
from crypto.evidence import Evidence
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import GENESIS_HEIGHT, Height
from tests.simulation.application import Application, hashes_of
from tests.simulation.disk import Disk, append, compact, make_disk, records, store
from tests.simulation.ideal import CHAIN, is_signed

GENESIS_DIGEST = Digest(b"\xfe" * 32)
BLOCKS_BYTES_MAX = 64 << 10
COMPACT_EVERY = 50
"""Heights between two compactions of the journal."""


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


Parcel: TypeAlias = Message | Gossip | BodiesWanted | BodiesGiven
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
    """A node; `state` is None while it is down. `boots` counts its starts."""

    world: World
    replica: ReplicaId
    validators: ValidatorSet
    application: Application
    config: Config
    disk: Disk
    state: ReplicaState | None = None
    boots: int = 0
    evidence: list[Evidence] = field(default_factory=list)
    queue: deque[Event] = field(default_factory=deque)
    is_performing: bool = False
    had_backlog: bool = False
    checking: dict[Digest, CheckProposal] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)


def make_host(
    world: World, config: Config, validators: ValidatorSet, application: Application
) -> Host:
    """A node as `init` leaves it, not started yet."""
    started = JournalStarted(chain_id=config.chain_id, replica=config.replica)
    return Host(
        world=world,
        replica=config.replica,
        validators=validators,
        application=application,
        config=config,
        disk=make_disk(started),
    )


def start(host: Host) -> None:
    """Start or restart a node from what is on its disk."""
    assert host.state is None, "a running node is not started"
    host.boots += 1
    boot = b"%04d%012d" % (host.replica, host.boots)
    host.config = replace(host.config, boot_id=boot)
    host.had_backlog = bool(host.application.pooled())
    host.state, effects = restore(
        host.config,
        _decided(host),
        records(host.disk),
        is_journal_whole=host.disk.is_journal_whole,
        waiting=host.had_backlog,
    )
    host.disk.is_journal_whole = True
    _perform_all(host, effects)


def crash(host: Host) -> None:
    """Lose everything that is not on disk."""
    host.state = None
    host.queue.clear()
    host.checking.clear()
    host.is_performing = False
    host.application.crash()


def submit(host: Host, transaction: bytes) -> None:
    """A client hands a transaction to this node, which gossips it."""
    if host.state is None or not host.application.add(transaction):
        return
    gossip(host, (transaction,))
    _tell_backlog(host)


def gossip(host: Host, transactions: tuple[bytes, ...]) -> None:
    for member in host.validators.members:
        if member.index != host.replica:
            host.world.send(host.replica, member.index, Gossip(transactions))


def receive(host: Host, sender: ReplicaId, parcel: Parcel) -> None:
    """Take what the network delivers; nothing unverified reaches the core."""
    if host.state is None:
        return
    match parcel:
        case Gossip(transactions):
            for transaction in transactions:
                host.application.add(transaction)
            _try_checks(host)
            _tell_backlog(host)
        case BodiesWanted(hashes):
            found = [host.application.body(key) for key in hashes]
            given = tuple(body for body in found if body is not None)
            host.world.send(host.replica, sender, BodiesGiven(given))
        case BodiesGiven(bodies):
            for body in bodies:
                host.application.add(body)
            _try_checks(host)
            _tell_backlog(host)
        case _:
            message = make_verifiable(parcel, {Epoch(0): host.validators})
            if is_verified(host, message):
                tell(host, MessageReceived(sender=sender, message=message))


def is_verified(host: Host, message: Message) -> bool:
    """What the real verifier and decoder demand of a message before the core sees it."""
    try:
        jobs = message_signature_jobs(message, {Epoch(0): host.validators}, CHAIN)
    except (InvalidMessage, UnknownEpoch):
        return False
    if not all(is_signed(job) for job in jobs):
        return False
    application = host.application
    match message:
        case PrePrepare():
            return application.is_consistent(message.block)
        case NewView():
            return application.is_consistent(message.pre_prepare.block)
        case Proposal():
            return application.is_consistent(message.block) and (
                not message.bodies or application.take_bodies(message.block, message.bodies)
            )
        case Blocks():
            return all(
                application.is_consistent(one.block)
                and application.take_bodies(one.block, one.bodies)
                for one in message.blocks
            )
        case _:
            return True


def expire(host: Host, timer: Timer) -> None:
    if host.state is None:
        return
    if timer.kind is TimerKind.STATUS and host.application.pooled():
        gossip(host, tuple(host.application.pooled()[:16]))
    tell(host, TimerExpired(timer=timer))


def tell(host: Host, event: Event) -> None:
    """Hand an event to the core and perform what it asks; events in between wait their turn."""
    host.queue.append(event)
    if host.is_performing:
        return
    while host.queue and host.state is not None:
        _perform_all(host, handle(host.state, host.queue.popleft()))


def _perform_all(host: Host, effects: list[Effect]) -> None:
    host.is_performing = True
    for effect in effects:
        if not host.world.reaches_boundary(host, effect):
            return
        if not _perform(host, effect):
            return
        host.world.observe(host, effect)
    host.is_performing = False
    while host.queue and host.state is not None and not host.is_performing:
        _perform_all(host, handle(host.state, host.queue.popleft()))


def _perform(host: Host, effect: Effect) -> bool:
    """Perform one effect; False if the host crashed inside it."""
    world = host.world
    match effect:
        case Persist():
            return _persist(host, effect)
        case Send():
            world.send(host.replica, effect.to, effect.message)
        case Broadcast():
            for member in host.validators.members:
                if member.index != host.replica:
                    world.send(host.replica, member.index, effect.message)
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
    return True


def _persist(host: Host, effect: Persist) -> bool:
    """Write record by record: a crash leaves a prefix, and nothing of it was sent."""
    for position, record in enumerate(effect.records):
        if position and not host.world.reaches_boundary(host, effect):
            return False
        if isinstance(record, ProposalRecord):
            host.application.keep(record.block)
        append(host.disk, record)
    return True


def _make(host: Host, request: RequestProposal) -> None:
    assert host.state is not None, "a crashed host makes nothing"
    if request.height != host.application.height + 1:
        return
    block = host.application.propose(
        height=request.height,
        view=request.view,
        epoch=request.epoch,
        proposer=host.replica,
        parent=request.parent,
        parent_certificate=request.parent_certificate,
        now_ms=host.world.now_ms(host),
    )
    tell(host, ProposalMade(height=request.height, view=request.view, block=block))


def _check(host: Host, wanted: CheckProposal) -> None:
    """Answer a check once the bodies are there, and once the block is due."""
    block = wanted.block
    if wanted.height != host.application.height + 1 or host.checking.get(block.digest) != wanted:
        return
    if wanted.bodies is not None:
        host.application.take_bodies(block, wanted.bodies)
    missing = host.application.missing(block)
    if missing:
        for holder in wanted.holders:
            if holder != host.replica:
                host.world.send(host.replica, holder, BodiesWanted(tuple(missing)))
        retry = host.config.fetch_ms
        host.world.later(host, "check again", lambda: _check(host, wanted), retry)
        return
    verdict = host.application.check(
        block, now_ms=host.world.now_ms(host), is_fresh=wanted.is_fresh
    )
    if verdict.wait_ms:
        host.world.later(host, "wait until due", lambda: _check(host, wanted), verdict.wait_ms)
        return
    del host.checking[block.digest]
    tell(
        host,
        ProposalChecked(
            height=wanted.height, view=wanted.view, digest=block.digest, refusal=verdict.refusal
        ),
    )


def _try_checks(host: Host) -> None:
    """New bodies may be the ones a check waits for."""
    for wanted in list(host.checking.values()):
        if host.state is not None and hashes_of(wanted.block):
            _check(host, wanted)


def _execute(host: Host, decided: Decide) -> None:
    """Store and execute in one step, as one synced batch does; then tell the core."""
    block = decided.block
    assert block.height == host.application.height + 1, "heights are executed in order"
    if decided.bodies is not None:
        assert host.application.take_bodies(block, decided.bodies), "bodies are checked on arrival"
    host.checking.clear()
    validators = host.application.execute(block)
    store(
        host.disk,
        CertifiedBlock(
            block=block,
            certificate=decided.certificate,
            bodies=host.application.bodies(block),
        ),
    )
    if block.height % COMPACT_EVERY == 0:
        compact(host.disk)
    _tell_backlog(host)
    if host.state is not None:
        tell(
            host,
            BlockExecuted(height=block.height, digest=block.digest, validators=validators),
        )


def _send_blocks(host: Host, effect: SendBlocks) -> None:
    chosen: list[CertifiedBlock] = []
    size = 0
    for height in range(
        effect.from_height, effect.from_height + min(effect.count, FETCH_COUNT_MAX)
    ):
        one = host.disk.blocks.get(Height(height))
        if one is None or size > BLOCKS_BYTES_MAX:
            break
        chosen.append(one)
        size += len(one.bodies) + len(one.block.payload)
    host.world.send(host.replica, effect.to, Blocks(blocks=tuple(chosen)))


def _send_proposal(host: Host, effect: SendProposal) -> None:
    block = host.disk.proposals.get(effect.digest)
    if block is not None:  # Both ways are allowed; which one only changes who brings the bodies.
        bodies = host.application.bodies(block) if host.replica % 2 else b""
        proposal = Proposal(block=block, bodies=bodies)
        host.world.send(host.replica, effect.to, proposal)


def _tell_backlog(host: Host) -> None:
    has_backlog = bool(host.application.pooled())
    if host.state is not None and has_backlog != host.had_backlog:
        host.had_backlog = has_backlog
        tell(host, BacklogChanged(waiting=has_backlog))


def _decided(host: Host) -> Decided:
    height = Height(host.application.height)
    tip = Tip(
        height=GENESIS_HEIGHT,
        digest=GENESIS_DIGEST,
        proposer=None,
        is_empty=True,
        certificate=None,
    )
    if height:
        last = host.disk.blocks[height]
        tip = Tip(
            height=height,
            digest=last.block.digest,
            proposer=last.block.proposer,
            is_empty=not last.block.payload,
            certificate=last.certificate,
        )
    return Decided(
        tip=tip,
        epoch=Epoch(0),
        validators=host.validators,
        next_validators=host.validators,
    )
