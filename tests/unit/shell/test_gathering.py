"""Work in turns: what comes together is done together, and everybody gets the own results."""

import asyncio
from collections.abc import Sequence

import pytest

from shell.gathering import TURN_MS, Gathering, take_part, wait_done


class Counter:
    """Work that takes as long as it is told to, and remembers its turns."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def work(self, items: Sequence[int]) -> list[int]:
        self.turns.append(list(items))
        await self.may_go.wait()
        if 13 in items:
            raise ValueError("thirteen")
        return [-item for item in items]


def gathering_of(counter: Counter, items_max: int = 100) -> Gathering[int, int]:
    return Gathering(work=counter.work, items_max=items_max)


async def test_what_comes_to_an_idle_node_is_taken_at_once() -> None:
    counter = Counter()
    started_s = asyncio.get_running_loop().time()

    results = await take_part(gathering_of(counter), [1, 2])

    assert results == [-1, -2]
    assert asyncio.get_running_loop().time() - started_s < TURN_MS / 1000


async def test_what_comes_during_a_turn_is_done_together_in_the_next() -> None:
    counter = Counter()
    gathering = gathering_of(counter)
    counter.may_go.clear()
    first = asyncio.create_task(take_part(gathering, [1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(take_part(gathering, [item, item + 1])) for item in (2, 4, 6)]
    await asyncio.sleep(0)

    counter.may_go.set()
    results = await asyncio.gather(first, *others)

    assert results == [[-1], [-2, -3], [-4, -5], [-6, -7]]
    assert counter.turns == [[1], [2, 3, 4, 5, 6, 7]]


async def test_a_turn_takes_whole_portions_up_to_its_bound() -> None:
    counter = Counter()
    gathering = gathering_of(counter, items_max=3)

    await asyncio.gather(*(take_part(gathering, [n] * n) for n in (2, 1, 4, 1, 1)))

    assert counter.turns == [[2, 2, 1], [4, 4, 4, 4], [1, 1]]
    assert gathering.task is None


async def test_whoever_goes_away_takes_nothing_from_the_others() -> None:
    counter = Counter()
    gathering = gathering_of(counter)
    counter.may_go.clear()
    gone, stays = (asyncio.create_task(take_part(gathering, [item])) for item in (1, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()

    counter.may_go.set()

    assert await stays == [-2]
    assert gone.cancelled()


async def test_what_the_work_raises_is_raised_to_those_of_that_turn_only() -> None:
    counter = Counter()
    gathering = gathering_of(counter)

    failed = await asyncio.gather(
        take_part(gathering, [13]), take_part(gathering, [1]), return_exceptions=True
    )
    later = await take_part(gathering, [3])

    assert [str(one) for one in failed] == ["thirteen", "thirteen"]
    assert later == [-3]


async def test_turns_that_are_broken_off_leave_nobody_waiting() -> None:
    counter = Counter()
    gathering = gathering_of(counter, items_max=1)
    counter.may_go.clear()
    waiting = [asyncio.create_task(take_part(gathering, [item])) for item in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gathering.task is not None

    gathering.task.cancel()

    for one in waiting:
        with pytest.raises(asyncio.CancelledError):
            await one


async def test_whoever_waits_for_the_turns_sees_done_what_came_before() -> None:
    counter = Counter()
    gathering = gathering_of(counter, items_max=1)
    earlier = [asyncio.create_task(take_part(gathering, [item])) for item in (1, 2)]
    await asyncio.sleep(0)

    await wait_done(gathering, 10_000)

    assert all(one.done() for one in earlier)
    assert [turn for turn in counter.turns if turn] == [[1], [2]]


async def test_waiting_for_turns_has_an_end_and_breaks_nothing_off() -> None:
    counter = Counter()
    gathering = gathering_of(counter)
    counter.may_go.clear()
    slow = asyncio.create_task(take_part(gathering, [1]))
    await asyncio.sleep(0)

    await wait_done(gathering, 1)
    assert not slow.done()
    counter.may_go.set()

    assert await slow == [-1]


async def test_what_a_turn_raises_is_not_raised_to_whoever_only_waits_for_it() -> None:
    """A proposal's check waits for turns: what a client brought must not end the node there."""
    counter = Counter()
    gathering = gathering_of(counter)
    failing = asyncio.create_task(take_part(gathering, [13]))
    await asyncio.sleep(0)

    await wait_done(gathering, 10_000)

    assert isinstance((await asyncio.gather(failing, return_exceptions=True))[0], ValueError)


async def test_turns_that_are_broken_off_do_not_break_off_whoever_waits_for_them() -> None:
    counter = Counter()
    gathering = gathering_of(counter, items_max=1)
    counter.may_go.clear()
    first = asyncio.create_task(take_part(gathering, [1]))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(wait_done(gathering, 10_000))
    await asyncio.sleep(0)
    assert gathering.task is not None

    gathering.task.cancel()

    await waiting
    assert first.cancelled()


async def test_nobody_waits_where_nothing_is_under_way() -> None:
    counter = Counter()

    await wait_done(gathering_of(counter), 10_000)

    assert counter.turns == []
