"""The published consent cases (IHE PCF, restated), as far as they speak of what exists here.

One test per row of the table, named after it, then the rows this project adds. Rows about authors,
encounters, labels, negations and emergencies arrive with the scopes and rules they need.
"""

import pytest

from crypto.record_ids import RecordId
from ledger.access_payloads import (
    Categories,
    RecordList,
    WholeOrganisation,
)
from ledger.listing import visible_records
from ledger.purposes import HOPERAT, HPAYMT, HRESCH, PATRQT, PUBHLTH, TREAT
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    HOUR_MS,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    Hospitals,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of

PROJECT = "trials.example|NCT-7"
PURPOSES = (HOPERAT, HPAYMT, HRESCH, PATRQT, PUBHLTH, TREAT, PROJECT)


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def test_case_basic_treat(world: Hospitals, record_id: RecordId) -> None:
    """Permit for TREAT, HPAYMT and HOPERAT only; the permission names the consent."""
    grant_id = world.grant(
        world.terms(WholeOrganisation(org=SOUTH), purposes=(HOPERAT, HPAYMT, TREAT))
    )

    decisions = {
        purpose: world.decide(SOUTH_DOCTOR, record_id, purpose=purpose) for purpose in PURPOSES
    }

    permitted = {purpose for purpose, one in decisions.items() if one.permitted}
    assert permitted == {TREAT, HPAYMT, HOPERAT}
    assert {decisions[purpose].because for purpose in permitted} == {(grant_id,)}


def test_case_basic_reject(world: Hospitals, record_id: RecordId) -> None:
    """No consent: nothing, even for treatment."""
    decisions = [
        world.decide(label, record_id, purpose=TREAT) for label in (SOUTH_DOCTOR, SOUTH_NURSE)
    ]

    assert [(one.permitted, one.rule) for one in decisions] == [(False, "default")] * 2


def test_case_expired_treat(world: Hospitals, record_id: RecordId) -> None:
    """Before the end as basic treat, after it nothing; at the very millisecond nothing."""
    end_ms = world.time_ms + HOUR_MS
    world.grant(world.terms(SOUTH_DOCTOR, until_ms=end_ms))

    permitted = [
        world.decide(SOUTH_DOCTOR, record_id, time_ms=time_ms).permitted
        for time_ms in (end_ms - 1, end_ms, end_ms + 1)
    ]

    assert permitted == [True, False, False]


def test_case_period_begins(world: Hospitals, record_id: RecordId) -> None:
    begin_ms = world.time_ms + HOUR_MS
    world.grant(world.terms(SOUTH_DOCTOR, from_ms=begin_ms, until_ms=begin_ms + 1))

    permitted = [
        world.decide(SOUTH_DOCTOR, record_id, time_ms=time_ms).permitted
        for time_ms in (begin_ms - 1, begin_ms, begin_ms + 1)
    ]

    assert permitted == [False, True, False]


def test_case_basic_research_and_intermediate_purpose(
    world: Hospitals, record_id: RecordId
) -> None:
    """Permit only for the project that is named."""
    world.grant(world.terms("south researcher", purposes=(PROJECT,)))

    permitted = {
        purpose
        for purpose in (*PURPOSES, "trials.example|NCT-8", "other.example|NCT-7")
        if world.decide("south researcher", record_id, purpose=purpose).permitted
    }

    assert permitted == {PROJECT}


def test_case_intermediate_data(world: Hospitals) -> None:
    """Only the listed records; the total of a listing shrinks accordingly."""
    records = [world.put() for _ in range(4)]
    listed = tuple(sorted(records[1:3]))
    world.grant(world.terms(SOUTH_DOCTOR, RecordList(records=listed)))

    readable = [one for one in records if world.decide(SOUTH_DOCTOR, one).permitted]
    visible = [
        record.facts.record_id
        for _, record in visible_records(
            world.chain.state,
            requester=account_of(SOUTH_DOCTOR),
            pseudonym=account_of(PATIENT),
            purpose=TREAT,
            time_ms=world.time_ms,
        )
    ]

    assert readable == visible == records[1:3]


def test_case_intermediate_category(world: Hospitals) -> None:
    """Only the listed categories, whatever is put into them later."""
    world.grant(world.terms(SOUTH_DOCTOR, Categories(categories=CATEGORIES[1:3])))

    readable = [
        category
        for category in CATEGORIES
        if world.decide(SOUTH_DOCTOR, world.put(category=category)).permitted
    ]

    assert readable == list(CATEGORIES[1:3])


def test_case_overlapping_grants_with_different_ends(world: Hospitals, record_id: RecordId) -> None:
    begin_ms = world.time_ms
    short = world.grant(world.terms(SOUTH_DOCTOR, until_ms=begin_ms + HOUR_MS))
    long = world.grant(world.terms(SOUTH_DOCTOR, until_ms=begin_ms + 2 * HOUR_MS))

    at_first = world.decide(SOUTH_DOCTOR, record_id)
    later, after = [
        world.decide(SOUTH_DOCTOR, record_id, time_ms=begin_ms + hours * HOUR_MS)
        for hours in (1, 2)
    ]
    world.revoke(long)

    assert at_first.because == later.because == (long,)
    assert not after.permitted
    assert world.decide(SOUTH_DOCTOR, record_id).because == (short,)


def test_case_grantee_leaves_the_organisation(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(WholeOrganisation(org=SOUTH)))
    world.suspend(SOUTH_DOCTOR, SOUTH)

    assert world.decide(SOUTH_DOCTOR, record_id).code == "identity.suspended"
    assert world.decide(SOUTH_NURSE, record_id).permitted


def test_case_a_primary_with_a_fast_clock_ends_a_right_by_block_time_alone(
    world: Hospitals, record_id: RecordId
) -> None:
    """Whatever clocks say, every replica decides by the time of the block that it executes."""
    end_ms = world.time_ms + HOUR_MS
    world.grant(world.terms(SOUTH_DOCTOR, until_ms=end_ms))

    world.chain.apply(after_ms=end_ms - world.time_ms)

    assert world.read(record_id, SOUTH_DOCTOR).code == "access.denied"
