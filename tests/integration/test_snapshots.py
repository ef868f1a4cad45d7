"""A wiped member comes back when the others have pruned: a snapshot under load, one peer a liar."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scene.local import Member, free_ports, passphrase_path
from commands.prune import directory_bytes
from config import Pruning, dump_config, load_config
from crypto.hashing import Digest
from ledger.governance_payloads import AddValidator, RekeyValidator
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
from tests.integration.load import (
    Load,
    export_one,
    register_lanes,
    running_load,
    wait_acknowledged,
)

PRUNED_WITHIN_S = 240.0
JOINED_WITHIN_S = 120.0
SOURCE_FAILED = "snapshot source failed"


def start_hurried(consortium: Consortium, member: Member, *words: str) -> None:
    """Start a node for which little time is long."""
    start_process(consortium, member, [str(member.directory), *words])


def start_process(consortium: Consortium, member: Member, words: Sequence[str | Path]) -> None:
    command = [sys.executable, "-m", "tests.integration.hurried_node", *map(str, words)]
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


def wipe(member: Member) -> Member:
    """Take a node's disk away; return it on an empty one, at other addresses."""
    shutil.rmtree(member.directory)
    member.directory.mkdir(mode=0o700)
    (api,) = free_ports(1)
    return replace(member, url=f"http://127.0.0.1:{api}")


def join_words(member: Member, invite: Path, p2p: int) -> list[str | Path]:
    """The one command of an operator whose node has lost its disk, keys and all."""
    return [
        *("join", invite, "--dir", member.directory, "--org", member.org, "--index", "3"),
        *("--listen", f"127.0.0.1:{p2p}", "--api", member.url.removeprefix("http://")),
        "--log-json",
    ]


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


async def start_forgetful(make_consortium: MakeConsortium) -> Consortium:
    """Start four nodes that prune soon, the first of them a liar, with lanes for a load."""
    consortium = make_consortium(4, parameters=Parameters(idle_block_ms=100), is_started=False)
    for member in consortium.members:
        keep_little(member)
        lies = ("--lying",) if member is consortium.members[0] else ()
        start_hurried(consortium, member, *lies)
    await asyncio.to_thread(wait_height, consortium.members, 2)
    await register_lanes(consortium, HOSPITALS[1])
    return consortium


async def export_and_prune(
    consortium: Consortium, load: Load, staying: Sequence[Member]
) -> tuple[Digest, Path]:
    """Return a transaction and its receipt's file, once nobody has its block any more."""
    early = await asyncio.to_thread(
        export_one, consortium, list(load.acknowledged), through=HOSPITALS[1]
    )
    await wait_until_async(
        lambda: has_pruned(staying),
        lambda: f"all prune; {[height_of(one) for one in staying]}",
        timeout_s=PRUNED_WITHIN_S,
    )
    return early


async def kill_in_mid_snapshot(joiner: Member) -> None:
    await wait_until_async(
        layout_of(joiner).arriving.is_dir,
        lambda: f"a snapshot is under way; {log_tail(joiner)}",
        timeout_s=JOINED_WITHIN_S,
    )
    kill(joiner)
    assert not layout_of(joiner).arrived.exists(), "it was killed before it had everything"


async def check_they_go_on(alive: Sequence[Member]) -> None:
    goal = max(height_of(member) for member in alive) + 3
    await asyncio.to_thread(wait_height, list(alive), goal)


def check_joined_by_snapshot(joiner: Member, other: Member, load: Load, *, level: int) -> None:
    """Whoever joined at `level` or below has a snapshot, and all that was acknowledged since."""
    told = log_of(joiner)
    assert "a snapshot has taken the ledger's place" in told
    assert liars_in(told) == {0}, "what the liar sent was refused, and nobody else is blamed"
    assert status_of(joiner, "/v1/blocks/1") == 404
    for tx_id, (height, _) in load.acknowledged.items():
        state = ask(other, f"/v1/transactions/{tx_id.hex()}")["state"]
        assert state in ("COMMITTED", "PRUNED"), (height, state)
        if height > level:
            assert ask(joiner, f"/v1/transactions/{tx_id.hex()}")["state"] == "COMMITTED"


def check_receipt(consortium: Consortium, member: Member, early: tuple[Digest, Path]) -> None:
    """A receipt outlives its block."""
    tx_id, file = early
    verified = run("verify", file, "--genesis", consortium.genesis)
    assert ask(member, f"/v1/transactions/{tx_id.hex()}")["state"] == "PRUNED"
    assert verified.returncode == 0, verified.stderr


@pytest.mark.timeout(600)
async def test_a_wiped_member_joins_by_snapshot_under_load_though_one_peer_lies_and_it_is_killed(
    make_consortium: MakeConsortium,
) -> None:
    """Its operator types one command, twice the same, and copies one file; no hash, no address."""
    consortium = await start_forgetful(make_consortium)
    members = consortium.members
    liar, others = members[0], members[1:3]

    async with running_load(consortium, HOSPITALS[1:3]) as load:
        await wait_acknowledged(load, 12)
        kill(members[3])
        joiner = members[3] = wipe(members[3])
        early = await export_and_prune(consortium, load, members[:3])
        invite = await asyncio.to_thread(write_invite, consortium, through=HOSPITALS[1])
        command = join_words(joiner, invite, *free_ports(1))
        start_process(consortium, joiner, command)
        await wait_until_async(
            lambda: "validators add (or rekey" in log_of(joiner), lambda: log_tail(joiner)
        )
        rekeying = RekeyValidator(node=claim_of(joiner))
        await decide_change(consortium, rekeying, joiner.org, through=HOSPITALS[1])
        await kill_in_mid_snapshot(joiner)
        start_process(consortium, joiner, command)
        level = height_of(others[0])
        await asyncio.to_thread(wait_height, [joiner], level, timeout_s=JOINED_WITHIN_S)
        await wait_until_async(
            lambda: "node 3 votes" in log_of(joiner), lambda: f"it votes; {log_tail(joiner)}"
        )
        await wait_acknowledged(load, 5)

    check_one_history(members)
    kill(others[1])  # Now nothing is decided without the one that joined.
    await check_they_go_on([liar, others[0], joiner])
    check_joined_by_snapshot(joiner, others[0], load, level=level)
    check_receipt(consortium, others[0], early)
    stop_all(consortium)
    for member in (others[0], joiner):
        check_disk(member.directory)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_new_node_joins_by_snapshot_under_load_though_one_peer_lies_and_it_is_killed(
    make_consortium: MakeConsortium,
) -> None:
    """A learner, whom its own chain does not name; slow, as the wiped member shows the rest."""
    consortium = await start_forgetful(make_consortium)
    members = consortium.members
    liar, *others = founders = tuple(members)

    async with running_load(consortium, HOSPITALS[1:]) as load:
        await wait_acknowledged(load, 12)
        early = await export_and_prune(consortium, load, founders)
        invite = await asyncio.to_thread(write_invite, consortium, through=HOSPITALS[1])
        joiner = await asyncio.to_thread(join, consortium, invite, "newcomer", HOSPITALS[1])
        keep_little(joiner)
        members.append(joiner)
        start_hurried(consortium, joiner)
        await decide_change(consortium, AddValidator(node=claim_of(joiner)), HOSPITALS[1])
        await kill_in_mid_snapshot(joiner)
        start_hurried(consortium, joiner)
        level = height_of(others[0])
        await asyncio.to_thread(wait_height, [joiner], level, timeout_s=JOINED_WITHIN_S)
        await wait_members([*founders, joiner], 5)
        await wait_acknowledged(load, 5)

    check_one_history(members)
    kill(others[1])  # Now nothing is decided without the one that joined.
    await check_they_go_on([liar, others[0], others[2], joiner])
    check_joined_by_snapshot(joiner, others[0], load, level=level)
    check_receipt(consortium, others[0], early)
    stop_all(consortium)
    for member in (others[0], joiner):
        check_disk(member.directory)


def liars_in(told: str) -> set[int]:
    """Return the peers of which a log says that they sent what does not hold."""
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return {one["peer"] for one in lines if one["event"] == SOURCE_FAILED and one["wrong"]}


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
