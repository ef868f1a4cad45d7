"""What a node says about its network: limits, times, the kinds of frames and the peers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from p2p.errors import InvalidPeerAddress
from p2p.frames import FIRST_KIND, HEADER_BYTES, KIND_COUNT, SHARED_BYTES_MAX
from p2p.lanes import DROPPABLE, LANES, Lane, LaneLimit
from p2p.streams import CHUNK_COST_BYTES

PIN_BYTES: Final = 32
HOST_CHARACTERS_MAX: Final = 253
WINDOW_BYTES_MIN: Final = 2 * (SHARED_BYTES_MAX + CHUNK_COST_BYTES)
"""A smaller window could not take two chunks of the largest size, and a stream would crawl."""

MEBIBYTE: Final = 1024 * 1024

LANE_LIMITS: Final[Mapping[Lane, LaneLimit]] = {
    Lane.CONTROL: LaneLimit(bytes_max=MEBIBYTE // 4, frames_max=4096),
    Lane.CONSENSUS: LaneLimit(bytes_max=16 * MEBIBYTE, frames_max=16384),
    Lane.SYNC: LaneLimit(bytes_max=MEBIBYTE, frames_max=1024),
    Lane.GOSSIP: LaneLimit(bytes_max=4 * MEBIBYTE, frames_max=16384),
    Lane.BULK: LaneLimit(bytes_max=MEBIBYTE // 4, frames_max=256),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """What a kind of frame may weigh (body bytes) and the lane it and its answers travel in.

    Kinds in CONSENSUS and GOSSIP are single messages; kinds in SYNC and BULK open a conversation.
    """

    bytes_max: int
    lane: Lane

    def __post_init__(self) -> None:
        assert self.lane is not Lane.CONTROL, "the control lane is the room's own"
        if self.lane is not Lane.CONSENSUS:
            assert self.bytes_max <= SHARED_BYTES_MAX, "consensus waits behind one small frame"

    @property
    def is_message(self) -> bool:
        return self.lane in DROPPABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """Where a member listens and the key it must show; raises `InvalidPeerAddress`.

    `peer_id` is the stable member index, `pin` the SHA-256 of its TLS key, `other_pin` a second
    key accepted while one replaces the other.
    """

    peer_id: int
    host: str
    port: int
    pin: bytes
    other_pin: bytes | None = None

    def __post_init__(self) -> None:
        if self.peer_id < 0:
            raise InvalidPeerAddress(f"member index {self.peer_id}")
        if not 1 <= self.port <= 65535:
            raise InvalidPeerAddress(f"port {self.port}")
        if not 1 <= len(self.host) <= HOST_CHARACTERS_MAX or not _is_plain(self.host):
            raise InvalidPeerAddress(f"host {self.host!r}")
        if any(len(pin) != PIN_BYTES for pin in self.pins):
            raise InvalidPeerAddress(f"a pin of member {self.peer_id} is not {PIN_BYTES} bytes")

    @property
    def pins(self) -> tuple[bytes, ...]:
        return (self.pin,) if self.other_pin is None else (self.pin, self.other_pin)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Everything about the network that is not a peer.

    `port` 0 takes any free one. Times are milliseconds, sizes bytes. A link reads `receive_bytes`
    at a time, and `socket_receive_bytes` (0 = the system's choice) may wait in the kernel: a peer
    far away gets about twice as many per round trip. Per peer at most `requests_max` conversations
    a lane run in each direction, and as many more wait their turn. `held_bytes_max` is how much of
    a peer's input the node may keep before that peer is read no further. `penalty_ms` is for how
    long a peer that broke the rules is not talked to. `sources_max` bounds unauthenticated
    connections of one address, `strangers_max` those of all addresses that no known peer uses,
    `handshakes_per_second` how many of these may begin. `guests_max` strangers are served at once;
    one of them that has had `guest_stay_ms` makes room for the next.
    """

    host: str
    port: int
    kinds: Mapping[int, KindRule]
    lane_limits: Mapping[Lane, LaneLimit] = field(default_factory=lambda: LANE_LIMITS)
    heartbeat_ms: int = 1_000
    idle_timeout_ms: int = 5_000
    write_stall_timeout_ms: int = 30_000
    stream_stall_timeout_ms: int = 30_000
    handshake_timeout_ms: int = 5_000
    shutdown_timeout_ms: int = 1_000
    backoff_min_ms: int = 50
    backoff_max_ms: int = 1_000
    penalty_ms: int = 1_000
    requests_max: int = 16
    reply_bytes_max: int = 8 * MEBIBYTE
    window_bytes: int = MEBIBYTE
    held_bytes_max: int = 16 * MEBIBYTE
    receive_bytes: int = 64 * 1024
    socket_receive_bytes: int = 256 * 1024
    strangers_max: int = 64
    sources_max: int = 16
    handshakes_per_second: int = 50
    guests_max: int = 8
    guest_stay_ms: int = 10_000
    certificate_lifetime_s: int = 7 * 24 * 3600

    def __post_init__(self) -> None:
        assert set(self.lane_limits) == set(LANES), "every lane has a limit"
        assert self.window_bytes >= WINDOW_BYTES_MIN, "a window takes two whole chunks"
        assert self.window_bytes < 2**31, "a grant has 32 bits"
        assert self.idle_timeout_ms >= 2 * self.heartbeat_ms, "one late heartbeat is no death"
        for kind, rule in self.kinds.items():
            assert FIRST_KIND <= kind < KIND_COUNT, "kinds below FIRST_KIND are the room's own"
            room = self.lane_limits[rule.lane].bytes_max
            assert rule.bytes_max + HEADER_BYTES <= room, "a lane holds any frame it carries"
        for lane in LANES:
            room = self.lane_limits[lane].bytes_max
            assert room >= SHARED_BYTES_MAX + HEADER_BYTES, "a lane holds any frame it carries"


def _is_plain(host: str) -> bool:
    return host.isascii() and host.isprintable() and " " not in host
