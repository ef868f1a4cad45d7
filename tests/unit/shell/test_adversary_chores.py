"""One failure of the disk, or one damaged row, does not end what keeps a node healthy."""

import asyncio

import pytest

from p2p.errors import PeerUnreachable
from shell.chores import keep_doing
from storage.errors import DiskFailed


@pytest.mark.parametrize(
    "fault", [DiskFailed("no sweeping today"), KeyError("a mistake"), PeerUnreachable("gone")]
)
async def test_a_chore_that_is_broken_off_is_told_and_begun_again(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    begun = 0

    async def sweep() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise fault

    async with asyncio.timeout(20):
        await keep_doing("sweeping", sweep, again_s=0.0)

    assert begun == 3
    told = [one for one in caplog.records if one.message == "a chore was broken off"]
    assert [one.__dict__["chore"] for one in told] == ["sweeping"] * 2


async def test_a_chore_ends_with_the_node() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    chore = asyncio.create_task(keep_doing("waiting", wait))
    await asyncio.sleep(0)

    chore.cancel()
    (ended,) = await asyncio.gather(chore, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
