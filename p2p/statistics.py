"""What the network can say about itself: live counters, and the immutable picture of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from p2p.lanes import LANES, Lane


class PeerState(Enum):
    """How it stands with a peer."""

    CONNECTED = "connected"
    CONNECTING = "connecting"
    REFUSED = "refused"


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Counters of one peer over all its connections; lists are indexed by lane.

    `frames_dropped` counts what left a full or dead queue unsent, `unsent` what was meant for a
    peer that was not there, `invalid` what the peer did wrong, by reason.
    """

    bytes_in: list[int] = field(default_factory=lambda: [0] * len(LANES))
    bytes_out: list[int] = field(default_factory=lambda: [0] * len(LANES))
    frames_dropped: list[int] = field(default_factory=lambda: [0] * len(LANES))
    unsent: int = 0
    invalid: Counter[str] = field(default_factory=Counter)
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatistics:
    """One peer now.

    `since_ms` is the Unix time of the last change of state, `reason` why it is not connected, if
    known, `rtt_ms` the smoothed answer time of its heartbeats, None before the first. Bytes
    include frame headers but not TLS.
    """

    peer_id: int
    state: PeerState
    since_ms: int
    reason: str
    is_guest_there: bool
    rtt_ms: float | None
    bytes_in: Mapping[Lane, int]
    bytes_out: Mapping[Lane, int]
    bytes_queued: int
    frames_dropped: Mapping[Lane, int]
    frames_unsent: int
    invalid: Mapping[str, int]
    held_bytes: int
    reading_paused: bool
    reconnects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatistics:
    """The whole network now; `refused` counts connections turned away, by reason."""

    peers: tuple[PeerStatistics, ...]
    guests: int
    unauthenticated: int
    refused: Mapping[str, int]


def by_lane(counts: list[int]) -> Mapping[Lane, int]:
    return MappingProxyType(dict(zip(LANES, counts, strict=True)))


def by_reason(counts: Counter[str]) -> Mapping[str, int]:
    return MappingProxyType(dict(counts))
