"""A patient's log in plain words: one sentence for each event of which the patient is the subject.

The events are what the ledger agreed on; the words are this version's and may be mended. Names of
people come from who holds a directory: here an account is a role, an organisation and some digits.
"""

from collections.abc import Callable
from typing import Final

from crypto.record_ids import AccountId, RecordId
from ledger.event_fields import Fields
from ledger.governance_log import GOVERNANCE_SENTENCES
from ledger.receipts import Event
from ledger.state import StateView
from ledger.words import account_words, counted, record_words, short_id, time_words, until_words


def sentence(view: StateView, event: Event) -> str:
    """Tell an event; a kind that has no words of its own here is told by its name."""
    words = SENTENCES.get(event.kind)
    if words is None:
        return f"{event.kind.replace('.', ': ').replace('_', ' ')}."
    return words(view, Fields(event))


def _put(view: StateView, fields: Fields) -> str:
    return (
        f"{_who(view, fields, 'author')} wrote {_record(fields)} "
        f"({fields.number('size_bytes')} sealed bytes), {_openers(fields)}{_safety(fields)}."
    )


def _version(view: StateView, fields: Fields) -> str:
    return (
        f"{_who(view, fields, 'author')} wrote version {fields.number('ordinal')} of "
        f"{_record(fields)}, {_openers(fields)}{_safety(fields)}."
    )


def _read(view: StateView, fields: Fields) -> str:
    right = fields.identifier("grant")
    because = f"grant {short_id(right)}" if right else f"the rule `{fields.text('rule')}`"
    return (
        f"{_who(view, fields, 'reader')} read {_record(fields)} for {fields.text('purpose')}, "
        f"permitted by {because}."
    )


def _envelopes(view: StateView, fields: Fields) -> str:
    count = counted(fields.number("envelopes"), "version", "versions")
    recipient = _who(view, fields, "recipient")
    return f"{_who(view, fields, 'by')} handed keys of {count} on to {recipient}."


def _resealed(view: StateView, fields: Fields) -> str:
    return f"{_who(view, fields, 'by')} sealed {_record(fields)} afresh, {_openers(fields)}."


def _granted(view: StateView, fields: Fields) -> str:
    return f"Grant {short_id(fields.identifier('grant'))}: {_right(view, fields)}."


def _approved(view: StateView, fields: Fields) -> str:
    request, grant = short_id(fields.identifier("request")), short_id(fields.identifier("grant"))
    return f"Request {request} was approved by grant {grant}: {_right(view, fields)}."


def _revoked(view: StateView, fields: Fields) -> str:
    grant = short_id(fields.identifier("grant"))
    return f"Grant {grant} was revoked; it said: {_right(view, fields)}."


def _requested(view: StateView, fields: Fields) -> str:
    request = short_id(fields.identifier("request"))
    who = _who(view, fields, "requester")
    return f"Request {request}: {who} asks that {_right(view, fields)}."


def _denied(view: StateView, fields: Fields) -> str:
    request = short_id(fields.identifier("request"))
    return f"Request {request} by {_who(view, fields, 'requester')} was denied."


def _registered(view: StateView, fields: Fields) -> str:
    return f"{_who(view, fields, 'by')} registered this account at {fields.text('org')}."


def _suspended(view: StateView, fields: Fields) -> str:
    return f"{_who(view, fields, 'by')} suspended this account: {fields.text('reason')}."


def _restored(view: StateView, fields: Fields) -> str:
    return f"{_who(view, fields, 'by')} restored this account: {fields.text('reason')}."


def _key_rotated(view: StateView, fields: Fields) -> str:
    return "The account's keys were replaced."


def _directory_shared(view: StateView, fields: Fields) -> str:
    count = counted(fields.number("count"), "account", "accounts")
    return f"{_who(view, fields, 'by')} shared the sealed directory with {count}."


SENTENCES: Final[dict[str, Callable[[StateView, Fields], str]]] = {
    "record.put": _put,
    "record.version": _version,
    "record.read": _read,
    "record.envelopes": _envelopes,
    "record.resealed": _resealed,
    "access.granted": _granted,
    "access.approved": _approved,
    "access.revoked": _revoked,
    "access.requested": _requested,
    "access.request_denied": _denied,
    "identity.registered": _registered,
    "identity.suspended": _suspended,
    "identity.restored": _restored,
    "identity.key_rotated": _key_rotated,
    "identity.directory_shared": _directory_shared,
    **GOVERNANCE_SENTENCES,
}
"""Events by kind: of patients, and of the consortium."""


def _who(view: StateView, fields: Fields, name: str) -> str:
    words = account_words(view, AccountId(fields.identifier(name)))
    return words[0].upper() + words[1:] if name != "recipient" else words


def _record(fields: Fields) -> str:
    return record_words(RecordId(fields.identifier("record")))


def _openers(fields: Fields) -> str:
    return f"which {counted(fields.number('recipients'), 'account', 'accounts')} can open"


def _safety(fields: Fields) -> str:
    return "" if fields.number("is_safe") else "; too few hospitals keep a copy yet"


def _right(view: StateView, fields: Fields) -> str:
    if fields.has("grantee"):
        grantee = account_words(view, AccountId(fields.identifier("grantee")))
    elif fields.has("grantee_role"):
        role = fields.text("grantee_role").replace("_", " ")
        grantee = f"every {role} of {fields.text('grantee_org')}"
    else:
        grantee = f"everybody who works at {fields.text('grantee_org')}"
    level = fields.text("level").replace("_", " and ")
    begin, end = time_words(fields.number("from_ms")), until_words(fields.number("until_ms"))
    return (
        f"{grantee} may {level} {_scope(fields)} for {fields.text('purpose')} "
        f"from {begin} until {end}"
    )


def _scope(fields: Fields) -> str:
    match fields.text("scope"):
        case "categories":
            return counted(fields.number("count"), "category", "categories")
        case "records":
            return counted(fields.number("count"), "record", "records")
        case _:
            return "all records"
