"""The replica's journal: what still matters comes back, and a rotation keeps just that."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.records import FenceLifted, JournalStarted, Record, VoteRecord
from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import FIRST_VIEW, Height, VoteType
from shell import journal as shell_journal
from shell.journal import (
    BodiesRecord,
    VoteJournal,
    append_votes,
    forget_votes,
    make_bodies_record,
    open_votes,
)
from storage.journal import append, close_journal, create_journal, open_journal, read_journal

STARTED = JournalStarted(chain_id=ChainId(bytes(32)), replica=ReplicaId(1))


def vote(height: int) -> VoteRecord:
    return VoteRecord(
        vote=VoteType.PREPARE,
        epoch=Epoch(0),
        height=Height(height),
        view=FIRST_VIEW,
        digest=Digest(bytes([height]) * 32),
        signature=bytes(64),
    )


def bodies(height: int) -> BodiesRecord:
    return make_bodies_record(height, Digest(bytes([height]) * 32), [b"signed", b"another"])


def begin(folder: Path) -> VoteJournal:
    return VoteJournal(journal=create_journal(folder))


def reopen(
    votes: VoteJournal, decided_height: int
) -> tuple[VoteJournal, tuple[Record, ...], tuple[BodiesRecord, ...]]:
    """Close the journal, and read it as a node that starts does."""
    close_journal(votes.journal)
    journal, encoded = open_journal(votes.journal.directory)
    return open_votes(journal, encoded, decided_height)


def test_what_was_appended_comes_back_in_order_with_its_bodies_apart(tmp_path: Path) -> None:
    votes = begin(tmp_path)
    append_votes(votes, [STARTED])
    append_votes(votes, [bodies(3), vote(3), bodies(4)])

    votes, records, kept = reopen(votes, 0)

    assert records == (STARTED, vote(3))
    assert kept == (bodies(3), bodies(4))
    assert [height for height, _ in votes.live] == [None, 3, 3, 4]
    close_journal(votes.journal)


def test_one_append_is_one_flush(tmp_path: Path) -> None:
    votes = begin(tmp_path)

    append_votes(votes, [STARTED, bodies(1), vote(1)])

    assert votes.journal.sync_times.count == 1
    close_journal(votes.journal)


def test_decided_heights_do_not_come_back(tmp_path: Path) -> None:
    votes = begin(tmp_path)
    append_votes(votes, [STARTED, vote(3), bodies(4), vote(4), bodies(5), vote(5)])

    votes, records, kept = reopen(votes, 4)

    assert records == (STARTED, vote(5))
    assert kept == (bodies(5),)
    close_journal(votes.journal)


@given(
    written=st.lists(st.integers(1, 9), max_size=12),
    decided=st.integers(0, 10),
    bound=st.sampled_from([0, 1 << 20]),
)
def test_a_rotation_keeps_what_is_undecided_and_the_highest_height(
    tmp_path_factory: pytest.TempPathFactory, written: list[int], decided: int, bound: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell_journal, "ROTATE_BYTES", bound)
        votes = begin(tmp_path_factory.mktemp("journal"))
        append_votes(votes, [STARTED])
        for height in written:
            append_votes(votes, [bodies(height), vote(height)])

        forget_votes(votes, decided)

        left = [height for height in written if height > decided]
        highest = [height for height in written if height == max(written)]
        on_disk = read_journal(votes.journal.directory)
        assert len(on_disk) == 1 + 2 * len((left or highest) if bound == 0 else written)
        append_votes(votes, [vote(11)])
        votes, records, kept = reopen(votes, decided)
        assert records == (STARTED, *map(vote, left), vote(11))
        assert kept == tuple(map(bodies, left))
        close_journal(votes.journal)


def test_records_without_a_height_are_never_forgotten(tmp_path: Path) -> None:
    votes = begin(tmp_path)
    lifted = FenceLifted(height=Height(2))
    append_votes(votes, [STARTED, lifted])

    forget_votes(votes, 1_000)
    votes, records, _ = reopen(votes, 1_000)

    assert records == (STARTED, lifted)
    close_journal(votes.journal)


@pytest.mark.parametrize("foreign", [b"junk", b"\x92\x64\x00", b"\x00"])
def test_a_record_that_is_none_of_ours_is_refused(tmp_path: Path, foreign: bytes) -> None:
    votes = begin(tmp_path)
    append(votes.journal, [foreign])
    close_journal(votes.journal)
    journal, encoded = open_journal(tmp_path)

    with pytest.raises(DecodeError):
        open_votes(journal, encoded, 0)

    close_journal(journal)
