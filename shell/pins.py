"""The pin: one root of the state that is kept provable while a peer takes a snapshot of it.

How far back a pin reaches is bounded by heights (`storage.world`). Here is who has it: it is let go
without progress, and at the end of its turn in any case, and who has had a turn waits for as long
as that was, so that others get theirs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from crypto.hashing import Digest
from storage.world import World

IDLE_S: Final = 60.0
"""So long a pin stays without a chunk further on; one that is asked for again is none."""

TURN_S: Final = 1_800.0
"""So long one pin lasts at the most, whoever shares it."""

NEIGHBOURS: Final = 2
"""So many heights below its own a snapshot needs entries of: they are one pin."""


@dataclass(slots=True, kw_only=True)
class Pins:
    """Who takes a snapshot of `world.pinned`, and up to which keys, by their first byte.

    `since_s` is when the pin began, `until_s` when it ends without progress; before its `rests_s` a
    peer gets no other one. Times are those of `clock_s`.
    """

    world: World
    clock_s: Callable[[], float] = time.monotonic
    holders: dict[int, dict[int, Digest]] = field(default_factory=dict)
    since_s: float = 0.0
    until_s: float = 0.0
    rests_s: dict[int, float] = field(default_factory=dict)


def pin(pins: Pins, peer_id: int, height: int, start: Digest | None) -> None:
    """Keep a provable root for a peer, if it is its turn; it asks for a chunk from `start` on.

    None is what stands beside a snapshot, and no progress with it.
    """
    world, now_s = pins.world, pins.clock_s()
    release_pin(pins)
    if world.pinned is None:
        if now_s < pins.rests_s.get(peer_id, 0.0):
            return
        world.pinned, pins.since_s, pins.until_s = height, now_s, now_s + IDLE_S
        pins.holders = {peer_id: {}}
    is_near = world.pinned - NEIGHBOURS <= height <= world.pinned + NEIGHBOURS
    is_alone = tuple(pins.holders) == (peer_id,)
    if not is_near and not is_alone:
        return  # Others are at their snapshot; this one has the plain time.
    if is_alone and height < world.pinned:
        world.pinned = height
    elif not is_near:
        world.pinned, pins.holders = height, {peer_id: {}}  # It has begun anew, in the same turn.
    reached = pins.holders.setdefault(peer_id, {})
    if start is not None and start > reached.get(start[0], b""):
        reached[start[0]], pins.until_s = start, now_s + IDLE_S


def release_pin(pins: Pins) -> None:
    """Let go of a root whose turn is over; who had it waits for as long as it was kept."""
    world, now_s = pins.world, pins.clock_s()
    if world.pinned is None:
        return
    ends_s = min(pins.until_s, pins.since_s + TURN_S)
    if now_s < ends_s and world.pinned >= world.oldest_provable:
        return
    world.pinned = None
    pins.rests_s = {peer_id: at_s for peer_id, at_s in pins.rests_s.items() if at_s > now_s}
    until_s = now_s + min(now_s, ends_s) - pins.since_s
    pins.rests_s.update(dict.fromkeys(pins.holders, until_s))
    pins.holders = {}
