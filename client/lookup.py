"""Finding records in proven state: a version with its seal, and who signed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from client.connection import Client, ask
from client.errors import AnswerRejected, AuthorRejected, NotFound
from client.http import get_json
from client.trust import ProvenView
from crypto.content import author_payload
from crypto.errors import InvalidKey, InvalidSignature
from crypto.hashing import ChainId, Domain
from crypto.record_ids import AccountId, RecordId, SealContext, VersionId
from crypto.signatures import check_signature
from ledger.accounts import KeyKind, KeyRecord, get_key, is_key_valid_at, sign_key_of
from ledger.records_payloads import EnvelopeRef
from ledger.records_state import (
    Record,
    Seal,
    Version,
    current_seal,
    get_record,
    get_version,
    record_key,
    record_versions,
    version_key,
)

RECORDS_PROVEN_AT_ONCE: Final = 32
VERSIONS_SHOWN_MAX: Final = 30
PAGES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundVersion:
    """One version of a record with the seal in force, from one proven state."""

    record: Record
    version: Version
    seal: Seal

    @property
    def pseudonym(self) -> AccountId:
        return self.record.facts.pseudonym

    def context(self, chain_id: ChainId) -> SealContext:
        """Return what the seal is bound to."""
        return SealContext(
            chain_id=chain_id,
            record_id=self.version.record_id,
            version_id=self.version.version_id,
            seal_id=self.seal.seal_id,
        )

    def envelope_for(self, account: AccountId) -> EnvelopeRef | None:
        """Return the envelope addressed to an account."""
        return next((one for one in self.seal.envelopes if one.recipient == account), None)


async def find_version(
    client: Client,
    record_id: RecordId,
    version_id: VersionId | None = None,
    *,
    at_least_height: int = 0,
) -> FoundVersion:
    """Return a version (the latest unless named), its author's signature checked.

    Raises `NotFound` and `AuthorRejected`.
    """

    def question(view: ProvenView) -> FoundVersion | None:
        record = get_record(view, record_id)
        if record is None:
            return None
        version = get_version(view, record_id, version_id or record.latest)
        if version is None:
            return None
        check_author(view, client.chain_id, record, version)
        return FoundVersion(record=record, version=version, seal=current_seal(view, version))

    keys = [record_key(record_id)]
    if version_id is not None:
        keys.append(version_key(record_id, version_id))
    found = await ask(client, question, keys, at_least_height=at_least_height)
    if found is None:
        what = f"record {record_id.hex()}"
        which = "" if version_id is None else f" has no version {version_id.hex()}, or"
        raise NotFound(f"{what}{which} does not exist on this chain", code="record.unknown")
    return found


def check_author(view: ProvenView, chain_id: ChainId, record: Record, version: Version) -> None:
    """Raise `AuthorRejected` unless a key the author had at the put's height signed the version."""
    key = get_key(view, version.author, version.author_key_id)
    if key is None or key.kind is not KeyKind.SIGN or not is_key_valid_at(key, version.height):
        raise AuthorRejected(
            f"version {version.ordinal} names a key that its author did not have at block "
            f"{version.height}"
        )
    _check_author_signature(chain_id, record, version, key)


async def find_versions(client: Client, record_id: RecordId) -> tuple[FoundVersion, ...]:
    """Return a record's versions, latest first, at most 30."""

    def question(view: ProvenView) -> tuple[FoundVersion, ...] | None:
        record = get_record(view, record_id)
        if record is None:
            return None
        return tuple(
            FoundVersion(record=record, version=version, seal=current_seal(view, version))
            for version in record_versions(view, record, limit=VERSIONS_SHOWN_MAX)
        )

    found = await ask(client, question, (record_key(record_id),))
    if found is None:
        raise NotFound(
            f"record {record_id.hex()} does not exist on this chain", code="record.unknown"
        )
    return found


async def list_records(client: Client, pseudonym: AccountId) -> tuple[FoundVersion, ...]:
    """Return the latest versions of the records the actor may know of, in the order of their puts.

    Each is proven; that none is left out is the node's word.
    """
    record_ids: list[RecordId] = []
    params: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        answer = await get_json(client.node, f"/v1/patients/{pseudonym.hex()}/records", params)
        page, after = _listed(answer)
        record_ids.extend(page)
        if not after:
            break
        params = {"after": after}
    found: list[FoundVersion] = []
    for start in range(0, len(record_ids), RECORDS_PROVEN_AT_ONCE):
        chunk = record_ids[start : start + RECORDS_PROVEN_AT_ONCE]
        found.extend(await latest_versions(client, pseudonym, chunk))
    return tuple(found)


async def latest_versions(
    client: Client, pseudonym: AccountId, record_ids: Sequence[RecordId]
) -> tuple[FoundVersion, ...]:
    """Return the latest versions of at most 32 records of one patient, proven together."""

    def question(view: ProvenView) -> tuple[FoundVersion, ...]:
        found = []
        for record_id in record_ids:
            record = get_record(view, record_id)
            if record is None or record.facts.pseudonym != pseudonym:
                raise AnswerRejected("the node lists a record that the patient does not have")
            version = get_version(view, record_id, record.latest)
            assert version is not None, "a record's latest version stands in state"
            found.append(
                FoundVersion(record=record, version=version, seal=current_seal(view, version))
            )
        return tuple(found)

    return await ask(client, question, [record_key(one) for one in record_ids])


def _check_author_signature(
    chain_id: ChainId, record: Record, version: Version, key: KeyRecord
) -> None:
    payload = author_payload(
        pseudonym=record.facts.pseudonym,
        record_id=version.record_id,
        version_id=version.version_id,
        author=version.author,
        commitment=version.commitment,
    )
    try:
        check_signature(
            sign_key_of(key), version.author_signature, Domain.RECORD_AUTHOR, chain_id, payload
        )
    except (InvalidSignature, InvalidKey) as problem:
        raise AuthorRejected(
            f"version {version.ordinal} of record {version.record_id.hex()} is not signed by its "
            f"author: {problem}"
        ) from problem


def _listed(answer: Any) -> tuple[list[RecordId], str]:
    try:
        page = [RecordId(bytes.fromhex(one["record_id"])) for one in answer["records"]]
        after = answer.get("next") or ""
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise AnswerRejected(f"the node's list of records is malformed: {problem}") from problem
    if any(len(one) != 16 for one in page) or not isinstance(after, str):
        raise AnswerRejected("the node's list of records is malformed")
    return page, after
