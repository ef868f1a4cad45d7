"""What a node knows of itself and of the others at one moment: the ground of every diagnosis.

Plain values only, so that the facts of any node can be written down, sent, and looked at again.
Durations are milliseconds back from the moment of asking; None is "not known" or "never".
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

WAIT_MIN_MS: Final = 1_500
HEARTBEATS_MISSED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """Another member as the node sees it.

    `link` is connected, connecting or refused, for `link_ms` now, for `link_reason` if not
    connected. `heard_ms` ago came its last heartbeat; that said it had decided `height`, stood in
    `view` and was fenced, or listening after its start, or not. `votes` are the kinds of votes it
    has sent for the block that is being agreed in the present view, `evidence` the slots for which
    it is proven to have signed two votes, `complaint` its reason if it complains about the primary
    of view 0.
    """

    index: int
    name: str
    link: str = "connected"
    link_reason: str = ""
    link_ms: int = 0
    heard_ms: int | None = None
    height: int | None = None
    view: int | None = None
    is_fenced: bool = False
    is_listening: bool = False
    clock_offset_ms: int | None = None
    rtt_ms: float | None = None
    votes: tuple[str, ...] = ()
    invalid_messages: int = 0
    evidence: int = 0
    complaint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceFacts:
    """Why the node signs nothing, for how long in this run, and what it waits for.

    `needed` others have to prove how far they are, `proven` have done so; once all have, it votes
    again after block `lift_height`. `waits_for_document`: it goes on only under the others'
    restart document.
    """

    reason: str
    for_ms: int = 0
    proven: tuple[str, ...] = ()
    needed: int = 0
    lift_height: int | None = None
    waits_for_document: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningFacts:
    """A start that signs nothing new yet: `needed` others have to answer, `answered` have.

    They have proven that block `proven_height` is decided: the node has to decide it first.
    """

    for_ms: int = 0
    needed: int = 0
    answered: tuple[str, ...] = ()
    proven_height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingFacts:
    """How much of what the node has to keep off chain is not there, damaged copies included.

    `keepers` are connected members that have promised to keep one of the blobs.
    """

    blobs: int = 0
    sidecars: int = 0
    keepers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalFacts:
    """The last proposal that the node refused: whose it was, with which code, why, how long ago."""

    height: int
    view: int
    proposer: str
    code: str
    text: str
    ago_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """A part of the node directory, the free bytes of its disk and those that are kept free."""

    part: str
    path: str
    free_bytes: int
    reserve_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """The transactions that wait; `full_ms` ago one was turned away for want of room."""

    transactions: int = 0
    transactions_max: int = 0
    bytes_used: int = 0
    bytes_max: int = 0
    oldest_ms: int | None = None
    full_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The failure for which the node votes no more: code and text of its error."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything at once.

    `quorum` of `members` votes are needed and `faults` may be missing. `height` is the last
    executed block, executed `since_block_ms` ago (or the start); the next is due `due_ms` after it.
    `phase` says how far that has come here: waiting, proposed, prepared, committed. `view`,
    `primary`, `votes` (our own) and `others` speak of it. `lag_ms` is the longest absence of the
    event loop, `sync_ms` the slowest flush of the journal, both of the last half minute. `is_mute`:
    the ledger's vote key for the node is not here.
    """

    node: str
    index: int
    is_member: bool
    members: int
    quorum: int
    faults: int
    epoch: int
    height: int
    view: int
    primary: str
    is_primary: bool
    phase: str
    votes: tuple[str, ...]
    since_block_ms: int
    due_ms: int
    base_timeout_ms: int
    status_ms: int
    time_ahead_ms: int
    time_behind_ms: int
    others: tuple[MemberFacts, ...]
    pool: PoolFacts
    disks: tuple[DiskFacts, ...]
    lag_ms: int = 0
    sync_ms: int = 0
    fence: FenceFacts | None = None
    refusal: RefusalFacts | None = None
    fetching_from: str | None = None
    damaged_blocks: tuple[int, ...] = ()
    stopped: Stopped | None = None
    is_mute: bool = False
    listening: ListeningFacts | None = None
    missing: MissingFacts = MissingFacts()

    @property
    def silent_after_ms(self) -> int:
        """How long a connected member may say nothing: it has missed several heartbeats then."""
        return max(WAIT_MIN_MS, HEARTBEATS_MISSED * self.status_ms)


def plain_facts(facts: Facts) -> dict[str, Any]:
    """Return the facts as what JSON can hold."""
    return dataclasses.asdict(facts)


def is_silent(facts: Facts, member: MemberFacts) -> bool:
    """Whether a member has not been heard of lately."""
    heard_ms = member.heard_ms
    return member.link != "connected" or heard_ms is None or heard_ms > facts.silent_after_ms


def is_voting(facts: Facts, member: MemberFacts) -> bool:
    """Whether a member can be counted on: it is heard, free to sign, and not far behind."""
    if is_silent(facts, member) or member.is_fenced or member.is_listening:
        return False
    return member.height is None or member.height + 1 >= facts.height
