"""The numbers of a running node (`api.metrics`), read from the rooms when somebody asks."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from api.diagnosis import diagnose
from api.facts import Facts
from api.metrics import Histogram, Measures, Value
from crypto.validators import ReplicaId
from p2p.lanes import Lane
from shell.clocks import others_offset_ms
from shell.facts import Sources, gather_facts, name_of
from shell.processes import usage_of
from shell.replica import Replica
from shell.scrubbing import Scrubbing
from storage.journal import SyncTimes

Samples = list[tuple[tuple[str, ...], Value]]

SYNC_BUCKET_SHIFT: Final = 5
"""The first bucket of `SyncTimes` counts flushes below 2^5 microseconds."""


def gather_measures(sources: Sources) -> Measures:
    """Return every number that is known now, by its name in the table."""
    facts = gather_facts(sources)
    return {
        **_position(facts, sources.replica),
        **_progress(sources.replica),
        **_members(facts, sources.replica),
        **_pool(facts, sources),
        **_machine(facts, sources),
        **_scrubbing(sources.scrubbing),
    }


def _position(facts: Facts, replica: Replica) -> dict[str, Samples]:
    found = diagnose(facts)
    heights = sorted((one.height for one in facts.others if one.height is not None), reverse=True)
    measures: dict[str, Samples] = {
        "diagnosis": [((found.code,), 1)],
        "well": _one(found.is_well),
        "height": _one(facts.height),
        "view": _one(facts.view),
        "epoch": _one(facts.epoch),
        "fenced": _one(facts.fence is not None),
        "view_changes_total": [
            ((reason.value,), count) for reason, count in replica.state.view_changes.items()
        ],
    }
    if len(heights) > facts.faults:
        measures["sync_height"] = _one(heights[facts.faults])
    return measures


def _progress(replica: Replica) -> dict[str, Samples]:
    timeline = replica.timeline
    return {
        "blocks_total": _one(timeline.blocks),
        "committed_transactions_total": _one(timeline.transactions),
        "commit_latency_seconds": [((), timeline.latency)],
        "phase_latency_seconds": [((phase,), held) for phase, held in timeline.phases.items()],
        "proposals_refused_total": _counted(timeline.refusals),
        "votes_missing_total": [
            ((name_of(replica, ReplicaId(index)),), count)
            for index, count in sorted(timeline.votes_missing.items())
        ],
    }


def _members(facts: Facts, replica: Replica) -> dict[str, Samples]:
    network = replica.network.statistics()
    states = Counter(one.link for one in facts.others)
    others_ms = others_offset_ms(replica)
    return {
        "peers": _counted(states),
        "peer_rtt_seconds": [
            ((one.name,), one.rtt_ms / 1_000) for one in facts.others if one.rtt_ms is not None
        ],
        "peer_heard_seconds": [
            ((one.name,), one.heard_ms / 1_000) for one in facts.others if one.heard_ms is not None
        ],
        "clock_offset_seconds": [
            ((one.name,), one.clock_offset_ms / 1_000)
            for one in facts.others
            if one.clock_offset_ms is not None
        ],
        "invalid_messages_total": list(_invalid(replica)),
        "own_clock_offset_seconds": [] if others_ms is None else _one(others_ms / 1_000),
        "over_allowance_total": [
            ((one.name,), replica.allowances[one.index].dropped)
            for one in facts.others
            if one.index in replica.allowances
        ],
        "complaints": _counted(
            Counter(one.reason.name.lower() for one in replica.state.complaints.values())
        ),
        "evidence_total": [
            ((name_of(replica, ReplicaId(index)),), count)
            for index, count in sorted(replica.reports.counts.items())
        ],
        "sent_bytes_total": _by_lane([one.bytes_out for one in network.peers]),
        "received_bytes_total": _by_lane([one.bytes_in for one in network.peers]),
        "connections_refused_total": _counted(Counter(network.refused)),
    }


def _invalid(replica: Replica) -> Iterator[tuple[tuple[str, ...], Value]]:
    """What members sent that no correct node sends; the words of a refused message are no label."""
    for link in replica.network.statistics().peers:
        name = name_of(replica, ReplicaId(link.peer_id))
        if replica.invalid[link.peer_id]:
            yield (name, "consensus.message"), replica.invalid[link.peer_id]
        for reason, count in sorted(link.invalid.items()):
            yield (name, reason), count


def _pool(facts: Facts, sources: Sources) -> dict[str, Samples]:
    counters, pool = sources.intake.pool.counters, facts.pool
    measures: dict[str, Samples] = {
        "pool_transactions": _one(pool.transactions),
        "pool_bytes": _one(pool.bytes_used),
        "pool_refused_total": [
            (("pool",), counters.refused_full),
            (("account",), counters.refused_account),
        ],
        "pool_expired_total": _one(counters.expired),
        "verify_queue": _one(sources.intake.verifier.queued_jobs),
    }
    if pool.oldest_ms is not None:
        measures["oldest_pending_seconds"] = _one(pool.oldest_ms / 1_000)
    return measures


def _machine(facts: Facts, sources: Sources) -> dict[str, Samples]:
    replica = sources.replica
    workers = [one.process.pid for one in sources.intake.verifier.workers]
    usage = usage_of([os.getpid(), *workers])
    return {
        "process_cpu_seconds_total": [] if usage is None else _one(usage.cpu_s),
        "process_resident_memory_bytes": [] if usage is None else _one(usage.resident_bytes),
        "loop_lag_seconds": _one(facts.lag_ms / 1_000),
        "loop_delay_seconds": [((), replica.timeline.probe.delays)],
        "loop_held_seconds": [((), replica.timeline.probe.held)],
        "blocks_damaged": _one(len(replica.mending.damaged)),
        "journal_fsync_seconds": [((), flushes(replica.votes.journal.sync_times))],
        "disk_free_bytes": [((one.part,), one.free_bytes) for one in facts.disks],
        "disk_bytes": [((disk.part,), disk.used_bytes()) for disk in sources.disks],
    }


def _scrubbing(scrubbing: Scrubbing) -> dict[str, Samples]:
    mending = scrubbing.mending
    waiting = {
        "blobs": len(scrubbing.lacking_blobs),
        "blocks": len(mending.damaged),
        "receipts": len(mending.damaged_receipts),
        "sidecars": len(scrubbing.lacking_sidecars),
    }
    return {
        "blobs_unavailable": _one(len(scrubbing.lacking_blobs)),
        "scrub_checked_total": _counted(scrubbing.checked),
        "scrub_damaged_total": _counted(scrubbing.found),
        "scrub_repaired_total": _counted(scrubbing.mended + mending.mended),
        "scrub_unrepaired": _counted(Counter(waiting)),
    }


def flushes(times: SyncTimes) -> Histogram:
    """Return the journal's own counts of its flushes as a histogram in seconds."""
    shifts = range(SYNC_BUCKET_SHIFT, SYNC_BUCKET_SHIFT + len(times.buckets) - 1)
    found = Histogram(bounds=tuple((1 << shift) / 1e6 for shift in shifts))
    found.counts, found.total = list(times.buckets), times.total_us / 1e6
    assert list(accumulate(found.counts))[-1:] == [times.count], "every flush is in a bucket"
    return found


def _by_lane(traffic: Sequence[Mapping[Lane, int]]) -> Samples:
    return [((lane.name.lower(),), sum(one[lane] for one in traffic)) for lane in Lane]


def _one(value: float) -> Samples:
    return [((), value)]


def _counted(counts: Counter[str]) -> Samples:
    return [((word,), count) for word, count in sorted(counts.items())]
