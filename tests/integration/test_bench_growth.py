"""What a chain costs, measured on a small one: every measurement of `bench growth chain` runs."""

from pathlib import Path

import pytest

from benchmarks.growth.chains import measure_chain
from benchmarks.growth.making import Growth
from benchmarks.scene.local import quiet

pytestmark = pytest.mark.timeout(180)

BLOCKS = 150


def test_a_chain_is_made_restarted_caught_up_with_and_pruned(tmp_path: Path) -> None:
    growth = Growth(blocks=BLOCKS, grants=2)

    rows = measure_chain(tmp_path / "chain", growth, restarts=1, tell=quiet)

    made, restart, caught_up, snapshot, pruned = rows
    assert (made["what"], made["height"]) == ("made", BLOCKS)
    assert made["transactions"] > 2 * (BLOCKS - 5)
    assert restart["height"] >= BLOCKS
    assert restart["ready_s"] >= restart["answers_s"] > 0
    assert caught_up["what"] == "catch-up by blocks"
    assert 0 < caught_up["blocks"] <= BLOCKS
    assert (snapshot["what"], pruned["what"]) == ("snapshot", "prune")
    assert snapshot["leaves_taken"] >= made["state_keys"]
    assert pruned["blocks"] == 0, "a node needs all blocks of a chain as short as this"
