"""Records: sealing and putting them, and new versions; `client.reading` opens them.

Who must be able to open a record is computed here over proven state. The content is sealed under a
fresh key and uploaded; only then the ledger hears of it.
"""

import asyncio
import mimetypes
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Final, TypeAlias

from client.connection import Client, act, ask
from client.directories import category_id, get_directory, label_tags
from client.errors import LocalError, NotFound, Refused
from client.lookup import find_version
from client.proving import now_ms
from client.reading import OpenedFile as OpenedFile
from client.reading import get_record as get_record
from client.recipients import seal_to, wanted_recipients
from client.transactions import Outcome
from client.transfers import Progress, Stored, upload_blob
from client.workplace import sealed_file
from crypto.cid import Cid
from crypto.content import author_payload
from crypto.hashing import Digest, Domain
from crypto.record_ids import (
    AccountId,
    RecordId,
    SealContext,
    VersionId,
    make_record_id,
    make_seal_id,
    make_version_id,
)
from crypto.sealed import ContentDescription, SealedRecord, seal_stream
from crypto.sealed_format import SealSecrets, make_seal_secrets
from crypto.signatures import sign
from ledger.accounts import OrgId, account_key, get_account
from ledger.records_payloads import (
    Confidentiality,
    NewSeal,
    RecordPut,
    RecordVersion,
)
from ledger.records_state import RecordFacts

ATTEMPTS: Final = 3
"""How often a put is made anew because its recipients changed under way."""

STALE: Final = "recipients.stale"
OCTETS: Final = "application/octet-stream"

MakePayload: TypeAlias = Callable[[VersionId, Digest, NewSeal], RecordPut | RecordVersion]
"""Makes a payload from what sealing gives: version id, commitment, seal."""

_TYPES: Final = {".dcm": "application/dicom", ".ndjson": "application/fhir+ndjson"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRecord:
    """What a put left on the ledger; unless `is_safe`, too few hospitals keep a copy yet."""

    record_id: RecordId
    version_id: VersionId
    cid: Cid
    size_bytes: int
    is_safe: bool
    recipients: tuple[AccountId, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file to be sealed, and what is said about it inside the seal."""

    path: Path
    description: ContentDescription


async def put_record(
    client: Client,
    patient: AccountId,
    source: Path,
    *,
    category: str,
    labels: Sequence[str] = (),
    level: Confidentiality = Confidentiality.NORMAL,
    content_type: str | None = None,
    authored_ms: int | None = None,
    progress: Progress | None = None,
) -> PutRecord:
    """Seal a file as a new record of a patient; `category` and `labels` by their names.

    Raises `Refused`, `DirectoryUnknown`, `Untrusted`, `OutcomeUnknown`.
    """
    directory = await get_directory(client, patient)
    random = secrets.token_bytes(16)
    author = client.actor.account
    facts = RecordFacts(
        pseudonym=patient,
        record_id=make_record_id(client.chain_id, author, random),
        category=category_id(directory, category),
        tags=label_tags(directory, labels),
        level=level,
        author=author,
        author_org=await _own_organisation(client),
    )
    described = describe(source, content_type=content_type, authored_ms=authored_ms)

    def make_payload(version_id: VersionId, commitment: Digest, seal: NewSeal) -> RecordPut:
        return RecordPut(
            pseudonym=patient,
            record_id=facts.record_id,
            record_random=random,
            version_id=version_id,
            category=facts.category,
            tags=facts.tags,
            level=level,
            commitment=commitment,
            author_signature=_author_signature(client, facts, version_id, commitment),
            seal=seal,
        )

    return await _put(client, facts, described, "records.put", make_payload, progress)


async def put_version(
    client: Client,
    record_id: RecordId,
    source: Path,
    *,
    content_type: str | None = None,
    authored_ms: int | None = None,
    progress: Progress | None = None,
) -> PutRecord:
    """Seal a file as the next version of a record; raises as `put_record`.

    `Refused` with `records.conflict` says that somebody else has written one meanwhile.
    """
    latest = await find_version(client, record_id)
    facts = latest.record.facts
    described = describe(source, content_type=content_type, authored_ms=authored_ms)

    def make_payload(version_id: VersionId, commitment: Digest, seal: NewSeal) -> RecordVersion:
        return RecordVersion(
            record_id=record_id,
            version_id=version_id,
            previous=latest.version.version_id,
            commitment=commitment,
            author_signature=_author_signature(client, facts, version_id, commitment),
            seal=seal,
        )

    return await _put(client, facts, described, "records.version", make_payload, progress)


def describe(
    source: Path, *, content_type: str | None = None, authored_ms: int | None = None
) -> Source:
    """Return a file with its description; raise `LocalError` if it is not a readable file."""
    if not source.is_file():
        raise LocalError(f"{source} is not a file", code="file.missing")
    guessed = _TYPES.get(source.suffix.lower()) or mimetypes.guess_type(source.name)[0]
    return Source(
        path=source,
        description=ContentDescription(
            content_type=content_type or guessed or OCTETS,
            file_name=source.name,
            authored_ms=now_ms() if authored_ms is None else authored_ms,
        ),
    )


async def store_sealed(
    client: Client, path: Path, sealed: SealedRecord, progress: Progress | None
) -> Stored:
    """Upload sealed bytes; the receipts are checked."""
    return await upload_blob(
        client.node, client.trust, path, sealed.cid, sealed.size_bytes, progress=progress
    )


async def _put(
    client: Client,
    facts: RecordFacts,
    source: Source,
    kind: str,
    make_payload: MakePayload,
    progress: Progress | None,
) -> PutRecord:
    """Put until the recipients hold still: each attempt has its own key, seal and bytes."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _put_once(client, facts, source, kind, make_payload, progress)
        except Refused as refusal:
            if refusal.code != STALE or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


async def _put_once(
    client: Client,
    facts: RecordFacts,
    source: Source,
    kind: str,
    make_payload: MakePayload,
    progress: Progress | None,
) -> PutRecord:
    context = SealContext(
        chain_id=client.chain_id,
        record_id=facts.record_id,
        version_id=make_version_id(),
        seal_id=make_seal_id(),
    )
    inside = make_seal_secrets()
    with sealed_file(client.wallet) as (path, stream):
        sealed = await asyncio.to_thread(_seal_file, client, source, stream, context, inside)
        stored = await store_sealed(client, path, sealed, progress)
    wanted = await wanted_recipients(client, facts)
    envelopes = seal_to(wanted, inside, facts.pseudonym, context)
    seal = NewSeal(
        seal_id=context.seal_id,
        cid=sealed.cid,
        size_bytes=sealed.size_bytes,
        envelopes=envelopes.refs,
        storage_receipts=stored.receipts,
    )
    payload = make_payload(context.version_id, sealed.commitment, seal)
    outcome = await act(client, kind, payload, sidecars=envelopes.sidecars)
    written = await find_version(client, facts.record_id, context.version_id)
    return PutRecord(
        record_id=facts.record_id,
        version_id=context.version_id,
        cid=sealed.cid,
        size_bytes=sealed.size_bytes,
        is_safe=written.seal.is_safe,
        recipients=tuple(one.account for one in wanted),
        outcome=outcome,
    )


async def _own_organisation(client: Client) -> OrgId:
    account_id = client.actor.account
    account = await ask(
        client, lambda view: get_account(view, account_id), (account_key(account_id),)
    )
    if account is None:
        raise NotFound(
            f"the account of {client.actor.label} is not registered yet", code="account.unknown"
        )
    return account.org


def _author_signature(
    client: Client, facts: RecordFacts, version_id: VersionId, commitment: Digest
) -> bytes:
    keys = client.actor
    payload = author_payload(
        pseudonym=facts.pseudonym,
        record_id=facts.record_id,
        version_id=version_id,
        author=keys.account,
        commitment=commitment,
    )
    return sign(keys.sign_key, Domain.RECORD_AUTHOR, client.chain_id, payload)


def _seal_file(
    client: Client,
    source: Source,
    stream: BufferedRandom,
    context: SealContext,
    inside: SealSecrets,
) -> SealedRecord:
    with source.path.open("rb", buffering=0) as plain:
        sealed = seal_stream(
            plain,
            stream,
            description=source.description,
            context=context,
            keys=inside,
            spool_directory=client.wallet.home,
        )
    stream.flush()
    return sealed
