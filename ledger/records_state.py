"""Records as they stand in state: what the ledger knows of them, and who may look up what.

    records/record/<record 16>                                      Record
    records/version/<record 16><version 16>                         Version
    records/seal/<cid 36>                                           Seal
    records/patient/<pseudonym 32><time u64><record 16>             RecordPointer
    records/read/<pseudonym 32><record 16><version 16><seal 16><reader 32><node u16>  ReadEntry

Numbers in keys are big-endian, so key order is time order. A seal is found by its content address:
every sealing has its own, and no address can be claimed twice. Otherwise whoever once saw a key
could list the same bytes as a record of their own and have them served under other rules. Reads
are kept per reader, seal and node; the log keeps each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import U32, U64, Bytes16, Bytes64, Count, Name, decode, encode
from crypto.validators import ReplicaId
from ledger.accounts import OrgId, Role
from ledger.purposes import Purpose
from ledger.records_payloads import (
    ENVELOPES_MAX,
    STORAGE_RECEIPTS_MAX,
    CategoryId,
    Confidentiality,
    EnvelopeRef,
    SizeBytes,
    Tags,
)
from ledger.state import Overlay, StateView

FORMER_SEALS_MAX: Final = 256
"""Ended seals of one version whose bytes nobody has yet confirmed as replaceable."""

BECAUSE_MAX: Final = 8
"""Transactions a decision names as its grounds."""

_DECODED_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts:
    """What the access rules look at; it stays the same through all versions of a record.

    `author_org` is the organisation its author belonged to when the record was put.
    """

    pseudonym: AccountId
    record_id: RecordId
    category: CategoryId
    tags: Tags
    level: Confidentiality
    author: AccountId
    author_org: OrgId


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record and which of its versions is the latest; `tx_id` is the put."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    facts: RecordFacts
    latest: VersionId
    version_count: U32
    tx_id: Digest
    height: U64
    time_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRef:
    """A seal by id, and where to find it."""

    seal_id: SealId
    cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, whose content never changes; `ordinal` counts from 1.

    `author_key_id` names the sign key that made `author_signature`, in force at `height`.
    `seal` is the encryption in force; `former` are earlier ones, oldest first, whose bytes are
    kept until somebody has confirmed that a later one opens.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 20 << 10

    record_id: RecordId
    version_id: VersionId
    ordinal: U32
    previous: VersionId | None
    author: AccountId
    author_org: OrgId
    author_key_id: Bytes16
    author_signature: Bytes64
    commitment: Digest
    seal: SealRef
    former: Annotated[tuple[SealRef, ...], Count(0, FORMER_SEALS_MAX)]
    tx_id: Digest
    height: U64
    time_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One encryption of one version: `size_bytes` of ciphertext and the envelopes of its key.

    `stored_by` are the validators whose receipts came with it, ascending; it is `is_safe` if they
    were at least f + 1. `envelopes` ascend by recipient and key.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32 << 10

    record_id: RecordId
    version_id: VersionId
    seal_id: SealId
    cid: Cid
    size_bytes: SizeBytes
    envelopes: Annotated[tuple[EnvelopeRef, ...], Count(0, ENVELOPES_MAX)]
    stored_by: Annotated[tuple[ReplicaId, ...], Count(0, STORAGE_RECEIPTS_MAX)]
    is_safe: bool
    tx_id: Digest
    height: U64
    time_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPointer:
    """A patient's record, in the order they were put."""

    WIRE_BYTES_MAX: ClassVar[int] = 32

    record_id: RecordId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadEntry:
    """The right to fetch one seal from one node until `expires_ms`, and the trace of using it.

    Serving ends at `expires_ms` (block time). Purpose, rule, grounds and `tx_id` are those of the
    latest of `count` reads, at `last_ms`; so are the reader's organisation and role.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4 << 10

    pseudonym: AccountId
    record_id: RecordId
    version_id: VersionId
    seal_id: SealId
    reader: AccountId
    reader_org: OrgId
    reader_role: Role
    serving_node: ReplicaId
    purpose: Purpose
    rule: Name
    because: Annotated[tuple[Digest, ...], Count(0, BECAUSE_MAX)]
    tx_id: Digest
    count: U32
    first_ms: U64
    last_ms: U64
    expires_ms: U64


def record_key(record_id: RecordId) -> bytes:
    return b"records/record/" + record_id


def version_key(record_id: RecordId, version_id: VersionId) -> bytes:
    return b"records/version/" + record_id + version_id


def seal_key(cid: Cid) -> bytes:
    return b"records/seal/" + cid


def patient_prefix(pseudonym: AccountId) -> bytes:
    return b"records/patient/" + pseudonym


def patient_key(pseudonym: AccountId, time_ms: int, record_id: RecordId) -> bytes:
    return patient_prefix(pseudonym) + time_ms.to_bytes(8, "big") + record_id


def reads_prefix(pseudonym: AccountId) -> bytes:
    return b"records/read/" + pseudonym


def read_key(
    pseudonym: AccountId,
    record_id: RecordId,
    version_id: VersionId,
    seal_id: SealId,
    reader: AccountId,
    serving_node: ReplicaId,
) -> bytes:
    sealing = record_id + version_id + seal_id
    return reads_prefix(pseudonym) + sealing + reader + serving_node.to_bytes(2, "big")


def get_record(view: StateView, record_id: RecordId) -> Record | None:
    encoded = view.get(record_key(record_id))
    return None if encoded is None else _record(encoded)


def get_version(view: StateView, record_id: RecordId, version_id: VersionId) -> Version | None:
    encoded = view.get(version_key(record_id, version_id))
    return None if encoded is None else _version(encoded)


def get_seal(view: StateView, cid: Cid) -> Seal | None:
    """Return the seal whose bytes have this address; it need not be in force any more."""
    encoded = view.get(seal_key(cid))
    return None if encoded is None else _seal(encoded)


def get_read_entry(
    view: StateView,
    *,
    pseudonym: AccountId,
    record_id: RecordId,
    version_id: VersionId,
    seal_id: SealId,
    reader: AccountId,
    serving_node: ReplicaId,
) -> ReadEntry | None:
    encoded = view.get(read_key(pseudonym, record_id, version_id, seal_id, reader, serving_node))
    return None if encoded is None else decode(ReadEntry, encoded)


def current_seal(view: StateView, version: Version) -> Seal:
    """Return the seal in force of a version."""
    seal = get_seal(view, version.seal.cid)
    assert seal is not None, "a version's seal stands in state"
    return seal


def iterate_seals(
    view: StateView, *, start: bytes = b"", limit: int
) -> Iterator[tuple[bytes, Seal]]:
    """Yield (state key, seal) of at most `limit` seals from the state key `start` on."""
    for key, encoded in view.scan(seal_key(Cid(b"")), start=start, limit=limit):
        yield key, _seal(encoded)


def is_blob_live(view: StateView, cid: Cid) -> bool:
    """Whether these bytes belong to a seal in force, or to a former one still worth keeping."""
    seal = get_seal(view, cid)
    if seal is None:
        return False
    version = get_version(view, seal.record_id, seal.version_id)
    assert version is not None, "a seal's version stands in state"
    return cid == version.seal.cid or any(cid == former.cid for former in version.former)


def patient_records(
    view: StateView, pseudonym: AccountId, *, after: bytes = b"", limit: int
) -> Iterator[tuple[bytes, Record]]:
    """Yield a patient's records in the order they were put, each with the cursor that follows it.

    `after` is the cursor of the last record already seen.
    """
    prefix = patient_prefix(pseudonym)
    for key, encoded in view.scan(prefix, start=after and after + b"\x00", limit=limit):
        record = get_record(view, decode(RecordPointer, encoded).record_id)
        assert record is not None, "a patient's index points to records"
        yield key, record


def record_versions(view: StateView, record: Record, *, limit: int) -> Iterator[Version]:
    """Yield a record's versions, latest first."""
    version_id: VersionId | None = record.latest
    for _ in range(limit):
        if version_id is None:
            return
        version = get_version(view, record.facts.record_id, version_id)
        assert version is not None, "a version's predecessor stands in state"
        yield version
        version_id = version.previous


def patient_reads(
    view: StateView, pseudonym: AccountId, *, after: bytes = b"", limit: int
) -> Iterator[tuple[bytes, ReadEntry]]:
    """Yield who has read what of a patient, by record, each with the cursor that follows it."""
    prefix = reads_prefix(pseudonym)
    for key, encoded in view.scan(prefix, start=after and after + b"\x00", limit=limit):
        yield key, decode(ReadEntry, encoded)


def seal_reads(
    view: StateView,
    *,
    pseudonym: AccountId,
    record_id: RecordId,
    version_id: VersionId,
    seal_id: SealId,
    limit: int,
) -> Iterator[ReadEntry]:
    """Yield who has read one seal, and from which node."""
    prefix = reads_prefix(pseudonym) + record_id + version_id + seal_id
    for _, encoded in view.scan(prefix, limit=limit):
        yield decode(ReadEntry, encoded)


def put_record(state: Overlay, record: Record) -> None:
    state.put(record_key(record.facts.record_id), encode(record))


def put_version(state: Overlay, version: Version) -> None:
    state.put(version_key(version.record_id, version.version_id), encode(version))


def put_seal(state: Overlay, seal: Seal) -> None:
    state.put(seal_key(seal.cid), encode(seal))


def put_pointer(state: Overlay, record: Record) -> None:
    facts = record.facts
    key = patient_key(facts.pseudonym, record.time_ms, facts.record_id)
    state.put(key, encode(RecordPointer(record_id=facts.record_id)))


def put_read_entry(state: Overlay, entry: ReadEntry) -> None:
    key = read_key(
        entry.pseudonym,
        entry.record_id,
        entry.version_id,
        entry.seal_id,
        entry.reader,
        entry.serving_node,
    )
    state.put(key, encode(entry))


@lru_cache(maxsize=_DECODED_MAX)
def _record(encoded: bytes) -> Record:
    return decode(Record, encoded)


@lru_cache(maxsize=_DECODED_MAX)
def _version(encoded: bytes) -> Version:
    return decode(Version, encoded)


@lru_cache(maxsize=_DECODED_MAX)
def _seal(encoded: bytes) -> Seal:
    return decode(Seal, encoded)
