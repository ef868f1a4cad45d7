"""The invariants, watched from outside after every event (design: consensus, Invariants).

S1 no two correct replicas decide different blocks at one height. S2 no correct replica lets out
two different votes for one slot, restarts included. S3 a decided block has a valid certificate.
S4 no transaction is executed twice (the application asserts it). S5 equal heights, equal states.
B1 memory is bounded whatever peers send. X1 nothing a peer sends raises (nothing is caught here).
D1 what is sent is durable. R4 no vote below a view that was left. L1 is asked for after healing.
"""

from dataclasses import dataclass, field

from consensus.effects import Broadcast, Decide, Effect, Send
from consensus.invariants import retained, retained_max
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange, Vote
from consensus.records import (
    NewViewRecord,
    Record,
    ViewChangeRecord,
    VoteRecord,
)
from consensus.votes import VOTE_TYPES
from crypto.errors import InvalidCertificate
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    Height,
    View,
    VoteType,
    commit_certificate_jobs,
    prepared_digest,
)
from tests.simulation.host import Host
from tests.simulation.ideal import CHAIN, is_signed

Slot = tuple[ReplicaId, Epoch, Height, View, VoteType]


class Violation(AssertionError):
    """An invariant is broken; the text names it."""


@dataclass(slots=True)
class Monitor:
    """What has been seen so far of the correct replicas."""

    decided: dict[Height, Digest] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    votes: dict[Slot, Digest] = field(default_factory=dict)
    left: dict[tuple[ReplicaId, Height], View] = field(default_factory=dict)
    heights: dict[ReplicaId, int] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    checks_durability: bool = True
    retained_seen: int = 0


def observe(monitor: Monitor, host: Host, effect: Effect) -> None:
    """Judge what a correct replica has just done."""
    match effect:
        case Send(message=message) | Broadcast(message=message):
            if isinstance(message, Vote) and message.signer == host.replica:
                _observe_vote(monitor, host, message)
        case Decide():
            _observe_decision(monitor, host, effect)
        case _:
            pass


def observe_event(monitor: Monitor, host: Host) -> None:
    """Judge where an event has left a correct replica."""
    application = host.application
    if monitor.heights.get(host.replica) != application.height:
        monitor.heights[host.replica] = application.height
        _acknowledge(monitor, host)
    known = monitor.states.setdefault(application.height, application.state_digest())
    if known != application.state_digest():
        raise Violation(f"S5: replica {host.replica} differs at height {application.height}")
    if host.state is None:
        return
    kept = retained(host.state)
    monitor.retained_seen = max(monitor.retained_seen, kept)
    if kept > retained_max(host.state.members.quorum):
        raise Violation(f"B1: replica {host.replica} keeps {kept} objects")


def _acknowledge(monitor: Monitor, host: Host) -> None:
    """Note what a correct replica has just answered receipts for."""
    for transaction, height in reversed(host.application.executed().items()):
        if height < host.application.height:
            break
        monitor.acknowledged.setdefault(transaction, height)


def _observe_decision(monitor: Monitor, host: Host, effect: Decide) -> None:
    block, certificate = effect.block, effect.certificate
    known = monitor.decided.setdefault(block.height, block.digest)
    if known != block.digest:
        raise Violation(f"S1: replica {host.replica} decides otherwise at height {block.height}")
    if (certificate.height, certificate.digest) != (block.height, block.digest):
        raise Violation("S3: a certificate of another block")
    try:
        jobs = commit_certificate_jobs(certificate, host.validators, CHAIN, epoch=Epoch(0))
    except InvalidCertificate as problem:
        raise Violation(f"S3: {problem}") from problem
    if not all(is_signed(job) for job in jobs):
        raise Violation("S3: a certificate with a wrong signature")


def _observe_vote(monitor: Monitor, host: Host, message: Vote) -> None:
    vote, about = _said(message)
    slot = (host.replica, message.epoch, message.height, message.view, vote)
    known = monitor.votes.get(slot)
    if known == about:
        return  # Sent again, byte for byte.
    if known is not None:
        raise Violation(
            f"S2: replica {host.replica} signs two {vote.name} for height {message.height} "
            f"view {message.view}"
        )
    monitor.votes[slot] = about
    place = (host.replica, message.height)
    left = monitor.left.get(place, View(0))
    if vote is VoteType.VIEW_CHANGE:
        monitor.left[place] = max(left, message.view)
    elif message.view < left:
        raise Violation(f"R4: replica {host.replica} votes below view {left}, which it entered")
    written = reversed(host.disk.written)
    if monitor.checks_durability and not any(_records(record, message) for record in written):
        raise Violation(f"D1: replica {host.replica} sends a {vote.name} that is not durable")


def _records(record: Record, message: Vote) -> bool:
    match record:
        case VoteRecord():
            return (
                isinstance(message, PrePrepare | Prepare | Commit)
                and record.vote is VOTE_TYPES[type(message)]
                and (record.height, record.view, record.digest, record.signature)
                == (message.height, message.view, message.digest, message.signature)
            )
        case ViewChangeRecord() | NewViewRecord():
            return record.message == message
        case _:
            return False


def _said(message: Vote) -> tuple[VoteType, Digest]:
    match message:
        case ViewChange():
            return VoteType.VIEW_CHANGE, prepared_digest(message.prepared)
        case NewView():
            return VoteType.PRE_PREPARE, message.digest
        case PrePrepare() | Prepare() | Commit():
            return VOTE_TYPES[type(message)], message.digest
