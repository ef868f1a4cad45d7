"""A patient's log in plain words, and the nouns it is made of."""

import calendar
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.access_payloads import AccessGrant, Categories, RecordList, RoleAt, WholeOrganisation
from ledger.accounts import Role
from ledger.log import SENTENCES, sentence
from ledger.receipts import Event, Receipt
from ledger.words import END_OF_TIME_MS, time_words
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def told(world: Hospitals, receipt: Receipt) -> str:
    (event,) = receipt.events
    return sentence(world.chain.state, event)


def test_a_week_of_a_patient_reads_like_one(world: Hospitals) -> None:
    doctor = f"octor {account_of(DOCTOR).hex()[:8]} of north"
    south = f"octor {account_of(SOUTH_DOCTOR).hex()[:8]} of south"
    put = world.make_put()

    lines = [told(world, world.accept("records.put", put, DOCTOR))]
    record_id = put.record_id
    wanted = world.terms(SOUTH_DOCTOR)
    request = world.request(SOUTH_DOCTOR, wanted)
    lines += [told(world, request), told(world, world.approve(request.tx_id, wanted))]
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    lines += [
        told(world, world.accept("records.envelopes", page, PATIENT)),
        told(world, world.read(record_id, SOUTH_DOCTOR)),
        told(world, world.accept("records.version", world.make_version(record_id), DOCTOR)),
    ]
    grant_id = world.grant(world.terms(WholeOrganisation(org=SOUTH)))
    lines += [
        told(world, world.revoke(grant_id)),
        told(world, world.accept("records.reseal", world.make_reseal(record_id), PATIENT)),
        told(world, world.read(record_id, DOCTOR)),
    ]
    denied = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))
    lines.append(told(world, world.deny(denied.tx_id)))

    record = f"record {record_id.hex()[:8]}"
    assert lines[0].startswith(f"D{doctor} wrote {record} (")
    assert lines[0].endswith("sealed bytes), which 2 accounts can open.")
    assert f": D{south} asks that d{south} may read all records for TREAT from" in lines[1]
    assert "was approved by grant" in lines[2]
    assert lines[3].endswith(f"handed keys of 1 version on to d{south}.")
    assert lines[4].startswith(f"D{south} read {record} for TREAT, permitted by grant ")
    assert f"wrote version 2 of {record}, which 3 accounts can open." in lines[5]
    assert "was revoked; it said: everybody who works at south may read" in lines[6]
    assert f"sealed {record} afresh, which 3 accounts can open." in lines[7]
    assert lines[8].endswith("permitted by the rule `treatment`.")
    assert lines[9].endswith("was denied.")


def test_an_unsafe_record_says_so(world: Hospitals) -> None:
    put = world.make_put()
    put = replace(put, seal=replace(put.seal, storage_receipts=()))

    line = told(world, world.accept("records.put", put, DOCTOR))

    assert line.endswith("; too few hospitals keep a copy yet.")


def test_scopes_and_roles_are_counted_and_named(world: Hospitals) -> None:
    record_id = world.put()
    grantee = RoleAt(org=SOUTH, role=Role.PUBLIC_HEALTH)
    by_category = world.terms(grantee, Categories(categories=CATEGORIES[:3]))
    by_record = world.terms(DOCTOR, RecordList(records=(record_id,)), until_ms=2**64 - 1)

    lines = [
        told(
            world,
            world.accept(
                "access.grant", AccessGrant(pseudonym=account_of(PATIENT), terms=terms), PATIENT
            ),
        )
        for terms in (by_category, by_record)
    ]

    assert "every public health of south may read 3 categories" in lines[0]
    assert "may read 1 record for TREAT" in lines[1]
    assert lines[1].endswith("until it is revoked.")


def test_what_identity_says_of_a_patient_is_told_too(world: Hospitals) -> None:
    admin = f"Hospital admin {account_of('first admin of north').hex()[:8]} of north"
    state = world.chain.state

    def event(kind: str, *fields: tuple[str, bytes | str | int]) -> str:
        by = ("by", account_of("first admin of north"))
        return sentence(state, Event(kind=kind, subject=None, fields=(by, *fields)))

    assert event("identity.registered", ("org", "north")) == (
        f"{admin} registered this account at north."
    )
    assert event("identity.suspended", ("reason", "lost phone")) == (
        f"{admin} suspended this account: lost phone."
    )
    assert event("identity.restored", ("reason", "found")) == (
        f"{admin} restored this account: found."
    )
    assert event("identity.key_rotated") == "The account's keys were replaced."
    assert event("identity.directory_shared", ("count", 1)) == (
        f"{admin} shared the sealed directory with 1 account."
    )


def test_an_event_without_words_of_its_own_is_told_by_its_name(world: Hospitals) -> None:
    event = Event(kind="later.something_new", subject=None, fields=())

    assert sentence(world.chain.state, event) == "later: something new."


@pytest.mark.parametrize("kind", sorted(SENTENCES))
def test_no_event_makes_the_log_fail(world: Hospitals, kind: str) -> None:
    """Events come from receipts of any version: a field may be missing."""
    line = sentence(world.chain.state, Event(kind=kind, subject=None, fields=()))

    assert line.endswith(".")


@given(st.integers(0, END_OF_TIME_MS - 1))
def test_block_time_in_words_is_what_a_calendar_says(time_ms: int) -> None:
    expected = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ms // 1_000))

    assert time_words(time_ms) == expected.rjust(len("0000-00-00 00:00:00 UTC"), "0")


def test_leap_days_are_days() -> None:
    for year, days in ((2000, 29), (2024, 29), (2100, 28)):
        last = calendar.timegm((year, 2, days, 12, 0, 0))
        assert time_words(last * 1_000) == f"{year}-02-{days} 12:00:00 UTC"
        assert time_words((last + 86_400) * 1_000) == f"{year}-03-01 12:00:00 UTC"
