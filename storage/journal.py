"""The vote journal: what this node said, on disk before it is said (consensus, rule 18).

A segment is appended to with one write and one flush per call. After a decision `rotate` carries
over what still matters into a new segment and drops the old one. `open_journal` sets a torn tail
apart, which was never acknowledged, and says so: whoever sees `tail_cut` has to fence itself (rule
19). The tail stays on the disk until the first record after it takes its place, in one step: were
it cut before that, a crash in between would leave a journal that looks whole.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from storage.errors import (
    JournalCorrupt,
    JournalExists,
    JournalFailed,
    JournalFull,
    JournalMissing,
    StorageError,
)
from storage.files import (
    SYSTEM_FILES,
    Files,
    disk_error,
    named_disk_errors,
    write_new_file,
)
from storage.journal_format import (
    HEAD_BYTES,
    JOURNAL_ID_BYTES,
    RECORD_OVERHEAD_BYTES,
    Damaged,
    Segment,
    SegmentHead,
    decode_segment,
    encode_head,
    encode_record,
    segment_name,
)

JOURNAL_BYTES_MAX: Final = 1 << 30

_PATTERN: Final = "votes-*.log"
_ASIDE: Final = ".new"


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCut:
    """A torn tail that was found at start: at which byte of which segment, and how much."""

    path: Path
    offset: int
    bytes_count: int


@dataclass(slots=True, kw_only=True)
class SyncTimes:
    """How long flushes took, in microseconds; `buckets[i]` counts those below 2^(i+5) us."""

    count: int = 0
    total_us: int = 0
    max_us: int = 0
    last_us: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * 16)

    def add(self, elapsed_us: int) -> None:
        self.count += 1
        self.total_us += elapsed_us
        self.max_us = max(self.max_us, elapsed_us)
        self.last_us = elapsed_us
        self.buckets[min(max(elapsed_us.bit_length() - 5, 0), len(self.buckets) - 1)] += 1


@dataclass(slots=True, kw_only=True)
class Journal:
    """An open journal; one writer.

    `size_bytes` is the durable length of the segment, `tail_cut` what opening had to set apart,
    and `before_tail` the records in front of it as long as it is on the disk.
    """

    directory: Path
    files: Files
    head: SegmentHead
    descriptor: int
    size_bytes: int
    next_sequence: int
    bytes_max: int
    tail_cut: TailCut | None = None
    before_tail: tuple[bytes, ...] | None = None
    is_failed: bool = False
    sync_times: SyncTimes = field(default_factory=SyncTimes)

    @property
    def path(self) -> Path:
        return self.directory / segment_name(self.head)


def create_journal(
    directory: Path, *, files: Files = SYSTEM_FILES, bytes_max: int = JOURNAL_BYTES_MAX
) -> Journal:
    """Begin a journal in an existing directory; raise `JournalExists` if one is there.

    Whoever does so for a node that may have voted before must fence it (consensus, rule 19).
    """
    if any(directory.glob(_PATTERN)):
        raise JournalExists(f"{directory} holds a vote journal already: move it aside, keep it")
    journal_id = secrets.token_bytes(JOURNAL_ID_BYTES)
    head, carried = _make_segment(journal_id, 0, 0, ())
    path = _write_aside(directory, files, head, carried)
    return Journal(
        directory=directory,
        files=files,
        head=head,
        descriptor=_give_name(directory, files, path),
        size_bytes=HEAD_BYTES,
        next_sequence=0,
        bytes_max=bytes_max,
    )


def open_journal(
    directory: Path, *, files: Files = SYSTEM_FILES, bytes_max: int = JOURNAL_BYTES_MAX
) -> tuple[Journal, tuple[bytes, ...]]:
    """Return the journal and its records, the torn tail of a crash set apart.

    What is returned is durable: a killed process may have left records that it never flushed, and
    whoever reads them repeats them to others. Raises `JournalMissing`, `JournalCorrupt`, or
    `JournalFailed`.
    """
    for leftover in directory.glob(_PATTERN + _ASIDE):
        files.unlink(leftover)  # A rotation that a crash interrupted; the old segment is whole.
    segments = sorted(directory.glob(_PATTERN))
    if not segments:
        raise JournalMissing(
            f"there is no vote journal in {directory}: it was lost. Start with a new journal; the"
            " node then stays silent until the others have decided three more blocks"
        )
    path = segments[-1]
    segment = _read_segment(path)
    descriptor = files.open_for_writing(path)
    journal = Journal(
        directory=directory,
        files=files,
        head=segment.head,
        descriptor=descriptor,
        size_bytes=segment.whole_bytes,
        next_sequence=segment.head.first_sequence + len(segment.records),
        bytes_max=bytes_max,
    )
    if segment.torn_bytes:
        journal.tail_cut = TailCut(
            path=path, offset=segment.whole_bytes, bytes_count=segment.torn_bytes
        )
        journal.before_tail = segment.records
    _sync(journal)
    files.sync_directory(directory)
    for older in segments[:-1]:
        files.unlink(older)
    files.sync_directory(directory)
    return journal, segment.records


def append(journal: Journal, records: Sequence[bytes]) -> None:
    """Make records durable: one write, one flush; what returns may be sent.

    Raises `JournalFull` or `DiskFull` with the journal as it was before, and `JournalFailed`
    after anything that leaves open what is on disk.
    """
    _check_usable(journal)
    content = _encode_all(journal.head, journal.next_sequence, records)
    if journal.size_bytes + len(content) > journal.bytes_max:
        raise JournalFull(
            f"the vote journal {journal.path} would pass {journal.bytes_max} bytes:"
            " no block was decided for too long"
        )
    if journal.before_tail is not None:
        rotate(journal, (*journal.before_tail, *records))
        return
    try:
        journal.files.write(journal.descriptor, content, journal.size_bytes)
    except OSError as problem:
        _cut(journal)
        raise disk_error(problem, journal.path) from problem
    _sync(journal)
    journal.size_bytes += len(content)
    journal.next_sequence += len(records)


def rotate(journal: Journal, keep: Sequence[bytes]) -> None:
    """Go on in a new segment that holds only `keep`; durable before the old one is dropped.

    Raises `DiskFull` or `DiskFailed` with the old segment still in use, and `JournalFailed` when
    it is left open which segment a restart would find.
    """
    _check_usable(journal)
    head, carried = _make_segment(
        journal.head.journal_id, journal.head.segment + 1, journal.next_sequence, keep
    )
    path = _write_aside(journal.directory, journal.files, head, carried)
    old_path, old_descriptor = journal.path, journal.descriptor
    try:
        journal.descriptor = _give_name(journal.directory, journal.files, path)
    except StorageError as problem:
        journal.is_failed = True
        raise JournalFailed(
            f"the vote journal could not go on in {path} ({problem}): check the disk and restart"
        ) from problem
    journal.head, journal.before_tail = head, None
    journal.size_bytes = HEAD_BYTES + len(carried)
    journal.next_sequence += len(keep)
    journal.files.close(old_descriptor)
    journal.files.unlink(old_path)
    journal.files.sync_directory(journal.directory)


def close_journal(journal: Journal) -> None:
    """Let go of the file; everything acknowledged is durable already."""
    journal.is_failed = True
    journal.files.close(journal.descriptor)


def read_journal(directory: Path) -> tuple[bytes, ...]:
    """Return the records without changing anything on disk, for checks; raises as opening does."""
    segments = sorted(directory.glob(_PATTERN))
    if not segments:
        raise JournalMissing(f"there is no vote journal in {directory}: it was lost")
    return _read_segment(segments[-1]).records


def _make_segment(
    journal_id: bytes, segment: int, first_sequence: int, keep: Sequence[bytes]
) -> tuple[SegmentHead, bytes]:
    """Return a segment's head and the encoded records that it starts with."""
    carried_bytes = sum(RECORD_OVERHEAD_BYTES + len(body) for body in keep)
    head = SegmentHead(
        journal_id=journal_id,
        segment=segment,
        first_sequence=first_sequence,
        carried_bytes=carried_bytes,
    )
    return head, _encode_all(head, first_sequence, keep)


def _encode_all(head: SegmentHead, first_sequence: int, bodies: Sequence[bytes]) -> bytes:
    return b"".join(
        encode_record(head, first_sequence + position, body) for position, body in enumerate(bodies)
    )


def _write_aside(directory: Path, files: Files, head: SegmentHead, carried: bytes) -> Path:
    """Write a segment, whole and durable, under a name that no start looks at."""
    path = directory / segment_name(head)
    aside = path.with_name(path.name + _ASIDE)
    files.unlink(aside)
    write_new_file(files, aside, encode_head(head) + carried)
    return path


def _give_name(directory: Path, files: Files, path: Path) -> int:
    """Make a segment written aside the one that a start would find; return its descriptor."""
    files.rename(path.with_name(path.name + _ASIDE), path)
    files.sync_directory(directory)
    return files.open_for_writing(path)


def _read_segment(path: Path) -> Segment:
    with named_disk_errors(path):
        content = path.read_bytes()
    try:
        return decode_segment(content, name=path.name)
    except Damaged as problem:
        raise JournalCorrupt(
            f"the vote journal {path} is damaged {problem}. This is no trace of a crash, so this"
            " node no longer knows what it voted: check the disk and the rest of the directory with"
            f" `medledger fsck`, move all files out of {path.parent}, keep them, start the node;"
            " it begins a new journal and stays silent until the others have decided three more"
            " blocks, or its operators use `medledger recover`"
        ) from problem


def _check_usable(journal: Journal) -> None:
    if journal.is_failed:
        raise JournalFailed(
            f"the vote journal {journal.path} failed before: restart the node, which reads what"
            " is really on the disk"
        )


def _sync(journal: Journal) -> None:
    """Flush; after a failed flush nobody knows what is on disk, and asking again would lie."""
    started_ns = time.perf_counter_ns()
    try:
        journal.files.sync(journal.descriptor)
    except OSError as problem:
        journal.is_failed = True
        raise JournalFailed(
            f"the vote journal {journal.path} could not be flushed ({problem.strerror}): the node"
            " stops voting; check the disk and restart"
        ) from problem
    journal.sync_times.add((time.perf_counter_ns() - started_ns) // 1_000)


def _cut(journal: Journal) -> None:
    """Take back what lies behind the durable length."""
    try:
        journal.files.truncate(journal.descriptor, journal.size_bytes)
        journal.files.sync(journal.descriptor)
    except (OSError, StorageError) as problem:
        journal.is_failed = True
        raise JournalFailed(
            f"the vote journal {journal.path} could not be cut back: check the disk and restart"
        ) from problem
