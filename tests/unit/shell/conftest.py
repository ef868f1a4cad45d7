"""What shell tests share: a chain that decides blocks, without a node around it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.sidecars import close_sidecars
from tests.unit.shell.live_chain import LiveChain, make_live_chain


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveChain]:
    live = make_live_chain(tmp_path)
    yield live
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()
