"""Handing keys on: envelopes for who became a recipient later, fresh seals after a right ended.

The ledger says what is to be done: the envelopes of a seal compared with today's recipients. So
any device of the patient, or the author organisation's key agent, goes on where another stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedRandom
from typing import Final

from client.connection import Client, act, ask_view, check_done, scan
from client.errors import AnswerRejected, NotFound, Refused, Untrusted
from client.lookup import RECORDS_PROVEN_AT_ONCE, FoundVersion, check_author, find_version
from client.reading import enter_read, find_envelope, open_envelope_of
from client.recipients import (
    check_recipient_keys,
    seal_to,
    wanted_recipients,
)
from client.records import store_sealed
from client.transfers import Progress, download_blob
from client.trust import ProvenView
from client.wallet import Keys
from client.workplace import sealed_file
from crypto.errors import SealedError
from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId, SealContext, make_seal_id
from crypto.schema import decode
from crypto.sealed import SealedRecord, reseal_stream
from crypto.sealed_format import SealSecrets, make_seal_secrets
from ledger.access_payloads import Scope
from ledger.access_state import grants_key
from ledger.accounts import account_key
from ledger.grants import is_covered
from ledger.purposes import TREAT
from ledger.recipients import EnvelopeGap, envelope_gap
from ledger.records_payloads import (
    AddedEnvelope,
    EnvelopeRef,
    NewSeal,
    RecordEnvelopes,
    RecordReseal,
)
from ledger.records_state import (
    RecordPointer,
    current_seal,
    get_record,
    patient_prefix,
    record_key,
    record_versions,
)

PAGE_ENVELOPES: Final = 128
VERSIONS_MAX: Final = 1_000

_OF_ONE_RECORD: Final = (Refused, NotFound, Untrusted, SealedError)
"""What goes wrong with one record and lets the others go on; an unreachable node ends it all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A version whose envelopes are not those of today's recipients."""

    found: FoundVersion
    gap: EnvelopeGap


@dataclass(slots=True, kw_only=True)
class HandedOn:
    """What was done: envelopes added, versions sealed afresh; and what failed, with the reason."""

    envelopes: int = 0
    resealed: int = 0
    failed: list[tuple[RecordId, str]] = field(default_factory=list)


async def hand_on_keys(
    client: Client,
    pseudonym: AccountId,
    *,
    scope: Scope | None = None,
    progress: Progress | None = None,
) -> HandedOn:
    """Seal keys of existing records to recipients who have none, page by page.

    For the patient, or the key agent of the author's organisation. `progress` is told records done
    and in all. A version that this wallet cannot open is listed in `failed`.
    """
    done = HandedOn()
    page: list[tuple[AddedEnvelope, tuple[Digest, bytes]]] = []
    async for pending in pending_versions(client, pseudonym, scope=scope, progress=progress):
        if not pending.gap.missing:
            continue
        try:
            page.extend(await _envelopes_for(client, pending))
        except _OF_ONE_RECORD as problem:
            done.failed.append((pending.found.version.record_id, str(problem)))
            continue
        while len(page) >= PAGE_ENVELOPES:
            done.envelopes += await _post_page(client, pseudonym, page[:PAGE_ENVELOPES])
            page = page[PAGE_ENVELOPES:]
    if page:
        done.envelopes += await _post_page(client, pseudonym, page)
    return done


async def reseal_records(
    client: Client,
    pseudonym: AccountId,
    *,
    scope: Scope | None = None,
    progress: Progress | None = None,
) -> HandedOn:
    """Seal afresh every version that somebody can open who no longer may.

    Each step stands on the ledger, so it may be stopped and gone on with. `progress` is told
    records done and in all.
    """
    done = HandedOn()
    async for pending in pending_versions(client, pseudonym, scope=scope, progress=progress):
        if not pending.gap.surplus:
            continue
        try:
            await reseal_version(client, pending.found)
        except _OF_ONE_RECORD as problem:
            done.failed.append((pending.found.version.record_id, str(problem)))
            continue
        done.resealed += 1
    return done


async def reseal_version(client: Client, found: FoundVersion) -> None:
    """Put a fresh seal, with a fresh key for today's recipients, in the place of the one in force.

    The bytes are opened and verified on the way, so that damage is never passed on. Raises
    `Refused` (`records.conflict`) if another device has done it meanwhile.
    """
    old_context = found.context(client.chain_id)
    context = replace(old_context, seal_id=make_seal_id())
    read = await enter_read(client, found, TREAT)
    keys, ref = _openable(client, found)
    old = await open_envelope_of(client, found, keys, ref, read=read)
    fresh = make_seal_secrets(opening=old.opening)
    with sealed_file(client.wallet) as (_, source), sealed_file(client.wallet) as (path, sink):
        await download_blob(client.node, found.seal.cid, found.seal.size_bytes, source, read=read)
        sealed = await asyncio.to_thread(
            _reseal, found, source, sink, (old_context, old), (context, fresh)
        )
        stored = await store_sealed(client, path, sealed, None)
    wanted = await wanted_recipients(client, found.record.facts)
    envelopes = seal_to(wanted, fresh, found.pseudonym, context)
    payload = RecordReseal(
        record_id=context.record_id,
        version_id=context.version_id,
        previous_seal=old_context.seal_id,
        seal=NewSeal(
            seal_id=context.seal_id,
            cid=sealed.cid,
            size_bytes=sealed.size_bytes,
            envelopes=envelopes.refs,
            storage_receipts=stored.receipts,
        ),
    )
    outcome = await act(client, "records.reseal", payload, sidecars=envelopes.sidecars)
    now = await find_version(client, context.record_id, context.version_id)
    is_done = now.seal.seal_id != old_context.seal_id
    check_done(outcome, "the version was sealed afresh", is_done=is_done)


async def pending_versions(
    client: Client,
    pseudonym: AccountId,
    *,
    scope: Scope | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Pending]:
    """Yield the versions that wait for envelopes or a fresh seal, of records in `scope`.

    The list of records is complete if the node is honest; what is said of each is proven.
    """
    pointers = await scan(client, patient_prefix(pseudonym))
    record_ids = [
        decode(RecordPointer, value).record_id
        for _, value in sorted(pointers.entries.items())
        if value is not None
    ]
    for start in range(0, len(record_ids), RECORDS_PROVEN_AT_ONCE):
        chunk = record_ids[start : start + RECORDS_PROVEN_AT_ONCE]
        for pending in await _pending_among(client, pseudonym, chunk, scope):
            yield pending
        if progress is not None:
            progress(start + len(chunk), len(record_ids))


async def _pending_among(
    client: Client, pseudonym: AccountId, record_ids: Sequence[RecordId], scope: Scope | None
) -> list[Pending]:
    """Return what is pending among some records; halve them if they need too many proofs."""

    def question(view: ProvenView) -> list[Pending]:
        found: list[Pending] = []
        for record_id in record_ids:
            found.extend(_pending_of(client, view, pseudonym, record_id, scope))
        return found

    keys = [account_key(pseudonym), grants_key(pseudonym), *map(record_key, record_ids)]
    try:
        answer, _ = await ask_view(client, question, keys)
    except AnswerRejected:
        if len(record_ids) == 1:
            raise
        middle = len(record_ids) // 2
        first = await _pending_among(client, pseudonym, record_ids[:middle], scope)
        return first + await _pending_among(client, pseudonym, record_ids[middle:], scope)
    return answer


def _pending_of(
    client: Client,
    view: ProvenView,
    pseudonym: AccountId,
    record_id: RecordId,
    scope: Scope | None,
) -> list[Pending]:
    record = get_record(view, record_id)
    if record is None or record.facts.pseudonym != pseudonym:
        raise AnswerRejected("the node lists a record that the patient does not have")
    if scope is not None and not is_covered(scope, record.facts):
        return []
    found = []
    for version in record_versions(view, record, limit=VERSIONS_MAX):
        seal = current_seal(view, version)
        gap = envelope_gap(view, record.facts, seal, time_ms=view.time_ms)
        if gap.missing or gap.surplus:
            check_recipient_keys(view, gap.missing)
            check_author(view, client.chain_id, record, version)
            found.append(
                Pending(found=FoundVersion(record=record, version=version, seal=seal), gap=gap)
            )
    return found


async def _envelopes_for(
    client: Client, pending: Pending
) -> list[tuple[AddedEnvelope, tuple[Digest, bytes]]]:
    """Open the own envelope of a version and wrap its key to everybody who is missing."""
    found = pending.found
    keys, ref = _openable(client, found)
    context = found.context(client.chain_id)
    inside = await open_envelope_of(client, found, keys, ref)
    envelopes = seal_to(pending.gap.missing, inside, found.pseudonym, context)
    return [
        (
            AddedEnvelope(
                record_id=context.record_id,
                version_id=context.version_id,
                seal_id=context.seal_id,
                envelope=envelope,
            ),
            sidecar,
        )
        for envelope, sidecar in zip(envelopes.refs, envelopes.sidecars, strict=True)
    ]


def _openable(client: Client, found: FoundVersion) -> tuple[Keys, EnvelopeRef]:
    """Return an envelope that this wallet opens; raise `NotFound`."""
    openable = find_envelope(client, found)
    if openable is None:
        raise NotFound(
            f"no key here opens record {found.version.record_id.hex()}", code="key.missing"
        )
    return openable


def _reseal(
    found: FoundVersion,
    source: BufferedRandom,
    sink: BufferedRandom,
    old: tuple[SealContext, SealSecrets],
    fresh: tuple[SealContext, SealSecrets],
) -> SealedRecord:
    source.seek(0)
    sealed = reseal_stream(
        source,
        sink,
        context=old[0],
        keys=old[1],
        cid=found.seal.cid,
        commitment=found.version.commitment,
        new_context=fresh[0],
        new_keys=fresh[1],
    )
    sink.flush()
    return sealed


async def _post_page(
    client: Client,
    pseudonym: AccountId,
    page: Sequence[tuple[AddedEnvelope, tuple[Digest, bytes]]],
) -> int:
    payload = RecordEnvelopes(pseudonym=pseudonym, added=tuple(added for added, _ in page))
    sidecars = [sidecar for _, sidecar in page]
    await act(client, "records.envelopes", payload, sidecars=sidecars)
    return len(page)
