"""Records: sealing and putting them, new versions, and reading with everything verified.

Putting: who must be able to open the record is computed here over proven state, the content is
sealed under a fresh key, uploaded, and only then named on the ledger. Reading: a read entry first,
then envelope and bytes; the file gets its name when address, tags, commitment and the author's
signature have all been found right.
"""

import asyncio
import mimetypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Final

from client.connection import Client, act, acting_as, ask
from client.directories import category_id, get_directory, label_tags
from client.errors import AnswerRejected, KeyPending, LocalError, NotFound, Refused
from client.http import get_bytes
from client.lookup import FoundVersion, find_version
from client.proving import now_ms
from client.recipients import open_own, seal_to, wanted_recipients
from client.transactions import Outcome
from client.transfers import Progress, Stored, download_blob, fetch_sidecar, upload_blob
from client.trust import check_header
from client.wallet import Keys, all_keys
from client.workplace import check_free, sealed_file, show_file, unshown_file
from crypto.cid import Cid
from crypto.content import author_payload
from crypto.errors import DecodeError
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
from crypto.schema import decode
from crypto.sealed import ContentDescription, SealedRecord, open_stream, seal_stream
from crypto.sealed_format import RecordMetadata, SealSecrets, make_seal_secrets
from crypto.signatures import sign
from ledger.accounts import OrgId, account_key, get_account
from ledger.exchange import SealedHeader
from ledger.purposes import TREAT
from ledger.records_payloads import (
    Confidentiality,
    EnvelopeRef,
    NewSeal,
    RecordPut,
    RecordRead,
    RecordVersion,
)
from ledger.records_state import RecordFacts

ATTEMPTS: Final = 3
"""How often a put is made anew because its recipients changed under way."""

STALE: Final = "recipients.stale"
NOT_ENTITLED: Final = "state.not_entitled"
OCTETS: Final = "application/octet-stream"

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
class OpenedFile:
    """A record that was read and verified: where it is, and what its author said about it."""

    path: Path
    metadata: RecordMetadata
    found: FoundVersion
    read: Digest


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


async def get_record(
    client: Client,
    record_id: RecordId,
    folder: Path,
    *,
    version_id: VersionId | None = None,
    purpose: str = TREAT,
    file_name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> OpenedFile:
    """Read a version (the latest unless named) into `folder`, verified whole.

    The read is entered into the patient's log first. The file is named as its author named it, or
    as `file_name` says. Raises `Refused`, `KeyPending`, `Untrusted`, a `SealedError` of
    `crypto.errors` for a record that does not hold what the ledger says, `LocalError`.
    """
    found, keys, ref = await _find_openable(client, record_id, version_id)
    if file_name is not None:
        check_free(folder / file_name, overwrite=overwrite)
    read = await enter_read(client, found, purpose)
    inside = await open_envelope_of(client, found, keys, ref, read=read)
    with sealed_file(client.wallet) as (_, sealed):
        seal = found.seal
        await download_blob(
            client.node, seal.cid, seal.size_bytes, sealed, read=read, progress=progress
        )
        path, metadata = await asyncio.to_thread(
            _open_to_file, client, found, inside, sealed, folder, file_name, overwrite
        )
    return OpenedFile(path=path, metadata=metadata, found=found, read=read)


async def enter_read(client: Client, found: FoundVersion, purpose: str) -> Digest:
    """Enter a read of the seal in force, to be served by this node; return the entry's id."""
    payload = RecordRead(
        record_id=found.version.record_id,
        version_id=found.version.version_id,
        seal_id=found.seal.seal_id,
        purpose=purpose,
        serving_node=client.node_index,
    )
    return (await act(client, "records.read", payload)).tx_id


async def open_envelope_of(
    client: Client, found: FoundVersion, keys: Keys, ref: EnvelopeRef, *, read: Digest | None = None
) -> SealSecrets:
    """Fetch an envelope and open it with the keys it is addressed to.

    One that is addressed to a key agent in the same wallet is fetched in the agent's name.
    """
    if keys.account == client.actor.account:
        wrapped = await fetch_sidecar(client.node, ref.sidecar, read=read)
    else:
        async with acting_as(client, keys) as node:
            wrapped = await fetch_sidecar(node, ref.sidecar)
    return open_own(keys, ref, wrapped, found.pseudonym, found.context(client.chain_id))


def find_envelope(client: Client, found: FoundVersion) -> tuple[Keys, EnvelopeRef] | None:
    """Return an envelope that a key of this wallet opens, the actor's own first."""
    actor = client.actor
    others = (keys for keys in all_keys(client.wallet) if keys.account != actor.account)
    for keys in (actor, *others):
        ref = found.envelope_for(keys.account)
        if ref is not None:
            return keys, ref
    return None


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
    make_payload: Any,
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
    make_payload: Any,
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


async def _find_openable(
    client: Client, record_id: RecordId, version_id: VersionId | None
) -> tuple[FoundVersion, Keys, EnvelopeRef]:
    """Return a version with an envelope for this wallet; look at the newest state before giving up.

    A record or an envelope may be a block younger than the newest certified state.
    """
    try:
        found = await find_version(client, record_id, version_id)
    except NotFound:
        newest = await _newest_change(client)
        found = await find_version(client, record_id, version_id, at_least_height=newest)
    except Refused as refusal:
        if refusal.code != NOT_ENTITLED:
            raise
        raise Refused(
            "access.denied",
            f"no right lets {client.actor.label} know of record {record_id.hex()}; "
            "ask the patient for one",
            status=refusal.status,
        ) from refusal
    openable = find_envelope(client, found)
    if openable is None:
        newest = await _newest_change(client)
        found = await find_version(client, record_id, version_id, at_least_height=newest)
        openable = find_envelope(client, found)
    if openable is None:
        raise KeyPending(
            f"no key of {client.actor.label} opens record {record_id.hex()}: if `access explain` "
            "says it is permitted, the patient or the hospital's key agent has to hand a key on"
        )
    return found, *openable


async def _newest_change(client: Client) -> int:
    """Return the height of the newest block that may have changed the state."""
    path = "/v1/headers/latest"
    body = await get_bytes(client.node, path, bytes_max=SealedHeader.WIRE_BYTES_MAX)
    try:
        header = check_header(client.trust, decode(SealedHeader, body))
    except DecodeError as problem:
        raise AnswerRejected(f"{path}: not a sealed header: {problem}") from problem
    return header.height if header.tx_count else header.height - 1


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


def _open_to_file(
    client: Client,
    found: FoundVersion,
    inside: SealSecrets,
    sealed: BufferedRandom,
    folder: Path,
    file_name: str | None,
    overwrite: bool,
) -> tuple[Path, RecordMetadata]:
    """Open into a private file and give it its name once everything was verified."""
    sealed.seek(0)
    with unshown_file(folder) as (hidden, plain):
        opened = open_stream(
            sealed,
            plain,
            context=found.context(client.chain_id),
            keys=inside,
            cid=found.seal.cid,
            commitment=found.version.commitment,
        )
        name = file_name or opened.metadata.file_name or found.version.record_id.hex()
        target = folder / name
        show_file(hidden, plain, target, overwrite=overwrite)
    return target, opened.metadata
