"""Where a node stands, in words and numbers for its operator."""

from consensus.state import height_of, primary_at
from crypto.validators import ReplicaId
from ledger.nodes import get_node
from p2p.lanes import Lane
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
        "fenced": None if state.fence is None else state.fence.reason,
        "tip_time_ms": int(replica.chain.tip.time_ms),
        "pool_transactions": len(replica.proposals.pool),
        "pool_bytes": replica.proposals.pool.bytes_used,
        "ignored": dict(replica.ignored),
        "connections_refused": dict(network.refused),
        "connections_unproven": network.unauthenticated,
        "loop_lag_ms_max": replica.lag_ms_max,
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
                "clock_offset_ms": None if heard is None else heard[0].clock_ms - heard[1],
                "evidence": 0 if node is None else int(node.evidence_count),
                "invalid_messages": replica.invalid[peer.peer_id] + sum(peer.invalid.values()),
                "bytes_in": sum(peer.bytes_in.values()),
                "bytes_out": sum(peer.bytes_out.values()),
                "consensus_frames_dropped": peer.frames_dropped[Lane.CONSENSUS],
                "reconnects": peer.reconnects,
            }
        )
    return rows
