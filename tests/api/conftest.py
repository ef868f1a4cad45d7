"""A server on loopback over a node in memory, for every test that asks for one."""

from collections.abc import AsyncIterator

import pytest

from tests.api.asking import Server, running
from tests.api.ports_in_memory import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
async def server(node: MemoryNode) -> AsyncIterator[Server]:
    async with running(node) as server:
        yield server
