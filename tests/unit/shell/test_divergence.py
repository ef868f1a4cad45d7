"""Attack 16: a node that computed another state than was decided stops, with what to compare."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.effects import Decide
from crypto.hashing import Digest
from crypto.schema import decode, encode
from ledger import transition
from ledger.blocks import Header, header_digest
from ledger.contract import Context
from ledger.identity_payloads import Suspend
from shell import replica as replica_shell
from shell.divergence import StateDiverged, leave_report
from shell.execution import execute
from storage.layout import NodeLayout
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain
from tests.unit.shell.one_of_four import running_one

OTHER_ROOT = Digest(b"\x5a" * 32)


def with_header(decision: Decide, **changes: Any) -> Decide:
    header = replace(decode(Header, decision.block.header), **changes)
    block = replace(decision.block, header=encode(header), digest=header_digest(header))
    return replace(decision, block=block)


async def suspend_doctor(live: LiveChain) -> None:
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    receipt = await live.submit("identity.suspend", payload, "first admin of north")
    assert receipt.accepted


async def diverge(live: LiveChain, **changes: Any) -> StateDiverged:
    """Let a block be decided that states something else of its parent than this node computed."""
    decision = with_header(live.decision(), **changes)
    with pytest.raises(StateDiverged) as stopped:
        await execute(live.chain, live.proposals, live.sidecars, decision)
    return stopped.value


@pytest.mark.parametrize("root", ["state_root", "receipts_root"])
async def test_a_decided_block_with_another_root_is_not_executed(
    live: LiveChain, root: str
) -> None:
    await suspend_doctor(live)
    tip = live.chain.tip

    stopped = await diverge(live, **{root: OTHER_ROOT})

    assert live.chain.tip == tip
    assert (stopped.code, OTHER_ROOT.hex() in str(stopped)) == ("state.diverged", True)


async def test_the_report_says_what_the_disputed_block_wrote(live: LiveChain) -> None:
    await suspend_doctor(live)

    report = (await diverge(live, state_root=OTHER_ROOT)).report

    tip = live.chain.tip
    assert report["height"] == tip.height == 1
    assert report["roots"]["state"] == {
        "decided": OTHER_ROOT.hex(),
        "computed": tip.state_root.hex(),
    }
    assert report["roots"]["receipts"]["decided"] == tip.receipts_root.hex()
    assert [row["code"] for row in report["receipts"]] == ["ok"]
    assert len(report["block"]["transactions"]) == 1
    assert report["second_execution"] == "same"
    written = {bytes.fromhex(row["key"]): row for row in report["writes"]}
    assert any(key.endswith(account_of(DOCTOR)) for key in written), (
        "the suspended account is among what was written"
    )
    for key, row in written.items():
        value = live.chain.view().get(key)
        assert row["stored"] == row["again"] == (None if value is None else value.hex())


async def test_a_second_execution_that_differs_is_told(
    live: LiveChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = transition._execute, iter(range(9))

    def execute_oddly(context: Context) -> None:
        real(context)
        context.state.put(b"test/run", b"%d" % next(runs))

    monkeypatch.setattr(transition, "_execute", execute_oddly)
    await suspend_doctor(live)

    report = (await diverge(live, state_root=OTHER_ROOT)).report

    odd = [row for row in report["writes"] if row["stored"] != row["again"]]
    assert report["second_execution"] == "different"
    assert [row["name"] for row in odd] == ["test/run"]


async def test_the_first_report_of_a_height_stays(live: LiveChain, tmp_path: Path) -> None:
    await suspend_doctor(live)
    stopped, layout = await diverge(live, state_root=OTHER_ROOT), NodeLayout(tmp_path)
    leave_report(layout, stopped)
    live.chain.stored.world.certified = None  # As after a start.

    again = await diverge(live, state_root=OTHER_ROOT)
    leave_report(layout, again)
    leave_report(layout, OSError("something else"))

    assert again.report["second_execution"] == "not possible after a start"
    assert json.loads(layout.diverged(1).read_text(encoding="utf-8")) == stopped.report
    assert [name for name in os.listdir(tmp_path) if "diverged" in name] == ["diverged-1.json"]


async def test_a_node_stops_and_leaves_its_report(live: LiveChain, tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        decision = with_header(live.decision(), state_root=OTHER_ROOT)

        replica_shell._perform(one.node.replica, decision)
        async with asyncio.timeout(20):
            await one.node.stopping.wait()

        assert isinstance(one.node.failure, StateDiverged)
        assert one.node.replica.is_stopped
        report = json.loads((tmp_path / "node" / "diverged-0.json").read_text(encoding="utf-8"))
        assert report["roots"]["state"]["decided"] == OTHER_ROOT.hex()
        one.node.failure = None  # Else the node ends with it, as it should.
