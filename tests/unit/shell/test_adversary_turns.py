"""A peer, or strangers in any number, that ask for large things get a share of the node's time."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from p2p.errors import RequestRefused
from shell.turns import SHARE, Stream, Turns, in_turn, stream_in_turn

WORK_S = 0.004
ASKED = 12


async def toil(_peer_id: int, _body: bytes) -> bytes:
    """Be busy for a while, as reading and hashing a large block is."""
    until_s = time.monotonic() + WORK_S
    while time.monotonic() < until_s:
        pass
    return b"large"


@pytest.mark.parametrize(
    "askers", [[3] * ASKED, [-1 - number for number in range(ASKED)]], ids=["member", "strangers"]
)
async def test_who_asks_without_end_leaves_the_node_the_rest_of_its_time(
    askers: list[int],
) -> None:
    answer = in_turn(Turns(), toil)
    started_s = time.monotonic()

    replies = await asyncio.gather(*(answer(one, b"") for one in askers))

    assert replies == [b"large"] * ASKED
    assert time.monotonic() - started_s >= (ASKED - 1) * WORK_S / SHARE


async def test_a_member_does_not_wait_behind_strangers() -> None:
    answer, order = in_turn(Turns(), toil), []

    async def ask(peer_id: int) -> None:
        await answer(peer_id, b"")
        order.append(peer_id)

    await asyncio.gather(*(ask(-1 - number) for number in range(ASKED)), ask(2))

    assert 2 in order[:2]


async def test_strangers_that_come_and_go_leave_nothing_behind() -> None:
    turns = Turns()
    answer = in_turn(turns, toil)

    for number in range(3):
        await answer(-1 - number, b"")

    assert len(turns.of) == 1


async def leaves(_peer_id: int, _body: bytes) -> AsyncGenerator[bytes]:
    async def portions() -> AsyncGenerator[bytes]:
        for _ in range(ASKED):
            yield await toil(0, b"")

    return portions()


async def read(stream: Stream, peer_id: int) -> int:
    return len([portion async for portion in await stream(peer_id, b"")])


async def test_streams_of_one_reader_together_leave_the_node_the_rest_of_its_time() -> None:
    stream = stream_in_turn(Turns(), leaves)
    started_s = time.monotonic()

    counts = await asyncio.gather(read(stream, 3), read(stream, 3))

    assert sum(counts) == 2 * ASKED
    assert time.monotonic() - started_s >= (2 * ASKED - 1) * WORK_S / SHARE


async def test_a_reader_that_takes_nothing_holds_up_nobody() -> None:
    stream = stream_in_turn(Turns(), leaves)
    stalled = await stream(3, b"")
    await anext(stalled)

    count = await asyncio.wait_for(read(stream, 3), timeout=10)

    assert count == ASKED
    await stalled.aclose()


async def test_who_is_refused_has_used_its_turn_and_the_next_gets_his() -> None:
    async def refuse(_peer_id: int, _body: bytes) -> bytes:
        raise RequestRefused("not_here")

    turns = Turns()

    with pytest.raises(RequestRefused):
        await in_turn(turns, refuse)(-1, b"")

    assert await in_turn(turns, toil)(-2, b"") == b"large"
