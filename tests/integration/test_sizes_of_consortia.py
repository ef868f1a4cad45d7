"""Consortia of any size decide transactions; one without its quorum stops and never forks."""

import asyncio
import os
import signal

import pytest

from crypto.quorum import QuorumSystem
from ledger.accounts import Role
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    acting_after,
    ask,
    check_one_history,
    height_of,
    kill,
    pid_of,
    register,
    start_all,
    wait_height,
)

SIZES = [1, 4, 5, 6, 7, 10]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.timeout(300)
async def test_a_consortium_of_any_size_decides_transactions(
    make_consortium: MakeConsortium, count: int
) -> None:
    consortium = make_consortium(count)
    first, last = consortium.members[0], consortium.members[-1]

    await register(consortium, "ada", first.org, Role.DOCTOR)
    async with acting_after(consortium, "ada", last.org, consortium.registered_height) as ada:
        assert ada.node_index == count - 1

    await asyncio.to_thread(wait_height, consortium.members, consortium.registered_height + 1)
    check_one_history(consortium.members)
    overview = ask(last, "/v1/consensus")
    quorum = QuorumSystem(count)
    assert overview["members"] == count
    assert (overview["quorum"], overview["tolerated_faults"]) == (quorum.strong, quorum.f)


async def test_six_nodes_without_three_stop_and_go_on_together_when_they_are_back(
    make_consortium: MakeConsortium,
) -> None:
    consortium = make_consortium(6)
    left, right = consortium.members[:3], consortium.members[3:]
    paused = [pid_of(member) for member in right]
    for pid in paused:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(1)
        stood_at = [height_of(member) for member in left]
        await asyncio.sleep(4)
        assert [height_of(member) for member in left] == stood_at
    finally:
        for pid in paused:
            os.kill(pid, signal.SIGCONT)

    await asyncio.to_thread(wait_height, consortium.members, max(stood_at) + 2)
    check_one_history(consortium.members)
    kill(*left)
    await asyncio.sleep(0.5)  # What was on its way may still be decided.
    stood_at = [height_of(member) for member in right]
    await asyncio.sleep(3)
    assert [height_of(member) for member in right] == stood_at
    await asyncio.to_thread(start_all, consortium)
    await asyncio.to_thread(wait_height, consortium.members, max(stood_at) + 2)
    check_one_history(consortium.members)
