"""The decision: its rules in order, and the published consent cases that speak of what exists."""

import pytest

from crypto.record_ids import AccountId, RecordId
from ledger.access_payloads import (
    AccessLevel,
    Categories,
    RecordList,
    RoleAt,
    WholeOrganisation,
)
from ledger.accounts import Role
from ledger.decision import Action, Decision, decide, decide_about
from ledger.purposes import HOPERAT, HPAYMT, HRESCH, PATRQT, PUBHLTH, TREAT
from tests.unit.ledger.record_samples import (
    AUDITOR,
    CATEGORIES,
    DEVICE,
    DOCTOR,
    HOUR_MS,
    NURSE,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    SOUTH_PATIENT,
    Hospitals,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of

AGENT, SOUTH_AGENT = "agent of north", "agent of south"
PROJECT = "trials.example|NCT-7"
PURPOSES = (HOPERAT, HPAYMT, HRESCH, PATRQT, PUBHLTH, TREAT, PROJECT)


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def about(world: Hospitals, by: str, action: Action, purpose: str = TREAT) -> Decision:
    return decide_about(
        world.chain.state,
        requester=account_of(by),
        pseudonym=account_of(PATIENT),
        action=action,
        purpose=purpose,
        time_ms=world.time_ms,
    )


# Rule 1


def test_rule_1_denies_an_account_nobody_registered(world: Hospitals, record_id: RecordId) -> None:
    decision = decide(
        world.chain.state,
        requester=AccountId(b"\x00" * 32),
        record=world.record(record_id).facts,
        action=Action.READ,
        purpose=TREAT,
        time_ms=world.time_ms,
    )

    assert decision == Decision(permitted=False, rule="inactive", code="identity.unknown")


def test_rule_1_comes_before_every_permission(world: Hospitals, record_id: RecordId) -> None:
    world.suspend(PATIENT)
    world.suspend(DOCTOR)

    decisions = [world.decide(label, record_id) for label in (PATIENT, DOCTOR)]

    assert [(one.rule, one.code) for one in decisions] == [("inactive", "identity.suspended")] * 2


def test_rule_1_denies_members_of_a_suspended_organisation(
    world: Hospitals, record_id: RecordId
) -> None:
    world.suspend_organisation(NORTH)

    assert world.decide(DOCTOR, record_id).code == "organisation.suspended"
    assert world.decide(PATIENT, record_id).code == "organisation.suspended"


def test_rule_1_denies_a_representation_that_is_not_in_force(
    world: Hospitals, record_id: RecordId
) -> None:
    decision = world.decide(PATIENT, record_id, on_behalf_of=account_of(OTHER_PATIENT))

    assert (decision.rule, decision.code) == ("inactive", "access.not_delegated")


# Rule 2


@pytest.mark.parametrize(
    ("role", "admitted"),
    [
        (Role.PATIENT, {PATRQT, TREAT}),
        (Role.DOCTOR, {HOPERAT, HPAYMT, HRESCH, TREAT, PROJECT}),
        (Role.NURSE, {HOPERAT, HPAYMT, TREAT}),
        (Role.HOSPITAL_ADMIN, {HOPERAT, HPAYMT}),
        (Role.AUDITOR, {HOPERAT}),
        (Role.RESEARCHER, {HRESCH, PROJECT}),
        (Role.PUBLIC_HEALTH, {PUBHLTH}),
        (Role.INSURER, {HPAYMT}),
        (Role.GUARDIAN, {TREAT}),
        (Role.DEVICE, {TREAT}),
    ],
)
def test_rule_2_admits_the_purposes_of_a_role(
    world: Hospitals, record_id: RecordId, role: Role, admitted: set[str]
) -> None:
    world.chain.register("somebody", role, SOUTH)

    denied = {
        purpose
        for purpose in PURPOSES
        if world.decide("somebody", record_id, purpose=purpose).rule == "purpose"
    }

    assert denied == set(PURPOSES) - admitted


def test_rule_2_comes_before_a_grant(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_NURSE, purposes=(HRESCH,)))

    decision = world.decide(SOUTH_NURSE, record_id, purpose=HRESCH)

    assert (decision.rule, decision.code) == ("purpose", "access.purpose")


# Rule 3


@pytest.mark.parametrize("action", list(Action))
def test_rule_3_permits_the_patient_everything(
    world: Hospitals, record_id: RecordId, action: Action
) -> None:
    decision = world.decide(PATIENT, record_id, action, purpose=PATRQT)

    assert decision == Decision(permitted=True, rule="patient", code="ok")


def test_rule_3_is_about_the_own_pseudonym(world: Hospitals, record_id: RecordId) -> None:
    assert world.decide(OTHER_PATIENT, record_id).rule == "default"


# Rule 8


def test_rule_8_names_the_grant_that_permits(world: Hospitals, record_id: RecordId) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))

    decision = world.decide(SOUTH_DOCTOR, record_id)

    assert decision == Decision(permitted=True, rule="grant", code="ok", because=(grant_id,))


def test_rule_8_of_several_grants_names_the_one_that_lasts_longest(
    world: Hospitals, record_id: RecordId
) -> None:
    ids = [
        world.grant(world.terms(SOUTH_DOCTOR, until_ms=world.time_ms + hours * HOUR_MS))
        for hours in (1, 3, 2)
    ]

    assert world.decide(SOUTH_DOCTOR, record_id).because == (ids[1],)


@pytest.mark.parametrize(
    ("grantee", "permitted"),
    [
        (WholeOrganisation(org=SOUTH), {SOUTH_DOCTOR, SOUTH_NURSE}),
        (RoleAt(org=SOUTH, role=Role.NURSE), {SOUTH_NURSE}),
        (WholeOrganisation(org=NORTH), {DOCTOR, NURSE, DEVICE}),
    ],
)
def test_rule_8_an_organisation_is_its_staff(
    world: Hospitals, grantee: WholeOrganisation | RoleAt, permitted: set[str]
) -> None:
    """Its patients, and the agent that opens for the staff, are not the staff."""
    record_id = world.put()
    everybody = (
        DOCTOR, NURSE, DEVICE, OTHER_PATIENT, AGENT,
        SOUTH_DOCTOR, SOUTH_NURSE, SOUTH_PATIENT, SOUTH_AGENT,
    )  # fmt: skip
    world.grant(world.terms(grantee))

    by_grant = {label for label in everybody if world.decide(label, record_id).rule == "grant"}

    assert by_grant == permitted


def test_rule_8_reading_and_writing_are_two_rights(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.grant(world.terms(SOUTH_NURSE, level=AccessLevel.READ_WRITE))

    def may(label: str) -> set[Action]:
        return {one for one in Action if world.decide(label, record_id, one).permitted}

    assert may(SOUTH_DOCTOR) == {Action.READ, Action.METADATA}
    assert may(SOUTH_NURSE) == {Action.READ, Action.WRITE, Action.METADATA}


def test_rule_8_all_conditions_are_met_by_one_grant(world: Hospitals, record_id: RecordId) -> None:
    """The right scope of one and the right purpose of another do not add up."""
    elsewhere = Categories(categories=CATEGORIES[1:])
    world.grant(world.terms(SOUTH_DOCTOR, elsewhere, purposes=(HPAYMT,)))
    world.grant(world.terms(SOUTH_DOCTOR, Categories(categories=CATEGORIES[:1])))

    assert not world.decide(SOUTH_DOCTOR, record_id, purpose=HPAYMT).permitted
    assert world.decide(SOUTH_DOCTOR, record_id, purpose=TREAT).permitted


def test_rule_8_a_grantees_agent_knows_of_the_record_and_reads_nothing(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(RoleAt(org=SOUTH, role=Role.NURSE)))

    may = {one for one in Action if world.decide(SOUTH_AGENT, record_id, one).permitted}

    assert may == {Action.METADATA}


# Rule 9


@pytest.mark.parametrize(
    ("label", "actions"),
    [
        (DOCTOR, {Action.READ, Action.WRITE, Action.METADATA}),
        (NURSE, {Action.READ, Action.WRITE, Action.METADATA}),
        (DEVICE, {Action.WRITE, Action.METADATA}),
        (AGENT, {Action.READ, Action.METADATA}),
        (SOUTH_DOCTOR, set()),
        (SOUTH_AGENT, set()),
    ],
)
def test_rule_9_permits_who_treats_at_the_authors_hospital(
    world: Hospitals, record_id: RecordId, label: str, actions: set[Action]
) -> None:
    decisions = {one: world.decide(label, record_id, one) for one in Action}

    assert {one for one, decision in decisions.items() if decision.permitted} == actions
    assert {decisions[one].rule for one in actions} <= {"treatment"}


def test_rule_9_is_for_treatment(world: Hospitals, record_id: RecordId) -> None:
    assert not world.decide(DOCTOR, record_id, purpose=HOPERAT).permitted


def test_rule_9_follows_the_author_not_the_patients_hospital(world: Hospitals) -> None:
    world.grant(world.terms(SOUTH_DOCTOR, level=AccessLevel.READ_WRITE))
    written_at_south = world.put(SOUTH_DOCTOR)

    assert world.decide(SOUTH_NURSE, written_at_south).rule == "treatment"
    assert world.decide(DOCTOR, written_at_south).rule == "default"


def test_rule_9_writing_ends_with_the_grant_for_another_hospitals_patient(
    world: Hospitals,
) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR, level=AccessLevel.READ_WRITE))
    written_at_south = world.put(SOUTH_DOCTOR)
    world.revoke(grant_id)

    assert world.decide(SOUTH_DOCTOR, written_at_south, Action.READ).rule == "treatment"
    assert not world.decide(SOUTH_DOCTOR, written_at_south, Action.WRITE).permitted


def test_rule_9_an_auditor_sees_traces_of_the_own_hospitals_patients(
    world: Hospitals, record_id: RecordId
) -> None:
    def may(label: str) -> set[Action]:
        return {
            one for one in Action if world.decide(label, record_id, one, purpose=HOPERAT).permitted
        }

    assert may(AUDITOR) == {Action.METADATA, Action.LOG}
    assert may("south auditor") == set()


# A pseudonym itself


def test_a_pseudonym_is_known_to_those_who_treat_or_were_granted_something(
    world: Hospitals,
) -> None:
    record_id = world.put()
    world.grant(world.terms(SOUTH_NURSE, RecordList(records=(record_id,))))

    known = {
        label
        for label in (PATIENT, OTHER_PATIENT, DOCTOR, DEVICE, AGENT, SOUTH_NURSE, SOUTH_DOCTOR)
        if about(world, label, Action.METADATA).permitted
    }

    assert known == {PATIENT, DOCTOR, DEVICE, AGENT, SOUTH_NURSE}


def test_the_log_is_the_patients_and_the_auditors(world: Hospitals) -> None:
    world.grant(world.terms(SOUTH_NURSE, level=AccessLevel.READ_WRITE))

    decisions = {
        label: about(world, label, Action.LOG, purpose)
        for label, purpose in (
            (PATIENT, PATRQT),
            (AUDITOR, HOPERAT),
            (DOCTOR, TREAT),
            (SOUTH_NURSE, TREAT),
            (AGENT, TREAT),
            ("south auditor", HOPERAT),
        )
    }

    assert {label for label, one in decisions.items() if one.permitted} == {PATIENT, AUDITOR}


def test_nobody_treats_a_pseudonym_that_does_not_exist(world: Hospitals) -> None:
    decision = decide_about(
        world.chain.state,
        requester=account_of(DOCTOR),
        pseudonym=AccountId(b"\x00" * 32),
        action=Action.WRITE,
        purpose=TREAT,
        time_ms=world.time_ms,
    )

    assert (decision.permitted, decision.rule) == (False, "default")
