"""Attack 13 on real nodes: a member signs two votes for one slot, and the ledger names it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.scene.local import Member, passphrase_path
from tests.conftest import REPOSITORY
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    Consortium,
    ask,
    check_one_history,
    height_of,
    start_one,
    stop_one,
    wait_height,
    wait_until,
)

pytestmark = pytest.mark.timeout(240)

LIAR = 0


async def test_an_equivocating_primary_is_named_on_the_ledger_once_for_each_slot(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4)
    liar, *correct = four.members
    stop_one(liar)

    with lying(four, liar):
        await asyncio.to_thread(
            wait_until, lambda: all(recorded(one) for one in correct), "every node has it recorded"
        )
    start_one(four, liar)
    await asyncio.to_thread(wait_height, four.members, height_of(correct[0]) + 3)

    check_one_history(four.members)
    slots = Counter(slot_of(row) for row in recorded(correct[0]))
    assert {node for node, *_ in slots} == {LIAR}, "nobody else is accused"
    assert set(slots.values()) == {1}
    (row,) = [one for one in ask(correct[1], "/v1/peers")["peers"] if one["node"] == LIAR]
    assert row["evidence"] == len(recorded(correct[1]))
    reporters = {one["reported_by"] for one in recorded(correct[0])}
    assert reporters, "nodes report by themselves"


def recorded(member: Member) -> list[dict[str, Any]]:
    rows = ask(member, "/v1/evidence")["evidence"]
    return [row for row in rows if row["recorded_height"] is not None]


def slot_of(row: dict[str, Any]) -> tuple[int, int, int, int, str]:
    return row["node"], row["epoch"], row["height"], row["view"], row["vote"]


@contextmanager
def lying(consortium: Consortium, member: Member) -> Iterator[None]:
    """Run a member's node as one that equivocates."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scene.lying_node",
        str(member.directory),
        "--passphrase-file",
        str(passphrase_path(consortium.directory)),
        "--seed",
        "5",
    ]
    with (
        member.log_file.open("ab") as log,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(30)
