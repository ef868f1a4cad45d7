"""Members change while real processes run under load; nobody is refused, one history stays."""

import asyncio
import shutil

import pytest

from commands.devnet import Member
from crypto.validators import ReplicaId
from ledger.governance_payloads import RekeyValidator, RemoveValidator
from shell.keys import KEYSTORE_NAME, NEXT_KEYSTORE_NAME
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    kill,
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


@pytest.mark.timeout(300)
async def test_a_wiped_member_comes_back_with_one_command_and_new_keys_under_load(
    four: Consortium,
) -> None:
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
