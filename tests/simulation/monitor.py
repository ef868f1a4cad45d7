"""The invariants, watched from outside after every event (design: consensus, Invariants).

S1 no two correct replicas decide different blocks at one height. S2 no correct replica lets out
two different votes for one slot, restarts included: a disk that forgot what nobody could show to
the start that forgot it is the one excuse (`is_excused`). S3 a decided block has a valid
certificate. S4 no transaction is executed twice. S5 equal heights, equal states, and nobody stops
without cause. E1 evidence holds, and names no correct replica. P1 nobody leaves a primary for a
complaint while none of the correct has complained.
C1 no node starts with a journal that its disk has changed (the cluster asks it).
T1 no block is later than the fastest correct clock and delta when it is decided.
B1 memory is bounded whatever peers send. X1 nothing a peer sends raises (nothing is caught here).
M1 nobody votes or decides but for the set of the height, in its epoch, under its keys.
D1 what is sent is durable. R4 no vote below a view that was left. L1 is asked for after healing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.effects import Broadcast, Decide, Effect, ReportEvidence, Send
from consensus.hearing import bare_vote
from consensus.invariants import retained, retained_max
from consensus.messages import Commit, Complaint, NewView, Prepare, PrePrepare, ViewChange, Vote
from consensus.records import (
    NewViewRecord,
    Record,
    ViewChangeRecord,
    VoteRecord,
)
from consensus.state import Departure
from consensus.votes import VOTE_TYPES
from crypto.errors import InvalidCertificate, InvalidEvidence
from crypto.evidence import Evidence, evidence_jobs
from crypto.hashing import Digest
from crypto.signatures import Scheme, SignatureJob
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import (
    Height,
    View,
    VoteType,
    commit_certificate_jobs,
    prepared_digest,
    vote_preimage,
)
from tests.simulation.founding import PARAMETERS
from tests.simulation.host import Host
from tests.simulation.ideal import is_signed
from tests.simulation.ledger_application import ledger_of

DELTA_MS = PARAMETERS.time_delta_ms

Place = tuple[int, int, int]
"""Height, view, phase: a replica's votes ascend."""

PHASES = (VoteType.VIEW_CHANGE, VoteType.PRE_PREPARE, VoteType.PREPARE, VoteType.COMMIT)
COMPLAINTS = (
    Departure.COMPLAINT_SLOW,
    Departure.COMPLAINT_CENSORING,
    Departure.COMPLAINT_EQUIVOCATING,
)

Slot = tuple[ReplicaId, Epoch, Height, View, VoteType]


class Violation(AssertionError):
    """An invariant is broken; the text names it."""


@dataclass(slots=True)
class Monitor:
    """What has been seen so far of the correct replicas.

    `forgetful` are those whose disk may lose what it had promised to keep, until they are past
    it; `heard` is the highest vote of one replica that another has had since its start, `shown`
    the highest that a replica was shown by an echo of a correct one. `votes` says in which start
    each was let out. `blocks` are the heights that somebody has executed; `liars` and `named`
    are the replicas that lie, and those of them that evidence has named. `sets` says whose turn it
    is at each height, and in which epoch: counted here, from the ledger alone.
    """

    decided: dict[Height, Digest] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    votes: dict[Slot, tuple[Digest, int]] = field(default_factory=dict)
    left: dict[tuple[ReplicaId, Height], tuple[View, int]] = field(default_factory=dict)
    heights: dict[ReplicaId, int] = field(default_factory=dict)
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    blocks: dict[int, None] = field(default_factory=dict)
    forgetful: dict[int, None] = field(default_factory=dict)
    heard: dict[tuple[int, int], Place] = field(default_factory=dict)
    shown: dict[int, Place] = field(default_factory=dict)
    excused: int = 0
    liars: dict[int, None] = field(default_factory=dict)
    named: dict[int, None] = field(default_factory=dict)
    has_complaint: bool = False
    sets: dict[int, tuple[Epoch, ValidatorSet]] = field(default_factory=dict)
    checks_durability: bool = True
    checks_voters: bool = True
    retained_seen: int = 0

    def newest_set(self) -> ValidatorSet:
        """The set of the height after the highest that somebody has executed."""
        return self.sets[max(self.blocks, default=0) + 1][1]


def begin_sets(monitor: Monitor, founders: ValidatorSet) -> None:
    """The founders vote at the first two heights."""
    monitor.sets = {1: (Epoch(0), founders), 2: (Epoch(0), founders)}


def observe(monitor: Monitor, host: Host, effect: Effect) -> None:
    """Judge what a correct replica has just done."""
    match effect:
        case Broadcast(message=Complaint()):
            monitor.has_complaint = True
        case ReportEvidence():
            _observe_evidence(monitor, host, effect.evidence)
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
    if not monitor.has_complaint and any(host.state.view_changes.get(one) for one in COMPLAINTS):
        raise Violation(f"P1: replica {host.replica} leaves a primary for a liar's complaint")
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
    if monitor.sets:
        epoch, before = monitor.sets[height + 1]
        after = ledger_of(host).set_after_tip()
        monitor.sets[height + 2] = (Epoch(epoch + (after != before)), after)
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
    epoch, validators = _in_force(monitor, host, certificate.epoch, block.height)
    if certificate.epoch != epoch:
        raise Violation(f"M1: height {block.height} is of epoch {epoch}, not {certificate.epoch}")
    try:
        jobs = commit_certificate_jobs(certificate, validators, host.config.chain_id, epoch=epoch)
    except InvalidCertificate as problem:
        raise Violation(f"S3: {problem}") from problem
    if not all(is_signed(job) for job in jobs):
        raise Violation("S3: a certificate with a wrong signature")


def _in_force(
    monitor: Monitor, host: Host, epoch: Epoch, height: Height
) -> tuple[Epoch, ValidatorSet]:
    """Return epoch and set of a height; without a ledger, what the host says of the epoch."""
    return monitor.sets.get(height) or (epoch, host.application.validator_sets()[epoch])


def _observe_voter(monitor: Monitor, host: Host, message: Vote) -> None:
    """M1: the set of the height names this replica, for this epoch, with the key it signs with."""
    epoch, validators = _in_force(monitor, host, message.epoch, message.height)
    member, vote = validators.member(host.replica), bare_vote(message)
    told = f"M1: replica {host.replica} votes at height {message.height}"
    if member is None:
        raise Violation(f"{told}, of whose set it is no member")
    if message.epoch != epoch:
        raise Violation(f"{told} in epoch {message.epoch}, where it is {epoch}")
    preimage = vote_preimage(
        host.config.chain_id, epoch, vote.vote, vote.height, vote.view, vote.digest
    )
    if not is_signed(SignatureJob(Scheme.ED25519, member.vote_key, vote.signature, preimage)):
        raise Violation(f"{told} under a key that is not its own there")


def note_heard(monitor: Monitor, hearer: int, vote: Vote) -> None:
    """A running correct replica was told a vote by the one that signed it."""
    key = (hearer, vote.signer)
    monitor.heard[key] = max(monitor.heard.get(key, NOWHERE), _place(vote))


def note_shown(monitor: Monitor, replica: int, place: Place) -> None:
    """A replica was told by a correct one how far it is known to have voted."""
    monitor.shown[replica] = max(monitor.shown.get(replica, NOWHERE), place)


def forget_heard(monitor: Monitor, hearer: int) -> None:
    """What was heard is in memory only."""
    for key in [key for key in monitor.heard if key[0] == hearer]:
        del monitor.heard[key]


NOWHERE: Place = (0, 0, 0)


def _place(vote: Vote) -> Place:
    bare = bare_vote(vote)
    return bare.height, bare.view, PHASES.index(bare.vote)


def is_excused(monitor: Monitor, host: Host, boots: int, place: Place) -> bool:
    """Whether a replica may contradict what it let out at `place`, in an earlier start.

    Only one whose disk forgot, and only what no correct replica was able to show it (protocol,
    *Why it is safe*): each of those that answered had not heard it, or has restarted since.
    """
    if host.replica not in monitor.forgetful or boots == host.boots:
        return False
    if place <= monitor.shown.get(host.replica, NOWHERE):
        return False
    monitor.excused += 1
    return True


def _observe_evidence(monitor: Monitor, host: Host, evidence: Evidence) -> None:
    accused = evidence.fault.signer
    if accused not in monitor.liars and accused not in monitor.forgetful:
        raise Violation(f"E1: replica {host.replica} accuses replica {accused}, which is correct")
    fault = evidence.fault
    _, validators = _in_force(monitor, host, fault.epoch, fault.height)
    try:
        jobs = evidence_jobs(evidence, validators, host.config.chain_id)
    except InvalidEvidence as problem:
        raise Violation(f"E1: {problem}") from problem
    if not all(is_signed(job) for job in jobs):
        raise Violation(f"E1: replica {host.replica} reports what nobody signed")
    if accused in monitor.liars:
        monitor.named[accused] = None


def _observe_vote(monitor: Monitor, host: Host, message: Vote) -> None:
    vote, about = _said(message)
    slot = (host.replica, message.epoch, message.height, message.view, vote)
    known, boots = monitor.votes.get(slot, (None, 0))
    if known == about:
        return  # Sent again, byte for byte.
    if known is not None:
        if is_excused(monitor, host, boots, _place(message)):
            return
        raise Violation(
            f"S2: replica {host.replica} signs two {vote.name} for height {message.height} "
            f"view {message.view}"
        )
    monitor.votes[slot] = (about, host.boots)
    if monitor.checks_voters:
        _observe_voter(monitor, host, message)
    _observe_leaving(monitor, host, message, vote)
    written = reversed(host.application.written)
    if monitor.checks_durability and not any(_records(record, message) for record in written):
        raise Violation(f"D1: replica {host.replica} sends a {vote.name} that is not durable")


def _observe_leaving(monitor: Monitor, host: Host, message: Vote, vote: VoteType) -> None:
    at = (host.replica, message.height)
    left, boots = monitor.left.get(at, (View(0), 0))
    if vote is VoteType.VIEW_CHANGE:
        if message.view > left:
            monitor.left[at] = (message.view, host.boots)
    elif message.view < left and not is_excused(
        monitor, host, boots, (message.height, left, PHASES.index(VoteType.VIEW_CHANGE))
    ):
        raise Violation(f"R4: replica {host.replica} votes below view {left}, which it entered")


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
