"""The heartbeat of one connection: when silence or deafness has lasted too long.

It counts beats and reads no clock: a loop that was busy for long blames itself for one beat only,
not the peer for the whole time.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

_NUMBER: Final = Struct(">Q")
_RTT_WEIGHT: Final = 0.125  # RFC 6298 §2


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """Beats since the peer was heard and since it last took a byte, and the round trips measured.

    `idle_beats` and `stall_beats` are how many of either a link survives. `sent_at` (seconds) is
    when the latest ping left, None once it is answered; `rtt_ms` is smoothed, None before the
    first answer.
    """

    idle_beats: int
    stall_beats: int
    quiet: int = 0
    stalled: int = 0
    pings: int = 0
    sent_at: float | None = None
    rtt_ms: float | None = None


def beat(heartbeat: Heartbeat, *, is_listening: bool, is_blocked: bool) -> str | None:
    """Count one beat; return why the link must end, if it must.

    Silence counts only while we listen; `is_blocked` says that the peer takes nothing.
    """
    heartbeat.quiet = heartbeat.quiet + 1 if is_listening else 0
    heartbeat.stalled = heartbeat.stalled + 1 if is_blocked else 0
    if heartbeat.quiet > heartbeat.idle_beats:
        return "idle"
    if heartbeat.stalled > heartbeat.stall_beats:
        return "write_stalled"
    return None


def make_ping(heartbeat: Heartbeat, now: float) -> bytes:
    heartbeat.pings += 1
    heartbeat.sent_at = now
    return _NUMBER.pack(heartbeat.pings)


def on_pong(heartbeat: Heartbeat, body: bytes, now: float) -> None:
    """Take the answer to the latest ping as a measurement; any other says nothing."""
    if heartbeat.sent_at is None or body != _NUMBER.pack(heartbeat.pings):
        return
    sample = (now - heartbeat.sent_at) * 1000
    heartbeat.sent_at = None
    known = sample if heartbeat.rtt_ms is None else heartbeat.rtt_ms
    heartbeat.rtt_ms = known + _RTT_WEIGHT * (sample - known)
