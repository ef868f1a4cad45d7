"""Copies of node directories that run, and old ones that come back: no two votes for one slot.

Whatever the nodes have signed is read from their journals afterwards: of the originals, of the
copies, and of what was replaced by an older copy.
"""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.scene.local import Member, free_ports, passphrase_path
from consensus.evidence import signed_vote
from consensus.hearing import bare_vote
from consensus.records import (
    Booted,
    FenceRaised,
    NewViewRecord,
    Record,
    ViewChangeRecord,
    VoteRecord,
    decode_record,
)
from consensus.restarting import RestartDocument
from crypto.hashing import Digest
from genesis.files import load_wire
from shell.journal import BODIES_TAG
from storage.journal import read_journal
from storage.layout import NodeLayout
from storage.place import keep_place
from tests.integration.commands import Ended, run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    kill,
    pid_of,
    start_one,
    stop_all,
    stop_one,
    wait_height,
    wait_until,
)
from tests.integration.load import (
    export_one,
    register_lanes,
    running_load,
    wait_acknowledged,
)

pytestmark = pytest.mark.timeout(300)

Slot = tuple[int, int, int, str]


def records_of(directory: Path) -> list[Record]:
    encoded = read_journal(NodeLayout(directory).journal)
    return [decode_record(one) for one in encoded if one[1] != BODIES_TAG]


def votes_in(directory: Path) -> dict[Slot, set[Digest]]:
    """What the journal says was signed: epoch, height, view and type -> digests."""
    votes: dict[Slot, set[Digest]] = {}
    for record in records_of(directory):
        match record:
            case VoteRecord():
                slot = (record.epoch, record.height, record.view, record.vote.name)
                votes.setdefault(slot, set()).add(record.digest)
            case ViewChangeRecord(message=message):
                vote = bare_vote(message)
                slot = (vote.epoch, vote.height, vote.view, vote.vote.name)
                votes.setdefault(slot, set()).add(vote.digest)
            case NewViewRecord(message=message):
                vote = signed_vote(message)
                slot = (vote.epoch, vote.height, vote.view, vote.vote.name)
                votes.setdefault(slot, set()).add(vote.digest)
            case _:
                pass
    return votes


def check_no_conflict(*lives: Path) -> int:
    """Assert that all lives of one node together signed one digest a slot; return the slots."""
    signed: dict[Slot, set[Digest]] = {}
    for directory in lives:
        for slot, digests in votes_in(directory).items():
            signed.setdefault(slot, set()).update(digests)
    conflicts = {slot: digests for slot, digests in signed.items() if len(digests) > 1}
    assert not conflicts, conflicts
    return len(signed)


def check_nobody_saw_two_votes(members: Iterable[Member]) -> None:
    for member in members:
        ignored = ask(member, "/v1/consensus")["ignored"]
        assert not [reason for reason in ignored if reason.startswith("equivocation")], member.org


def fence_of(member: Member) -> str | None:
    try:
        reason = ask(member, "/v1/consensus")["fenced"]
    except OSError:
        return None
    assert reason is None or isinstance(reason, str)
    return reason


def wait_fenced(member: Member, word: str) -> None:
    wait_until(lambda: word in (fence_of(member) or ""), f"{member.org} is fenced: {word}")


def copy_of(member: Member, target: Path) -> Member:
    """A copy of a node's directory that listens elsewhere."""
    shutil.copytree(member.directory, target)
    (target / "pid").unlink(missing_ok=True)
    p2p, api = free_ports(2)
    settings = target / "node.toml"
    sections = settings.read_text(encoding="utf-8").split("[")
    ports = {"p2p": p2p, "api": api}
    for position, section in enumerate(sections):
        name = section.split("]")[0]
        if name in ports:
            sections[position] = re.sub(r"port = \d+", f"port = {ports[name]}", section)
    settings.write_text("[".join(sections), encoding="utf-8")
    return Member(org=f"copy of {member.org}", directory=target, url=f"http://127.0.0.1:{api}")


def restore(member: Member, backup: Path, kept: Path) -> None:
    """Put a backup in the place of the directory, which is kept elsewhere for its journal."""
    member.directory.rename(kept)
    shutil.copytree(backup, member.directory)


def back_up_running(member: Member, target: Path) -> int:
    """Copy a directory as a snapshot of its file system has it, in the middle of everything."""
    height, pid = height_of(member), pid_of(member)
    os.kill(pid, signal.SIGSTOP)
    try:
        shutil.copytree(member.directory, target)
    finally:
        os.kill(pid, signal.SIGCONT)
    return height


def grow(consortium: Consortium, blocks: int = 4) -> int:
    """Wait for some more blocks, of which idle ones come by themselves; return the height."""
    goal = max(height_of(member) for member in consortium.members) + blocks
    wait_height(consortium.members, goal)
    return goal


def test_a_second_process_on_one_directory_is_refused_and_so_are_offline_commands(
    four: Consortium, tmp_path: Path
) -> None:
    member = four.members[0]
    holder, words = pid_of(member), passphrase_words(four)

    ended = [
        run("node", "start", member.directory, *words),
        run("recover", "statement", member.directory, "--out", tmp_path / "one.json", *words),
        run("fsck", member.directory),
    ]

    for one in ended:
        assert (one.returncode, one.code) == (4, "node.running")
        assert f"process {holder} already runs on" in one.stderr
    assert pid_of(member) == holder
    assert fence_of(member) is None


def test_a_copied_directory_is_fenced_at_its_start_and_the_original_goes_on_by_itself(
    four: Consortium, tmp_path: Path
) -> None:
    """The copy knows by its place; the original is told by the common peers."""
    original = four.members[0]
    grow(four)
    copy = copy_of(original, tmp_path / "copy")
    start_one(four, copy)
    try:
        wait_fenced(copy, "copied or restored")
        wait_fenced(original, "another process")
        others = four.members[1:]
        wait_height(others, height_of(others[0]) + 4)
        assert fence_of(copy) is not None
        assert fence_of(original) is not None
    finally:
        stop_one(copy)
    stop_one(original)
    start_one(four, original)
    wait_until(lambda: fence_of(original) is None and height_of(original) > 0, "it votes again")

    check_nobody_saw_two_votes(four.members)
    stop_all(four)
    check_no_conflict(original.directory, copy.directory)


def test_a_clone_that_no_disk_gives_away_is_fenced_before_its_first_signature(
    four: Consortium, tmp_path: Path
) -> None:
    """A cloned virtual machine: inodes and machine are the same, so only the peers can tell."""
    original = four.members[0]
    grow(four)
    copy = copy_of(original, tmp_path / "clone")
    before = votes_in(copy.directory)
    booted = [one for one in records_of(copy.directory) if isinstance(one, Booted)][-1]
    keep_place(NodeLayout(copy.directory), booted.boot_id)

    start_one(four, copy)
    try:
        wait_until(lambda: fence_of(copy) is not None, "the clone is fenced")
        wait_until(lambda: fence_of(original) is not None, "the original is fenced")
        others = four.members[1:]
        wait_height(others, height_of(others[0]) + 5)
        assert fence_of(copy) is not None
    finally:
        stop_one(copy)

    check_nobody_saw_two_votes(four.members)
    stop_all(four)
    assert votes_in(copy.directory) == before, "the clone signed nothing"
    check_no_conflict(original.directory, copy.directory)


@pytest.mark.parametrize("gives_away", [True, False], ids=["by its place", "by its peers"])
def test_an_old_backup_that_comes_back_contradicts_nothing_and_joins_again(
    four: Consortium, tmp_path: Path, gives_away: bool
) -> None:
    member = four.members[1]
    backup, kept = tmp_path / "backup", tmp_path / "kept"
    stop_one(member)
    shutil.copytree(member.directory, backup)
    start_one(four, member)
    grow(four)
    kill(four.members[0])  # View changes, which the backup does not know either.
    wait_height(four.members[1:], height_of(member) + 3)
    start_one(four, four.members[0])
    grow(four, 2)
    kill(member)

    restore(member, backup, kept)
    if not gives_away:
        booted = [one for one in records_of(backup) if isinstance(one, Booted)][-1]
        keep_place(NodeLayout(member.directory), booted.boot_id)
    start_one(four, member)

    wait_height([member], max(height_of(one) for one in four.members) + 3)
    wait_until(lambda: fence_of(member) is None, "it votes again")
    check_one_history(four.members)
    check_nobody_saw_two_votes(four.members)
    stop_all(four)
    raised = [one.reason for one in records_of(member.directory) if isinstance(one, FenceRaised)]
    assert raised
    assert raised[0].startswith("this directory was copied or restored") == gives_away
    assert check_no_conflict(kept, member.directory) > 5


def passphrase_words(consortium: Consortium) -> tuple[str | Path, ...]:
    return "--passphrase-file", passphrase_path(consortium.directory)


def recover(*words: str | Path) -> Ended:
    done = run("recover", *words)
    assert done.returncode == 0, done.stderr
    return done


def test_a_consortium_restored_at_once_is_brought_back_by_its_operators(
    four: Consortium, tmp_path: Path
) -> None:
    """Three of four come back from old copies; the fourth learns what it decided in vain."""
    grow(four, 2)
    for member in four.members:
        back_up_running(member, tmp_path / f"backup-{member.org}")
    lost_height = grow(four, 4)
    stop_all(four)
    restored, ahead = four.members[:3], four.members[3]
    for member in restored:
        restore(member, tmp_path / f"backup-{member.org}", tmp_path / f"kept-{member.org}")
    for member in restored:  # Not the fourth: it would give them the blocks that are to be lost.
        start_one(four, member)
    for member in restored:
        wait_fenced(member, "copied or restored")
    wait_until(
        lambda: ask(restored[0], "/v1/doctor")["code"] == "recover_needed",
        lambda: ask(restored[0], "/v1/doctor")["sentence"],
    )
    stop_all(four)
    words = passphrase_words(four)
    files = [tmp_path / f"{member.org}.json" for member in restored]
    order = tmp_path / "restart.json"

    for member, file in zip(restored, files, strict=True):
        recover("statement", member.directory, "--out", file, *words)
    too_few = run("recover", "combine", restored[0].directory, *files[:2], "--out", order)
    recover("combine", restored[0].directory, *files, "--out", order)
    for member in restored:
        recover("apply", member.directory, order)
    refused = run("recover", "apply", ahead.directory, order)
    recover("apply", ahead.directory, order, "--discard")
    for member in four.members:
        start_one(four, member)

    assert (too_few.returncode, too_few.code) == (1, "recover.document")
    assert (refused.returncode, refused.code) == (1, "recover.above")
    wait_height(four.members, lost_height + 3)
    check_one_history(four.members)
    assert all(fence_of(member) is None for member in four.members)
    assert {int(ask(one, "/v1/consensus")["epoch"]) for one in four.members} == {1_000_000}
    check_nobody_saw_two_votes(four.members)
    stop_all(four)
    again = run("recover", "apply", restored[0].directory, order)
    assert (again.returncode, again.code) == (1, "recover.document")
    for member in restored:
        check_no_conflict(tmp_path / f"kept-{member.org}", member.directory)
    check_no_conflict(ahead.directory)


async def test_all_nodes_restored_to_different_heights_go_on_and_what_is_lost_is_told(
    four: Consortium, tmp_path: Path
) -> None:
    """Under load; no node that has the newest blocks is left, only who has receipts of them."""
    await register_lanes(four, HOSPITALS[0])
    async with running_load(four, HOSPITALS[:3]) as load:
        for member in four.members:
            backed_up = await asyncio.to_thread(
                back_up_running, member, tmp_path / f"backup-{member.org}"
            )
            await asyncio.to_thread(wait_height, four.members, backed_up + 1)
        await wait_acknowledged(load, 6)
    newest = list(load.acknowledged)[-6:]
    lost_tx, receipt = await asyncio.to_thread(export_one, four, newest)
    stop_all(four)
    for member in four.members:
        restore(member, tmp_path / f"backup-{member.org}", tmp_path / f"kept-{member.org}")
    files = [tmp_path / f"{member.org}.json" for member in four.members]
    order = tmp_path / "restart.json"

    for member, file in zip(four.members, files, strict=True):
        recover("statement", member.directory, "--out", file, *passphrase_words(four))
    recover("combine", four.members[0].directory, *files, "--out", order)
    applied = [recover("apply", member.directory, order) for member in four.members]
    for member in four.members:
        start_one(four, member)
    async with running_load(four, HOSPITALS[:3]) as resumed:
        await wait_acknowledged(resumed, 4)

    document = load_wire(RestartDocument, order)
    assert len({one.height for one in document.statements}) == 4, "all backups differ"
    told = f"any other block above {document.tip.height} is lost without a list"
    assert all(told in one.stdout for one in applied)
    lost = [one for one, (height, _) in load.acknowledged.items() if height > document.tip.height]
    kept = [one for one in load.acknowledged if one not in lost]
    assert lost_tx in lost
    await asyncio.to_thread(wait_height, four.members, document.tip.height + 4)
    check_one_history(four.members)
    for member in four.members:
        states = {one: ask(member, f"/v1/transactions/{one.hex()}")["state"] for one in newest}
        assert {states[one] for one in newest if one in lost} == {"UNKNOWN"}
        for one in kept:
            assert ask(member, f"/v1/transactions/{one.hex()}")["state"] == "COMMITTED"
    assert run("verify", receipt, "--genesis", four.genesis).returncode == 0
    check_nobody_saw_two_votes(four.members)
    stop_all(four)
    for member in four.members:
        assert check_no_conflict(tmp_path / f"kept-{member.org}", member.directory) > 5


def test_a_node_alone_that_lost_its_journal_is_brought_back_by_its_operator(
    make_consortium: MakeConsortium, tmp_path: Path
) -> None:
    alone = make_consortium(1)
    (member,) = alone.members
    grow(alone, 2)
    stop_all(alone)
    before = len(records_of(member.directory))
    shutil.move(NodeLayout(member.directory).journal, tmp_path / "lost")
    NodeLayout(member.directory).journal.mkdir(mode=0o700)
    start_one(alone, member)
    wait_fenced(member, "the vote journal is missing")
    height = height_of(member)
    stop_all(alone)
    words = passphrase_words(alone)
    stated, order = tmp_path / "stated.json", tmp_path / "restart.json"

    recover("statement", member.directory, "--out", stated, *words)
    recover("combine", member.directory, stated, "--out", order)
    recover("apply", member.directory, order)
    start_one(alone, member)

    wait_height([member], height + 3)
    assert before > 2
    assert fence_of(member) is None
