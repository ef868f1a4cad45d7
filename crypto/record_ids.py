"""The names of a record, of its versions and of each sealing of a version; none is circular.

A record id follows from its author and 16 random bytes, so that nobody can claim another's; a
version id and a seal id are random. They exist before anything is sealed, because the seal binds
them: `SealContext` is hashed into the keys of every sealed record.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated, NewType

from crypto.hashing import ChainId, Domain, digest
from crypto.schema import Size

AccountId = NewType("AccountId", Annotated[bytes, Size(32, 32)])
"""Digest of an account's first sign key; a patient's account at one hospital is a pseudonym."""

RecordId = NewType("RecordId", Annotated[bytes, Size(16, 16)])
"""Names a record through all its versions; 16 bytes."""

VersionId = NewType("VersionId", Annotated[bytes, Size(16, 16)])
"""Names one version of a record, whose content never changes; 16 random bytes."""

SealId = NewType("SealId", Annotated[bytes, Size(16, 16)])
"""Names one encryption of a version, with its own key; 16 random bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealContext:
    """What a seal is bound to: opening it anywhere else fails before the first byte."""

    chain_id: ChainId
    record_id: RecordId
    version_id: VersionId
    seal_id: SealId


def make_record_id(chain_id: ChainId, author: AccountId, random: bytes | None = None) -> RecordId:
    """Return a new record's id; `random` (16 bytes) is drawn unless a test vector gives it."""
    random = secrets.token_bytes(16) if random is None else random
    assert len(random) == 16, "a record id hashes 16 random bytes"
    return RecordId(digest(Domain.RECORD_ID, chain_id, author, random)[:16])


def make_version_id() -> VersionId:
    """Return a new version's id."""
    return VersionId(secrets.token_bytes(16))


def make_seal_id() -> SealId:
    """Return the id of a new encryption."""
    return SealId(secrets.token_bytes(16))


def context_bytes(context: SealContext) -> bytes:
    """Return chain id, record id, version id and seal id side by side; 80 bytes."""
    joined = context.chain_id + context.record_id + context.version_id + context.seal_id
    assert len(joined) == 80, "every id of a seal context has its fixed length"
    return joined
