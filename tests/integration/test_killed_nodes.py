"""Nodes end without warning while transactions flow: nothing acknowledged is lost or twice."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.scene.local import Member
from client.access import grant_access
from client.errors import Refused
from client.reading import get_record
from client.records import put_record
from client.transactions import hand_in, sign_payload
from crypto.hashing import Digest
from ledger.access_payloads import AccessDeny
from ledger.accounts import Role
from storage.layout import check_layout
from tests.integration.consortium import (
    BASE_TIMEOUT_MS,
    HOSPITALS,
    Consortium,
    acting_after,
    ask,
    block_at,
    check_one_history,
    height_of,
    kill,
    register,
    start_all,
    start_one,
    wait_height,
    wait_until,
    wait_until_async,
)
from tests.integration.load import (
    check_nothing_lost,
    register_lanes,
    running_load,
    wait_acknowledged,
)

pytestmark = pytest.mark.timeout(240)


def primary_of(consortium: Consortium, asked: Member) -> Member:
    return consortium.members[int(ask(asked, "/v1/consensus")["primary"])]


def backups_of(consortium: Consortium) -> list[Member]:
    primary = primary_of(consortium, consortium.members[0])
    return [member for member in consortium.members if member is not primary]


async def test_the_others_go_on_without_a_killed_backup_which_catches_up_by_itself(
    four: Consortium,
) -> None:
    await register_lanes(four, HOSPITALS[0])
    backup = backups_of(four)[-1]
    others = [member for member in four.members if member is not backup]

    async with running_load(four, HOSPITALS) as load:
        await wait_acknowledged(load, 10)
        kill(backup)
        stood_at = min(height_of(member) for member in others)
        await wait_acknowledged(load, 30)
        await asyncio.to_thread(wait_height, others, stood_at + 5)
        start_one(four, backup)
        await asyncio.to_thread(wait_height, [backup], height_of(others[0]))
        await wait_acknowledged(load, 10)

    wait_height(four.members, max(height_of(member) for member in four.members))
    check_one_history(four.members)
    check_nothing_lost(four, load)
    assert ask(backup, "/v1/consensus")["fenced"] is None


async def test_commits_resume_within_three_base_timeouts_of_the_primary_being_killed(
    four: Consortium,
) -> None:
    await register_lanes(four, HOSPITALS[0])
    primary = primary_of(four, four.members[0])
    others = [member for member in four.members if member is not primary]

    async with running_load(four, HOSPITALS) as load:
        await wait_acknowledged(load, 10)
        killed_ms = time.time_ns() // 1_000_000
        kill(primary)
        stood_at = height_of(others[0])
        await wait_until_async(
            lambda: (
                block_time_ms(others[0], height_of(others[0])) > killed_ms
                and height_of(others[0]) > stood_at
            ),
            "commits resume",
        )
        await wait_acknowledged(load, 30)
        start_one(four, primary)
        await asyncio.to_thread(wait_height, [primary], height_of(others[0]))
        await wait_acknowledged(load, 10)

    wait_height(four.members, max(height_of(member) for member in four.members))
    check_one_history(four.members)
    check_nothing_lost(four, load)
    resumed_ms = first_block_after(others[0], stood_at, killed_ms)
    assert resumed_ms - killed_ms <= 3 * BASE_TIMEOUT_MS


def block_time_ms(member: Member, height: int) -> int:
    return int(block_at(member, height)["header"]["time_ms"])


def first_block_after(member: Member, height: int, time_ms: int) -> int:
    """Return the time of the first block above `height` that was made after `time_ms`."""
    while (made_ms := block_time_ms(member, height + 1)) <= time_ms:
        height += 1
    return made_ms


async def test_four_nodes_killed_at_once_go_on_where_they_were(four: Consortium) -> None:
    await register_lanes(four, HOSPITALS[0])

    async with running_load(four, HOSPITALS) as load:
        await wait_acknowledged(load, 20)
        kill(*four.members)
        await asyncio.to_thread(start_all, four)
        await wait_acknowledged(load, 20)

    wait_height(four.members, max(height_of(member) for member in four.members))
    check_one_history(four.members)
    check_nothing_lost(four, load)
    assert [ask(member, "/v1/consensus")["fenced"] for member in four.members] == [None] * 4


async def test_a_wiped_node_is_fenced_rebuilds_from_peers_then_votes_and_serves_again(
    four: Consortium, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_bytes(b"blood pressure 120/80\n" * 40_000)
    wiped = four.members[3]
    await register(four, "ada", wiped.org, Role.DOCTOR)
    await register(four, "bob", HOSPITALS[0], Role.DOCTOR)
    await register(four, "anna", wiped.org, Role.PATIENT, writers=["ada"])
    async with acting_after(four, "ada", wiped.org, four.registered_height) as ada:
        put = await put_record(ada, four.account("anna"), note, category="documents")
    async with acting_after(four, "anna", wiped.org, put.outcome.height) as anna:
        await grant_access(anna, grantee=four.account("bob"))
        granted_height = anna.height

    kill(wiped)
    wipe(wiped)
    start_one(four, wiped)

    await wait_until_async(lambda: height_of(wiped) >= 0, "the wiped node answers", timeout_s=30)
    fence = ask(wiped, "/v1/consensus")["fenced"]
    assert fence, "a node that lost its journal must not vote"
    assert "journal" in fence
    await asyncio.to_thread(wait_height, [wiped], granted_height)
    await wait_until_async(
        lambda: ask(wiped, "/v1/consensus")["fenced"] is None, "the fence is lifted"
    )
    check_one_history(four.members)
    check_it_votes(four, wiped)
    async with acting_after(four, "bob", wiped.org, granted_height) as bob:
        opened = await get_record(bob, put.record_id, tmp_path / "received")
    assert opened.path.read_bytes() == note.read_bytes()


def wipe(member: Member) -> None:
    """Empty everything but keys and founding document."""
    layout = check_layout(member.directory)
    for folder in (layout.ledger, layout.journal, layout.blobs, layout.sidecars):
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def check_it_votes(consortium: Consortium, member: Member) -> None:
    """Without another one the chain needs this member's votes; it goes on, so they come."""
    away = next(one for one in backups_of(consortium) if one is not member)
    kill(away)
    others = [one for one in consortium.members if one is not away]
    wait_height(others, max(height_of(one) for one in others) + 3)
    block = block_at(member, height_of(member))
    assert consortium.members.index(member) in block["certificate"]["signers"]
    start_one(consortium, away)
    wait_until(lambda: height_of(away) >= block_number(block), "the other one is back")


def block_number(block: dict[str, object]) -> int:
    header = block["header"]
    assert isinstance(header, dict)
    return int(header["height"])


async def test_a_transaction_handed_to_a_lonely_node_commits_once_the_others_are_back(
    four: Consortium,
) -> None:
    await register_lanes(four, HOSPITALS[0])
    await asyncio.to_thread(wait_height, four.members, four.registered_height + 1)
    lonely = backups_of(four)[0]
    others = [member for member in four.members if member is not lonely]
    kill(*others)
    org = lonely.org

    async with acting_after(four, "load-patient-0", org, four.registered_height) as patient:
        payload = AccessDeny(pseudonym=patient.actor.account, request=Digest(bytes(32)))
        signed = sign_payload(patient.trust, patient.actor, "access.deny", payload)
        waiting = asyncio.create_task(hand_in(patient.node, signed))
        await asyncio.to_thread(start_all, four)
        started = time.monotonic()
        with pytest.raises(Refused) as decided:
            await waiting

    assert decided.value.code == "access.unknown_request"
    assert time.monotonic() - started < 10
