"""`recipients`: exactly those whom keys are to admit, and nobody whose right has ended."""

from dataclasses import replace

import pytest

from crypto.record_ids import AccountId, RecordId
from ledger.access_payloads import Categories, RecordList, RoleAt, WholeOrganisation
from ledger.access_state import grants_key
from ledger.accounts import Role, account_key, organisation_key
from ledger.errors import Refused
from ledger.recipients import NAMED_MAX, check_recipients, recipients
from ledger.records_state import RecordFacts
from ledger.state import MemoryState
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    HOUR_MS,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    Hospitals,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of

AGENT, SOUTH_AGENT = "agent of north", "agent of south"


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def facts(world: Hospitals) -> RecordFacts:
    return world.record(world.put()).facts


def reasons(world: Hospitals, facts: RecordFacts, time_ms: int | None = None) -> dict[bytes, str]:
    found = recipients(
        world.chain.state, facts, time_ms=world.time_ms if time_ms is None else time_ms
    )
    assert [one.account for one in found] == sorted(one.account for one in found)
    return {one.account: one.reason for one in found}


def test_the_patient_and_the_authors_agent_always_open(
    world: Hospitals, facts: RecordFacts
) -> None:
    assert reasons(world, facts) == {
        account_of(PATIENT): "patient",
        account_of(AGENT): "author_agent",
    }


def test_a_person_opens_for_themselves_and_an_organisation_through_its_agent(
    world: Hospitals, facts: RecordFacts
) -> None:
    world.grant(world.terms(DOCTOR))
    world.grant(world.terms(WholeOrganisation(org=SOUTH)))
    world.grant(world.terms(RoleAt(org=SOUTH, role=Role.NURSE)))

    found = reasons(world, facts)

    assert found == {
        account_of(PATIENT): "patient",
        account_of(AGENT): "author_agent",
        account_of(DOCTOR): "grant",
        account_of(SOUTH_AGENT): "grant",
    }


def test_who_is_a_recipient_twice_gets_one_envelope(world: Hospitals, facts: RecordFacts) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.grant(world.terms(SOUTH_DOCTOR, Categories(categories=CATEGORIES[:1])))
    world.grant(world.terms(WholeOrganisation(org=NORTH)))

    assert len(reasons(world, facts)) == 3


def test_a_grant_counts_where_its_scope_covers_the_record(
    world: Hospitals, facts: RecordFacts
) -> None:
    other = world.put()
    world.grant(world.terms(SOUTH_DOCTOR, Categories(categories=CATEGORIES[1:])))
    world.grant(world.terms(SOUTH_NURSE, RecordList(records=(other,))))

    assert account_of(SOUTH_DOCTOR) not in reasons(world, facts)
    assert account_of(SOUTH_NURSE) not in reasons(world, facts)
    assert account_of(SOUTH_NURSE) in reasons(world, world.record(other).facts)


def test_a_grant_counts_before_it_begins_and_not_from_its_end_on(
    world: Hospitals, facts: RecordFacts
) -> None:
    begin_ms, end_ms = world.time_ms + HOUR_MS, world.time_ms + 2 * HOUR_MS
    world.grant(world.terms(SOUTH_DOCTOR, from_ms=begin_ms, until_ms=end_ms))

    assert account_of(SOUTH_DOCTOR) in reasons(world, facts)
    assert account_of(SOUTH_DOCTOR) in reasons(world, facts, end_ms - 1)
    assert account_of(SOUTH_DOCTOR) not in reasons(world, facts, end_ms)


def test_who_is_suspended_is_no_recipient(world: Hospitals, facts: RecordFacts) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.suspend(SOUTH_DOCTOR, SOUTH)

    assert account_of(SOUTH_DOCTOR) not in reasons(world, facts)


def test_who_was_revoked_is_no_recipient(world: Hospitals, facts: RecordFacts) -> None:
    world.revoke(world.grant(world.terms(SOUTH_DOCTOR)))

    assert account_of(SOUTH_DOCTOR) not in reasons(world, facts)


def test_the_key_is_the_one_in_force(world: Hospitals, facts: RecordFacts) -> None:
    world.rotate(PATIENT, seal_label="patient, second key")

    found = recipients(world.chain.state, facts, time_ms=world.time_ms)

    (patient,) = [one for one in found if one.account == account_of(PATIENT)]
    assert patient.key_id == world.account(PATIENT).seal_key_id
    assert patient.seal_key == world.account(PATIENT).seal_key


def test_a_client_finds_the_same_recipients_in_the_entries_it_has_proven(
    world: Hospitals, facts: RecordFacts
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    world.grant(world.terms(WholeOrganisation(org=SOUTH)))
    people = (PATIENT, SOUTH_DOCTOR, AGENT, SOUTH_AGENT)
    keys = [
        grants_key(account_of(PATIENT)),
        *(organisation_key(org) for org in (NORTH, SOUTH)),
        *(account_key(account_of(label)) for label in people),
    ]
    entries = {key: world.chain.state.get(key) for key in keys}
    proven = MemoryState({key: value for key, value in entries.items() if value is not None})

    found = recipients(proven, facts, time_ms=world.time_ms)

    assert found == recipients(world.chain.state, facts, time_ms=world.time_ms)
    assert len(found) == 4


def test_a_record_that_does_not_exist_yet_has_recipients(
    world: Hospitals, facts: RecordFacts
) -> None:
    planned = replace(facts, record_id=RecordId(b"\x55" * 16), author_org=SOUTH)

    assert reasons(world, planned) == {
        account_of(PATIENT): "patient",
        account_of(SOUTH_AGENT): "author_agent",
    }


def test_a_receipt_names_a_few_of_many_and_counts_them_all(
    world: Hospitals, facts: RecordFacts
) -> None:
    strangers = [world.envelope(AccountId(bytes([n]) * 32), b"\x00" * 16) for n in range(1, 20)]
    wanted = recipients(world.chain.state, facts, time_ms=world.time_ms)

    with pytest.raises(Refused) as refusal:
        check_recipients(wanted, strangers)

    named = [name for name, _ in refusal.value.fields]
    assert ("surplus_count", 19) in refusal.value.fields
    assert ("missing_count", 2) in refusal.value.fields
    assert named.count("surplus") == NAMED_MAX
    assert len(named) <= 16
    assert f"and {19 - NAMED_MAX} more" in refusal.value.text
