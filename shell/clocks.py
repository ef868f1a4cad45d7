"""What the others' clocks say about ours (rule 12): a block's time is a security input here.

A heartbeat carries its sender's clock. It was under way for about half of the link's round trip,
and that is the best that can be said about it. Of at least 2f + 1 offsets the median is one that
correct clocks bound, whatever f liars say; with fewer nothing is said about our own clock.
"""

import asyncio
import logging
import statistics
from collections.abc import Iterator
from typing import Final

from consensus.messages import Status
from p2p.statistics import PeerStatistics
from shell.replica import Replica

log = logging.getLogger("medledger.clocks")

HEARD_MS: Final = 10_000
"""Heartbeats older than this say nothing about a clock any more."""

LOOK_S: Final = 5.0


def offset_ms(status: Status, heard_ms: int, rtt_ms: float | None) -> int:
    """Return how far the sender's clock is ahead of ours; negative: behind."""
    return status.clock_ms + int((rtt_ms or 0) / 2) - heard_ms


def offset_of_peer_ms(replica: Replica, peer: PeerStatistics) -> int | None:
    """Return the offset of a peer's clock by its latest heartbeat; None: none was heard."""
    heard = replica.statuses.get(peer.peer_id)
    return None if heard is None else offset_ms(*heard, peer.rtt_ms)


def others_offset_ms(replica: Replica) -> int | None:
    """Return the median of the others' offsets: how far our own clock is behind theirs."""
    offsets = list(_recent_offsets(replica))
    if len(offsets) < max(1, 2 * replica.chain.quorum().f + 1):
        return None
    return int(statistics.median(offsets))


def is_alarming(replica: Replica) -> bool:
    """Whether our clock is off by more than half of what blocks may run ahead."""
    others_ms = others_offset_ms(replica)
    return others_ms is not None and abs(others_ms) > replica.chain.parameters().time_delta_ms // 2


async def keep_comparing(replica: Replica) -> None:
    """Log when our own clock goes wrong, and when it is right again."""
    was_alarming = False
    while True:
        await asyncio.sleep(LOOK_S)
        alarms = is_alarming(replica)
        if alarms != was_alarming:
            details = {"offset_ms": others_offset_ms(replica)}
            if alarms:
                log.error("our clock is off: set it, or others refuse our blocks", extra=details)
            else:
                log.info("our clock is right again", extra=details)
        was_alarming = alarms


def _recent_offsets(replica: Replica) -> Iterator[int]:
    now_ms = replica.clock.now_ms()
    for peer in replica.network.statistics().peers:
        heard = replica.statuses.get(peer.peer_id)
        if heard is None or peer.peer_id not in replica.state.members.order:
            continue
        if now_ms - heard[1] <= HEARD_MS:
            yield offset_ms(*heard, peer.rtt_ms)
