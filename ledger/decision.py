"""The access decision: may this account do this, with this record, for this purpose, now?

One pure function of a state, asked by contracts, by a node before and while it serves bytes, by key
agents and by `explain`. The unit is the record. The rules are tried in order and the first that
speaks decides:

     1. inactive    account, organisation or representation not in force: deny
     2. purpose     a purpose the role may not claim: deny
     3. patient     the pseudonym's own account: permit
     4. exceptions that hold in an emergency, 5. an emergency session, 6. other exceptions,
     7. representatives: each comes with its state, between 3 and 8
     8. grant       one grant in force that satisfies all its conditions: permit
     9. treatment   those who treat at the author's organisation, and its key agent: permit
        audit       an auditor of the pseudonym's organisation sees that, never what: permit
    10. default     nothing above permits: deny

Time is block time; a period is [from, until), so at `until` it denies. Inside a block, order
decides: the state asked is the one that the transactions before have left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from crypto.hashing import Digest
from crypto.record_ids import AccountId
from ledger.access_payloads import AccessLevel
from ledger.access_state import Grant, get_grants, is_in_force
from ledger.accounts import Account, Role, Status, get_account, get_organisation
from ledger.errors import Refused
from ledger.grants import grantee_org, is_covered, is_grantee, is_level_enough
from ledger.purposes import TREAT, is_admitted
from ledger.records_state import RecordFacts
from ledger.state import StateView

TREATING_ROLES: Final = (Role.DOCTOR, Role.NURSE)
"""Roles that read what their organisation wrote, to treat."""

WRITING_ROLES: Final = (Role.DOCTOR, Role.NURSE, Role.DEVICE)
"""Roles that write for their organisation's patients."""

DENIED: Final = "access.denied"


class Action(Enum):
    """What is asked for."""

    READ = "read"
    """See the content."""

    WRITE = "write"
    """Put a record, or a version of one."""

    METADATA = "metadata"
    """See that it exists: opaque category, tags, author, dates, sizes."""

    LOG = "log"
    """See the pseudonym's log: who did what, when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer: the rule that gave it, the transactions behind it, and a stable code.

    `code` is `ok` for a permission; `because` are grant ids for rule `grant`, else empty.
    """

    permitted: bool
    rule: str
    code: str
    because: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a rule looks at; `facts` is None when the pseudonym itself is asked about."""

    view: StateView
    account: Account
    pseudonym: AccountId
    facts: RecordFacts | None
    action: Action
    purpose: str
    time_ms: int


def decide(
    view: StateView,
    *,
    requester: AccountId,
    record: RecordFacts,
    action: Action,
    purpose: str,
    time_ms: int,
    on_behalf_of: AccountId | None = None,
) -> Decision:
    """Decide about one record, which need not exist yet when it is to be written."""
    return _decide(
        view, requester, on_behalf_of, record.pseudonym, record, action, purpose, time_ms
    )


def decide_about(
    view: StateView,
    *,
    requester: AccountId,
    pseudonym: AccountId,
    action: Action,
    purpose: str,
    time_ms: int,
    on_behalf_of: AccountId | None = None,
) -> Decision:
    """Decide about a pseudonym itself: its account, its log, whether it may be written for at all.

    A grant counts whatever its scope, so a permission here says nothing about any record.
    """
    return _decide(view, requester, on_behalf_of, pseudonym, None, action, purpose, time_ms)


def check_permitted(decision: Decision, what: str) -> None:
    """Raise `Refused` with the decision's code unless it permits."""
    if not decision.permitted:
        raise Refused(
            decision.code,
            f"may not {what}: rule `{decision.rule}` denies; `access explain` says why",
            (("rule", decision.rule),),
        )


def matching_grants(question: Question) -> list[Grant]:
    """Return the grants that satisfy all their conditions, the one to be named first.

    The latest end goes first, then the lowest id.
    """
    found = [
        grant
        for grant in get_grants(question.view, question.pseudonym)
        if is_in_force(grant.terms, question.time_ms) and is_grant_meant(grant, question)
    ]
    return sorted(found, key=lambda grant: (-grant.terms.until_ms, grant.grant_id))


def is_grant_meant(grant: Grant, question: Question) -> bool:
    """Whether a grant satisfies every condition but its period."""
    terms = grant.terms
    return (
        question.purpose in terms.purposes
        and is_level_enough(terms.level, level_needed(question.action))
        and (question.facts is None or is_covered(terms.scope, question.facts))
        and (is_grantee(terms.grantee, question.account) or _is_agent_for(grant, question))
    )


def _decide(
    view: StateView,
    requester: AccountId,
    on_behalf_of: AccountId | None,
    pseudonym: AccountId,
    facts: RecordFacts | None,
    action: Action,
    purpose: str,
    time_ms: int,
) -> Decision:
    account = get_account(view, requester)
    denied = _check_active(view, account, on_behalf_of)
    if denied is not None:
        return denied
    assert account is not None, "an unknown account is not active"
    question = Question(
        view=view,
        account=account,
        pseudonym=pseudonym,
        facts=facts,
        action=action,
        purpose=purpose,
        time_ms=time_ms,
    )
    for rule in RULES:
        decision = rule(question)
        if decision is not None:
            return decision
    return _deny("default", DENIED)


def _check_active(
    view: StateView, account: Account | None, on_behalf_of: AccountId | None
) -> Decision | None:
    """Rule 1; no representation is in force, because none can be given yet."""
    if account is None:
        return _deny("inactive", "identity.unknown")
    if account.status is not Status.ACTIVE:
        return _deny("inactive", "identity.suspended")
    organisation = get_organisation(view, account.org)
    if organisation is None or organisation.status is not Status.ACTIVE:
        return _deny("inactive", "organisation.suspended")
    if on_behalf_of is not None:
        return _deny("inactive", "access.not_delegated")
    return None


def _purpose_rule(question: Question) -> Decision | None:
    """Rule 2."""
    if is_admitted(question.account.role, question.purpose):
        return None
    return _deny("purpose", "access.purpose")


def _patient_rule(question: Question) -> Decision | None:
    """Rule 3."""
    if question.account.account_id != question.pseudonym:
        return None
    return _permit("patient")


def _grant_rule(question: Question) -> Decision | None:
    """Rule 8; a grant never opens the log."""
    if question.action is Action.LOG:
        return None
    grants = matching_grants(question)
    if not grants:
        return None
    return _permit("grant", grants[0].grant_id)


def _treatment_rule(question: Question) -> Decision | None:
    """Rule 9; about a pseudonym itself, its own organisation counts as the author's."""
    if question.purpose != TREAT or question.action is Action.LOG:
        return None
    home = get_account(question.view, question.pseudonym)
    if home is None:
        return None
    account, facts = question.account, question.facts
    author_org = home.org if facts is None else facts.author_org
    if account.org != author_org:
        return None
    may_write = account.role in WRITING_ROLES and author_org == home.org
    may_read = account.role in TREATING_ROLES or _is_agent(question)
    match question.action:
        case Action.WRITE:
            permitted = may_write
        case Action.READ:
            permitted = may_read
        case Action.METADATA:
            permitted = may_write or may_read
    return _permit("treatment") if permitted else None


def _audit_rule(question: Question) -> Decision | None:
    """Rule 9, traces only: an auditor follows those of the own organisation's patients."""
    if question.account.role is not Role.AUDITOR:
        return None
    if question.action not in (Action.METADATA, Action.LOG):
        return None
    home = get_account(question.view, question.pseudonym)
    if home is None or home.org != question.account.org:
        return None
    return _permit("audit")


RULES: Final[tuple[Callable[[Question], Decision | None], ...]] = (
    _purpose_rule,
    _patient_rule,
    _grant_rule,
    _treatment_rule,
    _audit_rule,
)
"""Rules 2 to 9 in order; rule 1 stands before them, because they need an account."""


def level_needed(action: Action) -> AccessLevel:
    return AccessLevel.READ_WRITE if action is Action.WRITE else AccessLevel.READ


def _is_agent_for(grant: Grant, question: Question) -> bool:
    """Whether the asker is the key agent that opens records for the grantee.

    It sees that a record exists, to hand its key on; reading is for the people the grant means.
    """
    return (
        question.action is Action.METADATA
        and question.account.org == grantee_org(grant.terms.grantee)
        and _is_agent(question)
    )


def _is_agent(question: Question) -> bool:
    account = question.account
    if account.role is not Role.KEY_AGENT:
        return False
    organisation = get_organisation(question.view, account.org)
    return organisation is not None and organisation.agent == account.account_id


def _permit(rule: str, *because: Digest) -> Decision:
    return Decision(permitted=True, rule=rule, code="ok", because=because)


def _deny(rule: str, code: str) -> Decision:
    return Decision(permitted=False, rule=rule, code=code)
