"""Whole blocks are open to anybody: who asks for them without end gets a share of the time."""

import asyncio
import time

import pytest

from api.context import ApiConfig
from api.limits import LimitsConfig
from api.ports import StoredBlock
from crypto.votes import Height
from tests.api.asking import running
from tests.api.ports_in_memory import MemoryNode

WORK_S = 0.004
ASKED = 8


async def test_large_blocks_are_read_one_at_a_time_with_a_rest_after_each(
    node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = MemoryNode.block

    def slow(self: MemoryNode, height: Height) -> StoredBlock | None:
        until_s = time.monotonic() + WORK_S
        while time.monotonic() < until_s:
            pass  # As reading and hashing thousands of transactions is.
        return read(self, height)

    monkeypatch.setattr(MemoryNode, "block", slow)
    limits = LimitsConfig(large_reads_share=0.25)
    async with running(node, ApiConfig(limits=limits)) as server:
        started_s = time.monotonic()
        answers = await asyncio.gather(
            *(server.ask("GET", "/v1/blocks/latest") for _ in range(ASKED))
        )
        took_s = time.monotonic() - started_s

    assert [one.status for one in answers] == [200] * ASKED
    assert took_s >= (ASKED - 1) * WORK_S * 4


async def test_one_client_does_not_hold_all_the_places_for_large_reads(node: MemoryNode) -> None:
    limits = LimitsConfig(large_reads_per_client_max=2, large_reads_share=0.01)
    async with running(node, ApiConfig(limits=limits)) as server:
        answers = await asyncio.gather(
            *(server.ask("GET", "/v1/blocks/latest") for _ in range(ASKED))
        )

    assert {one.status for one in answers} == {200, 503}
    assert {one.code for one in answers if one.status == 503} == {"limit.busy"}
