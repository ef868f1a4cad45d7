"""Explanations: a decision in words, the transactions behind it, and what keeps it.

Two things decide whether somebody reads a record: the rules, which honest nodes keep, and the keys,
which nobody can argue with. An explanation tells them apart, because they differ after a right has
ended and before its key has been handed over (design: privacy, "Kept by keys").
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId
from ledger.access_state import Ending, Grant, get_ended_grants, get_grants, is_in_force
from ledger.accounts import get_account, get_organisation
from ledger.decision import (
    Action,
    Decision,
    Question,
    decide,
    is_grant_meant,
    level_needed,
    matching_grants,
)
from ledger.grants import NOT_MEMBERS, is_covered, is_grantee, is_level_enough
from ledger.records_state import Record, current_seal, get_record, get_version
from ledger.state import StateView
from ledger.words import account_words, record_words, short_id, terms_words, time_words

ENDED_SEARCHED_MAX: Final = 64
"""Ended grants looked through, newest end first, for those that would have permitted."""


class KeyState(Enum):
    """Whether a key of the record's latest version is in the requester's reach."""

    HELD = "held"
    """An envelope of the seal in force is addressed to the requester."""

    WITH_AGENT = "with_agent"
    """The requester's organisation has one: its key agent opens for those the rules permit."""

    PENDING = "pending"
    """Permitted, but nobody has handed the key on yet."""

    NONE = "none"
    """No envelope of the seal in force leads to the requester."""


class Keeper(Enum):
    """What would have to fail for the answer to be broken."""

    KEYS = "keys"
    HONEST_NODES = "honest_nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with its reasons, one sentence each, and the transactions behind it.

    `because` holds the grants that permit, or those that nearly did. `key` and `kept_by` speak of
    opening the latest version under its seal in force; the limits of a permission (purpose, period)
    are always kept by honest nodes.
    """

    decision: Decision
    sentences: tuple[str, ...]
    because: tuple[Digest, ...]
    key: KeyState
    kept_by: Keeper


def explain(
    view: StateView,
    *,
    requester: AccountId,
    record_id: RecordId,
    action: Action,
    purpose: str,
    time_ms: int,
    on_behalf_of: AccountId | None = None,
) -> Explanation | None:
    """Explain the decision about an existing record; None if there is no such record.

    The words tell of grants and keys: they are for the patient and for who is permitted to know of
    the record. Everybody else gets the decision's code alone.
    """
    record = get_record(view, record_id)
    if record is None:
        return None
    decision = decide(
        view,
        requester=requester,
        on_behalf_of=on_behalf_of,
        record=record.facts,
        action=action,
        purpose=purpose,
        time_ms=time_ms,
    )
    key = key_state(view, record, requester, is_permitted=decision.permitted)
    reasons = _reasons(view, record, requester, decision, action, purpose, time_ms)
    is_closed_by_key = not decision.permitted and key is KeyState.NONE
    return Explanation(
        decision=decision,
        sentences=(*(text for text, _ in reasons), _key_sentence(decision, key)),
        because=tuple(tx_id for _, tx_id in reasons if tx_id is not None),
        key=key,
        kept_by=Keeper.KEYS if is_closed_by_key else Keeper.HONEST_NODES,
    )


def key_state(
    view: StateView, record: Record, requester: AccountId, *, is_permitted: bool
) -> KeyState:
    """Return where a key of the record's latest version is, seen from the requester."""
    version = get_version(view, record.facts.record_id, record.latest)
    assert version is not None, "a record's latest version stands in state"
    holders = [envelope.recipient for envelope in current_seal(view, version).envelopes]
    if requester in holders:
        return KeyState.HELD
    account = get_account(view, requester)
    if account is not None and account.role not in NOT_MEMBERS:
        organisation = get_organisation(view, account.org)
        if organisation is not None and organisation.agent in holders:
            return KeyState.WITH_AGENT
    return KeyState.PENDING if is_permitted else KeyState.NONE


def _reasons(
    view: StateView,
    record: Record,
    requester: AccountId,
    decision: Decision,
    action: Action,
    purpose: str,
    time_ms: int,
) -> list[tuple[str, Digest | None]]:
    """Return sentences, each with the transaction it is about."""
    who, what = account_words(view, requester), record_words(record.facts.record_id)
    match decision.rule:
        case "inactive":
            return [(_INACTIVE[decision.code].format(who=_capital(who)), None)]
        case "purpose":
            return [(f"The role of {who} does not admit the purpose {purpose}.", None)]
        case "patient":
            return [(f"{_capital(what)} is the requester's own.", None)]
        case "treatment":
            text = f"{_capital(what)} was written at {record.facts.author_org}, where {who} works."
            return [(text, record.tx_id)]
        case "audit":
            return [(f"{_capital(who)} sees traces here; what a record holds stays shut.", None)]
        case _:
            question = _question(view, record, requester, action, purpose, time_ms)
            return _grant_reasons(question, decision, f"{who} {action.value} {what}")


def _grant_reasons(
    question: Question, decision: Decision, wish: str
) -> list[tuple[str, Digest | None]]:
    if decision.permitted:
        grant = matching_grants(question)[0]
        text = f"Grant {short_id(grant.grant_id)}: {terms_words(question.view, grant.terms)}."
        return [(text, grant.grant_id)]
    nothing = f"No right in force lets {wish} for {question.purpose}."
    return [(nothing, None), *_near_misses(question)]


def _question(
    view: StateView,
    record: Record,
    requester: AccountId,
    action: Action,
    purpose: str,
    time_ms: int,
) -> Question:
    account = get_account(view, requester)
    assert account is not None, "an unknown account is not active"
    return Question(
        view=view,
        account=account,
        pseudonym=record.facts.pseudonym,
        facts=record.facts,
        action=action,
        purpose=purpose,
        time_ms=time_ms,
    )


def _near_misses(question: Question) -> list[tuple[str, Digest | None]]:
    """Return the grants that speak of the requester and why each of them does not permit."""
    found: list[tuple[str, Digest | None]] = []
    for grant in get_grants(question.view, question.pseudonym):
        if is_grantee(grant.terms.grantee, question.account):
            why = " and ".join(_shortcomings(question, grant))
            found.append((f"Grant {short_id(grant.grant_id)} {why}.", grant.grant_id))
    ended = get_ended_grants(question.view, question.pseudonym, limit=ENDED_SEARCHED_MAX)
    for _, one in ended:
        if is_grant_meant(one.grant, question):
            how = "was revoked" if one.ending is Ending.REVOKED else "ended"
            text = f"Grant {short_id(one.grant.grant_id)} {how} at {time_words(one.ended_ms)}."
            found.append((text, one.grant.grant_id))
    return found


def _shortcomings(question: Question, grant: Grant) -> list[str]:
    terms, facts = grant.terms, question.facts
    found: list[str] = []
    if not is_in_force(terms, question.time_ms):
        has_begun = terms.from_ms <= question.time_ms
        edge_ms = terms.until_ms if has_begun else terms.from_ms
        found.append(f"{'ended' if has_begun else 'begins only'} at {time_words(edge_ms)}")
    if question.purpose not in terms.purposes:
        found.append(f"is for {', '.join(terms.purposes)} only")
    if not is_level_enough(terms.level, level_needed(question.action)):
        found.append("is for reading only")
    if facts is not None and not is_covered(terms.scope, facts):
        found.append("covers other records")
    assert found, "a grant that satisfies everything permits"
    return found


def _key_sentence(decision: Decision, key: KeyState) -> str:
    match key:
        case KeyState.HELD if decision.permitted:
            return "The requester has a key; purpose and period are kept by honest nodes."
        case KeyState.HELD:
            return (
                "The requester still has a key of the seal in force: honest nodes alone keep this "
                "shut until the record is sealed afresh."
            )
        case KeyState.WITH_AGENT if decision.permitted:
            return "The organisation's key agent hands a key over once a read is on the ledger."
        case KeyState.WITH_AGENT:
            return (
                "The organisation's key agent has a key for others there: it and honest nodes keep "
                "this shut."
            )
        case KeyState.PENDING:
            return "Permitted, key pending: the patient's client or the agent has to hand one over."
        case KeyState.NONE:
            return "Keys keep this shut: no envelope of the seal in force leads to the requester."
        case _:
            assert_never(key)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


_INACTIVE: Final = {
    "identity.unknown": "{who} is not registered.",
    "identity.suspended": "{who} is suspended.",
    "organisation.suspended": "The organisation of {who} is suspended.",
    "access.not_delegated": "{who} acts for somebody who has not delegated anything.",
}
