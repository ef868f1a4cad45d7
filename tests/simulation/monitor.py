"""The invariants, watched from outside after every event (design: consensus, Invariants).

S1 no two correct replicas decide different blocks at one height. S2 no correct replica lets out
two different votes for one slot, restarts included. S3 a decided block has a valid certificate.
S4 no transaction is executed twice. S5 equal heights, equal states, and nobody stops without cause.
C1 no node starts with a journal that its disk has changed (the cluster asks it).
T1 no block is later than the fastest correct clock and delta when it is decided.
B1 memory is bounded whatever peers send. X1 nothing a peer sends raises (nothing is caught here).
D1 what is sent is durable. R4 no vote below a view that was left. L1 is asked for after healing.
"""

from collections.abc import Callable
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
from tests.simulation.founding import PARAMETERS
from tests.simulation.host import Host
from tests.simulation.ideal import is_signed

DELTA_MS = PARAMETERS.time_delta_ms

Slot = tuple[ReplicaId, Epoch, Height, View, VoteType]


class Violation(AssertionError):
    """An invariant is broken; the text names it."""


@dataclass(slots=True)
class Monitor:
    """What has been seen so far of the correct replicas.

    `forgetful` are those whose disk lost what it had promised to keep: what they sign is not
    judged until they are past it. `blocks` are the heights that somebody has executed.
    """

    decided: dict[Height, Digest] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    votes: dict[Slot, Digest] = field(default_factory=dict)
    left: dict[tuple[ReplicaId, Height], View] = field(default_factory=dict)
    heights: dict[ReplicaId, int] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    blocks: dict[int, None] = field(default_factory=dict)
    forgetful: dict[int, None] = field(default_factory=dict)
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


def observe_event(monitor: Monitor, host: Host, fastest_clock_ms: Callable[[], int]) -> None:
    """Judge where an event has left a correct replica that is running."""
    assert host.state is not None, "a node that is down is not judged"
    application = host.application
    height = application.height
    if monitor.heights.get(host.replica) != height:
        monitor.heights[host.replica] = height
        digest = application.state_digest()
        if monitor.states.setdefault(height, digest) != digest:
            raise Violation(f"S5: replica {host.replica} differs at height {height}")
        _acknowledge(monitor, host, fastest_clock_ms)
    kept = retained(host.state)
    monitor.retained_seen = max(monitor.retained_seen, kept)
    if kept > retained_max(host.state.members.quorum):
        raise Violation(f"B1: replica {host.replica} keeps {kept} objects")


def _acknowledge(monitor: Monitor, host: Host, fastest_clock_ms: Callable[[], int]) -> None:
    """Note what a correct replica has just answered receipts for, and when it says that was."""
    height, time_ms = host.application.height, host.application.time_ms()
    if height in monitor.blocks or not height:
        return
    monitor.blocks[height] = None
    if time_ms > fastest_clock_ms() + DELTA_MS:
        raise Violation(f"T1: block {height} is of {time_ms}, later than every correct clock")
    for tx_id in host.application.decided_at(height):
        known = monitor.acknowledged.setdefault(tx_id, height)
        if known != height:
            raise Violation(f"S4: a transaction of block {known} is executed again in {height}")


def _observe_decision(monitor: Monitor, host: Host, effect: Decide) -> None:
    block, certificate = effect.block, effect.certificate
    known = monitor.decided.setdefault(block.height, block.digest)
    if known != block.digest:
        raise Violation(f"S1: replica {host.replica} decides otherwise at height {block.height}")
    if (certificate.height, certificate.digest) != (block.height, block.digest):
        raise Violation("S3: a certificate of another block")
    try:
        jobs = commit_certificate_jobs(
            certificate,
            host.application.validator_sets()[certificate.epoch],
            host.config.chain_id,
            epoch=certificate.epoch,
        )
    except InvalidCertificate as problem:
        raise Violation(f"S3: {problem}") from problem
    if not all(is_signed(job) for job in jobs):
        raise Violation("S3: a certificate with a wrong signature")


def _observe_vote(monitor: Monitor, host: Host, message: Vote) -> None:
    if host.replica in monitor.forgetful:
        return
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
    written = reversed(host.application.written)
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
