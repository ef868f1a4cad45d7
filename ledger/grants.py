"""What a grant means: whom it names, what it covers, and when one right lies within another."""

from typing import Final, assert_never

from crypto.record_ids import AccountId
from ledger.access_payloads import (
    AccessLevel,
    AllRecords,
    Categories,
    Grantee,
    Person,
    RecordList,
    RoleAt,
    Scope,
    Terms,
    WholeOrganisation,
)
from ledger.accounts import Account, OrgId, Role
from ledger.records_payloads import CategoryId
from ledger.records_state import RecordFacts, get_record
from ledger.state import StateView

NOT_MEMBERS: Final = (Role.PATIENT, Role.GUARDIAN, Role.KEY_AGENT, Role.NODE)
"""Accounts under an organisation that are not its staff; its agent opens for them, never reads."""


def is_grantee(grantee: Grantee, account: Account) -> bool:
    """Whether the grant speaks of this account.

    Patients are registered under an organisation too: its rights are not theirs.
    """
    return is_named(grantee, account.account_id, account.org, account.role)


def is_named(grantee: Grantee, account_id: AccountId, org: OrgId, role: Role) -> bool:
    """The same of an account as it was at some time: in this organisation, with this role."""
    match grantee:
        case Person():
            return grantee.account == account_id
        case WholeOrganisation():
            return grantee.org == org and role not in NOT_MEMBERS
        case RoleAt():
            return grantee.org == org and grantee.role is role
        case _:
            assert_never(grantee)


def grantee_org(grantee: Grantee) -> OrgId | None:
    """Return the organisation whose key agent opens records for the grantee; a person has none."""
    match grantee:
        case Person():
            return None
        case WholeOrganisation() | RoleAt():
            return grantee.org
        case _:
            assert_never(grantee)


def is_covered(scope: Scope, facts: RecordFacts) -> bool:
    """Whether the scope includes the record."""
    match scope:
        case AllRecords():
            return True
        case Categories():
            return facts.category in scope.categories
        case RecordList():
            return facts.record_id in scope.records
        case _:
            assert_never(scope)


def is_level_enough(has: AccessLevel, needs: AccessLevel) -> bool:
    return has.value >= needs.value


def is_within(view: StateView, narrow: Terms, wide: Terms, requester: Account) -> bool:
    """Whether `narrow` gives nothing that `wide` would not: an approval may only narrow.

    `requester` is who asked for `wide`: a right asked for an organisation may be given to that
    person alone.
    """
    return (
        _is_grantee_within(narrow.grantee, wide.grantee, requester)
        and _is_scope_within(view, narrow.scope, wide.scope)
        and is_level_enough(wide.level, narrow.level)
        and all(purpose in wide.purposes for purpose in narrow.purposes)
        and narrow.from_ms >= wide.from_ms
        and narrow.until_ms <= wide.until_ms
    )


def _is_grantee_within(narrow: Grantee, wide: Grantee, requester: Account) -> bool:
    if narrow == wide:
        return True
    match narrow:
        case Person():
            return narrow.account == requester.account_id and is_grantee(wide, requester)
        case RoleAt():
            return isinstance(wide, WholeOrganisation) and narrow.org == wide.org
        case WholeOrganisation():
            return False
        case _:
            assert_never(narrow)


def _is_scope_within(view: StateView, narrow: Scope, wide: Scope) -> bool:
    match wide:
        case AllRecords():
            return True
        case Categories():
            return all(
                category in wide.categories for category in _categories_touched(view, narrow)
            )
        case RecordList():
            return isinstance(narrow, RecordList) and all(
                record_id in wide.records for record_id in narrow.records
            )
        case _:
            assert_never(wide)


def _categories_touched(view: StateView, scope: Scope) -> tuple[CategoryId | None, ...]:
    """Return the categories a scope reaches; None stands for one that cannot be told."""
    match scope:
        case AllRecords():
            return (None,)
        case Categories():
            return scope.categories
        case RecordList():
            records = [get_record(view, record_id) for record_id in scope.records]
            return tuple(None if record is None else record.facts.category for record in records)
        case _:
            assert_never(scope)
