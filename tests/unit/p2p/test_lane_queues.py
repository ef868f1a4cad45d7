from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from p2p.lanes import (
    DROPPABLE,
    LANES,
    Lane,
    LaneLimit,
    LaneQueues,
    drop_all,
    put_frame,
    take_frames,
)

SMALL = LaneLimit(bytes_max=100, frames_max=5)


def is_empty(queues: LaneQueues) -> bool:
    return not any(queues.frames)


def make_queues(changes: Mapping[Lane, LaneLimit] | None = None) -> LaneQueues:
    limits = dict.fromkeys(LANES, SMALL) | dict(changes or {})
    return LaneQueues(limits=tuple(limits[lane] for lane in LANES))


puts = st.lists(st.tuples(st.sampled_from(LANES), st.integers(0, 100)), max_size=60)


def test_the_most_urgent_lane_leaves_first_and_each_in_order() -> None:
    queues = make_queues()
    for lane in reversed(LANES):
        put_frame(queues, lane, b"first %d" % lane)
        put_frame(queues, lane, b"second %d" % lane)

    taken = take_frames(queues, 10_000)

    assert taken == [b"%s %d" % (word, lane) for lane in LANES for word in (b"first", b"second")]
    assert is_empty(queues)


def test_a_full_droppable_lane_drops_its_oldest_and_counts_them() -> None:
    queues = make_queues()

    for number in range(7):
        assert put_frame(queues, Lane.CONSENSUS, b"%d" % number)

    assert take_frames(queues, 1000) == [b"2", b"3", b"4", b"5", b"6"]
    assert queues.frames_dropped[Lane.CONSENSUS] == 2


def test_a_full_conversational_lane_refuses_and_keeps_what_it_has() -> None:
    queues = make_queues()
    put_frame(queues, Lane.BULK, bytes(60))

    is_queued = put_frame(queues, Lane.BULK, bytes(41))

    assert not is_queued
    assert take_frames(queues, 1000) == [bytes(60)]
    assert queues.frames_dropped[Lane.BULK] == 0


def test_a_portion_ends_before_what_does_not_fit_and_nothing_overtakes_it() -> None:
    queues = make_queues()
    put_frame(queues, Lane.CONSENSUS, bytes(50))
    put_frame(queues, Lane.SYNC, bytes(60))
    put_frame(queues, Lane.BULK, bytes(1))

    portions = [take_frames(queues, 100), take_frames(queues, 100)]

    assert portions == [[bytes(50)], [bytes(60), bytes(1)]]


def test_a_frame_larger_than_a_portion_leaves_alone() -> None:
    queues = make_queues()
    put_frame(queues, Lane.CONSENSUS, bytes(90))
    put_frame(queues, Lane.CONSENSUS, bytes(1))

    portions = [take_frames(queues, 10), take_frames(queues, 10)]

    assert portions == [[bytes(90)], [bytes(1)]]


@given(puts=puts)
def test_no_lane_ever_exceeds_its_limits(puts: list[tuple[Lane, int]]) -> None:
    queues = make_queues()

    for lane, size in puts:
        put_frame(queues, lane, bytes(size))

        assert len(queues.frames[lane]) <= SMALL.frames_max
        assert queues.bytes_queued[lane] <= SMALL.bytes_max
        assert queues.bytes_queued[lane] == sum(map(len, queues.frames[lane]))


@given(puts=puts, portion=st.integers(1, 150))
def test_every_frame_is_taken_or_dropped_or_refused(
    puts: list[tuple[Lane, int]], portion: int
) -> None:
    queues = make_queues()
    refused = sum(not put_frame(queues, lane, bytes(size)) for lane, size in puts)

    taken = 0
    while not is_empty(queues):
        frames = take_frames(queues, portion)
        taken += len(frames)
        assert frames
        assert len(frames) == 1 or sum(map(len, frames)) <= portion

    assert taken + sum(queues.frames_dropped) + refused == len(puts)
    assert not any(queues.bytes_queued)
    assert all(queues.frames_dropped[lane] == 0 for lane in LANES if lane not in DROPPABLE)


def test_an_ended_connection_counts_what_it_had_queued() -> None:
    queues = make_queues()
    put_frame(queues, Lane.SYNC, b"lost")

    drop_all(queues)

    assert is_empty(queues)
    assert queues.frames_dropped[Lane.SYNC] == 1
    assert not any(queues.bytes_queued)
