"""One correct replica of the model: the real core, its journal and its decided blocks.

A `Local` never changes; `Stage` plays one step from it, effect by effect. What the shell is asked
for is done at once: blocks are made, found valid and executed, with a place to die before each.
Where the bounds say so, execution is a step of its own, so that votes may come before it.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

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
from consensus.events import (
    BlockExecuted,
    Event,
    MessageReceived,
    ProposalChecked,
    ProposalMade,
    Timer,
    TimerExpired,
    TimerKind,
)
from consensus.messages import Echo, Message, NewView, ViewChange, Vote
from consensus.records import (
    JournalStarted,
    NewViewRecord,
    Record,
    ViewChangeRecord,
    VoteRecord,
    record_height,
)
from consensus.restore import Decided, restore
from consensus.state import ReplicaState, Tip, height_of
from consensus.votes import VOTE_TYPES
from crypto.errors import InvalidCertificate
from crypto.validators import ReplicaId
from crypto.votes import GENESIS_HEIGHT, commit_certificate_jobs
from tests.model.bounds import GENESIS, Bounds, make_block, make_config
from tests.model.fingerprints import copied, fingerprint, relax
from tests.simulation.ideal import CHAIN, is_signed

SERIAL = 1


class Violation(AssertionError):
    """An invariant is broken; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A correct replica between two steps.

    `journal` and `stored` (decided and executed blocks, ascending) are on disk; `decided` waits to
    be; `boots` counts starts.
    """

    state: ReplicaState
    journal: tuple[Record, ...]
    stored: tuple[CertifiedBlock, ...] = ()
    decided: Decide | None = None
    boots: int = 0


Said: TypeAlias = Vote | Decide
"""What a step makes known: a vote that left the replica, or a decision."""

Disk: TypeAlias = tuple[tuple[Record, ...], tuple[CertifiedBlock, ...]]


def identity(local: Local, heights: int) -> Hashable:
    """Return what tells two replicas apart, as far as what may follow is concerned.

    One that has decided the last height of the search does nothing more.
    """
    if len(local.stored) == heights:
        return "done", tuple(one.block.digest for one in local.stored), local.boots
    return (
        fingerprint(local.state),
        fingerprint(local.journal),
        fingerprint(local.stored),
        None if local.decided is None else fingerprint(local.decided.certificate),
        local.boots,
    )


@dataclass(slots=True, kw_only=True)
class Stage:
    """One step of one replica while it is played.

    `boundaries` are the places between two effects, and between two records of one effect, at
    which the replica may die: what is on disk there, and how much was said before.
    """

    bounds: Bounds
    replica: int
    journal: list[Record]
    stored: list[CertifiedBlock]
    state: ReplicaState | None = None
    decided: Decide | None = None
    boots: int = 0
    said: list[Said] = field(default_factory=list)
    boundaries: list[tuple[Disk, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    is_executing: bool = False


def begin(bounds: Bounds, replica: int, local: Local) -> Stage:
    return Stage(
        bounds=bounds,
        replica=replica,
        journal=list(local.journal),
        stored=list(local.stored),
        state=copied(local.state),
        decided=local.decided,
        boots=local.boots,
    )


def end(stage: Stage) -> Local:
    assert stage.state is not None, "a step ends with a running replica"
    relax(stage.state)
    return Local(
        state=stage.state,
        journal=tuple(stage.journal),
        stored=tuple(stage.stored),
        decided=stage.decided,
        boots=stage.boots,
    )


def boot(bounds: Bounds, replica: int, disk: Disk | None, boots: int) -> Stage:
    """Start a replica from its disk; with None for the first time."""
    if disk is None:
        disk = ((JournalStarted(chain_id=CHAIN, replica=ReplicaId(replica)),), ())
    stage = Stage(
        bounds=bounds,
        replica=replica,
        journal=list(disk[0]),
        stored=list(disk[1]),
        boots=boots,
    )
    stage.state, effects = restore(
        make_config(replica),
        _resting(stage),
        stage.journal,
        is_journal_whole=True,
        waiting=True,
    )
    perform(stage, effects)
    _hear(stage)
    return stage


def _hear(stage: Stage) -> None:
    """End the silence of a start with answers that know nothing: what others remember can only
    make it wait longer, and waiting is what any replica may do at any time."""
    state = stage.state
    assert state is not None, "a start that answers reach is running"
    for other in state.members.order:
        if other != stage.replica:
            echo = Echo(
                boot_id=state.config.boot_id,
                boots=(),
                vote=None,
                height=height_of(state),
                certificate=None,
            )
            tell(stage, MessageReceived(sender=other, message=echo))
    assert state.listening is None, "enough have answered"


def tell(stage: Stage, event: Event) -> None:
    """Hand the core an event and do what it asks, until it asks for nothing more."""
    assert stage.state is not None, "only a running replica is told"
    perform(stage, handle(stage.state, event))
    while stage.events or stage.is_executing:
        if stage.events:
            perform(stage, handle(stage.state, stage.events.pop(0)))
        else:
            stage.is_executing = False
            execute(stage)


def expire(stage: Stage, kind: TimerKind) -> None:
    """Let a timer expire, whether the delays would have it so or not."""
    assert stage.state is not None, "only a running replica has timers"
    stage.state.timers[kind] = SERIAL
    tell(stage, TimerExpired(timer=Timer(kind=kind, serial=SERIAL)))


def execute(stage: Stage) -> None:
    """Make the decided block durable and executed, and tell the core."""
    decided = stage.decided
    assert decided is not None, "only a decided block is executed"
    block = decided.block
    if block.height != len(stage.stored) + 1:
        raise Violation(f"S4: replica {stage.replica} executes height {block.height} out of turn")
    one = CertifiedBlock(block=block, certificate=decided.certificate, bodies=b"")
    stage.stored.append(one)
    stage.journal = [
        record
        for record in stage.journal
        if (height := record_height(record)) is None or height > block.height
    ]
    stage.decided = None
    _mark(stage)
    validators = stage.bounds.validators(block.height + 2)
    tell(stage, BlockExecuted(height=block.height, digest=block.digest, validators=validators))


def perform(stage: Stage, effects: Iterable[Effect]) -> None:
    for effect in effects:
        _perform(stage, effect)


def _perform(stage: Stage, effect: Effect) -> None:
    match effect:
        case Persist(records=records):
            for record in records:
                stage.journal.append(record)
                _mark(stage)
        case Send(message=message) | Broadcast(message=message):
            _say(stage, message)
        case RequestProposal():
            stage.events.append(_made(stage, effect))
        case CheckProposal(height=height, view=view, block=block):
            if height != len(stage.stored) + 1:
                return  # There is no verdict before the parent is executed.
            verdict = ProposalChecked(height=height, view=view, digest=block.digest, refusal=None)
            stage.events.append(verdict)
        case Decide():
            _check_decision(stage, effect)
            stage.decided = effect
            stage.said.append(effect)
            _mark(stage)
            stage.is_executing = not stage.bounds.executes_apart
        case SetTimer() | CancelTimer() | SendBlocks() | SendProposal():
            pass
        case ReportEvidence() | Ignore():
            pass
        case _:
            assert_never(effect)


def _made(stage: Stage, wanted: RequestProposal) -> ProposalMade:
    """A primary that has restarted makes another block: it does not remember the first."""
    block = make_block(
        height=wanted.height,
        view=wanted.view,
        proposer=stage.replica,
        parent=wanted.parent,
        proof=wanted.parent_certificate,
        variant="abcdefgh"[stage.boots],
    )
    return ProposalMade(height=wanted.height, view=wanted.view, block=block)


def _say(stage: Stage, message: Message) -> None:
    """D1: what leaves a replica is on its disk, and stands on a block that is."""
    if not isinstance(message, Vote):
        return
    if message.signer != stage.replica:
        return  # Shown to its own signer, who seems to have forgotten it.
    kind = type(message).__name__
    if not any(_records(record, message) for record in stage.journal):
        raise Violation(f"D1: replica {stage.replica} sends a {kind} that is not durable")
    if message.height > len(stage.stored) + 1:
        raise Violation(
            f"D1: replica {stage.replica} sends a {kind} of height {message.height} before its "
            "parent is durable and executed"
        )
    stage.said.append(message)
    _mark(stage)


def _records(record: Record, message: Vote) -> bool:
    match record:
        case VoteRecord():
            return (
                not isinstance(message, ViewChange | NewView)
                and record.vote is VOTE_TYPES[type(message)]
                and (record.height, record.view, record.digest, record.signature)
                == (message.height, message.view, message.digest, message.signature)
            )
        case ViewChangeRecord() | NewViewRecord():
            return record.message == message
        case _:
            return False


def _check_decision(stage: Stage, effect: Decide) -> None:
    block, certificate, bounds = effect.block, effect.certificate, stage.bounds
    if (certificate.height, certificate.digest) != (block.height, block.digest):
        raise Violation("S3: a certificate of another block")
    members = bounds.validators(block.height)
    try:
        jobs = commit_certificate_jobs(
            certificate, members, CHAIN, epoch=bounds.epoch(block.height)
        )
    except InvalidCertificate as problem:
        raise Violation(f"S3: {problem}") from problem
    if not all(is_signed(job) for job in jobs):
        raise Violation("S3: a certificate with a wrong signature")


def _mark(stage: Stage) -> None:
    disk = (tuple(stage.journal), tuple(stage.stored))
    stage.boundaries.append((disk, len(stage.said)))


def _resting(stage: Stage) -> Decided:
    """Return what storage says about the chain below."""
    bounds, height = stage.bounds, len(stage.stored)
    tip = Tip(
        height=GENESIS_HEIGHT, digest=GENESIS, proposer=None, transaction_count=0, certificate=None
    )
    if stage.stored:
        last = stage.stored[-1]
        tip = Tip(
            height=last.block.height,
            digest=last.block.digest,
            proposer=last.block.proposer,
            transaction_count=1,
            certificate=last.certificate,
        )
    return Decided(
        tip=tip,
        epoch=bounds.epoch(height + 1),
        validators=bounds.validators(height + 1),
        next_validators=bounds.validators(height + 2),
    )
