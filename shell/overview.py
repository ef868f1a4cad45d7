"""Where a node stands, in words and numbers for its operator."""

from api.facts import HEARTBEATS_MISSED, WAIT_MIN_MS
from api.phrases import span
from consensus.state import height_of, primary_at
from crypto.evidence import Fault
from crypto.validators import ReplicaId
from ledger.nodes import get_node, get_nodes
from ledger.proposals import get_evidence
from p2p.lanes import Lane
from shell.allowance import Allowance
from shell.clocks import is_alarming, offset_of_peer_ms, others_offset_ms
from shell.replica import Replica


def consensus_overview(replica: Replica) -> dict[str, object]:
    """Return the replica's position, whose turn it is and what it has seen go wrong."""
    state = replica.state
    quorum = replica.chain.quorum()
    connected = len(replica.network.connected()) + 1
    network = replica.network.statistics()
    return {
        "height": int(replica.chain.tip.height),
        "agreeing_height": int(height_of(state)),
        "view": int(state.instance.view),
        "primary": int(primary_at(state, state.instance.view)),
        "epoch": int(replica.chain.next_epoch),
        "members": quorum.n,
        "quorum": quorum.strong,
        "tolerated_faults": quorum.f,
        "connected_members": connected,
        "more_failures_survivable": max(0, connected - quorum.strong),
        "view_changes": {one.value: count for one, count in state.view_changes.items()},
        "complaints": {
            str(signer): one.reason.name.lower() for signer, one in sorted(state.complaints.items())
        },
        "clock_offset_ms": others_offset_ms(replica),
        "clock_alarm": is_alarming(replica),
        "fenced": None if state.fence is None else state.fence.reason,
        "listening": state.listening is not None,
        "tip_time_ms": int(replica.chain.tip.time_ms),
        "pool_transactions": len(replica.proposals.pool),
        "pool_bytes": replica.proposals.pool.bytes_used,
        "ignored": dict(replica.ignored),
        "connections_refused": dict(network.refused),
        "connections_unproven": network.unauthenticated,
        "loop_lag_ms_max": replica.lag.ms_max,
        "journal_syncs": replica.votes.journal.sync_times.count,
        "journal_sync_us_max": replica.votes.journal.sync_times.max_us,
    }


def peers_overview(replica: Replica) -> list[dict[str, object]]:
    """Return one row for each other member: how the link is, and what it last said."""
    rows: list[dict[str, object]] = []
    for peer in replica.network.statistics().peers:
        heard = replica.statuses.get(peer.peer_id)
        member = replica.chain.next_set.member(ReplicaId(peer.peer_id))
        node = get_node(replica.chain.view(), peer.peer_id)
        rows.append(
            {
                "node": peer.peer_id,
                "organisation": None if member is None else member.org,
                "state": peer.state.value,
                "reason": peer.reason,
                "since_ms": peer.since_ms,
                "rtt_ms": peer.rtt_ms,
                "height": None if heard is None else int(heard[0].height) - 1,
                "view": None if heard is None else int(heard[0].view),
                "heard_ms": None if heard is None else heard[1],
                "silent": _silence(replica, peer.peer_id),
                "clock_offset_ms": offset_of_peer_ms(replica, peer),
                "evidence": 0 if node is None else int(node.evidence_count),
                "evidence_here": replica.reports.counts[peer.peer_id],
                "invalid_messages": replica.invalid[peer.peer_id] + sum(peer.invalid.values()),
                **_allowance_row(replica.allowances.get(peer.peer_id)),
                "bytes_in": sum(peer.bytes_in.values()),
                "bytes_out": sum(peer.bytes_out.values()),
                "consensus_frames_dropped": peer.frames_dropped[Lane.CONSENSUS],
                "reconnects": peer.reconnects,
            }
        )
    return rows


def evidence_overview(replica: Replica) -> list[dict[str, object]]:
    """Return the proven faults: those on the ledger, then those that only this node holds yet."""
    view = replica.chain.view()
    rows: list[dict[str, object]] = []
    recorded = set()
    for node in get_nodes(view):
        if not node.evidence_count:
            continue
        for one in get_evidence(view, node.index):
            fault = Fault(one.index, one.epoch, one.height, one.view, one.vote)
            recorded.add(fault)
            digests = [digest.hex() for digest in one.digests]
            rows.append(
                {
                    **_fault_row(fault, node.org, digests),
                    "recorded_height": int(one.reported_height),
                    "reported_by": one.by.hex(),
                    "tx_id": one.tx_id.hex(),
                }
            )
    for fault, known in replica.reports.by_fault.items():
        if fault not in recorded:
            pair = (known.evidence.first, known.evidence.second)
            member = get_node(view, fault.signer)
            org = "" if member is None else member.org
            rows.append(_fault_row(fault, org, [vote.digest.hex() for vote in pair]))
    return rows


def _fault_row(fault: Fault, org: str, digests: list[str]) -> dict[str, object]:
    return {
        "node": int(fault.signer),
        "organisation": org,
        "epoch": int(fault.epoch),
        "height": int(fault.height),
        "view": int(fault.view),
        "vote": fault.vote.name.lower(),
        "digests": digests,
        "recorded_height": None,
        "reported_by": None,
        "tx_id": None,
    }


def _allowance_row(allowance: Allowance | None) -> dict[str, object]:
    """Say what a peer's consensus messages have cost, and what was too much."""
    known = allowance or Allowance()
    return {
        "messages_taken": known.taken,
        "messages_over_allowance": known.dropped,
        "pauses": known.pauses,
        "work_ms": int(known.worked_us / 1_000),
    }


def _silence(replica: Replica, peer_id: int) -> str | None:
    """Say for how long a member has missed its heartbeats, None if it has not."""
    heard = replica.statuses.get(peer_id)
    if heard is None:
        return "never heard"
    silent_ms = replica.clock.now_ms() - heard[1]
    longest_ms = max(WAIT_MIN_MS, HEARTBEATS_MISSED * replica.state.config.status_ms)
    return span(silent_ms) if silent_ms > longest_ms else None
