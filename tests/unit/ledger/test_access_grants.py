"""`access.grant` and `access.revoke`: the patient gives and ends rights, and nobody else does."""

from dataclasses import fields, replace

import pytest

from crypto.encoding import pack
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId
from crypto.schema import decode, to_plain
from ledger.access_payloads import (
    AccessGrant,
    AccessLevel,
    AccessRevoke,
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
from ledger.access_state import (
    ENTRY_BYTES_MAX,
    NO_END_MS,
    Ending,
    get_ended_grants,
    get_grants,
    grants_in_force,
    grants_key,
)
from ledger.accounts import OrgId, Role
from ledger.contract import Lane
from ledger.contracts import KINDS
from ledger.nodes import node_account_id
from ledger.receipts import Receipt
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    HOUR_MS,
    OTHER_CATEGORIES,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
    field_of,
)
from tests.unit.ledger.small_consortium import SOUTH, account_of, genesis, seed

NODE = node_account_id(genesis().statements[0].body.nodes[0].claim.vote_key)

YEAR_MS = 365 * 24 * HOUR_MS


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def grant(world: Hospitals, terms: Terms, by: str = PATIENT) -> Receipt:
    payload = AccessGrant(pseudonym=account_of(PATIENT), terms=terms)
    return world.submit("access.grant", payload, by)


def in_force(world: Hospitals) -> list[Digest]:
    return [one.grant_id for one in get_grants(world.chain.state, account_of(PATIENT))]


def test_a_grant_is_the_transaction_that_gave_it(world: Hospitals) -> None:
    terms = world.terms(SOUTH_DOCTOR)

    receipt = grant(world, terms)

    (given,) = get_grants(world.chain.state, account_of(PATIENT))
    assert (given.grant_id, given.terms) == (receipt.tx_id, terms)
    assert (given.height, given.time_ms, given.request_id) == (
        receipt.height,
        world.time_ms,
        None,
    )


def test_a_grant_stands_in_the_log_of_the_patient(world: Hospitals) -> None:
    scope = Categories(categories=CATEGORIES[:2])
    receipt = grant(world, world.terms(SOUTH_DOCTOR, scope, purposes=("HPAYMT", "TREAT")))

    (event,) = receipt.events
    assert (event.kind, event.subject) == ("access.granted", account_of(PATIENT))
    assert field_of(receipt, "grantee") == account_of(SOUTH_DOCTOR)
    assert (field_of(receipt, "scope"), field_of(receipt, "count")) == ("categories", 2)
    assert [value for name, value in event.fields if name == "purpose"] == ["HPAYMT", "TREAT"]


@pytest.mark.parametrize("by", [DOCTOR, SOUTH_DOCTOR, OTHER_PATIENT, "agent of north"])
def test_a_grant_by_somebody_who_is_not_the_patient_is_refused(world: Hospitals, by: str) -> None:
    receipt = grant(world, world.terms(SOUTH_DOCTOR), by)

    assert receipt.code == "access.not_patient"
    assert in_force(world) == []


def test_nobody_grants_in_the_name_of_the_patient(world: Hospitals) -> None:
    payload = AccessGrant(pseudonym=account_of(PATIENT), terms=world.terms(SOUTH_DOCTOR))

    by_another = world.submit_for("access.grant", payload, OTHER_PATIENT, PATIENT)
    by_the_patient = world.submit_for("access.grant", payload, PATIENT, OTHER_PATIENT)

    assert by_another.code == "access.not_patient"
    assert by_the_patient.code == "access.not_delegated"


def test_who_is_no_patient_has_nothing_to_grant(world: Hospitals) -> None:
    payload = AccessGrant(pseudonym=account_of(DOCTOR), terms=world.terms(SOUTH_DOCTOR))

    assert world.submit("access.grant", payload, DOCTOR).code == "patient.unknown"


def test_a_suspended_patient_grants_nothing(world: Hospitals) -> None:
    world.suspend(PATIENT)

    assert grant(world, world.terms(SOUTH_DOCTOR)).code == "identity.suspended"


@pytest.mark.parametrize(
    ("grantee", "code"),
    [
        (Person(account=AccountId(b"\x00" * 32)), "access.unknown_grantee"),
        (Person(account=account_of(PATIENT)), "access.own_records"),
        (WholeOrganisation(org=OrgId("nowhere")), "access.unknown_grantee"),
        (RoleAt(org=OrgId("nowhere"), role=Role.DOCTOR), "access.unknown_grantee"),
        (RoleAt(org=SOUTH, role=Role.PATIENT), "access.grantee_role"),
        (RoleAt(org=SOUTH, role=Role.GUARDIAN), "access.grantee_role"),
        (RoleAt(org=SOUTH, role=Role.KEY_AGENT), "access.grantee_role"),
        (RoleAt(org=SOUTH, role=Role.NODE), "access.grantee_role"),
        (Person(account=NODE), "access.grantee_role"),
    ],
)
def test_a_grantee_is_somebody_who_can_be_given_a_right(
    world: Hospitals, grantee: Grantee, code: str
) -> None:
    assert grant(world, world.terms(grantee)).code == code


def test_a_suspended_person_is_given_nothing(world: Hospitals) -> None:
    world.suspend(SOUTH_DOCTOR, SOUTH)

    assert grant(world, world.terms(SOUTH_DOCTOR)).code == "access.grantee_suspended"


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (Categories(categories=OTHER_CATEGORIES[:1]), "access.unknown_category"),
        (RecordList(records=(RecordId(b"\x00" * 16),)), "access.unknown_record"),
    ],
)
def test_a_scope_is_of_the_patients_own(world: Hospitals, scope: Scope, code: str) -> None:
    assert grant(world, world.terms(SOUTH_DOCTOR, scope)).code == code


def test_a_record_of_another_patient_is_no_scope(world: Hospitals) -> None:
    foreign = world.put(patient=OTHER_PATIENT)

    receipt = grant(world, world.terms(SOUTH_DOCTOR, RecordList(records=(foreign,))))

    assert receipt.code == "access.unknown_record"
    assert field_of(receipt, "record") == foreign


def test_a_period_that_is_over_is_refused_at_its_very_end(world: Hospitals) -> None:
    over = replace(world.terms(SOUTH_DOCTOR), until_ms=world.next_ms)
    lasting = replace(over, until_ms=world.next_ms + 1_001)

    assert grant(world, over).code == "access.period_past"
    assert grant(world, lasting).accepted


def test_a_patient_has_as_many_grants_as_the_parameter_says(world: Hospitals) -> None:
    for _ in range(64):
        assert grant(world, world.terms(SOUTH_DOCTOR, until_ms=YEAR_MS * 100)).accepted

    receipt = grant(world, world.terms(SOUTH_DOCTOR))

    assert receipt.code == "access.grants_full"
    assert field_of(receipt, "grants") == 64
    world.revoke(in_force(world)[0])
    assert grant(world, world.terms(SOUTH_DOCTOR)).accepted


def test_grants_that_are_over_make_room(world: Hospitals) -> None:
    soon = world.time_ms + HOUR_MS
    for _ in range(64):
        grant(world, world.terms(SOUTH_DOCTOR, until_ms=soon))
    world.chain.apply(after_ms=HOUR_MS)

    receipt = grant(world, world.terms(SOUTH_DOCTOR))

    assert receipt.accepted
    assert in_force(world) == [receipt.tx_id]
    ended = [one for _, one in get_ended_grants(world.chain.state, account_of(PATIENT), limit=99)]
    assert [one.ending for one in ended] == [Ending.EXPIRED] * 64
    assert {one.ended_ms for one in ended} == {soon}
    assert {one.ended_by for one in ended} == {receipt.tx_id}


def test_grants_with_long_lists_fill_the_entry_before_the_number_does(world: Hospitals) -> None:
    world.chain.register(
        "patient with many", Role.PATIENT, categories=[seed(f"c{n}")[:16] for n in range(64)]
    )
    categories = tuple(sorted(seed(f"c{n}")[:16] for n in range(64)))
    scope = Categories(categories=categories)
    payload = AccessGrant(
        pseudonym=account_of("patient with many"),
        terms=world.terms(SOUTH_DOCTOR, scope, until_ms=YEAR_MS * 100),
    )
    codes = [world.submit("access.grant", payload, "patient with many").code for _ in range(54)]

    refusals = [code for code in codes if code != "ok"]

    assert refusals
    assert set(refusals) == {"access.grants_full"}
    entry = world.chain.state.get(grants_key(account_of("patient with many")))
    assert entry is not None
    assert len(entry) <= ENTRY_BYTES_MAX


def test_revoking_ends_a_right_at_once_and_keeps_its_trace(world: Hospitals) -> None:
    record_id = world.put()
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    assert world.read(record_id, SOUTH_DOCTOR).accepted

    receipt = world.revoke(grant_id)

    assert receipt.accepted
    assert in_force(world) == []
    assert world.read(record_id, SOUTH_DOCTOR).code == "access.denied"
    ((_, ended),) = get_ended_grants(world.chain.state, account_of(PATIENT), limit=9)
    assert (ended.grant.grant_id, ended.ending) == (grant_id, Ending.REVOKED)
    assert ended.ended_by == receipt.tx_id
    assert receipt.events[0].kind == "access.revoked"
    assert field_of(receipt, "grant") == grant_id


def test_revoking_one_grant_leaves_the_others(world: Hospitals) -> None:
    kept = [world.grant(world.terms(SOUTH_DOCTOR)) for _ in range(2)]
    gone = world.grant(world.terms(SOUTH_DOCTOR))

    world.revoke(gone)

    assert in_force(world) == sorted(kept)


def test_the_list_says_when_the_first_of_its_grants_ends(world: Hospitals) -> None:
    now_ms = world.time_ms
    ends = [now_ms + hours * HOUR_MS for hours in (5, 3, 9)]
    ids = [world.grant(replace(world.terms(SOUTH_DOCTOR), until_ms=end)) for end in ends]

    seen = [first_end_ms(world)]
    world.revoke(ids[0])
    seen.append(first_end_ms(world))
    world.chain.apply(after_ms=4 * HOUR_MS)
    world.grant(replace(world.terms(SOUTH_DOCTOR), until_ms=now_ms + 20 * HOUR_MS))
    seen.append(first_end_ms(world))
    for grant_id in in_force(world):
        world.revoke(grant_id)
    seen.append(first_end_ms(world))

    assert seen == [ends[1], ends[1], ends[2], NO_END_MS]


def first_end_ms(world: Hospitals) -> int:
    return grants_in_force(world.chain.state, account_of(PATIENT)).first_end_ms


def test_ended_grants_are_listed_newest_first(world: Hospitals) -> None:
    ids = [world.grant(world.terms(SOUTH_DOCTOR)) for _ in range(3)]
    for grant_id in ids:
        world.revoke(grant_id)

    state = world.chain.state
    page = list(get_ended_grants(state, account_of(PATIENT), limit=2))
    rest = list(get_ended_grants(state, account_of(PATIENT), after=page[-1][0], limit=2))

    assert [one.grant.grant_id for _, one in (*page, *rest)] == ids[::-1]


def test_revoking_what_is_not_in_force_is_refused_and_changes_nothing(world: Hospitals) -> None:
    kept = world.grant(world.terms(SOUTH_DOCTOR))

    unknown = world.revoke(Digest(b"\x00" * 32))

    assert unknown.code == "access.unknown_grant"
    assert in_force(world) == [kept]
    world.revoke(kept)
    assert world.revoke(kept).code == "access.unknown_grant"


def test_an_expired_grant_cannot_be_revoked_any_more(world: Hospitals) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    world.chain.apply(after_ms=HOUR_MS)

    assert world.revoke(grant_id).code == "access.unknown_grant"


@pytest.mark.parametrize("by", [DOCTOR, SOUTH_DOCTOR, OTHER_PATIENT])
def test_nobody_but_the_patient_revokes(world: Hospitals, by: str) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    payload = AccessRevoke(pseudonym=account_of(PATIENT), grant=grant_id)

    receipt = world.submit("access.revoke", payload, by)

    assert receipt.code == "access.not_patient"
    assert in_force(world) == [grant_id]


def test_another_patients_grant_cannot_be_revoked_as_ones_own(world: Hospitals) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    payload = AccessRevoke(pseudonym=account_of(OTHER_PATIENT), grant=grant_id)

    receipt = world.submit("access.revoke", payload, OTHER_PATIENT)

    assert receipt.code == "access.unknown_grant"


def test_revocations_travel_in_the_emergency_lane() -> None:
    assert KINDS["access.revoke"].lane is Lane.EMERGENCY
    assert KINDS["access.grant"].lane is Lane.REST


@pytest.mark.parametrize(
    "change",
    [
        {"from_ms": 5, "until_ms": 5},
        {"from_ms": 6, "until_ms": 5},
        {"purposes": ()},
        {"purposes": ("TREAT", "TREAT")},
        {"purposes": ("TREAT", "HPAYMT")},
        {"purposes": ("CURIOSITY",)},
        {"purposes": ("|code",)},
        {"purposes": ("system|",)},
        {"level": 3},
        {"scope": (9,)},
        {"grantee": (9, b"\x00" * 32)},
    ],
)
def test_terms_that_mean_nothing_do_not_decode(world: Hospitals, change: dict[str, object]) -> None:
    terms = world.terms(SOUTH_DOCTOR)
    names = [one.name for one in fields(Terms)]
    version, *values = to_plain(terms)
    changed = (version, *(change.get(name, value) for name, value in zip(names, values)))  # noqa: B905
    payload = pack((1, account_of(PATIENT), changed))

    with pytest.raises(DecodeError):
        decode(AccessGrant, payload)
    unchanged = pack((1, account_of(PATIENT), (version, *values)))
    assert decode(AccessGrant, unchanged).terms == terms


@pytest.mark.parametrize("scope_type", [Categories, RecordList])
def test_ids_of_a_scope_ascend(scope_type: type) -> None:
    one, two = b"\x01" * 16, b"\x02" * 16
    name = "categories" if scope_type is Categories else "records"

    for ids in ((two, one), (one, one)):
        with pytest.raises(ValueError, match="do not ascend"):
            scope_type(**{name: ids})


def test_a_right_for_a_research_project_names_it(world: Hospitals) -> None:
    terms = world.terms(SOUTH_DOCTOR, purposes=("trials.example|NCT-7",))

    assert grant(world, terms).accepted


def test_a_right_may_include_writing(world: Hospitals) -> None:
    receipt = grant(world, world.terms(SOUTH_DOCTOR, level=AccessLevel.READ_WRITE))

    assert field_of(receipt, "level") == "read_write"
    (given,) = get_grants(world.chain.state, account_of(PATIENT))
    assert given.terms.scope == AllRecords()
