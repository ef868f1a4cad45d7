"""Questions over all records of a patient: which may be seen, what was opened, what waits.

Each is a walk in key order that stops when its caller stops; a cursor resumes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crypto.record_ids import AccountId
from ledger.access_state import Grant
from ledger.decision import Action, decide
from ledger.grants import is_covered, is_named
from ledger.recipients import EnvelopeGap, envelope_gap
from ledger.records_state import (
    ReadEntry,
    Record,
    Version,
    current_seal,
    get_record,
    patient_reads,
    patient_records,
    record_versions,
)
from ledger.state import StateView

PAGE_ENTRIES: Final = 256
"""Entries fetched from the state at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSeal:
    """A version whose envelopes are not those of today's recipients.

    Missing ones wait for a page of envelopes, surplus ones for a fresh seal.
    """

    record: Record
    version: Version
    gap: EnvelopeGap


def visible_records(
    view: StateView,
    *,
    requester: AccountId,
    pseudonym: AccountId,
    purpose: str,
    time_ms: int,
    action: Action = Action.METADATA,
    after: bytes = b"",
) -> Iterator[tuple[bytes, Record]]:
    """Yield the records the requester may know of, oldest first, with the cursor that follows each.

    Others are passed over in silence: no total and no cursor tells that they exist.
    """
    for cursor, record in _all_records(view, pseudonym, after):
        decision = decide(
            view,
            requester=requester,
            record=record.facts,
            action=action,
            purpose=purpose,
            time_ms=time_ms,
        )
        if decision.permitted:
            yield cursor, record


def opened_under(view: StateView, grant: Grant) -> Iterator[ReadEntry]:
    """Yield what the grantee has opened of what the grant covers, by record.

    It asks who opened, not by which right: who has read under an earlier grant has read. Nobody
    can un-read, so this is what a revocation cannot take back. A member of an organisation counts
    by the organisation and role at the time of the read.
    """
    for entry in _all_reads(view, grant.pseudonym):
        if not is_named(grant.terms.grantee, entry.reader, entry.reader_org, entry.reader_role):
            continue
        record = get_record(view, entry.record_id)
        assert record is not None, "who read a record read one that exists"
        if is_covered(grant.terms.scope, record.facts):
            yield entry


def pending_seals(
    view: StateView, pseudonym: AccountId, *, time_ms: int, after: bytes = b""
) -> Iterator[tuple[bytes, PendingSeal]]:
    """Yield the versions that wait for envelopes or a fresh seal, with their record's cursor.

    Nothing marks them in state: a right may end by expiry or suspension, without a transaction
    about any record. The comparison with today's recipients is the mark.
    """
    for cursor, record in _all_records(view, pseudonym, after):
        for version in record_versions(view, record, limit=record.version_count):
            seal = current_seal(view, version)
            gap = envelope_gap(view, record.facts, seal, time_ms=time_ms)
            if gap.missing or gap.surplus:
                yield cursor, PendingSeal(record=record, version=version, gap=gap)


def _all_records(
    view: StateView, pseudonym: AccountId, after: bytes
) -> Iterator[tuple[bytes, Record]]:
    while True:
        page = list(patient_records(view, pseudonym, after=after, limit=PAGE_ENTRIES))
        yield from page
        if len(page) < PAGE_ENTRIES:
            return
        after = page[-1][0]


def _all_reads(view: StateView, pseudonym: AccountId) -> Iterator[ReadEntry]:
    after = b""
    while True:
        page = list(patient_reads(view, pseudonym, after=after, limit=PAGE_ENTRIES))
        for _, entry in page:
            yield entry
        if len(page) < PAGE_ENTRIES:
            return
        after = page[-1][0]
