"""A node whose journal fails falls silent and ends: what it would say is not durable."""

import asyncio
from pathlib import Path

import pytest

from consensus.events import BacklogChanged
from consensus.messages import Message, NewView, PrePrepare, Status, ViewChange
from shell.intake import submit
from shell.kinds import Kind
from shell.overview import consensus_overview, peers_overview
from shell.receiving import on_frame
from shell.replica import deliver, is_asked
from storage.errors import JournalFailed, StorageError
from tests.unit.p2p.loopback import until
from tests.unit.shell.one_of_four import ME, PEER, OneOfFour, running_one
from tests.unit.storage.faulty_files import DISK_BROKEN, DISK_FULL, FaultyFiles

SIGNED = (PrePrepare, ViewChange, NewView)


def is_signed(message: Message) -> bool:
    return isinstance(message, SIGNED)


async def test_a_node_says_what_its_journal_holds(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        await submit(one.node.intake, [(one.signed(), ())])

        await until(lambda: any(is_signed(said) for said in one.peer.messages()))

        assert one.node.replica.votes.live, "what was said is in the journal"
        assert not one.node.stopping.is_set()


@pytest.mark.parametrize(
    "files",
    [FaultyFiles(sync_error=DISK_BROKEN), FaultyFiles(write_error=DISK_FULL)],
    ids=["a flush that fails", "a full disk"],
)
async def test_nothing_is_signed_after_the_journal_has_failed(
    tmp_path: Path, files: FaultyFiles
) -> None:
    async with running_one(tmp_path / "node") as one:
        live = len(one.node.replica.votes.live)
        said_before = len(one.peer.heard)
        one.node.replica.votes.journal.files = files

        await submit(one.node.intake, [(one.signed(), ())])
        async with asyncio.timeout(20):
            await one.node.stopping.wait()
        await everything_heard(one)

        replica = one.node.replica
        assert isinstance(one.node.failure, StorageError)
        assert replica.is_stopped
        assert len(replica.votes.live) == live, "the failed record does not count"
        assert [type(said) for said in one.peer.messages(said_before) if is_signed(said)] == []


async def test_a_silenced_replica_hears_nothing_any_more(tmp_path: Path) -> None:
    failures: list[Exception] = []
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        replica.on_fatal = failures.append
        replica.votes.journal.files = FaultyFiles(sync_error=DISK_BROKEN)
        await submit(one.node.intake, [(one.signed(), ())])
        await until(lambda: bool(failures))
        heard = len(one.peer.heard)
        await everything_heard(one)

        deliver(replica, BacklogChanged(waiting=False))
        on_frame(replica, PEER, b"junk")
        await submit(one.node.intake, [(one.signed(nonce=2), ())])
        await everything_heard(one)

        assert len(failures) == 1
        assert not replica.events
        assert not replica.is_draining
        assert all(timer.cancelled() for timer in replica.timers.values())
        late = [said for said in one.peer.messages(heard) if not isinstance(said, Status)]
        assert late == []


async def test_a_failed_flush_is_named(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        one.node.replica.votes.journal.files = FaultyFiles(sync_error=DISK_BROKEN)
        await submit(one.node.intake, [(one.signed(), ())])
        async with asyncio.timeout(20):
            await one.node.stopping.wait()

        assert isinstance(one.node.failure, JournalFailed)
        assert one.node.failure.code == "journal.failed"


async def test_an_operator_sees_where_the_node_stands(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        seen = consensus_overview(one.node.replica)
        rows = {row["node"]: row for row in peers_overview(one.node.replica)}

        assert (seen["height"], seen["members"], seen["quorum"]) == (0, 4, 3)
        assert (seen["connected_members"], seen["more_failures_survivable"]) == (2, 0)
        assert set(rows) == {1, 2, 3}
        assert rows[PEER]["organisation"] == f"hospital-{PEER}"
        assert rows[PEER]["state"] == "connected"
        assert rows[2]["state"] != "connected"


async def test_what_peers_must_not_send_is_counted_against_them(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        for body in (b"", b"junk", bytes(1_000)):
            one.peer.network.send(ME, Kind.CONSENSUS, body)
        await until(lambda: one.node.replica.invalid[PEER] == 3)

        rows = {row["node"]: row for row in peers_overview(one.node.replica)}
        assert rows[PEER]["invalid_messages"] == 3
        assert not one.node.stopping.is_set()
        assert not is_asked(one.node.replica, PEER)


async def everything_heard(one: OneOfFour) -> None:
    """Wait until the peer has everything that the node had to say: a mark is the last of it."""
    mark = b"mark %d" % len(one.peer.heard)
    one.node.network.send(PEER, Kind.TRANSACTIONS, mark)
    await until(lambda: (int(Kind.TRANSACTIONS), mark) in one.peer.heard)
