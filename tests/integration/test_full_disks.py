"""Disks that are full, uploads that are not what they say: refused by code, and life goes on."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks.scene.local import Member
from client.connection import Client, open_client
from client.errors import Refused
from client.http import Patience, put_stream
from client.records import put_record
from config import dump_config, load_config
from crypto.cid import encode_cid_text
from crypto.unixfs import CidHasher
from ledger.accounts import Role
from storage.layout import check_layout
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    Consortium,
    acting_after,
    check_one_history,
    height_of,
    is_up,
    log_of,
    register,
    start_all,
    start_one,
    status_of,
    stop_all,
    wait_height,
    wait_until_async,
)

ONCE = Patience(attempts=1)
BLOBS_BYTES = 32 << 20
NODE_BYTES = 192 << 20
"""A whole node directory: ledger and sidecars each keep a reserve."""

RESERVE_BYTES = 2 << 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@contextmanager
def small_disk(consortium: Consortium, directory: Path, size_bytes: int) -> Iterator[None]:
    """Put what is in a directory on a disk of its own, far too small; stop the nodes at the end."""
    kept = directory.with_name(directory.name + ".kept")
    directory.rename(kept)
    directory.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs"]
    mounted = subprocess.run([*command, str(directory)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(kept, directory, dirs_exist_ok=True)
        yield
    finally:
        stop_all(consortium)  # While the process ids are still to be read.
        subprocess.run(["umount", "-l", directory], check=True)


def spend_the_disk_to(member: Member, reserve_bytes: int) -> None:
    path = member.directory / "node.toml"
    config = load_config(path)
    limits = replace(config.limits, disk_reserve_bytes=reserve_bytes)
    path.write_text(dump_config(replace(config, limits=limits)), encoding="utf-8")


def fill(directory: Path) -> Path:
    """Write a file until not one more block fits."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4_096))
        except OSError:
            return filler


async def register_anna(consortium: Consortium, org: str) -> None:
    await register(consortium, "ada", org, Role.DOCTOR)
    await register(consortium, "anna", org, Role.PATIENT, writers=["ada"])


async def test_an_upload_whose_bytes_do_not_match_its_address_is_refused_and_leaves_nothing(
    make_consortium: MakeConsortium,
) -> None:
    alone = make_consortium(1)
    member = alone.members[0]
    await register_anna(alone, member.org)
    blobs = check_layout(member.directory).blobs
    content = bytes(range(256)) * 9_000
    hasher = CidHasher()
    hasher.update(content)
    path = f"/v1/blobs/{encode_cid_text(hasher.finish())}"
    wrong = bytearray(content)
    wrong[1_500_000] ^= 1

    async with acting_after(alone, "ada", member.org, alone.registered_height) as ada:
        for other, size in ((bytes(wrong), len(content)), (content[:-1], len(content) - 1)):
            with pytest.raises(Refused) as refusal:
                await put_stream(ada.node, path, size, partial(once, other))
            assert (refusal.value.code, refusal.value.status) == ("blob.mismatch", 422)
        assert files_in(blobs) == []

        answer = await put_stream(ada.node, path, len(content), partial(once, content))
    assert answer["size_bytes"] == len(content)
    assert files_in(blobs) != []


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@needs_root
async def test_a_record_too_large_for_the_disk_is_refused_and_a_small_one_still_fits(
    make_consortium: MakeConsortium, tmp_path: Path
) -> None:
    four = make_consortium(4, is_started=False)
    member = four.members[0]
    spend_the_disk_to(member, RESERVE_BYTES)
    large, small = tmp_path / "large.bin", tmp_path / "small.bin"
    large.write_bytes(os.urandom(BLOBS_BYTES))
    small.write_bytes(os.urandom(100_000))

    with small_disk(four, check_layout(member.directory).blobs, BLOBS_BYTES):
        start_all(four)
        await register_anna(four, member.org)
        await asyncio.to_thread(wait_height, [member], four.registered_height)
        async with as_ada(four, member) as ada:
            ada.height = four.registered_height
            with pytest.raises(Refused) as refusal:
                await put_record(ada, four.account("anna"), large, category="imaging")
            done = await put_record(ada, four.account("anna"), small, category="imaging")

    assert (refusal.value.code, refusal.value.status) == ("storage.full", 507)
    assert not refusal.value.definite
    assert done.is_safe


def as_ada(consortium: Consortium, member: Member) -> AbstractAsyncContextManager[Client]:
    return open_client(
        member.url, consortium.genesis, consortium.wallet, actor="ada", patience=ONCE
    )


@needs_root
async def test_a_node_whose_disk_is_full_stops_by_name_and_goes_on_when_there_is_room(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4, is_started=False)
    member, others = four.members[3], four.members[:3]
    with small_disk(four, member.directory, NODE_BYTES):
        start_all(four)
        filler = fill(member.directory / "ledger")
        await wait_until_async(lambda: not is_up(member), "the node on the full disk ends")
        told = log_of(member)
        stood_at = height_of(others[0])
        await asyncio.to_thread(wait_height, others, stood_at + 3)

        filler.unlink()
        start_one(four, member)
        await asyncio.to_thread(wait_height, four.members, stood_at + 4)
        check_one_history(four.members)

    assert status_of(member, "/v1/node") == 0
    assert "No space left" in told or "storage.full" in told or "journal.failed" in told, told[
        -3000:
    ]
