"""Starts one after the other: what a start has found out, and what it rebuilds, is never lost."""

import shutil
from pathlib import Path

import pytest

from consensus.effects import Persist
from consensus.records import VoteRecord, encode_record
from consensus.state import Config
from crypto.hashing import Digest
from crypto.signatures import sign_preimage
from crypto.validators import Epoch, ReplicaId
from crypto.votes import FIRST_VIEW, Height, VoteType
from ledger.identity_payloads import DirectoryNote, ShareDirectory
from ledger.parameters import TX_WINDOW_MS_LIMIT
from ledger.replay import ReplayWindow
from ledger.transactions import Transaction, decode_transaction
from shell.chain import open_live_chain
from shell.journal import VoteJournal, append_votes, rotate_votes
from shell.restart import Restarted, begin_journal, restart
from storage.journal import append, close_journal, open_journal
from storage.layout import NodeLayout
from storage.place import keep_place
from tests.unit.ledger.record_samples import PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of, signing_key
from tests.unit.shell.live_chain import LiveChain

ME = ReplicaId(0)


def start(live: LiveChain, journal: Path, boot_id: bytes = bytes(16)) -> Restarted:
    """Restore the replica; what it does first is not done: the process may end before."""
    parameters, key = live.chain.parameters(), signing_key("vote of node 0")
    config = Config(
        chain_id=live.chain.chain_id,
        replica=ME,
        boot_id=boot_id,
        sign=lambda _epoch, preimage: sign_preimage(key, preimage),
        base_timeout_ms=2_000,
        timeout_cap_ms=60_000,
        gather_ms=5,
        idle_block_ms=parameters.idle_block_ms,
        status_ms=500,
        fetch_ms=2_000,
        rotate_every=parameters.rotate_every,
        listen_heartbeats=0,
    )
    layout = NodeLayout(journal.parent)
    restarted = restart(live.chain, config, layout, live.proposals, lambda _digest: None)
    close_journal(restarted.votes.journal)
    return restarted


def journal_of(live: LiveChain, folder: Path) -> Path:
    folder.mkdir(parents=True)
    begin_journal(folder, live.chain.chain_id, ME)
    return folder


async def test_a_start_that_ends_early_does_not_hide_a_cut_journal_from_the_next(
    live: LiveChain, tmp_path: Path
) -> None:
    journal = journal_of(live, tmp_path / "journal")
    (segment,) = journal.iterdir()
    segment.write_bytes(segment.read_bytes() + bytes(40))

    first, second = start(live, journal), start(live, journal)

    assert first.state.fence is not None
    assert second.state.fence is not None, "a port in use ended the first start"


async def test_a_start_that_ends_early_does_not_hide_a_lost_journal_from_the_next(
    live: LiveChain, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()

    first, second = start(live, journal), start(live, journal)

    assert first.state.fence is not None
    assert second.state.fence is not None


async def test_a_fence_that_was_written_stands_at_every_later_start(
    live: LiveChain, tmp_path: Path
) -> None:
    journal = journal_of(live, tmp_path / "journal")
    (segment,) = journal.iterdir()
    segment.write_bytes(segment.read_bytes() + bytes(40))
    fence = start(live, journal).effects[0]
    assert isinstance(fence, Persist)

    opened, _ = open_journal(journal)
    append_votes(VoteJournal(journal=opened), fence.records)
    close_journal(opened)

    assert start(live, journal).state.fence is not None
    assert start(live, journal).state.fence is not None


def rebuilt(live: LiveChain) -> ReplayWindow:
    chain = live.chain
    return open_live_chain(chain.stored, chain.genesis, chain.pool).replay


def signed_by_the_doctor(live: LiveChain, number: int) -> Transaction:
    """A transaction that the ledger refuses; decided it is all the same."""
    note = DirectoryNote(
        recipient=account_of(PATIENT), key_id=bytes(16), note=Digest(bytes([number] * 32))
    )
    payload = ShareDirectory(about=account_of(SOUTH_DOCTOR), notes=(note,))
    signed = live.hospitals.chain.signed("identity.share_directory", payload, SOUTH_DOCTOR)
    return decode_transaction(signed, live.chain.chain_id)


GAPS_MS = (1, 1_000, 599_999, 600_000, TX_WINDOW_MS_LIMIT - 1, TX_WINDOW_MS_LIMIT, 86_400_000)


@pytest.mark.parametrize("gap_ms", GAPS_MS)
async def test_a_start_after_any_idle_time_remembers_what_may_be_repeated(
    live: LiveChain, gap_ms: int
) -> None:
    assert rebuilt(live).is_complete(), "no block is decided yet"
    decided: list[Transaction] = []

    for number in range(4):
        decided.append(signed_by_the_doctor(live, number))
        await live.decide(decided[-1], after_ms=1)
        await live.decide(after_ms=gap_ms)
        running, started = live.chain.replay, rebuilt(live)

        assert started.is_complete()
        assert (started.height, started.time_ms) == (running.height, running.time_ms)
        assert len(started) == len(running)
        for one in decided:
            until_ms = one.body.valid_until_ms
            assert started.contains(one.tx_id, until_ms) or until_ms <= started.time_ms
            assert not started.contains(Digest(bytes(32)), until_ms)


async def test_a_copied_directory_stands_behind_the_fence_from_its_first_start_on(
    live: LiveChain, tmp_path: Path
) -> None:
    journal = journal_of(live, tmp_path / "node" / "journal")
    first = start(live, journal, b"the first start.")
    perform(journal, first)
    keep_place(NodeLayout(journal.parent), b"the first start.")
    shutil.copytree(journal.parent, tmp_path / "copy")

    original = start(live, journal, b"the second one..")
    copy = start(live, tmp_path / "copy" / "journal", b"a stranger......")

    assert first.state.fence is None
    assert original.state.fence is None
    assert copy.state.fence is not None
    assert copy.state.fence.reason.startswith("this directory was copied or restored")
    perform(tmp_path / "copy" / "journal", copy)
    keep_place(NodeLayout(tmp_path / "copy"), b"a stranger......")
    assert start(live, tmp_path / "copy" / "journal").state.fence is not None


def perform(journal: Path, started: Restarted) -> None:
    """Make durable what a start asks for."""
    opened, _ = open_journal(journal)
    votes = VoteJournal(journal=opened)
    for effect in started.effects:
        if isinstance(effect, Persist):
            append_votes(votes, effect.records)
    close_journal(opened)


async def test_a_ledger_that_is_put_back_raises_the_fence_after_a_rotation_too(
    live: LiveChain, tmp_path: Path
) -> None:
    """By a snapshot of an earlier height, or a backup of `ledger/`: later votes would be lost."""
    folder = journal_of(live, tmp_path / "journal")
    journal, encoded = open_journal(folder)
    append(journal, [encode_record(prepare_at(height)) for height in (4, 5)])
    close_journal(journal)
    journal, encoded = open_journal(folder)

    rotate_votes(journal, encoded, 5)  # What `medledger prune run` does, and a long journal.
    close_journal(journal)

    fence = start(live, folder).state.fence
    assert live.chain.tip.height == 0
    assert fence is not None
    assert fence.reason == "the vote journal is ahead of the stored blocks"
    assert fence.signed_height == 5


def prepare_at(height: int) -> VoteRecord:
    return VoteRecord(
        vote=VoteType.PREPARE,
        epoch=Epoch(0),
        height=Height(height),
        view=FIRST_VIEW,
        digest=Digest(bytes(32)),
        signature=bytes(64),
    )
