"""Enrolment: keys are made on the device, the admin believes proofs, directories stay sealed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.connection import open_client
from client.directories import get_directory
from client.enrolment import (
    Enrolment,
    check_enrolment,
    decode_enrolment,
    encode_enrolment,
    make_enrolment,
    register_person,
)
from client.errors import DirectoryUnknown, EnrolmentInvalid, LocalError, NotFound, Refused
from client.people import NEXT, find_person, finish_rotation, rotate_keys
from client.wallet import add_keys, find_directory, find_keys, labels
from crypto.directory import CATEGORIES
from crypto.signatures import public_key
from ledger.accounts import OrgId, Role
from tests.unit.client.people_of_north import QUICK, Town, make_town
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import NORTH, SOUTH, genesis, seal_key_of, sign_key_of


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with serve(node := SmallNode()) as url:
        yield await make_town(node, url, tmp_path)


async def enrolled(town: Town, name: str, role: Role = Role.PATIENT) -> Enrolment:
    async with open_client(town.url, genesis(), town.wallet(name), patience=QUICK) as device:
        return await make_enrolment(device, name, org=NORTH, role=role)


async def test_a_device_without_an_account_enrols_and_the_admin_registers_its_file(
    town: Town,
) -> None:
    town.keep("admin-north", "first admin of north")
    file = encode_enrolment(await enrolled(town, "bob"))

    enrolment = decode_enrolment(file, name="bob.enrolment")
    async with town.acting("admin-north") as admin:
        await register_person(admin, enrolment, org=NORTH)

    async with town.acting("bob") as bob:
        account = await find_person(bob, town.account("bob"))
    async with town.acting("agent") as agent:
        directory = await get_directory(agent, town.account("bob"))
    assert account.sign_key == public_key(town.keys("bob").sign_key)
    assert [one.name for one in directory.categories] == list(CATEGORIES)
    assert {one.category_id for one in directory.categories} == set(account.categories)
    assert find_directory(
        town.wallets["agent"], town.node.chain_id, town.keys("agent"), town.account("bob")
    )


async def test_nobody_else_gets_the_directory(town: Town) -> None:
    async with town.acting("south-doctor") as stranger:
        with pytest.raises((DirectoryUnknown, Refused)):
            await get_directory(stranger, town.account("ada"))


async def test_the_file_holds_no_private_key_and_no_category_name(town: Town) -> None:
    file = encode_enrolment(await enrolled(town, "bob"))

    keys = town.keys("bob")

    assert keys.sign_key.secret not in file
    assert keys.seal_key.secret not in file
    assert b"mental-health" not in file


@pytest.mark.parametrize(
    "changes",
    [
        {"sign_key": sign_key_of("somebody else")},
        {"seal_key": seal_key_of("somebody else")},
        {"role": Role.DOCTOR, "categories": (), "notes": ()},
        {"possession": bytes(63) + b"\x01"},
    ],
    ids=["sign key", "seal key", "role", "possession"],
)
async def test_an_altered_file_is_refused(town: Town, changes: dict[str, Any]) -> None:
    enrolment = await enrolled(town, "bob")
    altered = replace(enrolment, register=replace(enrolment.register, **changes))

    with pytest.raises(EnrolmentInvalid):
        check_enrolment(altered, chain_id=town.node.chain_id, org=NORTH)


async def test_a_file_for_elsewhere_or_with_other_notes_is_refused(town: Town) -> None:
    enrolment = await enrolled(town, "bob")
    chain_id = town.node.chain_id
    swapped = replace(enrolment, sidecars=tuple(reversed(enrolment.sidecars)))

    check_enrolment(enrolment, chain_id=chain_id, org=NORTH)

    with pytest.raises(EnrolmentInvalid):
        check_enrolment(enrolment, chain_id=chain_id, org=SOUTH)
    with pytest.raises(EnrolmentInvalid):
        check_enrolment(enrolment, chain_id=type(chain_id)(bytes(32)), org=NORTH)
    with pytest.raises(EnrolmentInvalid):
        check_enrolment(swapped, chain_id=chain_id, org=NORTH)
    with pytest.raises(EnrolmentInvalid):
        check_enrolment(replace(enrolment, sidecars=()), chain_id=chain_id, org=NORTH)


@pytest.mark.parametrize("cut", [0, 1, -1])
async def test_a_damaged_file_is_named(town: Town, cut: int) -> None:
    file = encode_enrolment(await enrolled(town, "bob", Role.NURSE))

    with pytest.raises(EnrolmentInvalid, match=r"bob\.enrolment"):
        decode_enrolment(file[:cut] if cut >= 0 else file + b"\x00", name="bob.enrolment")


async def test_an_unknown_hospital_makes_no_keys(town: Town) -> None:
    async with open_client(town.url, genesis(), town.wallet("bob"), patience=QUICK) as device:
        with pytest.raises(NotFound):
            await make_enrolment(device, "bob", org=OrgId("nowhere"), role=Role.PATIENT)

    assert labels(town.wallet("bob")) == ()


async def test_writers_need_somebody_who_may_prove_their_keys(town: Town) -> None:
    async with open_client(town.url, genesis(), town.wallet("bob"), patience=QUICK) as device:
        with pytest.raises(LocalError, match="--as"):
            await make_enrolment(
                device, "bob", org=NORTH, role=Role.PATIENT, writers=(town.account("doctor"),)
            )


async def test_registering_twice_is_refused_by_its_code(town: Town) -> None:
    town.keep("admin-north", "first admin of north")
    enrolment = await enrolled(town, "bob", Role.NURSE)
    async with town.acting("admin-north") as admin:
        await register_person(admin, enrolment, org=NORTH)

        with pytest.raises(Refused) as refusal:
            await register_person(admin, enrolment, org=NORTH)

    assert refusal.value.code == "identity.exists"


async def test_replaced_keys_are_in_force_and_the_session_goes_on(town: Town) -> None:
    before = town.keys("doctor")
    async with town.acting("doctor") as doctor:
        await rotate_keys(doctor)
        account = await find_person(doctor, before.account)

    after = town.keys("doctor")
    assert after.account == before.account
    assert account.sign_key == public_key(after.sign_key) != public_key(before.sign_key)
    assert after.seal_keys[1:] == before.seal_keys
    assert labels(town.wallets["doctor"]) == ("doctor",)


async def test_a_rotation_cut_off_after_the_ledger_is_finished_from_the_wallet(town: Town) -> None:
    wallet, before = town.wallets["doctor"], town.keys("doctor")
    old_content = wallet.content
    async with town.acting("doctor") as doctor:
        await rotate_keys(doctor)
    after = find_keys(wallet, "doctor")
    wallet.content = old_content
    add_keys(
        wallet,
        "doctor" + NEXT,
        town.account("ada"),
        sign_key=after.sign_key,
        seal_keys=(after.seal_key,),
        created_ms=1,
    )

    async with open_client(town.url, genesis(), wallet, patience=QUICK) as device:
        finished = await finish_rotation(device, "doctor")

    assert finished
    assert find_keys(wallet, "doctor") == replace(
        after, seal_keys=(after.seal_key, before.seal_key)
    )
    async with town.acting("doctor") as doctor:
        await find_person(doctor, before.account)


async def test_a_rotation_cut_off_before_the_ledger_is_forgotten(town: Town) -> None:
    wallet, before = town.wallets["doctor"], town.keys("doctor")
    stranger = town.keys("ada")
    add_keys(
        wallet,
        "doctor" + NEXT,
        stranger.account,
        sign_key=stranger.sign_key,
        seal_keys=stranger.seal_keys,
        created_ms=1,
    )

    async with open_client(town.url, genesis(), wallet, patience=QUICK) as device:
        finished = await finish_rotation(device, "doctor")

    assert not finished
    assert find_keys(wallet, "doctor") == before
    assert labels(wallet) == ("doctor",)


async def test_a_rotation_waits_while_an_earlier_one_may_still_be_committed(town: Town) -> None:
    stranger = town.keys("ada")
    async with town.acting("doctor") as doctor:
        add_keys(
            doctor.wallet,
            "doctor" + NEXT,
            stranger.account,
            sign_key=stranger.sign_key,
            seal_keys=stranger.seal_keys,
            created_ms=town.node.clock_ms(),
        )
        with pytest.raises(LocalError) as refusal:
            await rotate_keys(doctor)

    assert refusal.value.code == "wallet.rotation_open"
    assert "doctor" + NEXT in labels(town.wallets["doctor"])
