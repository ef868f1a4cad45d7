"""Questions over all records of a patient: what may be seen, what was opened, what waits."""

import pytest

from crypto.hashing import Digest
from crypto.record_ids import RecordId
from ledger.access_payloads import (
    Categories,
    WholeOrganisation,
)
from ledger.access_state import get_grants
from ledger.listing import opened_under, pending_seals, visible_records
from ledger.purposes import TREAT
from ledger.records_state import is_blob_live
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    Hospitals,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def test_a_listing_goes_on_after_a_cursor_and_shows_nothing_else(world: Hospitals) -> None:
    scope = Categories(categories=CATEGORIES[:1])
    world.grant(world.terms(SOUTH_DOCTOR, scope))
    seen = [world.put(category=CATEGORIES[number % 2]) for number in range(8)][::2]

    def listed(after: bytes) -> list[tuple[bytes, RecordId]]:
        return [
            (cursor, record.facts.record_id)
            for cursor, record in visible_records(
                world.chain.state,
                requester=account_of(SOUTH_DOCTOR),
                pseudonym=account_of(PATIENT),
                purpose=TREAT,
                time_ms=world.time_ms,
                after=after,
            )
        ]

    everything = listed(b"")
    rest = listed(everything[1][0])

    assert [record_id for _, record_id in everything] == seen
    assert [record_id for _, record_id in rest] == seen[2:]


def test_the_revoker_is_shown_what_had_been_opened(world: Hospitals) -> None:
    mine, other, foreign = world.put(), world.put(), world.put(category=CATEGORIES[2])
    grant_id = world.grant(
        world.terms(WholeOrganisation(org=SOUTH), Categories(categories=CATEGORIES[:1]))
    )
    (grant,) = get_grants(world.chain.state, account_of(PATIENT))
    world.grant(world.terms(SOUTH_NURSE))
    for record_id, reader in (
        (mine, SOUTH_DOCTOR),
        (mine, SOUTH_NURSE),
        (foreign, SOUTH_NURSE),
        (other, DOCTOR),
    ):
        assert world.read(record_id, reader).accepted
    world.revoke(Digest(grant_id))

    opened = {(entry.record_id, entry.reader) for entry in opened_under(world.chain.state, grant)}

    assert opened == {(mine, account_of(SOUTH_DOCTOR)), (mine, account_of(SOUTH_NURSE))}


def test_a_listing_longer_than_a_page_is_whole(
    world: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.listing.PAGE_ENTRIES", 2)
    put = [world.put() for _ in range(5)]
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    for record_id in put:
        assert world.read(record_id, SOUTH_DOCTOR).accepted
    (grant,) = get_grants(world.chain.state, account_of(PATIENT))

    visible = visible_records(
        world.chain.state,
        requester=account_of(SOUTH_DOCTOR),
        pseudonym=account_of(PATIENT),
        purpose=TREAT,
        time_ms=world.time_ms,
    )

    assert [record.facts.record_id for _, record in visible] == put
    opened = [entry.record_id for entry in opened_under(world.chain.state, grant)]
    assert opened == sorted(put)
    assert grant.grant_id == grant_id


def test_every_version_of_a_record_may_wait(world: Hospitals) -> None:
    record_id = world.put()
    world.accept("records.version", world.make_version(record_id), DOCTOR)
    world.grant(world.terms(SOUTH_DOCTOR))

    pending = [
        one.version.ordinal
        for _, one in pending_seals(world.chain.state, account_of(PATIENT), time_ms=world.time_ms)
    ]

    assert pending == [2, 1]


def test_bytes_that_no_seal_has_are_not_live(world: Hospitals) -> None:
    planned = world.make_put()

    before = is_blob_live(world.chain.state, planned.seal.cid)
    world.accept("records.put", planned, DOCTOR)

    assert (before, is_blob_live(world.chain.state, planned.seal.cid)) == (False, True)
