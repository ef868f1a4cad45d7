"""Who must be able to open a record, and who already can: the rule that decides about envelopes.

`recipients` is what "kept by keys" means. A seal carries one envelope for each of them and for
nobody else, so that whatever is sealed after a right has ended stays closed, whoever serves it.
Like the decision it is a pure function of state: a client runs it over entries it has proven, and
needs the pseudonym's account, its `access/grants` entry, and the account (with its organisation) of
every grantee and agent among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.envelopes import SealKey
from crypto.record_ids import AccountId
from ledger.access_payloads import Person
from ledger.access_state import Grant, get_grants
from ledger.accounts import get_account, get_organisation, is_active, seal_key_in_force
from ledger.errors import Refused
from ledger.grants import grantee_org, is_covered
from ledger.records_payloads import EnvelopeRef, KeyId
from ledger.records_state import RecordFacts, Seal
from ledger.state import StateView

NAMED_MAX = 6
"""Accounts of each side that a receipt names; the text names as many, the counts are complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """An account that must be able to open a record, the key to seal to, and why.

    `reason` is `patient`, `author_agent` or `grant`: the first that holds.
    """

    account: AccountId
    key_id: KeyId
    seal_key: SealKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeGap:
    """How a seal's envelopes differ from who should have one.

    Somebody `missing` gets an envelope from a page (the right is there, the key is pending);
    somebody `surplus` keeps a key until the record is sealed afresh. Both ascend by account.
    """

    missing: tuple[Recipient, ...]
    surplus: tuple[AccountId, ...]


def recipients(view: StateView, record: RecordFacts, *, time_ms: int) -> tuple[Recipient, ...]:
    """Return who must be able to open `record`, ascending by account; it need not exist yet.

    Only active accounts count. A grant counts until it ends, also before it begins: its beginning
    is kept by honest nodes, its end by keys.
    """
    grants = get_grants(view, record.pseudonym)
    return recipients_among(view, record, grants, time_ms=time_ms)


def recipients_among(
    view: StateView, record: RecordFacts, grants: Sequence[Grant], *, time_ms: int
) -> tuple[Recipient, ...]:
    """The same over grants already read, for whoever asks about many records of one pseudonym."""
    found: dict[AccountId, Recipient] = {}
    _add(view, found, record.pseudonym, "patient")
    _add(view, found, _agent_of(view, record.author_org), "author_agent")
    for grant in grants:
        if time_ms < grant.terms.until_ms and is_covered(grant.terms.scope, record):
            _add(view, found, _opener(view, grant), "grant")
    return tuple(found[account] for account in sorted(found))


def envelope_gap(view: StateView, record: RecordFacts, seal: Seal, *, time_ms: int) -> EnvelopeGap:
    """Return what stands between a seal's envelopes and today's recipients.

    An account whose seal key changed is missing, with its new key, and not surplus: it is the same
    person.
    """
    wanted = recipients(view, record, time_ms=time_ms)
    held = {(envelope.recipient, envelope.key_id) for envelope in seal.envelopes}
    accounts = {recipient.account for recipient in wanted}
    holders = {envelope.recipient for envelope in seal.envelopes}
    return EnvelopeGap(
        missing=tuple(one for one in wanted if (one.account, one.key_id) not in held),
        surplus=tuple(sorted(holders - accounts)),
    )


def check_recipients(wanted: Sequence[Recipient], envelopes: Sequence[EnvelopeRef]) -> None:
    """Raise `Refused` (`recipients.stale`) unless there is exactly one envelope for each recipient.

    The receipt names who is missing (add an envelope) and who is surplus (seal afresh: the sidecar
    has been seen), as accounts; a key that has been replaced makes its owner both.
    """
    needed = {(one.account, one.key_id) for one in wanted}
    given = {(one.recipient, one.key_id) for one in envelopes}
    if needed == given:
        return
    missing = sorted(account for account, _ in needed - given)
    surplus = sorted(account for account, _ in given - needed)
    raise Refused(
        "recipients.stale",
        f"envelopes are missing for {_named(missing)} and surplus for {_named(surplus)}; "
        "read the recipients again, seal afresh if one was surplus, and send anew",
        (
            ("missing_count", len(missing)),
            ("surplus_count", len(surplus)),
            *(("missing", account) for account in missing[:NAMED_MAX]),
            *(("surplus", account) for account in surplus[:NAMED_MAX]),
        ),
    )


def _add(
    view: StateView, found: dict[AccountId, Recipient], account_id: AccountId | None, reason: str
) -> None:
    if account_id is None or account_id in found:
        return
    account = get_account(view, account_id)
    if account is None or not is_active(view, account):
        return
    seal = seal_key_in_force(account)
    if seal is not None:
        found[account_id] = Recipient(
            account=account_id, key_id=seal.key_id, seal_key=seal.key, reason=reason
        )


def _opener(view: StateView, grant: Grant) -> AccountId | None:
    """Return the account that opens records for a grantee: the person, or the agent."""
    grantee = grant.terms.grantee
    if isinstance(grantee, Person):
        return grantee.account
    org = grantee_org(grantee)
    return None if org is None else _agent_of(view, org)


def _agent_of(view: StateView, org: str) -> AccountId | None:
    organisation = get_organisation(view, org)
    return None if organisation is None else organisation.agent


def _named(accounts: Sequence[AccountId]) -> str:
    if not accounts:
        return "nobody"
    named = ", ".join(account.hex()[:16] for account in accounts[:NAMED_MAX])
    more = len(accounts) - NAMED_MAX
    return named if more <= 0 else f"{named} and {more} more"
