"""Gathering what a node knows (`api.facts`) from the rooms that know it; built when asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from api.facts import (
    DiskFacts,
    Facts,
    FenceFacts,
    ListeningFacts,
    MemberFacts,
    MissingFacts,
    PoolFacts,
    RefusalFacts,
    Stopped,
)
from consensus.fence import others_needed
from consensus.mailbox import votes_at
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from consensus.restarting import LEFT_BEHIND, STATED
from consensus.state import Own, ReplicaState, primary_at
from consensus.timers import certify_delay_ms, gather_delay_ms
from crypto.validators import ReplicaId
from ledger.owed import waiting_since_ms
from ledger.parameters import Parameters
from ledger.records_state import get_seal
from p2p.statistics import PeerStatistics
from shell.clocks import offset_of_peer_ms
from shell.intake import Intake
from shell.replica import Replica
from shell.scrubbing import Scrubbing
from shell.timeline import since_ms
from storage.files import free_bytes

DAMAGED_TOLD_MAX: Final = 100
LACKING_LOOKED_AT: Final = 64
"""Of so many blobs it is looked up who has promised to keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A part of the node directory, what is kept free for it, and what it takes now."""

    part: str
    path: Path
    reserve_bytes: int
    used_bytes: Callable[[], int]


@dataclass(slots=True, kw_only=True)
class Sources:
    """Where the facts come from."""

    replica: Replica
    intake: Intake
    scrubbing: Scrubbing
    disks: tuple[Disk, ...]


def make_sources(replica: Replica, intake: Intake, scrubbing: Scrubbing) -> Sources:
    database = replica.chain.stored.database
    blobs, sidecars = scrubbing.blobs, scrubbing.sidecars
    return Sources(
        replica=replica,
        intake=intake,
        scrubbing=scrubbing,
        disks=(
            Disk(
                part="ledger",
                path=database.path,
                reserve_bytes=database.reserve_bytes,
                used_bytes=database.size_bytes,
            ),
            Disk(
                part="journal",
                path=replica.votes.journal.directory,
                reserve_bytes=0,
                used_bytes=lambda: replica.votes.journal.size_bytes,
            ),
            Disk(
                part="sidecars",
                path=sidecars.store.directory,
                reserve_bytes=sidecars.store.reserve_bytes,
                used_bytes=lambda: sidecars.store.size_bytes,
            ),
            Disk(
                part="blobs",
                path=blobs.store.directory,
                reserve_bytes=blobs.store.limits.reserve_bytes,
                used_bytes=lambda: blobs.store.stored_bytes,
            ),
        ),
    )


def gather_facts(sources: Sources) -> Facts:
    """Return the facts of this moment."""
    replica = sources.replica
    state, timeline = replica.state, replica.timeline
    quorum, parameters = replica.chain.quorum(), replica.chain.parameters()
    own = state.config.replica
    primary = primary_at(state, state.instance.view)
    return Facts(
        node=name_of(replica, own),
        index=int(own),
        is_member=own in state.members.order,
        members=quorum.n,
        quorum=quorum.strong,
        faults=quorum.f,
        epoch=int(replica.chain.next_epoch),
        height=int(replica.chain.tip.height),
        view=int(state.instance.view),
        primary=name_of(replica, primary),
        is_primary=primary == own,
        phase=_phase(state),
        votes=_own_votes(state.instance.own, state),
        since_block_ms=since_ms(timeline, timeline.executed_s),
        due_ms=_due_ms(state, parameters),
        base_timeout_ms=state.config.base_timeout_ms,
        status_ms=state.config.status_ms,
        time_ahead_ms=parameters.time_delta_ms,
        time_behind_ms=parameters.time_delta_past_ms,
        others=tuple(_members(replica)),
        pool=_pool(sources.intake),
        disks=tuple(
            DiskFacts(
                part=disk.part,
                path=str(disk.path),
                free_bytes=free_bytes(disk.path),
                reserve_bytes=disk.reserve_bytes,
            )
            for disk in sources.disks
        ),
        lag_ms=timeline.lag.value_ms(),
        sync_ms=timeline.sync.value_ms(),
        fence=_fence(replica),
        refusal=_refusal(replica),
        fetching_from=_fetching_from(replica),
        damaged_blocks=tuple(sorted(replica.mending.damaged)[:DAMAGED_TOLD_MAX]),
        stopped=_stopped(replica),
        is_mute=state.members.is_mute,
        listening=_listening(replica),
        missing=_missing(replica, sources.scrubbing),
    )


def name_of(replica: Replica, index: ReplicaId) -> str:
    """Return the organisation that runs a member: that is what people know it by."""
    member = replica.chain.next_set.member(index)
    return f"member {index}" if member is None else member.org


def _phase(state: ReplicaState) -> str:
    instance = state.instance
    if instance.certificate is not None or state.next_members is None:
        return "committed"
    if instance.proposal is None:
        return "waiting"
    prepared = instance.prepared
    return "proposed" if prepared is None or prepared.view != instance.view else "prepared"


def _due_ms(state: ReplicaState, parameters: Parameters) -> int:
    """How long after the last block the next is due: soon if something waits (rule 14)."""
    if state.has_backlog:
        return gather_delay_ms(state)
    if state.tip.transaction_count:
        return certify_delay_ms(state)
    return parameters.idle_block_ms


def _own_votes(own: Own, state: ReplicaState) -> tuple[str, ...]:
    view = state.instance.view
    cast = (
        ("pre-prepare", own.pre_prepare),
        ("prepare", own.prepare),
        ("commit", own.commit),
        ("view-change", own.view_change),
    )
    return tuple(name for name, vote in cast if vote is not None and vote.view == view)


def _members(replica: Replica) -> Iterator[MemberFacts]:
    now_ms = replica.clock.now_ms()
    for link in replica.network.statistics().peers:
        index = ReplicaId(link.peer_id)
        if replica.state.members.order and index not in replica.state.members.order:
            continue  # A learner or a guest has no vote that could be missing.
        heard = replica.statuses.get(link.peer_id)
        status, heard_at_ms = (None, now_ms) if heard is None else heard
        yield MemberFacts(
            index=link.peer_id,
            name=name_of(replica, index),
            link=link.state.value,
            link_reason=link.reason,
            link_ms=max(0, _wall_ms(replica) - link.since_ms),
            heard_ms=None if status is None else max(0, now_ms - heard_at_ms),
            height=None if status is None else int(status.height) - 1,
            view=None if status is None else int(status.view),
            is_fenced=status is not None and status.is_fenced,
            is_listening=status is not None and status.is_listening,
            clock_offset_ms=offset_of_peer_ms(replica, link),
            rtt_ms=link.rtt_ms,
            votes=_votes_of(replica.state, index),
            invalid_messages=_invalid(replica, link),
            evidence=replica.reports.counts[link.peer_id],
            complaint=_complaint(replica.state, index),
        )


def _wall_ms(replica: Replica) -> int:
    """The time of the machine: links are dated by it even where the node's clock is another."""
    return replica.clock.now_ms() - replica.clock.offset_ms


def _votes_of(state: ReplicaState, index: ReplicaId) -> tuple[str, ...]:
    instance = state.instance
    mailbox, view = instance.mailbox, instance.view
    found = (
        ("pre-prepare", index in votes_at(mailbox, PrePrepare, view)),
        ("new-view", index in votes_at(mailbox, NewView, view)),
        ("prepare", index in votes_at(mailbox, Prepare, view)),
        ("commit", index in votes_at(mailbox, Commit, view)),
        ("view-change", index in votes_at(mailbox, ViewChange, view)),
    )
    return tuple(name for name, is_there in found if is_there)


def _invalid(replica: Replica, link: PeerStatistics) -> int:
    return replica.invalid[link.peer_id] + sum(link.invalid.values())


def _pool(intake: Intake) -> PoolFacts:
    pool, now_ms = intake.pool, intake.clock.now_ms()
    oldest_ms = waiting_since_ms(pool, max(now_ms, intake.chain.tip.time_ms + 1))
    full_at_ms = intake.full_at_ms
    return PoolFacts(
        transactions=len(pool),
        transactions_max=pool.limits.transactions_max,
        bytes_used=pool.bytes_used,
        bytes_max=pool.limits.bytes_max,
        oldest_ms=None if oldest_ms is None else max(0, now_ms - oldest_ms),
        full_ms=None if full_at_ms is None else max(0, now_ms - full_at_ms),
    )


def _fence(replica: Replica) -> FenceFacts | None:
    fence = replica.state.fence
    if fence is None:
        return None
    return FenceFacts(
        reason=fence.reason,
        for_ms=since_ms(replica.timeline, replica.timeline.fenced_s),
        waits_for_document=fence.reason in (STATED, LEFT_BEHIND) and not fence.falls_at_restart,
        proven=tuple(name_of(replica, index) for index in sorted(fence.proven)),
        needed=others_needed(replica.state.members.quorum),
        lift_height=None
        if fence.lift_height is None
        else int(max(fence.lift_height, fence.signed_height)),
    )


def _listening(replica: Replica) -> ListeningFacts | None:
    listening = replica.state.listening
    if listening is None:
        return None
    proof = listening.proof
    return ListeningFacts(
        for_ms=since_ms(replica.timeline, replica.timeline.started_s),
        needed=replica.state.members.quorum.strong - 1,
        answered=tuple(name_of(replica, index) for index in sorted(listening.answered)),
        proven_height=None if proof is None else int(proof.height),
    )


def _missing(replica: Replica, scrubbing: Scrubbing) -> MissingFacts:
    """Say how much is lacking, and who of those connected has promised to keep it too."""
    view = replica.chain.view()
    promised: set[int] = set()
    for cid in islice(scrubbing.lacking_blobs, LACKING_LOOKED_AT):
        seal = get_seal(view, cid)
        promised |= set() if seal is None else set(seal.stored_by)
    keepers = [one for one in replica.network.connected() if one in promised]
    return MissingFacts(
        blobs=len(scrubbing.lacking_blobs),
        sidecars=len(scrubbing.lacking_sidecars),
        keepers=tuple(name_of(replica, ReplicaId(one)) for one in sorted(keepers)),
    )


def _complaint(state: ReplicaState, index: ReplicaId) -> str:
    complaint = state.complaints.get(index)
    return "" if complaint is None else complaint.reason.name.lower()


def _refusal(replica: Replica) -> RefusalFacts | None:
    refusal = replica.timeline.refusal
    if refusal is None:
        return None
    code, _, text = refusal.text.partition(": ")
    return RefusalFacts(
        height=refusal.height,
        view=refusal.view,
        proposer=name_of(replica, ReplicaId(refusal.proposer)),
        code=code,
        text=text,
        ago_ms=since_ms(replica.timeline, refusal.at_s),
    )


def _fetching_from(replica: Replica) -> str | None:
    asked = replica.state.fetching
    return None if asked is None or asked.peer is None else name_of(replica, asked.peer)


def _stopped(replica: Replica) -> Stopped | None:
    failure = replica.timeline.failure
    if failure is None:
        return None
    code = getattr(failure, "code", type(failure).__name__)
    return Stopped(code=str(code), text=str(failure))
