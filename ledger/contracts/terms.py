"""The terms of a right, as the access contract checks and tells them, and who may set them.

Part of the access contract (`ledger.contracts.access` lists its kinds). Who gives a right is the
account that signs, never one that the payload names: `check_own` compares the two.
"""

from crypto.record_ids import AccountId
from ledger.access_payloads import (
    AllRecords,
    Categories,
    Grantee,
    Person,
    RecordList,
    RoleAt,
    Terms,
    WholeOrganisation,
)
from ledger.accounts import Account, Role, get_account, get_organisation, is_active
from ledger.contract import Context
from ledger.errors import Refused
from ledger.grants import NOT_MEMBERS
from ledger.patients import check_patient
from ledger.receipts import EventValue
from ledger.records_state import get_record


def check_own(context: Context, pseudonym: AccountId) -> Account:
    """Return the patient's account; raise `Refused` unless the sender is that patient."""
    if context.sender.account_id != pseudonym:
        raise Refused(
            "access.not_patient",
            f"only patient {pseudonym.hex()[:16]} gives, ends and answers for these records",
        )
    check_no_representation(context)
    return check_patient(context.state, pseudonym)


def check_no_representation(context: Context) -> None:
    """Raise `Refused` if the sender acts for somebody: nobody can have given that right yet."""
    if context.transaction.body.on_behalf_of is not None:
        raise Refused("access.not_delegated", "the sender represents nobody")


def check_terms(context: Context, patient: Account, terms: Terms) -> None:
    """Raise `Refused` unless the terms name a grantee, categories and records that exist."""
    if terms.until_ms <= context.time_ms:
        raise Refused(
            "access.period_past", "the period is over already", (("until_ms", terms.until_ms),)
        )
    _check_grantee(context, patient, terms.grantee)
    match terms.scope:
        case AllRecords():
            pass
        case Categories():
            if any(one not in patient.categories for one in terms.scope.categories):
                raise Refused("access.unknown_category", "the patient has no such category")
        case RecordList():
            for record_id in terms.scope.records:
                record = get_record(context.state, record_id)
                if record is None or record.facts.pseudonym != patient.account_id:
                    raise Refused(
                        "access.unknown_record",
                        f"the patient has no record {record_id.hex()}",
                        (("record", record_id),),
                    )


def terms_fields(terms: Terms) -> tuple[tuple[str, EventValue], ...]:
    """Return what a log says of a right: who, what, how, why, when."""
    return (
        *_grantee_fields(terms.grantee),
        *_scope_fields(terms),
        ("level", terms.level.name.lower()),
        *(("purpose", purpose) for purpose in terms.purposes),
        ("from_ms", terms.from_ms),
        ("until_ms", terms.until_ms),
    )


def _check_grantee(context: Context, patient: Account, grantee: Grantee) -> None:
    match grantee:
        case Person():
            account = get_account(context.state, grantee.account)
            if account is None:
                raise Refused("access.unknown_grantee", "no account of this id is registered")
            if account.account_id == patient.account_id:
                raise Refused("access.own_records", "a patient needs no right to the own records")
            if account.role is Role.NODE:
                raise Refused("access.grantee_role", "a node opens no records; name a person")
            if not is_active(context.state, account):
                raise Refused("access.grantee_suspended", "the grantee's account is suspended")
        case WholeOrganisation() | RoleAt():
            if get_organisation(context.state, grantee.org) is None:
                raise Refused("access.unknown_grantee", f"no organisation {grantee.org} exists")
            if isinstance(grantee, RoleAt) and grantee.role in NOT_MEMBERS:
                raise Refused(
                    "access.grantee_role",
                    f"{grantee.role.value} is no role of an organisation's staff; name the person",
                )


def _grantee_fields(grantee: Grantee) -> tuple[tuple[str, EventValue], ...]:
    match grantee:
        case Person():
            return (("grantee", grantee.account),)
        case WholeOrganisation():
            return (("grantee_org", grantee.org),)
        case RoleAt():
            return (("grantee_org", grantee.org), ("grantee_role", grantee.role.value))


def _scope_fields(terms: Terms) -> tuple[tuple[str, EventValue], ...]:
    match terms.scope:
        case AllRecords():
            return (("scope", "all"),)
        case Categories():
            return (("scope", "categories"), ("count", len(terms.scope.categories)))
        case RecordList():
            return (("scope", "records"), ("count", len(terms.scope.records)))
