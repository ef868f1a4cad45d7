"""What a replica remembers between two events: plain data that can be copied, nothing else.

The chain below is the `tip`; the height above it is the `Instance`, with its own views and votes,
dropped whole when it is decided. What is kept about others is bounded by the number of members.
"""

import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.blocks import Block, CertifiedBlock
from consensus.boots import NOBODY, Boot, boot_preimage
from consensus.events import TimerKind
from consensus.mailbox import Mailbox
from consensus.membership import Membership, Pace, primary_of
from consensus.messages import (
    Commit,
    Complaint,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.records import Restarted
from crypto.evidence import Fault, SignedVote
from crypto.hashing import ChainId, Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    FIRST_VIEW,
    GENESIS_HEIGHT,
    CommitCertificate,
    Height,
    PreparedCertificate,
    View,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What does not change while a replica runs.

    `sign` returns the Ed25519 signature of a preimage by the key that the set of an epoch names for
    this replica: a pure function, as that scheme is deterministic. `boot_id` (16 bytes) differs at
    every start. The delays are the operator's; `idle_block_ms` and `rotate_every` (heights) are the
    consortium's, where the memberships do not say otherwise (`pace_of`). After a start the replica
    listens for `listen_heartbeats` more once enough others have answered it.
    """

    chain_id: ChainId
    replica: ReplicaId
    boot_id: bytes
    sign: Callable[[Epoch, bytes], bytes]
    base_timeout_ms: int
    timeout_cap_ms: int
    gather_ms: int
    idle_block_ms: int
    status_ms: int
    fetch_ms: int
    rotate_every: int
    listen_heartbeats: int


class Departure(enum.Enum):
    """Why a replica moved to a higher view; the value is how metrics name it."""

    TIMER = "timer"  # No decision in time.
    JOINED = "joined"  # f + 1 others had left.
    FOLLOWED = "followed"  # A new-view of a view above ours.
    UNSOUND = "unsound"  # The proposal does not stand on our tip, or is another's.
    REFUSED = "refused"  # The shell found the proposal invalid.
    COMPLAINT_SLOW = "complaint.slow"
    COMPLAINT_CENSORING = "complaint.censoring"
    COMPLAINT_EQUIVOCATING = "complaint.equivocating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The last decided block; at height 0 the genesis state, proposed and certified by nobody."""

    height: Height
    digest: Digest
    proposer: ReplicaId | None
    transaction_count: int
    certificate: CommitCertificate | None


@dataclass(slots=True, kw_only=True)
class Own:
    """What this replica itself said at one height: the latest of each kind, for re-sending."""

    pre_prepare: PrePrepare | None = None
    prepare: Prepare | None = None
    commit: Commit | None = None
    view_change: ViewChange | None = None
    new_view: NewView | None = None


@dataclass(slots=True, kw_only=True)
class Instance:
    """The agreement on one height.

    `proposal` is the primary's vote that was accepted in `view`, `chosen` the certificate that
    made it propose that block again; `basis` is what a new primary chooses from. `blocks` are
    those that may still be decided here, `valid` those of them that the shell has checked (bodies
    at hand), `durable` those in the journal. `certificate` waits for its block, or its execution.
    `supplier` sent the block that was last asked for.
    """

    view: View = FIRST_VIEW
    proposal: PrePrepare | None = None
    chosen: PreparedCertificate | None = None
    prepared: PreparedCertificate | None = None
    certificate: CommitCertificate | None = None
    blocks: dict[Digest, Block] = field(default_factory=dict)
    valid: dict[Digest, None] = field(default_factory=dict)
    durable: dict[Digest, None] = field(default_factory=dict)
    checking: dict[Digest, None] = field(default_factory=dict)
    supplier: ReplicaId | None = None
    basis: tuple[ViewChange, ...] = ()
    is_requested: bool = False  # A block was asked for in this view.
    is_timed: bool = False  # The timer of this view was started.
    is_idle: bool = False  # Nothing waits: the timers of view 0 run with the idle delay.
    is_certifying: bool = False  # Nothing waits, but the tip's results want a certificate.
    is_extended: bool = False  # The deadline of this view was moved once.
    lag_ms: int = 0
    contradicted: dict[ReplicaId, None] = field(default_factory=dict)  # Whose votes, in this view.
    own: Own = field(default_factory=Own)
    mailbox: Mailbox = field(default_factory=Mailbox)


@dataclass(slots=True, kw_only=True)
class Peer:
    """What is remembered of one other member.

    `height` and `view` are the highest position heard of it, as a claim. `failures` counts
    fetches it did not answer. Since our last heartbeat it has sent `fetches`, `was_answered` says
    that it had what it lacks, and it had `echoes`. `boots` are its last two starts that spoke
    here, the latest last; `last_vote` is its highest vote that came here, also of a decided height.
    """

    height: Height = GENESIS_HEIGHT
    view: View = FIRST_VIEW
    failures: int = 0
    fetches: int = 0
    was_answered: bool = False
    echoes: int = 0
    boots: tuple[Boot, ...] = ()
    last_vote: SignedVote | None = None


@dataclass(slots=True, kw_only=True)
class Boots:
    """The starts of this replica: the present one, those before, and strangers with its key.

    `earlier` are boot ids that the journal knows; `strangers` are others, with their numbers, that
    were shown to this start. `seen` is the last of them. `has_twin`: one of them is alive.
    """

    number: int
    earlier: tuple[bytes, ...] = ()
    strangers: dict[bytes, int] = field(default_factory=dict)
    seen: bytes = NOBODY
    has_twin: bool = False
    said: Boot | None = None  # Signed already, for as long as epoch and `seen` stay.


@dataclass(slots=True, kw_only=True)
class Listening:
    """A start that signs nothing new yet: who has answered it, and what they have shown.

    `proof` is the certificate of the highest block that one of them has decided; `heard_at` is
    the heartbeat at which enough had answered.
    """

    answered: dict[ReplicaId, None] = field(default_factory=dict)
    proof: CommitCertificate | None = None
    heard_at: int | None = None


@dataclass(slots=True, kw_only=True)
class Fence:
    """Why nothing is signed, and what it takes: deciding `lift_height` by others' votes.

    `proven` are decided heights that others have shown certificates of since the fence stands;
    `signed_height` is the highest at which a vote of ours is known to exist. `falls_at_restart`:
    nothing says that we have signed in the epoch of the restart that is ordered.
    """

    reason: str
    falls_at_restart: bool = False
    signed_height: Height = GENESIS_HEIGHT
    proven: dict[ReplicaId, Height] = field(default_factory=dict)
    lift_height: Height | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """What was asked of whom: the block of `digest`, or with None decided blocks from `height`.

    `peer` is None while nobody is asked, because the shell may still finish its own check.
    """

    peer: ReplicaId | None
    height: Height
    digest: Digest | None


@dataclass(slots=True, kw_only=True)
class ReplicaState:
    """One replica.

    `next_members` is None until the tip is executed; nothing is voted until then.
    """

    config: Config
    tip: Tip
    members: Membership
    next_members: Membership | None
    boots: Boots
    restart: Restarted | None = None  # Ordered by the operators, above a height not reached yet.
    instance: Instance = field(default_factory=Instance)
    next_mailbox: Mailbox = field(default_factory=Mailbox)
    peers: dict[ReplicaId, Peer] = field(default_factory=dict)
    has_backlog: bool = False
    fence: Fence | None = None
    listening: Listening | None = None
    fetching: Fetching | None = None
    fetched: tuple[CertifiedBlock, ...] = ()  # Decided blocks above the instance's height.
    fetched_from: ReplicaId | None = None
    heartbeats: int = 0  # Since the start.
    fetches_of_strangers: int = 0  # Since the last heartbeat.
    height_at_heartbeat: Height = GENESIS_HEIGHT
    is_behind: bool = False  # Others were ahead for a whole heartbeat.
    complaints: dict[ReplicaId, Complaint] = field(default_factory=dict)  # About the base.
    view_changes: Counter[Departure] = field(default_factory=Counter)  # Since the start.
    past_votes: dict[Fault, SignedVote] = field(default_factory=dict)  # Of decided heights.
    reported: dict[Fault, None] = field(default_factory=dict)  # Slots with evidence of two votes.
    timers: dict[TimerKind, int] = field(default_factory=dict)  # Serial of each that runs.
    timer_serial: int = 0


def height_of(state: ReplicaState) -> Height:
    """Return the height being agreed."""
    return Height(state.tip.height + 1)


def pace_of(state: ReplicaState) -> Pace:
    """Return the pace of the height being agreed."""
    config, pace = state.config, state.members.pace
    if pace is None:
        return Pace(idle_block_ms=config.idle_block_ms, rotate_every=config.rotate_every)
    return pace


def primary_at(state: ReplicaState, view: View) -> ReplicaId:
    """Return the primary of a view of the height being agreed."""
    return primary_of(
        state.members,
        height_of(state),
        view,
        last_proposer=state.tip.proposer,
        rotate_every=pace_of(state).rotate_every,
    )


def is_primary(state: ReplicaState) -> bool:
    return primary_at(state, state.instance.view) == state.config.replica


def is_executed(state: ReplicaState) -> bool:
    """Whether the tip is executed: rule 7, execute before voting."""
    return state.next_members is not None


def may_vote(state: ReplicaState) -> bool:
    """Whether this replica takes part in the height: nothing is signed unless this holds."""
    return (
        state.next_members is not None
        and state.fence is None
        and state.listening is None
        and state.instance.certificate is None
        and not state.members.is_mute
        and state.config.replica in state.members.order
    )


def make_status(state: ReplicaState, *, with_proof: bool) -> Status:
    """Say where this replica stands; with the proof of what it has decided if asked."""
    instance = state.instance
    commit = instance.own.commit
    return Status(
        height=height_of(state),
        view=instance.view,
        has_proposal=instance.proposal is not None,
        has_committed=commit is not None and commit.view == instance.view,
        is_fenced=state.fence is not None,
        is_listening=state.listening is not None,
        certificate=state.tip.certificate if with_proof else None,
        boot=own_boot(state),
        clock_ms=0,
    )


def own_boot(state: ReplicaState) -> Boot | None:
    """Return what this start says of itself, signed once for each epoch and each stranger.

    None where nobody could check it: the set does not name this replica, or with another key.
    """
    boots, epoch, config = state.boots, state.members.epoch, state.config
    if state.members.is_mute or config.replica not in state.members.order:
        return None
    said = boots.said
    if said is None or (said.epoch, said.seen) != (epoch, boots.seen):
        fields = (epoch, config.replica, boots.number, config.boot_id, boots.seen)
        said = boots.said = Boot(
            epoch=epoch,
            replica=config.replica,
            number=boots.number,
            boot_id=config.boot_id,
            seen=boots.seen,
            signature=config.sign(epoch, boot_preimage(config.chain_id, *fields)),
        )
    return said
