"""Node after node is killed while transactions flow, for a minute and more."""

import asyncio
import random

import pytest

from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    is_up,
    kill,
    log_of,
    start_all,
    start_one,
    wait_height,
)
from tests.integration.load import (
    check_nothing_lost,
    register_lanes,
    running_load,
    wait_acknowledged,
)

KILLS = 30


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1])
async def test_thirty_kills_in_a_row_lose_nothing_and_repeat_nothing(
    four: Consortium, seed: int
) -> None:
    randomness = random.Random(seed)
    await register_lanes(four, HOSPITALS[0])

    async with running_load(four, HOSPITALS) as load:
        for _ in range(KILLS):
            victims = randomness.sample(four.members, randomness.choice((1, 1, 1, 2, 4)))
            kill(*victims)
            await asyncio.sleep(randomness.random())
            for member in victims:
                start_one(four, member)
            await asyncio.sleep(randomness.random() * 3)
            assert all(is_up(member) for member in four.members)
        await asyncio.to_thread(start_all, four)
        await wait_acknowledged(load, 20)

    wait_height(four.members, max(height_of(member) for member in four.members))
    check_one_history(four.members)
    check_nothing_lost(four, load)
    for member in four.members:
        assert "Traceback" not in log_of(member)
        assert ask(member, "/v1/consensus")["fenced"] is None
