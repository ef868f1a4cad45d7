"""One flipped byte on a disk: it is told which file it was, nothing wrong is served, peers mend it.

What a node reads while it runs is mended from a peer; what it needs to start at all stops it, with
one error that names the file.
"""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.scene.local import Member, passphrase_path
from client.access import grant_access
from client.connection import open_client
from client.errors import Refused
from client.http import Patience
from client.lookup import FoundVersion, find_version
from client.reading import get_record
from client.records import PutRecord, put_record
from client.transfers import fetch_sidecar
from commands.output import Exit
from crypto.cid import encode_cid_text
from ledger.accounts import Role
from storage.blob_layout import blob_path
from storage.layout import check_layout
from tests.integration.commands import Ended, run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting_after,
    ask,
    block_at,
    check_one_history,
    height_of,
    is_up,
    kill,
    log_of,
    log_tail,
    register,
    start_one,
    status_of,
    stop_one,
    wait_height,
    wait_until,
)

CONTENT = bytes(range(256)) * 10_000
"""Two leaves and a half of a blob, once sealed."""


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


@contextmanager
def flipped(path: Path, offset: int) -> Iterator[None]:
    """Flip a byte for a while: flipping it again mends it."""
    flip(path, offset)
    try:
        yield
    finally:
        flip(path, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A record of anna's that bob may read: where it is kept, from which height on."""

    put: PutRecord
    found: FoundVersion
    height: int


async def share_a_record(consortium: Consortium, folder: Path) -> Shared:
    """Ada files for anna at hospital-a; bob of hospital-b may read everything."""
    home, elsewhere = HOSPITALS[:2]
    note = folder / "note.bin"
    note.write_bytes(CONTENT)
    await register(consortium, "ada", home, Role.DOCTOR)
    await register(consortium, "bob", elsewhere, Role.DOCTOR)
    await register(consortium, "anna", home, Role.PATIENT, writers=["ada"])
    async with acting_after(consortium, "ada", home, consortium.registered_height) as ada:
        put = await put_record(ada, consortium.account("anna"), note, category="documents")
    async with acting_after(consortium, "anna", home, put.outcome.height) as anna:
        await grant_access(anna, grantee=consortium.account("bob"))
        found = await find_version(anna, put.record_id)
        return Shared(put=put, found=found, height=anna.height)


async def test_a_blob_damaged_at_one_keeper_is_served_whole_and_mended_from_the_other(
    four: Consortium, tmp_path: Path
) -> None:
    shared = await share_a_record(four, tmp_path)
    keepers = [four.members[index] for index in shared.found.seal.stored_by]
    path, other = (stored_at(member, shared) for member in keepers[:2])
    flip(path, 1_500_000)

    async with acting_after(four, "bob", keepers[0].org, shared.height) as bob:
        opened = await get_record(bob, shared.put.record_id, tmp_path / "received")

    assert opened.path.read_bytes() == CONTENT
    assert f"{path} is damaged" in log_of(keepers[0])
    assert path.read_bytes() == other.read_bytes()


async def test_a_flipped_byte_that_nobody_reads_is_found_and_mended_by_the_running_node(
    four: Consortium, tmp_path: Path
) -> None:
    shared = await share_a_record(four, tmp_path)
    keepers = [four.members[index] for index in shared.found.seal.stored_by]
    path, other = (stored_at(member, shared) for member in keepers[:2])
    await asyncio.to_thread(wait_height, keepers, shared.height)
    flip(path, 1_500_000)

    await asyncio.to_thread(
        wait_until,
        lambda: path.exists() and path.read_bytes() == other.read_bytes(),
        lambda: f"{path} is mended; {log_tail(keepers[0])}",
        timeout_s=100,
    )

    storage = ask(keepers[0], "/v1/consensus")["storage"]
    assert storage["scrub_found"]["blob.corrupt"] == 1
    assert storage["mended"]["blob.missing"] == 1
    assert f"{path} is damaged" in log_of(keepers[0])


async def test_a_blob_damaged_at_every_keeper_is_refused_and_leaves_no_file(
    four: Consortium, tmp_path: Path
) -> None:
    shared = await share_a_record(four, tmp_path)
    keepers = [four.members[index] for index in shared.found.seal.stored_by]
    for member in keepers:
        flip(stored_at(member, shared), 1_500_000)
    reader = keepers[0]
    await asyncio.to_thread(wait_height, [reader], shared.height)

    async with open_client(
        reader.url, four.genesis, four.wallet, actor="bob", patience=Patience(attempts=2)
    ) as bob:
        bob.height = shared.height
        with pytest.raises(Refused) as refusal:
            await get_record(bob, shared.put.record_id, tmp_path / "received")

    assert refusal.value.code in {"blob.missing", "blob.corrupt"}
    assert encode_cid_text(shared.put.cid) in str(refusal.value)
    assert not list((tmp_path / "received").glob("*"))
    for member in keepers:
        assert f"{stored_at(member, shared)} is damaged" in log_of(member)


async def test_a_damaged_envelope_is_fetched_from_a_peer(four: Consortium, tmp_path: Path) -> None:
    shared = await share_a_record(four, tmp_path)
    member = four.members[1]
    async with acting_after(four, "anna", HOSPITALS[0], shared.height) as anna:
        found = await find_version(anna, shared.put.record_id)
        mine = found.envelope_for(anna.actor.account)
        assert mine is not None
        envelope = await fetch_sidecar(anna.node, mine.sidecar)
    packs = check_layout(member.directory).sidecars
    pack, offset = file_with(packs, "*.pack", envelope)
    flip(pack, offset + 7)

    async with acting_after(four, "anna", member.org, shared.height) as anna:
        again = await fetch_sidecar(anna.node, mine.sidecar)
        opened = await get_record(anna, shared.put.record_id, tmp_path / "received")

    assert again == envelope
    assert opened.path.read_bytes() == CONTENT
    assert f"{pack}" in log_of(member)
    mended, place = file_with(packs, "*.pack", envelope)
    assert mended.read_bytes()[place : place + len(envelope)] == envelope


def stored_at(member: Member, shared: Shared) -> Path:
    return blob_path(check_layout(member.directory).blobs, shared.put.cid)


def file_with(folder: Path, pattern: str, content: bytes) -> tuple[Path, int]:
    """Return the file that holds some bytes, and where in it."""
    for path in sorted(folder.rglob(pattern)):
        offset = path.read_bytes().find(content)
        if offset >= 0:
            return path, offset
    raise AssertionError(f"no {pattern} in {folder} has these bytes")


async def test_a_damaged_block_is_never_served_and_the_ledger_rebuilds_from_peers(
    four: Consortium,
) -> None:
    member, others = four.members[3], four.members[:3]
    await asyncio.to_thread(wait_height, [member], 8)
    stop_one(member)
    start_one(four, member)  # Opening makes a table of what the write-ahead log held.
    await asyncio.to_thread(wait_height, [member], 10)
    stop_one(member)
    ledger = check_layout(member.directory).ledger
    root = bytes.fromhex(block_at(others[0], 5)["header"]["state_root"])
    flip(*file_with(ledger, "*.ldb", root))

    pid = start_one(four, member)
    wait_until(lambda: height_of(member) >= 0 or not is_up(member), "the node starts or stops")
    if is_up(member):
        answers = {height: served_digest(member, height) for height in range(1, 10)}
        wrong = [h for h, one in answers.items() if one not in (None, digest_at(others[0], h))]
        assert wrong == []
        if is_up(member):
            stop_one(member)
    told = log_of(member)
    assert "damaged" in told or "corrupt" in told, told[-2000:]
    assert str(ledger) in told, told[-2000:]

    shutil.move(ledger, ledger.with_name("ledger.damaged"))
    assert start_one(four, member) != pid
    await asyncio.to_thread(wait_height, [member], max(height_of(one) for one in others) + 1)
    check_one_history(four.members)
    wait_until(lambda: ask(member, "/v1/consensus")["fenced"] is None, "it votes again")


def served_digest(member: Member, height: int) -> str | None:
    """Return the digest of a block that a node serves, None if it refuses to."""
    if status_of(member, f"/v1/blocks/{height}") != 200:
        return None
    return digest_at(member, height)


def digest_at(member: Member, height: int) -> str:
    return str(block_at(member, height)["digest"])


def test_a_damaged_file_that_a_node_needs_to_start_stops_it_with_an_error_that_names_it(
    make_consortium: MakeConsortium,
) -> None:
    alone = make_consortium(1)
    member = alone.members[0]
    wait_height([member], 6)
    kill(member)
    layout = check_layout(member.directory)
    journal = max(layout.journal.iterdir(), key=lambda path: path.stat().st_size)
    keystore = layout.keys / "node.keystore"
    cases = (
        (journal, journal.stat().st_size // 3, "journal.corrupt"),
        (layout.genesis, layout.genesis.stat().st_size // 2, "genesis."),
        (layout.genesis, 20, "genesis."),
        (keystore, keystore.stat().st_size // 2, "keystore.corrupt"),
        (keystore, keystore.stat().st_size - 1, "keystore.corrupt"),
    )

    for path, offset, code in cases:
        with flipped(path, offset):
            ended = start_and_see(alone, member)
        assert ended.returncode == Exit.LOCAL, (path, ended.stderr)
        assert str(path) in ended.stderr.splitlines()[-1], (path, ended.stderr)
        assert f"[{code}" in ended.stderr.splitlines()[-1], (path, ended.stderr)

    start_one(alone, member)
    wait_height([member], 8)


def test_a_damaged_wallet_is_refused_by_its_name(make_consortium: MakeConsortium) -> None:
    alone = make_consortium(1)
    home = alone.directory / "home"
    wallet = home / "wallet.keystore"

    for path, code in ((wallet, "keystore.corrupt"), (alone.genesis, "genesis.damaged")):
        with flipped(path, path.stat().st_size // 2):
            ended = show_the_agent(home)
        assert ended.returncode == Exit.LOCAL, ended.stderr
        assert str(path) in ended.stderr
        assert f"[{code}]" in ended.stderr

    assert show_the_agent(home).returncode == Exit.OK


def show_the_agent(home: Path) -> Ended:
    who = ("agent-hospital-a", "--as", "admin-hospital-a")
    return run("person", "show", *who, "--home", home)


def start_and_see(consortium: Consortium, member: Member) -> Ended:
    """Start a node that cannot run, and wait for its end."""
    passphrase = passphrase_path(consortium.directory)
    return run("node", "start", member.directory, "--passphrase-file", passphrase)
