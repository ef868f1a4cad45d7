"""Who may see what concerns a pseudonym: state entries, lists, logs.

The access rules decide (`ledger.decision`), for any purpose that the asker's role admits. Here it
is only said which question to ask about which entry. Entries of a kind this page does not name
are shown to nobody.
"""

from typing import Final

from api.errors import ApiError
from crypto.cid import CID_BYTES, Cid
from crypto.record_ids import AccountId, RecordId, VersionId
from ledger.access_state import ended_prefix, get_grants, grants_key, requester_key, requests_key
from ledger.accounts import (
    Account,
    Role,
    account_key,
    directory_key,
    get_account,
    get_organisation,
    key_record_key,
)
from ledger.decision import Action, decide, decide_about
from ledger.purposes import KNOWN_PURPOSES, TREAT, is_admitted
from ledger.records_state import (
    RecordFacts,
    get_record,
    get_seal,
    patient_prefix,
    reads_prefix,
    record_key,
    seal_key,
    version_key,
)
from ledger.state import StateView

ACCOUNT_BYTES: Final = 32
RECORD_BYTES: Final = 16
_SEALING_BYTES: Final = 3 * 16
_POINTER_TIME_BYTES: Final = 8


def purposes_for(view: StateView, account: Account, pseudonym: AccountId) -> list[str]:
    """Return the purposes under which the account may ask: treatment first."""
    granted = [one for grant in get_grants(view, pseudonym) for one in grant.terms.purposes]
    wanted = dict.fromkeys((TREAT, *KNOWN_PURPOSES, *granted))
    return [purpose for purpose in wanted if is_admitted(account.role, purpose)]


def may_know_record(view: StateView, account: Account, facts: RecordFacts, time_ms: int) -> bool:
    """Whether the account may know that the record exists."""
    return any(
        decide(
            view,
            requester=account.account_id,
            record=facts,
            action=Action.METADATA,
            purpose=purpose,
            time_ms=time_ms,
        ).permitted
        for purpose in purposes_for(view, account, facts.pseudonym)
    )


def may_know_patient(view: StateView, account: Account, pseudonym: AccountId, time_ms: int) -> bool:
    """Whether the account may see the pseudonym's account and rights."""
    return _may_about(view, account, pseudonym, Action.METADATA, time_ms)


def may_see_log(view: StateView, account: Account, pseudonym: AccountId, time_ms: int) -> bool:
    """Whether the account may see who did what: the patient, and the hospital's auditors."""
    return _may_about(view, account, pseudonym, Action.LOG, time_ms)


def check_may_know_patient(
    view: StateView, account: Account, pseudonym: AccountId, time_ms: int
) -> None:
    if not may_know_patient(view, account, pseudonym, time_ms):
        raise ApiError(
            "patient.not_visible",
            f"nothing permits this account to know of patient {pseudonym.hex()[:16]}",
        )


def check_may_see_log(
    view: StateView, account: Account, pseudonym: AccountId, time_ms: int
) -> None:
    if not may_see_log(view, account, pseudonym, time_ms):
        raise ApiError(
            "patient.not_visible",
            f"the log of {pseudonym.hex()[:16]} is for the patient and the hospital's auditors",
        )


def may_see_entry(view: StateView, account: Account | None, key: bytes, time_ms: int) -> bool:
    """Whether a state entry may be shown; without a session only what governs the consortium."""
    if key.startswith(b"governance/"):
        return True
    if account is None:
        return False
    if key.startswith(b"identity/"):
        return _may_see_identity(view, account, key, time_ms)
    if key.startswith(b"records/"):
        return _may_see_records(view, account, key, time_ms)
    return _may_see_access(view, account, key, time_ms)


def is_prefix_walkable(prefix: bytes) -> bool:
    """Whether a scan of this prefix is one that clients need: all entries of one subject."""
    if prefix.startswith(b"governance/"):
        return True
    one_subject = (
        (directory_key(b"", b""), ACCOUNT_BYTES),
        (key_record_key(b"", b""), ACCOUNT_BYTES),
        (ended_prefix(AccountId(b"")), ACCOUNT_BYTES),
        (patient_prefix(AccountId(b"")), ACCOUNT_BYTES),
        (reads_prefix(AccountId(b"")), ACCOUNT_BYTES),
        (version_key(RecordId(b""), VersionId(b"")), RECORD_BYTES),
    )
    return any(
        prefix.startswith(table) and len(prefix) >= len(table) + size for table, size in one_subject
    )


def _may_about(
    view: StateView, account: Account, pseudonym: AccountId, action: Action, time_ms: int
) -> bool:
    return any(
        decide_about(
            view,
            requester=account.account_id,
            pseudonym=pseudonym,
            action=action,
            purpose=purpose,
            time_ms=time_ms,
        ).permitted
        for purpose in purposes_for(view, account, pseudonym)
    )


def _part(key: bytes, prefix: bytes, size: int) -> bytes | None:
    """Return the first part of a key behind `prefix`, None if the key is of another table."""
    found = key[len(prefix) : len(prefix) + size]
    return found if key.startswith(prefix) and len(found) == size else None


def _may_see_identity(view: StateView, account: Account, key: bytes, time_ms: int) -> bool:
    """Staff are known to each other; a patient's entries to who may know of the patient.

    An admin of the hospital sees the accounts it registers, an organisation's notes go to whom
    they are addressed.
    """
    about = _part(key, account_key(b""), ACCOUNT_BYTES)
    about = about or _part(key, key_record_key(b"", b""), ACCOUNT_BYTES)
    if about is not None:
        subject = get_account(view, about)
        if subject is None or subject.role is not Role.PATIENT:
            return True
        if account.role is Role.HOSPITAL_ADMIN and account.org == subject.org:
            return True
        return may_know_patient(view, account, AccountId(about), time_ms)
    prefix = directory_key(b"", b"")
    pair = _part(key, prefix, 2 * ACCOUNT_BYTES)
    if pair is not None:
        told, recipient = AccountId(pair[:ACCOUNT_BYTES]), pair[ACCOUNT_BYTES:]
        return recipient == account.account_id or may_know_patient(view, account, told, time_ms)
    return False


def _may_see_records(view: StateView, account: Account, key: bytes, time_ms: int) -> bool:
    record_id = _part(key, record_key(RecordId(b"")), RECORD_BYTES)
    record_id = record_id or _part(key, version_key(RecordId(b""), VersionId(b"")), RECORD_BYTES)
    record_id = record_id or _pointed_at(key)
    if record_id is not None:
        return _may_see_record(view, account, RecordId(record_id), time_ms)
    cid = _part(key, seal_key(Cid(b"")), CID_BYTES)
    if cid is not None:
        seal = get_seal(view, Cid(cid))
        return seal is None or _may_see_record(view, account, seal.record_id, time_ms)
    return _may_see_read(view, account, key, time_ms)


def _pointed_at(key: bytes) -> bytes | None:
    """Return the record that an entry of a patient's index points to."""
    size = ACCOUNT_BYTES + _POINTER_TIME_BYTES + RECORD_BYTES
    parts = _part(key, patient_prefix(AccountId(b"")), size)
    return None if parts is None else parts[-RECORD_BYTES:]


def _may_see_record(view: StateView, account: Account, record_id: RecordId, time_ms: int) -> bool:
    """An id that names no record tells nothing."""
    record = get_record(view, record_id)
    return record is None or may_know_record(view, account, record.facts, time_ms)


def _may_see_read(view: StateView, account: Account, key: bytes, time_ms: int) -> bool:
    """A read entry is for its reader, who sees the log, and the agent that hands keys on."""
    size = ACCOUNT_BYTES + _SEALING_BYTES + ACCOUNT_BYTES
    parts = _part(key, reads_prefix(AccountId(b"")), size)
    if parts is None:
        return False
    pseudonym, reader = AccountId(parts[:ACCOUNT_BYTES]), parts[-ACCOUNT_BYTES:]
    if reader == account.account_id or may_see_log(view, account, pseudonym, time_ms):
        return True
    if account.role is not Role.KEY_AGENT:
        return False
    record_id = RecordId(parts[ACCOUNT_BYTES : ACCOUNT_BYTES + RECORD_BYTES])
    record = get_record(view, record_id)
    return (
        record is not None
        and is_agent(view, account)
        and may_know_record(view, account, record.facts, time_ms)
    )


def is_agent(view: StateView, account: Account) -> bool:
    """Whether the account is the key agent of its organisation."""
    organisation = get_organisation(view, account.org)
    return organisation is not None and organisation.agent == account.account_id


def _may_see_access(view: StateView, account: Account, key: bytes, time_ms: int) -> bool:
    """Rights are for who may know of the patient, requests for the patient and for who asked."""
    subject = _part(key, grants_key(AccountId(b"")), ACCOUNT_BYTES)
    subject = subject or _part(key, ended_prefix(AccountId(b"")), ACCOUNT_BYTES)
    if subject is not None:
        return may_know_patient(view, account, AccountId(subject), time_ms)
    subject = _part(key, requests_key(AccountId(b"")), ACCOUNT_BYTES)
    if subject is not None:
        return may_see_log(view, account, AccountId(subject), time_ms)
    return key == requester_key(account.account_id)
