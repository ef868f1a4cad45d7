"""The vote journal as the replica uses it: the core's records, and the bodies they speak of.

`live` mirrors what the journal must still hold: the records of undecided heights, and those of the
highest height it speaks of, decided or not. A rotation writes exactly those into a new segment, so
the journal stays as short as one height, and always tells how far this node has signed: a ledger
that is put back to less (a snapshot, a backup) is found out by it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, TypeAlias

from consensus.records import (
    Booted,
    ProposalRecord,
    Record,
    decode_record,
    encode_record,
    record_height,
)
from crypto.hashing import Digest
from crypto.schema import U64, Bytes32, Count, Size, decode, encode
from shell.proposals import Proposals
from shell.sidecars import store_sidecars
from storage.journal import Journal, append, rotate
from storage.sidecars import SidecarStore

BODIES_TAG: Final = 100
ROTATE_BYTES: Final = 16 << 20

Kept: TypeAlias = tuple[int | None, bytes]
"""A record as it is stored, with its height if it speaks of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodiesRecord:
    """The signed transactions of a proposal that this node has promised to serve."""

    WIRE_TAG: ClassVar[int] = BODIES_TAG
    WIRE_BYTES_MAX: ClassVar[int] = 80 << 20

    height: U64
    digest: Bytes32
    transactions: Annotated[tuple[Annotated[bytes, Size(1, 1 << 20)], ...], Count(0, 100_000)]


@dataclass(slots=True, kw_only=True)
class VoteJournal:
    """An open journal and the records of it that are still needed, each with its height."""

    journal: Journal
    live: list[Kept] = field(default_factory=list)


def open_votes(
    journal: Journal, encoded: Sequence[bytes], decided_height: int
) -> tuple[VoteJournal, tuple[Record, ...], tuple[BodiesRecord, ...]]:
    """Return the journal with what it holds about heights above `decided_height`.

    Raises `DecodeError` for a record that is none of ours.
    """
    votes = VoteJournal(journal=journal)
    records: list[Record] = []
    bodies: list[BodiesRecord] = []
    for one in encoded:
        record = _decode(one)
        height = _height(record)
        if isinstance(record, Booted):  # The last start names those before it.
            votes.live = [kept for kept in votes.live if not _is_booted(kept[1])]
        votes.live.append((height, one))
        if height is not None and height <= decided_height:
            continue
        if isinstance(record, BodiesRecord):
            bodies.append(record)
        else:
            records.append(record)
    votes.live = _needed(votes.live, decided_height)
    return votes, tuple(records), tuple(bodies)


def persist(
    votes: VoteJournal, proposals: Proposals, sidecars: SidecarStore, records: Iterable[Record]
) -> None:
    """Make records durable, those of proposals after the bodies and sidecars of their blocks."""
    durable: list[Record | BodiesRecord] = []
    for record in records:
        if isinstance(record, ProposalRecord):
            checked = proposals.checked[record.block.digest]
            store_sidecars(sidecars, checked.bodies)
            signed = [body.transaction.signed for body in checked.bodies]
            durable.append(make_bodies_record(record.block.height, record.block.digest, signed))
        durable.append(record)
    append_votes(votes, durable)


def append_votes(votes: VoteJournal, records: Iterable[Record | BodiesRecord]) -> None:
    """Make the records durable, in order, with one flush."""
    fresh = [(_height(record), _encode(record)) for record in records]
    append(votes.journal, [encoded for _, encoded in fresh])
    votes.live.extend(fresh)


def forget_votes(votes: VoteJournal, decided_height: int) -> None:
    """Let go of decided heights; start a new segment when the present one has grown long."""
    votes.live = _needed(votes.live, decided_height)
    if votes.journal.size_bytes > ROTATE_BYTES:
        rotate(votes.journal, [encoded for _, encoded in votes.live])


def rotate_votes(journal: Journal, encoded: Sequence[bytes], decided_height: int) -> None:
    """Go on in a segment that holds only what is needed once `decided_height` is decided."""
    votes, _, _ = open_votes(journal, encoded, decided_height)
    rotate(journal, [one for _, one in votes.live])


def make_bodies_record(height: int, digest: Digest, transactions: Iterable[bytes]) -> BodiesRecord:
    return BodiesRecord(height=height, digest=digest, transactions=tuple(transactions))


def _needed(live: Sequence[Kept], decided_height: int) -> list[Kept]:
    highest = max((height for height, _ in live if height is not None), default=0)
    kept_from = min(decided_height + 1, highest)
    return [one for one in live if one[0] is None or one[0] >= kept_from]


def _is_booted(encoded: bytes) -> bool:
    return encoded[1] == Booted.WIRE_TAG


def _decode(encoded: bytes) -> Record | BodiesRecord:
    if len(encoded) > 1 and encoded[1] == BODIES_TAG:
        return decode(BodiesRecord, encoded)
    return decode_record(encoded)


def _encode(record: Record | BodiesRecord) -> bytes:
    return encode(record) if isinstance(record, BodiesRecord) else encode_record(record)


def _height(record: Record | BodiesRecord) -> int | None:
    return record.height if isinstance(record, BodiesRecord) else record_height(record)
