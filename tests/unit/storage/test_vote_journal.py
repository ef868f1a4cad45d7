"""The vote journal forgets nothing that was acknowledged, and takes nothing for a crash but one."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from storage.errors import (
    DiskFailed,
    DiskFull,
    JournalCorrupt,
    JournalExists,
    JournalFailed,
    JournalFull,
    JournalMissing,
    StorageError,
)
from storage.journal import (
    append,
    close_journal,
    create_journal,
    open_journal,
    read_journal,
    rotate,
)
from storage.journal_format import (
    HEAD_BYTES,
    RECORD_HEAD_BYTES,
    Damaged,
    SegmentHead,
    decode_segment,
    encode_head,
    encode_record,
    segment_name,
)
from tests.unit.storage.faulty_files import DISK_BROKEN, DISK_FULL, Crash, FaultyFiles

HEAD = SegmentHead(journal_id=bytes(range(16)), segment=7, first_sequence=40, carried_bytes=0)
RECORDS = (b"prepare", b"", b"a body that ends in zeros\x00\x00\x00")


def segment_of(*bodies: bytes, head: SegmentHead = HEAD) -> bytes:
    return encode_head(head) + b"".join(
        encode_record(head, head.first_sequence + position, body)
        for position, body in enumerate(bodies)
    )


def decoded(content: bytes) -> tuple[tuple[bytes, ...], int]:
    segment = decode_segment(content, name=segment_name(HEAD))
    return segment.records, segment.torn_bytes


def journal_with(directory: Path, *records: bytes) -> Path:
    """Make a journal that holds `records`; return its only segment."""
    journal = create_journal(directory)
    if records:
        append(journal, records)
    close_journal(journal)
    return journal.path


def test_records_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    journal = create_journal(tmp_path)
    append(journal, RECORDS)
    append(journal, (b"commit",))
    close_journal(journal)

    reopened, records = open_journal(tmp_path)

    assert records == (*RECORDS, b"commit")
    assert reopened.tail_cut is None
    assert reopened.head.journal_id == journal.head.journal_id
    close_journal(reopened)


def test_an_absent_journal_is_a_lost_one(tmp_path: Path) -> None:
    with pytest.raises(JournalMissing, match=str(tmp_path)):
        open_journal(tmp_path)
    with pytest.raises(JournalMissing):
        read_journal(tmp_path)


def test_a_journal_is_never_begun_over_another(tmp_path: Path) -> None:
    journal_with(tmp_path, b"vote")

    with pytest.raises(JournalExists):
        create_journal(tmp_path)

    assert read_journal(tmp_path) == (b"vote",)


def test_a_tail_cut_at_any_byte_loses_the_last_record_alone(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"first", b"second")
    whole = path.read_bytes()
    second_at = len(whole) - len(encode_record(HEAD, 0, b"second"))

    for size in range(second_at, len(whole)):
        path.write_bytes(whole[:size])
        journal, records = open_journal(tmp_path)
        close_journal(journal)

        assert records == (b"first",)
        assert (journal.tail_cut is None) == (size == second_at)
        if journal.tail_cut is not None:
            assert journal.tail_cut.offset == second_at
            assert journal.tail_cut.bytes_count == size - second_at


def test_a_tail_zero_from_any_byte_loses_the_last_record_alone(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"first", b"second")
    whole = path.read_bytes()
    second_at = len(whole) - len(encode_record(HEAD, 0, b"second"))

    for zero_from in range(second_at, len(whole)):
        for extra in (0, 1, 5_000):
            path.write_bytes(whole[:zero_from] + bytes(len(whole) - zero_from + extra))
            journal, records = open_journal(tmp_path)
            close_journal(journal)

            assert records == (b"first",)
            assert journal.tail_cut is not None


def test_zeros_behind_the_last_record_are_cut(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"first")
    path.write_bytes(path.read_bytes() + bytes(4_096))

    journal, records = open_journal(tmp_path)

    assert records == (b"first",)
    append(journal, (b"second",))
    close_journal(journal)
    assert read_journal(tmp_path) == (b"first", b"second")


def test_appending_after_a_cut_leaves_a_whole_journal(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"first", b"second")
    path.write_bytes(path.read_bytes()[:-3])
    journal, _ = open_journal(tmp_path)

    append(journal, (b"third",))
    close_journal(journal)

    assert read_journal(tmp_path) == (b"first", b"third")


def test_one_flipped_bit_anywhere_is_corruption_and_no_crash() -> None:
    whole = segment_of(*RECORDS)

    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            with pytest.raises(Damaged):
                decoded(bytes(flipped))


def test_a_record_of_another_segment_never_passes() -> None:
    other = SegmentHead(journal_id=HEAD.journal_id, segment=8, first_sequence=40, carried_bytes=0)
    foreign = encode_record(other, 40, b"vote")

    with pytest.raises(Damaged):
        decoded(encode_head(HEAD) + foreign)


def test_a_record_out_of_turn_is_corruption() -> None:
    with pytest.raises(Damaged, match="record 42 where 41 is due"):
        decoded(segment_of(b"one") + encode_record(HEAD, 42, b"three"))


def test_records_carried_by_a_rotation_are_no_torn_tail() -> None:
    record = encode_record(HEAD, 40, b"carried")
    head = SegmentHead(
        journal_id=HEAD.journal_id, segment=7, first_sequence=40, carried_bytes=len(record)
    )

    with pytest.raises(Damaged, match="durable before"):
        decoded(encode_head(head) + record[:-1])
    with pytest.raises(Damaged, match="durable before"):
        decoded(encode_head(head) + bytes(len(record)))


@given(st.lists(st.binary(max_size=80), max_size=6), st.data())
def test_what_is_cut_is_a_suffix_and_what_is_kept_a_prefix(
    bodies: list[bytes], data: st.DataObject
) -> None:
    whole = segment_of(*bodies)
    size = data.draw(st.integers(HEAD_BYTES, len(whole)))

    records, torn_bytes = decoded(whole[:size])

    assert list(records) == bodies[: len(records)]
    assert segment_of(*records) == whole[: size - torn_bytes]


def test_the_error_names_file_byte_and_way_out(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"first", b"second")
    content = bytearray(path.read_bytes())
    content[HEAD_BYTES + RECORD_HEAD_BYTES] ^= 1
    path.write_bytes(content)

    with pytest.raises(JournalCorrupt) as caught:
        open_journal(tmp_path)

    text = str(caught.value)
    assert str(path) in text
    assert f"at byte {HEAD_BYTES}" in text
    assert "`medledger fsck`" in text
    assert f"move all files out of {tmp_path}, keep them, start the node" in text
    assert path.read_bytes() == bytes(content)


def test_a_segment_under_another_name_is_corruption(tmp_path: Path) -> None:
    path = journal_with(tmp_path, b"vote")
    path.rename(tmp_path / "votes-0000000000000009.log")

    with pytest.raises(JournalCorrupt, match="under another name"):
        open_journal(tmp_path)


def test_a_rotation_keeps_what_it_is_told_and_drops_the_rest(tmp_path: Path) -> None:
    journal = create_journal(tmp_path)
    append(journal, (b"h1 prepare", b"h1 commit", b"h2 prepare"))

    rotate(journal, (b"h2 prepare",))
    append(journal, (b"h2 commit",))
    close_journal(journal)

    assert read_journal(tmp_path) == (b"h2 prepare", b"h2 commit")
    assert len(list(tmp_path.iterdir())) == 1


def test_rotations_bound_the_size(tmp_path: Path) -> None:
    journal = create_journal(tmp_path)

    for height in range(50):
        append(journal, (b"v" * 500,))
        rotate(journal, (b"%d" % height,))

    assert journal.size_bytes == journal.path.stat().st_size < 100
    close_journal(journal)


def test_a_full_journal_refuses_and_stays_usable(tmp_path: Path) -> None:
    journal = create_journal(tmp_path, bytes_max=200)
    append(journal, (b"v" * 50,))

    with pytest.raises(JournalFull):
        append(journal, (b"w" * 150,))
    rotate(journal, ())
    append(journal, (b"x" * 50,))
    close_journal(journal)

    assert read_journal(tmp_path) == (b"x" * 50,)


def test_a_full_disk_takes_the_half_write_back_and_the_journal_goes_on(tmp_path: Path) -> None:
    files = FaultyFiles()
    journal = create_journal(tmp_path, files=files)
    append(journal, (b"first",))
    files.write_error = DISK_FULL

    with pytest.raises(DiskFull):
        append(journal, (b"never acknowledged",))
    with pytest.raises(DiskFull):
        rotate(journal, (b"first",))
    files.write_error = None
    append(journal, (b"second",))
    close_journal(journal)

    assert read_journal(tmp_path) == (b"first", b"second")


def test_after_a_failed_flush_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    files = FaultyFiles()
    journal = create_journal(tmp_path, files=files)
    files.sync_error = DISK_BROKEN

    with pytest.raises(JournalFailed):
        append(journal, (b"vote",))
    files.sync_error = None
    with pytest.raises(JournalFailed):
        append(journal, (b"vote",))
    with pytest.raises(JournalFailed):
        rotate(journal, ())
    files.close(journal.descriptor)


def test_a_journal_that_cannot_be_cut_back_is_used_no_more(tmp_path: Path) -> None:
    files = FaultyFiles()
    journal = create_journal(tmp_path, files=files)
    files.write_error, files.sync_error = DISK_FULL, DISK_BROKEN

    with pytest.raises(JournalFailed, match="cut back"):
        append(journal, (b"vote",))

    files.write_error = files.sync_error = None
    with pytest.raises(JournalFailed, match="restart"):
        append(journal, (b"vote",))
    files.close(journal.descriptor)


def test_a_segment_that_may_or_may_not_have_its_name_ends_the_journal(tmp_path: Path) -> None:
    class Unnameable(FaultyFiles):
        @override
        def rename(self, source: Path, target: Path) -> None:
            raise DiskFailed(f"{target}: no")

    files = Unnameable()
    journal_with(tmp_path, b"vote")
    journal, _ = open_journal(tmp_path, files=files)

    with pytest.raises(JournalFailed, match="could not go on"):
        rotate(journal, (b"vote",))
    with pytest.raises(JournalFailed):
        append(journal, (b"vote",))

    files.close(journal.descriptor)
    assert read_journal(tmp_path) == (b"vote",)


def test_another_kind_of_file_is_no_journal() -> None:
    whole = segment_of(b"vote")
    packed = b"otherkin" + whole[8 : HEAD_BYTES - 4]

    with pytest.raises(Damaged, match="not a vote journal"):
        decoded(packed + zlib.crc32(packed).to_bytes(4, "big") + whole[HEAD_BYTES:])


def test_flush_times_are_counted(tmp_path: Path) -> None:
    journal = create_journal(tmp_path)

    append(journal, (b"one",))
    append(journal, (b"two",))
    close_journal(journal)

    times = journal.sync_times
    assert times.count == sum(times.buckets) == 2
    assert times.total_us >= times.max_us > 0


def run_some_votes(directory: Path, files: FaultyFiles, acknowledged: list[bytes]) -> None:
    """Append and rotate; `acknowledged` holds what a restart has to find."""
    journal, records = open_journal(directory, files=files)
    assert records == ()
    try:
        for height in range(3):
            vote = b"prepare %d" % height
            append(journal, (vote,))
            acknowledged.append(vote)
            vote = b"early vote %d" % (height + 1)
            append(journal, (vote,))
            acknowledged.append(vote)
            acknowledged[:] = [vote]  # The decision makes the other one needless.
            rotate(journal, (vote,))
    finally:
        files.close(journal.descriptor)


@pytest.mark.parametrize("ending", ["killed", "power cut", "power cut after removals"])
def test_no_crash_forgets_an_acknowledged_vote(tmp_path: Path, ending: str) -> None:
    calls = 0
    for crash_at in range(1_000):
        directory = tmp_path / str(crash_at)
        directory.mkdir()
        journal_with(directory)
        files, acknowledged = FaultyFiles(crash_at=crash_at), list[bytes]()
        try:
            run_some_votes(directory, files, acknowledged)
        except (Crash, StorageError):
            calls += 1
        else:
            break
        if ending != "killed":
            files.lose_unsynced(keeps_removals=ending == "power cut after removals")

        journal, records = open_journal(directory)
        close_journal(journal)

        assert set(acknowledged) <= set(records), f"crash at {files.calls[-1]} ({crash_at})"
        assert [file.name for file in directory.iterdir()] == [journal.path.name]
    assert calls > 20, "every call was a crash once"
