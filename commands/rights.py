"""Rights as people write and read them: grantees, scopes and levels as options and in tables."""

from collections.abc import Sequence
from typing import Any

from client.connection import Client
from client.directories import category_scope
from client.wallet import name_of
from commands.home import account_named, record_named
from commands.output import Exit, fail
from commands.times import time_text
from crypto.record_ids import AccountId
from ledger.access_payloads import (
    AccessLevel,
    AllRecords,
    Grantee,
    Person,
    RecordList,
    RoleAt,
    Scope,
    Terms,
    WholeOrganisation,
)
from ledger.access_state import Grant
from ledger.accounts import OrgId, Role, check_slug
from ledger.words import END_OF_TIME_MS

READ, READ_WRITE = "read", "read-write"
LEVELS = {READ: AccessLevel.READ, READ_WRITE: AccessLevel.READ_WRITE}
SCOPE_HELP = "all, category:NAME[,NAME...] or record:ID[,ID...]"
GRANTEE_HELP = "A person (label, contact, account), org:SLUG, or role:ROLE@SLUG."


def parse_grantee(client: Client, text: str) -> Grantee:
    kind, _, rest = text.partition(":")
    if kind == "org":
        return WholeOrganisation(org=_organisation(text, rest))
    if kind == "role":
        role, _, org = rest.partition("@")
        if role not in {one.value for one in Role}:
            fail(Exit.USAGE, "role.unknown", f"{role!r} is no role; see `person enrol --help`")
        return RoleAt(org=_organisation(text, org), role=Role(role))
    return Person(account=AccountId(account_named(client, text)))


def _organisation(grantee: str, slug: str) -> OrgId:
    try:
        check_slug(slug)
    except ValueError as problem:
        fail(Exit.USAGE, "grantee.form", f"{grantee!r} names nobody: {problem}")
    return OrgId(slug)


async def parse_scope(client: Client, pseudonym: AccountId, text: str) -> Scope:
    kind, _, rest = text.partition(":")
    if text == "all":
        return AllRecords()
    names = [one for one in rest.split(",") if one]
    if kind == "category" and names:
        return await category_scope(client, pseudonym, names)
    if kind != "record" or not names:
        fail(Exit.USAGE, "scope.form", f"{text!r} is no scope: write {SCOPE_HELP}")
    return RecordList(records=tuple(sorted(record_named(one) for one in names)))


def grant_row(client: Client, found: Grant) -> dict[str, Any]:
    return {"kind": "grant", "id": found.grant_id, **terms_row(client, found.terms)}


def terms_row(client: Client, terms: Terms) -> dict[str, Any]:
    return {
        "who": _grantee_text(client, terms.grantee),
        "scope": _scope_text(terms.scope),
        "level": READ if terms.level is AccessLevel.READ else READ_WRITE,
        "purposes": _joined(terms.purposes),
        "from": time_text(terms.from_ms),
        "until": "open" if terms.until_ms >= END_OF_TIME_MS else time_text(terms.until_ms),
    }


def _grantee_text(client: Client, grantee: Grantee) -> str:
    match grantee:
        case Person():
            return name_of(client.wallet, grantee.account) or grantee.account.hex()
        case WholeOrganisation():
            return f"org:{grantee.org}"
        case RoleAt():
            return f"role:{grantee.role.value}@{grantee.org}"


def _scope_text(scope: Scope) -> str:
    match scope:
        case AllRecords():
            return "all"
        case RecordList():
            return "record:" + _joined([one.hex() for one in scope.records])
        case _:
            return f"{len(scope.categories)} categories"


def _joined(parts: Sequence[str]) -> str:
    return ",".join(parts)
