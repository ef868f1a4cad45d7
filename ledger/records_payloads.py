"""What transactions of the records family carry: a version's public facts, envelopes, receipts.

Everything here is opaque by construction (design: privacy, "What the chain says about a record"): a
category and a tag are 16 bytes that mean something only to who holds the pseudonym's directory, a
commitment hides the content, an envelope is named by the salted digest of an erasable sidecar. The
author of a version is the account that signs its transaction; no payload names another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from operator import lt
from typing import Annotated, ClassVar, Final, TypeVar

from crypto.cid import Cid, check_cid
from crypto.errors import InvalidCid
from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import Bytes16, Bytes64, Count, Range
from crypto.validators import ReplicaId
from ledger.purposes import Purpose

TAGS_MAX: Final = 16
ENVELOPES_MAX: Final = 256
"""Envelopes of one seal, or of one page: as many as a transaction may have sidecars."""

STORAGE_RECEIPTS_MAX: Final = 64
SEALED_BYTES_MAX: Final = 1 << 40
PAYLOAD_BYTES_MAX: Final = 64 << 10

Ordered = TypeVar("Ordered", int, bytes, str, tuple[bytes, bytes])

CategoryId = Bytes16
Tag = Bytes16
KeyId = Bytes16


class Confidentiality(Enum):
    """How sensitive a record is (HL7 v3 Confidentiality), from normal to very restricted."""

    NORMAL = "N"
    RESTRICTED = "R"
    VERY_RESTRICTED = "V"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRef:
    """A key of the sealed record, wrapped for one recipient, in a sidecar of this digest.

    `key_id` names the seal key it was wrapped to: one that has ended does not count.
    """

    recipient: AccountId
    key_id: KeyId
    sidecar: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageReceipt:
    """A validator's promise to keep a blob: Ed25519 over `ledger.storage_receipts`' payload."""

    validator: ReplicaId
    signature: Bytes64


Tags = Annotated[tuple[Tag, ...], Count(0, TAGS_MAX)]
Envelopes = Annotated[tuple[EnvelopeRef, ...], Count(1, ENVELOPES_MAX)]
StorageReceipts = Annotated[tuple[StorageReceipt, ...], Count(0, STORAGE_RECEIPTS_MAX)]
SizeBytes = Annotated[int, Range(1, SEALED_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSeal:
    """One encryption of one version: where its bytes are and who may open them.

    `size_bytes` is the ciphertext's (1 .. 2^40); `envelopes` ascend by recipient and key,
    `storage_receipts` by validator. Order is part of the format, so that a seal has one spelling.
    """

    seal_id: SealId
    cid: Cid
    size_bytes: SizeBytes
    envelopes: Envelopes
    storage_receipts: StorageReceipts

    def __post_init__(self) -> None:
        try:
            check_cid(self.cid)
        except InvalidCid as problem:
            raise ValueError(str(problem)) from problem
        if not is_ascending([(one.recipient, one.key_id) for one in self.envelopes]):
            raise ValueError("envelopes do not ascend by recipient and key")
        if not is_ascending([one.validator for one in self.storage_receipts]):
            raise ValueError("storage receipts do not ascend by validator")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPut:
    """`records.put`: a new record of `pseudonym`, in its first version.

    `record_id` hashes the author's account and `record_random`, so that nobody can take another's
    id; `tags` ascend.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    pseudonym: AccountId
    record_id: RecordId
    record_random: Bytes16
    version_id: VersionId
    category: CategoryId
    tags: Tags
    level: Confidentiality
    commitment: Digest
    author_signature: Bytes64
    seal: NewSeal

    def __post_init__(self) -> None:
        if not is_ascending(self.tags):
            raise ValueError("tags do not ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordVersion:
    """`records.version`: the next version of a record, if `previous` is still the latest one.

    Category, tags and level stay those of the record: whoever may add a version may not thereby
    move it in front of other eyes.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    record_id: RecordId
    version_id: VersionId
    previous: VersionId
    commitment: Digest
    author_signature: Bytes64
    seal: NewSeal


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRead:
    """`records.read`: the sender will read one sealed version from one node, for one purpose."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512

    record_id: RecordId
    version_id: VersionId
    seal_id: SealId
    purpose: Purpose
    serving_node: ReplicaId


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedEnvelope:
    """An envelope for somebody who became a recipient after the version was sealed."""

    record_id: RecordId
    version_id: VersionId
    seal_id: SealId
    envelope: EnvelopeRef


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEnvelopes:
    """`records.envelopes`: a page of envelopes for existing records of one pseudonym."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    pseudonym: AccountId
    added: Annotated[tuple[AddedEnvelope, ...], Count(1, ENVELOPES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReseal:
    """`records.reseal`: a fresh key for a version, if `previous_seal` is still its seal.

    Commitment and author's signature stay: they are about the content, not about the key.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    record_id: RecordId
    version_id: VersionId
    previous_seal: SealId
    seal: NewSeal


def is_ascending(items: Sequence[Ordered]) -> bool:
    """Whether every item is greater than the one before it (so none repeats)."""
    return all(map(lt, items, items[1:]))
