"""The disk of one simulated replica: what is on it survives a crash, nothing else does."""

from dataclasses import dataclass, field

from consensus.blocks import Block, CertifiedBlock
from consensus.records import (
    ProposalRecord,
    Record,
    decode_record,
    encode_record,
    record_height,
)
from crypto.hashing import Digest
from crypto.votes import GENESIS_HEIGHT, Height


@dataclass(slots=True)
class Disk:
    """The vote journal as bytes, and the decided blocks; the application keeps its own state.

    `written` repeats the journal, decoded, for those who watch.
    """

    journal: list[bytes] = field(default_factory=list)
    written: list[Record] = field(default_factory=list)
    blocks: dict[Height, CertifiedBlock] = field(default_factory=dict)
    proposals: dict[Digest, Block] = field(default_factory=dict)


def append(disk: Disk, record: Record) -> None:
    disk.journal.append(encode_record(record))
    disk.written.append(record)
    if isinstance(record, ProposalRecord):
        disk.proposals[record.block.digest] = record.block


def records(disk: Disk) -> list[Record]:
    return [decode_record(encoded) for encoded in disk.journal]


def store(disk: Disk, one: CertifiedBlock) -> None:
    """Store a decided block; proposals of its height are no longer promised to anybody."""
    disk.blocks[one.block.height] = one
    for digest in [
        digest for digest, block in disk.proposals.items() if block.height <= one.block.height
    ]:
        del disk.proposals[digest]


def compact(disk: Disk) -> None:
    """Forget records of decided heights, as the real journal may."""
    decided = max(disk.blocks, default=GENESIS_HEIGHT)
    kept = [
        record
        for record in disk.written
        if (height := record_height(record)) is None or height > decided
    ]
    disk.written = kept
    disk.journal = [encode_record(record) for record in kept]
