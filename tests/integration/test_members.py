"""Members change while real processes run under load; nobody is refused, one history stays."""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scene.local import Member, free_ports, passphrase_path
from config import dump_config, load_config
from crypto.validators import ReplicaId
from ledger.governance_payloads import RekeyValidator, RemoveValidator
from shell.keys import KEYSTORE_NAME, NEXT_KEYSTORE_NAME
from tests.integration.commands import run
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    kill,
    log_of,
    log_tail,
    start_one,
    stop_one,
    wait_height,
    wait_until_async,
)
from tests.integration.governing import (
    admit,
    claim_of,
    decide_change,
    join,
    make_rekeying,
    start_joining,
    wait_members,
    write_invite,
)
from tests.integration.load import (
    check_nothing_lost,
    register_lanes,
    running_load,
    wait_acknowledged,
)

A, B, C, D = HOSPITALS
TOLD = "nobody answers at any address known here"


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_four_validators_become_seven_and_then_five_under_load(four: Consortium) -> None:
    await register_lanes(four, A)
    async with running_load(four, [A, B, C]) as load:
        joining = {
            org: await asyncio.to_thread(start_joining, four, f"node-of-{org}", org, index)
            for index, org in enumerate((A, B, C), 4)
        }
        for org, member in joining.items():
            await admit(four, member, org)
        await wait_acknowledged(load, 10)
        for index in (ReplicaId(3), ReplicaId(6)):
            await decide_change(four, RemoveValidator(index=index), A)
        staying = [one for one in four.members if one.org not in (D, f"node-of-{C}")]
        await wait_members(staying, 5)
        await wait_acknowledged(load, 10)

    assert ask(staying[0], "/v1/consensus")["epoch"] == 5
    for leaver in [one for one in four.members if one not in staying]:
        await asyncio.to_thread(stop_one, leaver)  # It serves on, but nobody counts on it.
    four.members = staying
    await asyncio.to_thread(wait_height, staying, max(height_of(one) for one in staying))
    check_one_history(staying)
    check_nothing_lost(four, load)


async def wait_rekeyed(member: Member) -> None:
    next_keys = member.directory / "keys" / NEXT_KEYSTORE_NAME
    await wait_until_async(lambda: not next_keys.exists(), f"{member.org} has taken its next keys")


@pytest.mark.timeout(600)
async def test_every_validator_is_re_keyed_under_load_one_of_them_while_it_is_down(
    four: Consortium,
) -> None:
    await register_lanes(four, A)
    former = {
        member.org: (member.directory / "keys" / KEYSTORE_NAME).read_bytes()
        for member in four.members
    }
    async with running_load(four, [A, B, C]) as load:
        for member in four.members:
            change = make_rekeying(four, member)
            if member.org == D:
                await asyncio.to_thread(stop_one, member)
            await decide_change(four, change, member.org)
            if member.org == D:
                await wait_acknowledged(load, 5)
                start_one(four, member)
            await wait_rekeyed(member)
        await wait_acknowledged(load, 20)

    for member in four.members:
        assert (member.directory / "keys" / KEYSTORE_NAME).read_bytes() != former[member.org]
    assert ask(four.members[0], "/v1/consensus")["epoch"] == 4
    # The last one votes with its new key: without it, three are no quorum once another is down.
    await asyncio.to_thread(kill, four.member(A))
    await asyncio.to_thread(wait_height, four.members[1:], height_of(four.member(B)) + 3)
    start_one(four, four.member(A))
    await asyncio.to_thread(wait_height, four.members, height_of(four.member(B)) + 1)
    check_one_history(four.members)
    check_nothing_lost(four, load)


@pytest.mark.timeout(300)
async def test_a_re_keyed_founder_whose_ledger_was_moved_aside_fetches_it_anew_and_votes(
    four: Consortium,
) -> None:
    """At genesis the ledger names keys that it does not have any more."""
    founder = four.member(D)
    await decide_change(four, make_rekeying(four, founder), D)
    await wait_rekeyed(founder)
    await asyncio.to_thread(stop_one, founder)
    (founder.directory / "ledger").rename(founder.directory / "ledger.damaged")

    start_one(four, founder)

    await asyncio.to_thread(wait_height, four.members, height_of(four.member(A)) + 1)
    await wait_until_async(
        lambda: ask(founder, "/v1/consensus")["fenced"] is None, "it votes again"
    )
    await asyncio.to_thread(kill, four.member(A))
    await asyncio.to_thread(wait_height, four.members[1:], height_of(four.member(B)) + 3)
    check_one_history(four.members[1:])


@pytest.mark.timeout(300)
async def test_a_dead_validator_is_removed_and_the_others_go_on(four: Consortium) -> None:
    await asyncio.to_thread(kill, four.member(D))
    await decide_change(four, RemoveValidator(index=ReplicaId(3)), A)
    staying = four.members[:3]
    await wait_members(staying, 3)

    assert ask(staying[0], "/v1/consensus")["quorum"] == 2
    await asyncio.to_thread(wait_height, staying, height_of(staying[0]) + 3)
    check_one_history(staying)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_wiped_member_comes_back_with_one_command_and_new_keys_under_load(
    four: Consortium,
) -> None:
    """Block by block; slow, as `test_snapshots` shows it where the others have pruned."""
    await register_lanes(four, A)
    async with running_load(four, [A, B, C]) as load:
        await asyncio.to_thread(kill, four.member(D))
        shutil.rmtree(four.member(D).directory)
        invite = await asyncio.to_thread(write_invite, four)
        back = await asyncio.to_thread(join, four, invite, D, D, index=3)
        four.members[3] = back
        start_one(four, back)
        await wait_acknowledged(load, 10)
        await decide_change(four, RekeyValidator(node=claim_of(back)), D)
        await wait_acknowledged(load, 10)

    await asyncio.to_thread(wait_height, four.members, height_of(four.member(A)) + 3)
    await asyncio.to_thread(kill, four.member(A))
    await asyncio.to_thread(wait_height, four.members[1:], height_of(four.member(B)) + 3)
    start_one(four, four.member(A))
    await asyncio.to_thread(wait_height, four.members, height_of(four.member(B)) + 1)
    check_one_history(four.members)
    check_nothing_lost(four, load)


def move(member: Member, p2p_port: int) -> None:
    """Have a stopped node listen elsewhere."""
    file = member.directory / "node.toml"
    config = load_config(file)
    file.write_text(dump_config(replace(config, p2p=replace(config.p2p, port=p2p_port))))


def start_joined(consortium: Consortium, member: Member, invite: Path) -> None:
    """Type `medledger join INVITE --dir DIR` on a directory that is a node already."""
    command = [sys.executable, "-m", "cli", "join", str(invite), "--dir", str(member.directory)]
    command += ["--passphrase-file", str(passphrase_path(consortium.directory).resolve())]
    with member.log_file.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    member.pid_file.write_text(f"{process.pid}\n", encoding="ascii")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "moves", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["at their places", "moved"]
)
async def test_a_sleeper_that_missed_every_re_key_comes_back(four: Consortium, moves: bool) -> None:
    """By itself where the members stayed at their places; else one command with a new invite says
    where they are now (slow: every member is stopped and started elsewhere).
    """
    sleeper, awake = four.member(D), four.members[:3]
    await asyncio.to_thread(stop_one, sleeper)
    for member, port in zip(awake, free_ports(len(awake)), strict=True):
        rekeying = make_rekeying(four, member, p2p_port=port if moves else None)
        await decide_change(four, rekeying, member.org, voters=(A, B, C))
        if moves:  # At once: where the ledger names it now, nobody finds it before.
            await asyncio.to_thread(stop_one, member)
            move(member, port)
            start_one(four, member)
        await wait_rekeyed(member)
    slept = height_of(awake[0])
    await asyncio.to_thread(wait_height, awake, slept + 2)

    start_one(four, sleeper)
    if moves:
        await wait_until_async(lambda: TOLD in log_of(sleeper), lambda: log_tail(sleeper))
        said = await asyncio.to_thread(run, "doctor", sleeper.directory)
        await asyncio.to_thread(stop_one, sleeper)
        assert "`medledger join INVITE" in said.stdout
        start_joined(four, sleeper, await asyncio.to_thread(write_invite, four))

    await asyncio.to_thread(wait_height, [sleeper], height_of(awake[0]))
    await asyncio.to_thread(kill, four.member(A))  # Now nothing is decided without the sleeper.
    alive = [four.member(B), four.member(C), sleeper]
    await asyncio.to_thread(wait_height, alive, height_of(sleeper) + 3)
    check_one_history(alive)
