"""A node that comes when the others have pruned takes a snapshot, under load, from liars too."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from commands.devnet import Member, passphrase_path
from commands.prune import directory_bytes
from config import Pruning, dump_config, load_config
from ledger.governance_payloads import AddValidator
from ledger.parameters import Parameters
from storage.database import open_database
from storage.layout import NodeLayout, check_layout
from tests.integration.commands import run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    kill,
    log_of,
    log_tail,
    status_of,
    stop_all,
    wait_height,
    wait_until_async,
)
from tests.integration.governing import (
    claim_of,
    decide_change,
    join,
    wait_members,
    write_invite,
)
from tests.integration.load import export_one, register_lanes, running_load, wait_acknowledged

PRUNED_WITHIN_S = 240.0
JOINED_WITHIN_S = 120.0


def start_hurried(consortium: Consortium, member: Member, *words: str) -> None:
    """Start a node for which little time is long."""
    module = "tests.integration.hurried_node"
    command = [sys.executable, "-m", module, str(member.directory), *words]
    command += ["--passphrase-file", str(passphrase_path(consortium.directory).resolve())]
    with member.log_file.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    member.pid_file.write_text(f"{process.pid}\n", encoding="ascii")


def keep_little(member: Member) -> None:
    """Let a node prune all it may."""
    file = member.directory / "node.toml"
    config = load_config(file)
    limits = replace(config.limits, proof_heights=100)
    file.write_text(dump_config(replace(config, limits=limits, pruning=Pruning(keep_blocks=1))))


def layout_of(member: Member) -> NodeLayout:
    return NodeLayout(member.directory)


def has_pruned(members: Sequence[Member]) -> bool:
    return all(status_of(member, "/v1/blocks/1") == 404 for member in members)


@pytest.mark.timeout(600)
async def test_a_new_node_joins_by_snapshot_under_load_though_one_peer_lies_and_it_is_killed(
    make_consortium: MakeConsortium,
) -> None:
    consortium = make_consortium(4, parameters=Parameters(idle_block_ms=100), is_started=False)
    members = consortium.members
    liar, *others = founders = tuple(members)
    for member in founders:
        keep_little(member)
    start_hurried(consortium, liar, "--lying")
    for member in others:
        start_hurried(consortium, member)
    await asyncio.to_thread(wait_height, founders, 2)
    await register_lanes(consortium, HOSPITALS[1])

    async with running_load(consortium, HOSPITALS[1:]) as load:
        await wait_acknowledged(load, 12)
        early, file = await asyncio.to_thread(
            export_one, consortium, list(load.acknowledged), through=HOSPITALS[1]
        )
        await wait_until_async(
            lambda: has_pruned(founders),
            lambda: f"all prune; {[height_of(one) for one in founders]}",
            timeout_s=PRUNED_WITHIN_S,
        )
        invite = await asyncio.to_thread(write_invite, consortium, through=HOSPITALS[1])
        joiner = await asyncio.to_thread(join, consortium, invite, "newcomer", HOSPITALS[1])
        keep_little(joiner)
        members.append(joiner)
        start_hurried(consortium, joiner)
        await decide_change(consortium, AddValidator(node=claim_of(joiner)), HOSPITALS[1])
        await wait_until_async(
            layout_of(joiner).arriving.is_dir,
            lambda: f"a snapshot is under way; {log_tail(joiner)}",
            timeout_s=JOINED_WITHIN_S,
        )
        kill(joiner)
        assert not layout_of(joiner).arrived.exists(), "it was killed before it had everything"
        start_hurried(consortium, joiner)
        goal = height_of(others[0])
        await asyncio.to_thread(wait_height, [joiner], goal, timeout_s=JOINED_WITHIN_S)
        await wait_members([*founders, joiner], 5)
        await wait_acknowledged(load, 5)

    told = log_of(joiner)
    assert "a snapshot has taken the ledger's place" in told
    assert '"wrong": true' in told
    assert status_of(joiner, "/v1/blocks/1") == 404
    check_one_history(members)
    kill(others[1])  # Now nothing is decided without the one that joined.
    alive = [liar, others[0], others[2], joiner]
    goal = max(height_of(member) for member in alive) + 3
    await asyncio.to_thread(wait_height, alive, goal)
    verified = run("verify", file, "--genesis", consortium.genesis)
    assert ask(others[0], f"/v1/transactions/{early.hex()}")["state"] == "PRUNED"
    assert verified.returncode == 0, verified.stderr
    for tx_id, (height, _) in load.acknowledged.items():
        state = ask(others[0], f"/v1/transactions/{tx_id.hex()}")["state"]
        assert state in ("COMMITTED", "PRUNED"), (height, state)
    stop_all(consortium)
    for member in (others[0], joiner):
        check_disk(member.directory)


def check_disk(directory: Path) -> None:
    """After pruning, a directory takes at most 1.2 times what is live in it, and is whole."""
    pruned = run("prune", "run", directory, "--keep-blocks", "1")
    checked = run("fsck", directory, "--deep")
    live_bytes = live_bytes_of(directory)

    assert pruned.returncode == 0, pruned.stderr
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print(f"{directory.name}: {directory_bytes(directory)} bytes, {live_bytes} live")
    assert directory_bytes(directory) <= 1.2 * live_bytes


def live_bytes_of(directory: Path) -> int:
    """Return the bytes of all rows of the ledger, and of the files beside it."""
    layout = check_layout(directory)
    beside = sum(
        path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and not path.is_relative_to(layout.ledger)
    )
    with open_database(layout.ledger) as database:
        return beside + sum(len(key) + len(value) for key, value in database.scan(b""))
