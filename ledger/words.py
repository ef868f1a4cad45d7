"""The ledger's nouns in plain English, for explanations and logs.

Names of people are nowhere on the ledger: an account is told by its role, its organisation and the
first digits of its id, and who holds a directory can put names in their place.
"""

from typing import assert_never

from crypto.record_ids import AccountId, RecordId
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
from ledger.accounts import get_account
from ledger.state import StateView

SHORT_DIGITS = 8
END_OF_TIME_MS = 253_402_300_800_000
"""The year 10,000: an end so far away means none."""


def short_id(identifier: bytes) -> str:
    """Return the first digits of an id, enough to tell it from its neighbours."""
    return identifier.hex()[:SHORT_DIGITS]


def account_words(view: StateView, account_id: AccountId) -> str:
    """Return for example `doctor 1f0a33c2 of st-mary`."""
    account = get_account(view, account_id)
    if account is None:
        return f"account {short_id(account_id)}"
    return f"{account.role.value.replace('_', ' ')} {short_id(account_id)} of {account.org}"


def grantee_words(view: StateView, grantee: Grantee) -> str:
    match grantee:
        case Person():
            return account_words(view, grantee.account)
        case WholeOrganisation():
            return f"everybody who works at {grantee.org}"
        case RoleAt():
            return f"every {grantee.role.value.replace('_', ' ')} of {grantee.org}"
        case _:
            assert_never(grantee)


def scope_words(scope: Scope) -> str:
    match scope:
        case AllRecords():
            return "all records"
        case Categories():
            return counted(len(scope.categories), "category", "categories")
        case RecordList():
            return counted(len(scope.records), "record", "records")
        case _:
            assert_never(scope)


def level_words(level: AccessLevel) -> str:
    return "read and write" if level is AccessLevel.READ_WRITE else "read"


def terms_words(view: StateView, terms: Terms) -> str:
    """Return a right as half a sentence: who may do what with which records, why, when."""
    return (
        f"{grantee_words(view, terms.grantee)} may {level_words(terms.level)} "
        f"{scope_words(terms.scope)} for {', '.join(terms.purposes)} "
        f"from {time_words(terms.from_ms)} until {until_words(terms.until_ms)}"
    )


def record_words(record_id: RecordId) -> str:
    return f"record {short_id(record_id)}"


def counted(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count} {many}"


def until_words(until_ms: int) -> str:
    return "it is revoked" if until_ms >= END_OF_TIME_MS else time_words(until_ms)


def time_words(time_ms: int) -> str:
    """Return block time as `2026-11-21 04:31:05 UTC`.

    The days are counted in the proleptic Gregorian calendar by whole numbers: the ledger reads no
    clock and needs no library for one.
    """
    seconds, _ = divmod(time_ms, 1_000)
    days, second_of_day = divmod(seconds, 86_400)
    year, month, day = _civil(days)
    hour, rest = divmod(second_of_day, 3_600)
    minute, second = divmod(rest, 60)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"


def _civil(days: int) -> tuple[int, int, int]:
    """Turn days since 1970-01-01 into year, month, day; years begin in March while counting."""
    shifted = days + 719_468  # Days since 0000-03-01.
    era, day_of_era = divmod(shifted, 146_097)
    leap_days = day_of_era // 1_460 - day_of_era // 36_524 + day_of_era // 146_096
    year_of_era = (day_of_era - leap_days) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = era * 400 + year_of_era + (1 if month <= 2 else 0)
    return year, month, day
