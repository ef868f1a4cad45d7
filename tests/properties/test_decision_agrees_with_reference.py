"""The decision and an independent evaluator agree on whatever hospitals may come to do.

A history is made by real transactions, so that contracts, state and decision are compared as one.
Every question that the history allows is asked after it, at every time where an answer may change.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId
from ledger.access_payloads import (
    AccessGrant,
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
from ledger.accounts import OrgId, Role
from ledger.decision import Action, decide
from ledger.grants import is_grantee
from ledger.recipients import recipients
from tests.properties.reference_decision import PlainGrant, PlainRecord, PlainWorld, answer
from tests.unit.ledger.record_samples import CATEGORIES, HOUR_MS, Hospitals
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of

ORGS = (NORTH, SOUTH)
WORKERS = tuple(
    (f"{role.value} of {org}", role, org)
    for org in ORGS
    for role in (
        Role.DOCTOR, Role.NURSE, Role.DEVICE, Role.AUDITOR, Role.RESEARCHER, Role.GUARDIAN,
        Role.INSURER, Role.PUBLIC_HEALTH,
    )
)  # fmt: skip
PATIENTS = (("patient one", NORTH), ("patient two", SOUTH))
AGENTS = {org: f"agent of {org}" for org in ORGS}
EVERYBODY = (
    *(label for label, _, _ in WORKERS),
    *(label for label, _ in PATIENTS),
    *AGENTS.values(),
    *(f"first admin of {org}" for org in ORGS),
    "a stranger",
)
PURPOSES = ("TREAT", "HPAYMT", "HOPERAT", "HRESCH", "PUBHLTH", "PATRQT", "FAMRQT", "trial|7")


@cache
def founded() -> tuple[Hospitals, tuple[PlainRecord, ...]]:
    """Both hospitals with everybody registered; of each patient a record written at either."""
    hospitals = Hospitals()
    for label, role, org in WORKERS:
        hospitals.chain.register(label, role, org)
    for label, org in PATIENTS:
        hospitals.chain.register(label, Role.PATIENT, org, categories=CATEGORIES)
    records = tuple(
        written(hospitals, label, author_org, category)
        for label, _ in PATIENTS
        for author_org, category in zip((NORTH, SOUTH), CATEGORIES[:2], strict=True)
    )
    return hospitals, records


def written(hospitals: Hospitals, patient: str, author_org: OrgId, category: bytes) -> PlainRecord:
    """A record by a doctor of that hospital, who may write just for this one record."""
    author = f"doctor of {author_org}"
    passing = hospitals.grant(hospitals.terms(author, level=AccessLevel.READ_WRITE), patient)
    record_id = hospitals.put(author, patient, category=category)
    hospitals.revoke(passing, patient)
    return PlainRecord(
        record_id=record_id, patient=patient, category=category, author_org=author_org
    )


def plain_world() -> PlainWorld:
    people: dict[str, tuple[str, str]] = {label: (org, role.value) for label, role, org in WORKERS}
    people |= {label: (org, "patient") for label, org in PATIENTS}
    people |= {AGENTS[org]: (org, "key_agent") for org in ORGS}
    people |= {f"first admin of {org}": (org, "hospital_admin") for org in ORGS}
    return PlainWorld(people=people, agents={str(org): agent for org, agent in AGENTS.items()})


@dataclass(frozen=True)
class GrantStep:
    patient: str
    grantee: tuple[str, ...]
    scope: tuple[str, tuple[int, ...]]
    writes: bool
    purposes: tuple[str, ...]
    begins_in_ms: int
    lasts_ms: int


@dataclass(frozen=True)
class RevokeStep:
    number: int


@dataclass(frozen=True)
class SuspendStep:
    who: str


@dataclass(frozen=True)
class WaitStep:
    for_ms: int


Step = GrantStep | RevokeStep | SuspendStep | WaitStep

grantees = st.one_of(
    st.tuples(st.just("person"), st.sampled_from([label for label, _, _ in WORKERS])),
    st.tuples(st.just("person"), st.sampled_from([label for label, _ in PATIENTS])),
    st.tuples(st.just("org"), st.sampled_from(ORGS)),
    st.tuples(
        st.just("role"),
        st.sampled_from(ORGS),
        st.sampled_from([role.value for _, role, _ in WORKERS]),
    ),
)
scopes = st.one_of(
    st.just(("all", ())),
    st.tuples(st.just("categories"), st.sets(st.integers(0, 3), min_size=1).map(sorted)),
    st.tuples(st.just("records"), st.sets(st.integers(0, 1), min_size=1).map(sorted)),
)
grant_steps = st.builds(
    GrantStep,
    patient=st.sampled_from([label for label, _ in PATIENTS]),
    grantee=grantees,
    scope=scopes.map(lambda scope: (scope[0], tuple(scope[1]))),
    writes=st.booleans(),
    purposes=st.sets(st.sampled_from(PURPOSES), min_size=1, max_size=6).map(
        lambda purposes: tuple(sorted(purposes))
    ),
    begins_in_ms=st.sampled_from([0, 1, HOUR_MS]),
    lasts_ms=st.sampled_from([2_500, HOUR_MS, 10 * HOUR_MS]),
)
steps = st.one_of(
    grant_steps,
    grant_steps,
    st.builds(RevokeStep, number=st.integers(0, 9)),
    st.builds(SuspendStep, who=st.sampled_from([*(w[0] for w in WORKERS), *ORGS])),
    st.builds(WaitStep, for_ms=st.sampled_from([1_000, HOUR_MS])),
)


class History:
    """The same steps, taken by the ledger and by the plain world."""

    def __init__(self) -> None:
        founding, self.records = founded()
        self.ledger = copy.deepcopy(founding)
        self.plain = plain_world()

    def take(self, step: Step) -> None:
        match step:
            case GrantStep():
                self._grant(step)
            case RevokeStep():
                self._revoke(step.number)
            case SuspendStep():
                self._suspend(step.who)
            case WaitStep():
                self.ledger.chain.apply(after_ms=step.for_ms)

    def _grant(self, step: GrantStep) -> None:
        begins = self.ledger.time_ms + step.begins_in_ms
        own = sorted(one.record_id for one in self.records if one.patient == step.patient)
        ids = {"all": (), "categories": CATEGORIES, "records": own}[step.scope[0]]
        chosen = tuple(ids[number] for number in step.scope[1])
        terms = Terms(
            grantee=real_grantee(step.grantee),
            scope=real_scope(step.scope[0], chosen),
            level=AccessLevel.READ_WRITE if step.writes else AccessLevel.READ,
            purposes=step.purposes,
            from_ms=begins,
            until_ms=begins + step.lasts_ms,
        )
        payload = AccessGrant(pseudonym=account_of(step.patient), terms=terms)
        receipt = self.ledger.submit("access.grant", payload, step.patient)
        if receipt.accepted:
            self.plain.grants.append(
                PlainGrant(
                    grant_id=receipt.tx_id,
                    patient=step.patient,
                    grantee=step.grantee,
                    scope=(step.scope[0], frozenset(chosen)),
                    writes=step.writes,
                    purposes=frozenset(step.purposes),
                    begins=terms.from_ms,
                    ends=terms.until_ms,
                )
            )

    def _revoke(self, number: int) -> None:
        if number >= len(self.plain.grants):
            return
        grant = self.plain.grants[number]
        over = grant.revoked or self.ledger.next_ms >= grant.ends
        acts = self.plain.people[grant.patient][0] not in self.plain.suspended
        receipt = self.ledger.revoke(Digest(grant.grant_id), grant.patient)
        assert receipt.accepted == (acts and not over), receipt.code
        grant.revoked = grant.revoked or receipt.accepted

    def _suspend(self, who: str) -> None:
        if who in self.plain.suspended:
            return
        if who in ORGS:
            self.ledger.suspend_organisation(OrgId(who))
        elif self.plain.people[who][0] in self.plain.suspended:
            return  # Its admin may not act any more.
        else:
            self.ledger.suspend(who, OrgId(self.plain.people[who][0]))
        self.plain.suspended.add(who)

    def times(self) -> list[int]:
        """Now, and one millisecond around every edge to come."""
        edges = {edge for grant in self.plain.grants for edge in (grant.begins, grant.ends)}
        now = self.ledger.time_ms
        around = {edge + offset for edge in edges for offset in (-1, 0)}
        return [now, *sorted(time_ms for time_ms in around if time_ms > now)]


def real_grantee(grantee: tuple[str, ...]) -> Grantee:
    match grantee:
        case ("person", label):
            return Person(account=account_of(label))
        case ("org", org):
            return WholeOrganisation(org=OrgId(org))
        case (_, org, role):
            return RoleAt(org=OrgId(org), role=Role(role))
        case _:
            raise AssertionError(grantee)


def real_scope(kind: str, ids: tuple[Any, ...]) -> Scope:
    kinds: dict[str, Callable[[], Scope]] = {
        "all": AllRecords,
        "categories": lambda: Categories(categories=ids),
        "records": lambda: RecordList(records=ids),
    }
    return kinds[kind]()


def account_id_of(label: str) -> AccountId:
    return AccountId(b"\x00" * 32) if label == "a stranger" else account_of(label)


@given(st.lists(steps, max_size=8), st.data())
def test_decision_and_reference_agree_after_every_history(
    history_steps: list[Step], data: st.DataObject
) -> None:
    history = History()
    for step in history_steps:
        history.take(step)
    asked = 0
    purposes = data.draw(st.sets(st.sampled_from(PURPOSES), min_size=2, max_size=3))
    rules = set()

    for record in history.records:
        facts = history.ledger.record(RecordId(record.record_id)).facts
        for time_ms in history.times()[:6]:
            for who in EVERYBODY:
                for action in Action:
                    for purpose in sorted(purposes):
                        found = decide(
                            history.ledger.chain.state,
                            requester=account_id_of(who),
                            record=facts,
                            action=action,
                            purpose=purpose,
                            time_ms=time_ms,
                        )
                        permitted, rule, grants = answer(
                            history.plain, who, record, action.value, purpose, time_ms
                        )
                        question = (who, action, purpose, time_ms, history_steps)
                        assert (found.permitted, found.rule) == (permitted, rule), question
                        assert set(found.because) <= grants, question
                        assert bool(found.because) == (rule == "grant"), question
                        rules.add(rule)
                        asked += 1

    assert asked > 100
    for rule in sorted(rules):
        event(f"rule {rule} was reached")


@given(st.lists(steps, max_size=8))
def test_whoever_may_read_by_a_right_can_be_given_a_key_and_nobody_else_is(
    history_steps: list[Step],
) -> None:
    """`recipients` against the reference: a person's own account, or the agent of the staff's."""
    history = History()
    for step in history_steps:
        history.take(step)

    for record in history.records:
        facts = history.ledger.record(RecordId(record.record_id)).facts
        for time_ms in history.times():
            state = history.ledger.chain.state
            found = {one.account for one in recipients(state, facts, time_ms=time_ms)}
            assert found == expected_recipients(history, record, time_ms)


def expected_recipients(history: History, record: PlainRecord, time_ms: int) -> set[bytes]:
    openers = {record.patient, AGENTS[OrgId(record.author_org)]}
    for grant in history.plain.grants:
        if grant.patient != record.patient or grant.revoked or time_ms >= grant.ends:
            continue
        covered = {record.category, record.record_id} & grant.scope[1]
        if grant.scope[0] == "all" or covered:
            kind, who = grant.grantee[:2]
            openers.add(who if kind == "person" else AGENTS[OrgId(who)])
    return {
        account_of(label)
        for label in openers
        if not {label, history.plain.people[label][0]} & history.plain.suspended
    }


def test_the_samples_reach_every_kind_of_grantee() -> None:
    hospitals, _ = founded()
    doctor = hospitals.account("doctor of south")

    assert is_grantee(real_grantee(("person", "doctor of south")), doctor)
    assert is_grantee(real_grantee(("org", "south")), doctor)
    assert is_grantee(real_grantee(("role", "south", "doctor")), doctor)
