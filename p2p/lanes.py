"""Lanes: the outgoing queues of one connection, and the order in which they are emptied.

Priority is strict and works between frames: the next frame to leave is the oldest of the first
lane that has one. Every lane is bounded in bytes and frames. A droppable lane makes room by
dropping its oldest frames, since what it carries is repeated by the protocol above and the newest
word is the best; the others refuse, and the sender waits.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class Lane(IntEnum):
    """What a frame is for, most urgent first."""

    CONTROL = 0  # the room's own heartbeats, grants and farewells
    CONSENSUS = 1
    SYNC = 2
    GOSSIP = 3
    BULK = 4


LANES: Final = tuple(Lane)
DROPPABLE: Final = frozenset({Lane.CONSENSUS, Lane.GOSSIP})
"""Lanes of single messages that their protocol sends again; the others carry conversations."""

CONVERSATIONAL: Final = (Lane.SYNC, Lane.BULK)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimit:
    """The most that may wait in one lane of one connection."""

    bytes_max: int
    frames_max: int


@dataclass(slots=True, kw_only=True)
class LaneQueues:
    """Frames waiting to be written on one connection; every tuple and list is indexed by lane.

    `bytes_taken` and `frames_dropped` only count up and may be shared by successive connections.
    """

    limits: tuple[LaneLimit, ...]
    frames: tuple[deque[bytes], ...] = field(default_factory=lambda: tuple(deque() for _ in LANES))
    bytes_queued: list[int] = field(default_factory=lambda: [0] * len(LANES))
    bytes_taken: list[int] = field(default_factory=lambda: [0] * len(LANES))
    frames_dropped: list[int] = field(default_factory=lambda: [0] * len(LANES))


def put_frame(queues: LaneQueues, lane: Lane, frame: bytes) -> bool:
    """Queue a frame; return False when its lane is full and may not drop (ask again later)."""
    frames = queues.frames[lane]
    limit = queues.limits[lane]
    size = len(frame)
    assert size <= limit.bytes_max, "a lane holds at least one frame of any kind it carries"
    if queues.bytes_queued[lane] + size > limit.bytes_max or len(frames) >= limit.frames_max:
        if lane not in DROPPABLE:
            return False
        _make_room(queues, lane, size)
    frames.append(frame)
    queues.bytes_queued[lane] += size
    return True


def take_frames(queues: LaneQueues, bytes_max: int) -> list[bytes]:
    """Remove and return the next frames: at least one if any waits, then what fits `bytes_max`.

    A frame that does not fit ends the portion: nothing overtakes it.
    """
    taken: list[bytes] = []
    room = bytes_max
    for lane in LANES:
        frames = queues.frames[lane]
        if not frames:
            continue
        room_before = room
        while frames and (not taken or len(frames[0]) <= room):
            frame = frames.popleft()
            taken.append(frame)
            room -= len(frame)
        queues.bytes_queued[lane] -= room_before - room
        queues.bytes_taken[lane] += room_before - room
        if frames:
            break
    return taken


def has_room(queues: LaneQueues, lane: Lane, size: int) -> bool:
    """Whether a frame of `size` bytes would be taken without dropping another."""
    limit = queues.limits[lane]
    return (
        queues.bytes_queued[lane] + size <= limit.bytes_max
        and len(queues.frames[lane]) < limit.frames_max
    )


def drop_all(queues: LaneQueues) -> None:
    """Empty every lane of a connection that has ended, counting what is lost."""
    for lane in LANES:
        queues.frames_dropped[lane] += len(queues.frames[lane])
        queues.frames[lane].clear()
        queues.bytes_queued[lane] = 0


def _make_room(queues: LaneQueues, lane: Lane, size: int) -> None:
    frames = queues.frames[lane]
    limit = queues.limits[lane]
    while frames and not has_room(queues, lane, size):
        queues.bytes_queued[lane] -= len(frames.popleft())
        queues.frames_dropped[lane] += 1
    assert limit.frames_max > 0, "a lane holds at least one frame"
