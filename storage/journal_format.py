"""The bytes of a vote journal, and what may be said of a segment that a crash or a disk left.

    segment  head || record || record || ...
    head     magic 8 || journal id 16 || segment u64 || first sequence u64 || carried u64 || crc u32
    record   length u32 || sequence u64 || body crc u32 || header crc u32 || body || mark 0xE5

Integers are big-endian. Both CRCs of a record start from journal id and segment number, so bytes
of another file never pass for a record. A whole record never ends with a zero because of the mark.
`carried` counts the bytes of records that were durable before the segment got its name.

A crash during an append leaves the file short, or zero from some offset to its end. Only that is
a torn tail, and only behind the carried records; everything else is corruption.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"mlvotes\x01"
JOURNAL_ID_BYTES: Final = 16
MARK: Final = b"\xe5"
RECORD_BYTES_MAX: Final = 128 << 20

_HEAD: Final = struct.Struct(">8s16sQQQ")
_CRC: Final = struct.Struct(">I")
_RECORD_HEAD: Final = struct.Struct(">IQI")

HEAD_BYTES: Final = _HEAD.size + _CRC.size
RECORD_HEAD_BYTES: Final = _RECORD_HEAD.size + _CRC.size
RECORD_OVERHEAD_BYTES: Final = RECORD_HEAD_BYTES + len(MARK)


class Damaged(Exception):
    """A segment that no crash explains; `offset` is where it stops making sense."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(f"at byte {offset}: {problem}")
        self.offset = offset


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHead:
    """What a segment says about itself."""

    journal_id: bytes
    segment: int
    first_sequence: int
    carried_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as it was read; `torn_bytes` behind `whole_bytes` are to be cut."""

    head: SegmentHead
    records: tuple[bytes, ...]
    whole_bytes: int
    torn_bytes: int


def encode_head(head: SegmentHead) -> bytes:
    packed = _HEAD.pack(
        MAGIC, head.journal_id, head.segment, head.first_sequence, head.carried_bytes
    )
    return packed + _CRC.pack(zlib.crc32(packed))


def encode_record(head: SegmentHead, sequence: int, body: bytes) -> bytes:
    """Return one record of the segment that starts with `head`."""
    assert len(body) <= RECORD_BYTES_MAX, "a vote record is bounded"
    seed = _seed(head)
    packed = _RECORD_HEAD.pack(len(body), sequence, zlib.crc32(body, seed))
    return b"".join((packed, _CRC.pack(zlib.crc32(packed, seed)), body, MARK))


def segment_name(head: SegmentHead) -> str:
    """Return the name of the segment's file; names sort as segments follow one another."""
    return f"votes-{head.segment:016x}.log"


def decode_segment(content: bytes, *, name: str) -> Segment:
    """Return what the segment in file `name` holds, its torn tail set apart; raise `Damaged`."""
    head = _decode_head(content)
    if name != segment_name(head):
        raise Damaged(0, f"it is {segment_name(head)} under another name")
    records: list[bytes] = []
    offset = HEAD_BYTES
    written_bytes = len(content.rstrip(b"\x00"))  # What follows is zero to the end.
    while offset < len(content):
        body = _decode_record(content, offset, written_bytes, head, len(records))
        if body is None:
            break
        records.append(body)
        offset += RECORD_OVERHEAD_BYTES + len(body)
    if offset < HEAD_BYTES + head.carried_bytes:
        raise Damaged(offset, "records that were durable before are gone")
    return Segment(
        head=head,
        records=tuple(records),
        whole_bytes=offset,
        torn_bytes=len(content) - offset,
    )


def _decode_head(content: bytes) -> SegmentHead:
    packed, crc = content[: _HEAD.size], content[_HEAD.size : HEAD_BYTES]
    if len(crc) < _CRC.size or crc != _CRC.pack(zlib.crc32(packed)):
        raise Damaged(0, "the segment's head is damaged")
    magic, journal_id, segment, first_sequence, carried_bytes = _HEAD.unpack(packed)
    if magic != MAGIC:
        raise Damaged(0, "not a vote journal of this version")
    return SegmentHead(
        journal_id=journal_id,
        segment=segment,
        first_sequence=first_sequence,
        carried_bytes=carried_bytes,
    )


def _decode_record(
    content: bytes, offset: int, written_bytes: int, head: SegmentHead, position: int
) -> bytes | None:
    """Return the body of the record at `offset`, or None if it is a torn tail."""
    seed = _seed(head)
    body_at = offset + RECORD_HEAD_BYTES
    if body_at > len(content):
        return None
    packed = content[offset : body_at - _CRC.size]
    if content[body_at - _CRC.size : body_at] != _CRC.pack(zlib.crc32(packed, seed)):
        if written_bytes <= body_at:
            return None
        raise Damaged(offset, "a record's header does not have its checksum")
    length, sequence, body_crc = _RECORD_HEAD.unpack(packed)
    mark_at = body_at + length
    if mark_at + len(MARK) > len(content):
        return None
    body = content[body_at:mark_at]
    if content[mark_at : mark_at + len(MARK)] != MARK or zlib.crc32(body, seed) != body_crc:
        if written_bytes <= mark_at:
            return None
        raise Damaged(offset, "a record's body does not have its checksum")
    if sequence != head.first_sequence + position:
        raise Damaged(offset, f"record {sequence} where {head.first_sequence + position} is due")
    return body


def _seed(head: SegmentHead) -> int:
    return zlib.crc32(head.journal_id + head.segment.to_bytes(8, "big"))
