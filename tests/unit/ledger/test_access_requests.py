"""`access.request`, `access.approve`, `access.deny`: asking, and answering no wider than asked."""

from dataclasses import replace
from typing import Any

import pytest

from crypto.hashing import Digest
from ledger.access_payloads import (
    AccessLevel,
    AccessRequest,
    AllRecords,
    Categories,
    Person,
    RecordList,
    RoleAt,
    Terms,
    WholeOrganisation,
)
from ledger.access_state import get_grants, get_requests, get_requests_made
from ledger.accounts import Role
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    HOUR_MS,
    OTHER_CATEGORIES,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    SOUTH_PATIENT,
    Hospitals,
    field_of,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of

DAY_MS = 24 * HOUR_MS


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


def waiting(world: Hospitals) -> list[Digest]:
    return [one.request_id for one in get_requests(world.chain.state, account_of(PATIENT))]


def test_a_request_waits_with_the_patient_and_with_who_made_it(world: Hospitals) -> None:
    wanted = world.terms(SOUTH_DOCTOR)

    receipt = world.request(SOUTH_DOCTOR, wanted)

    (request,) = get_requests(world.chain.state, account_of(PATIENT))
    (made,) = get_requests_made(world.chain.state, account_of(SOUTH_DOCTOR))
    assert receipt.accepted, world.last_refusal
    assert (request.request_id, request.requester) == (receipt.tx_id, account_of(SOUTH_DOCTOR))
    assert request.wanted == wanted
    assert (made.request_id, made.pseudonym) == (receipt.tx_id, account_of(PATIENT))
    assert receipt.events[0].kind == "access.requested"
    assert receipt.events[0].subject == account_of(PATIENT)


def test_a_request_gives_nothing(world: Hospitals) -> None:
    record_id = world.put()

    world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))

    assert not world.decide(SOUTH_DOCTOR, record_id).permitted


@pytest.mark.parametrize(
    "grantee",
    [
        Person(account=account_of(SOUTH_DOCTOR)),
        WholeOrganisation(org=SOUTH),
        RoleAt(org=SOUTH, role=Role.NURSE),
    ],
)
def test_one_asks_for_oneself_for_the_own_organisation_or_a_role_in_it(
    world: Hospitals, grantee: Person | WholeOrganisation | RoleAt
) -> None:
    assert world.request(SOUTH_DOCTOR, world.terms(grantee)).accepted


@pytest.mark.parametrize(
    ("by", "grantee"),
    [
        (SOUTH_DOCTOR, Person(account=account_of(SOUTH_NURSE))),
        (SOUTH_DOCTOR, WholeOrganisation(org=NORTH)),
        (SOUTH_DOCTOR, RoleAt(org=NORTH, role=Role.DOCTOR)),
        (SOUTH_PATIENT, WholeOrganisation(org=SOUTH)),
    ],
)
def test_nobody_asks_for_others(
    world: Hospitals, by: str, grantee: Person | WholeOrganisation | RoleAt
) -> None:
    assert world.request(by, world.terms(grantee)).code == "access.not_asker"


def test_a_patient_does_not_ask_for_the_own_records(world: Hospitals) -> None:
    receipt = world.request(PATIENT, world.terms(OTHER_PATIENT))

    assert receipt.code == "access.own_records"


def test_nobody_asks_in_the_name_of_another(world: Hospitals) -> None:
    payload = AccessRequest(
        pseudonym=account_of(PATIENT),
        wanted=world.terms(SOUTH_DOCTOR),
        expires_ms=world.time_ms + HOUR_MS,
    )

    receipt = world.submit_for("access.request", payload, SOUTH_DOCTOR, SOUTH_NURSE)

    assert receipt.code == "access.not_delegated"


def test_only_patients_are_asked(world: Hospitals) -> None:
    payload = AccessRequest(
        pseudonym=account_of(DOCTOR),
        wanted=world.terms(SOUTH_DOCTOR),
        expires_ms=world.time_ms + HOUR_MS,
    )

    assert world.submit("access.request", payload, SOUTH_DOCTOR).code == "patient.unknown"


def test_a_suspended_patient_is_not_asked(world: Hospitals) -> None:
    world.suspend(PATIENT)

    receipt = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))

    assert receipt.code == "patient.suspended"


def test_what_is_asked_for_must_exist(world: Hospitals) -> None:
    scope = Categories(categories=OTHER_CATEGORIES[:1])

    receipt = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR, scope))

    assert receipt.code == "access.unknown_category"


@pytest.mark.parametrize("expires_in_ms", [0, 1_000, 91 * DAY_MS])
def test_a_request_waits_for_a_sane_time(world: Hospitals, expires_in_ms: int) -> None:
    receipt = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR), expires_in_ms=expires_in_ms)

    assert receipt.code == "access.request_period"


def test_nobody_fills_a_patients_list(world: Hospitals) -> None:
    codes = [world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR)).code for _ in range(5)]

    other = world.request(SOUTH_NURSE, world.terms(SOUTH_NURSE))

    assert codes == ["ok"] * 4 + ["access.requests_full"]
    assert other.accepted


def test_a_patient_has_as_many_requests_as_the_parameter_says(world: Hospitals) -> None:
    for number in range(16):
        label = f"south doctor {number}"
        world.chain.register(label, Role.DOCTOR, SOUTH)
        for _ in range(4):
            assert world.request(label, world.terms(label)).accepted

    receipt = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))

    assert receipt.code == "access.requests_full"
    assert len(waiting(world)) == 64


def test_one_account_has_so_many_requests_waiting(world: Hospitals) -> None:
    def ask(number: int) -> str:
        label = f"patient {number}"
        world.chain.register(label, Role.PATIENT, NORTH, categories=CATEGORIES)
        payload = AccessRequest(
            pseudonym=account_of(label),
            wanted=world.terms(SOUTH_DOCTOR, until_ms=world.time_ms + DAY_MS),
            expires_ms=world.time_ms + DAY_MS,
        )
        return world.submit("access.request", payload, SOUTH_DOCTOR).code

    codes = [ask(number) for number in range(65)]

    assert codes == ["ok"] * 64 + ["access.requests_full"]


def test_requests_that_lapsed_make_room(world: Hospitals) -> None:
    for _ in range(4):
        world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))
    world.chain.apply(after_ms=HOUR_MS)

    receipt = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR))

    assert receipt.accepted
    assert waiting(world) == [receipt.tx_id]
    assert len(get_requests_made(world.chain.state, account_of(SOUTH_DOCTOR))) == 1


def test_an_approval_gives_the_right_and_settles_the_request(world: Hospitals) -> None:
    record_id = world.put()
    wanted = world.terms(SOUTH_DOCTOR)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    receipt = world.approve(request_id, wanted)

    (given,) = get_grants(world.chain.state, account_of(PATIENT))
    assert (given.grant_id, given.request_id) == (receipt.tx_id, request_id)
    assert waiting(world) == []
    assert get_requests_made(world.chain.state, account_of(SOUTH_DOCTOR)) == ()
    assert world.decide(SOUTH_DOCTOR, record_id).because == (receipt.tx_id,)
    assert receipt.events[0].kind == "access.approved"
    assert field_of(receipt, "request") == request_id


def test_a_denial_settles_the_request_and_gives_nothing(world: Hospitals) -> None:
    request_id = world.request(SOUTH_DOCTOR, world.terms(SOUTH_DOCTOR)).tx_id

    receipt = world.deny(request_id)

    assert receipt.accepted
    assert waiting(world) == []
    assert get_grants(world.chain.state, account_of(PATIENT)) == ()
    assert field_of(receipt, "requester") == account_of(SOUTH_DOCTOR)


@pytest.mark.parametrize("by", [DOCTOR, SOUTH_DOCTOR, OTHER_PATIENT, "agent of north"])
def test_nobody_but_the_patient_answers(world: Hospitals, by: str) -> None:
    wanted = world.terms(SOUTH_DOCTOR)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    codes = [world.approve(request_id, wanted, by).code, world.deny(request_id, by).code]

    assert codes == ["access.not_patient"] * 2
    assert waiting(world) == [request_id]


def test_a_request_is_answered_once(world: Hospitals) -> None:
    wanted = world.terms(SOUTH_DOCTOR)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id
    world.deny(request_id)

    codes = [world.approve(request_id, wanted).code, world.deny(request_id).code]

    assert codes == ["access.unknown_request"] * 2


def test_a_request_has_lapsed_at_its_very_end(world: Hospitals) -> None:
    wanted = world.terms(SOUTH_DOCTOR)
    request_id = world.request(SOUTH_DOCTOR, wanted, expires_in_ms=2_000).tx_id

    receipt = world.approve(request_id, wanted)

    assert receipt.code == "access.request_expired"
    assert field_of(receipt, "expires_ms") == world.time_ms


def test_a_right_that_would_be_over_is_not_approved(world: Hospitals) -> None:
    wanted = world.terms(SOUTH_DOCTOR, until_ms=world.time_ms + 2_000)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    assert world.approve(request_id, wanted).code == "access.period_past"


def narrow_wanted(world: Hospitals) -> Terms:
    return world.terms(
        SOUTH_DOCTOR,
        Categories(categories=CATEGORIES[:2]),
        from_ms=world.time_ms + 10_000,
        until_ms=world.time_ms + HOUR_MS,
    )


@pytest.mark.parametrize(
    "wider",
    [
        {"scope": AllRecords()},
        {"scope": Categories(categories=CATEGORIES[:3])},
        {"level": AccessLevel.READ_WRITE},
        {"purposes": ("HPAYMT", "TREAT")},
        {"grantee": Person(account=account_of(SOUTH_NURSE))},
        {"grantee": WholeOrganisation(org=SOUTH)},
        {"grantee": RoleAt(org=SOUTH, role=Role.DOCTOR)},
    ],
)
def test_an_approval_is_never_wider_than_what_was_asked(
    world: Hospitals, wider: dict[str, Any]
) -> None:
    wanted = narrow_wanted(world)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    receipt = world.approve(request_id, replace(wanted, **wider))

    assert receipt.code == "access.wider_than_asked"
    assert waiting(world) == [request_id]


@pytest.mark.parametrize("edge", ["from_ms", "until_ms"])
def test_an_approval_lasts_no_longer_than_what_was_asked(world: Hospitals, edge: str) -> None:
    wanted = narrow_wanted(world)
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id
    change = {edge: getattr(wanted, edge) + (-1 if edge == "from_ms" else 1)}

    assert world.approve(request_id, replace(wanted, **change)).code == "access.wider_than_asked"


@pytest.mark.parametrize(
    "narrower",
    [
        {"scope": Categories(categories=CATEGORIES[:1])},
        {"level": AccessLevel.READ},
        {"purposes": ("TREAT",)},
        {"grantee": RoleAt(org=SOUTH, role=Role.NURSE)},
        {"grantee": Person(account=account_of(SOUTH_DOCTOR))},
    ],
)
def test_an_approval_may_be_narrower(world: Hospitals, narrower: dict[str, Any]) -> None:
    wanted = world.terms(
        WholeOrganisation(org=SOUTH),
        Categories(categories=CATEGORIES[:2]),
        level=AccessLevel.READ_WRITE,
        purposes=("HPAYMT", "TREAT"),
    )
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    receipt = world.approve(request_id, replace(wanted, **narrower))

    assert receipt.accepted, world.last_refusal


def test_records_of_a_category_that_was_asked_for_are_narrower(world: Hospitals) -> None:
    inside, outside = world.put(), world.put(category=CATEGORIES[3])
    wanted = world.terms(SOUTH_DOCTOR, Categories(categories=CATEGORIES[:2]))
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id
    both = tuple(sorted((inside, outside)))

    wider = world.approve(request_id, replace(wanted, scope=RecordList(records=both)))
    narrower = world.approve(request_id, replace(wanted, scope=RecordList(records=(inside,))))

    assert wider.code == "access.wider_than_asked"
    assert narrower.accepted


def test_a_list_of_records_is_narrowed_to_some_of_them(world: Hospitals) -> None:
    one, two, three = sorted(world.put() for _ in range(3))
    wanted = world.terms(SOUTH_DOCTOR, RecordList(records=(one, two)))
    request_id = world.request(SOUTH_DOCTOR, wanted).tx_id

    codes = [
        world.approve(request_id, replace(wanted, scope=scope)).code
        for scope in (
            RecordList(records=(one, three)),
            Categories(categories=CATEGORIES[:1]),
            AllRecords(),
            RecordList(records=(two,)),
        )
    ]

    assert codes == ["access.wider_than_asked"] * 3 + ["ok"]


def test_requests_with_long_lists_fill_the_entry_before_the_number_does(
    world: Hospitals,
) -> None:
    records = tuple(sorted(world.put() for _ in range(256)))
    codes = []
    for number in range(4):
        label = f"south doctor {number}"
        world.chain.register(label, Role.DOCTOR, SOUTH)
        for _ in range(4):
            wanted = world.terms(label, RecordList(records=records), until_ms=2**63)
            codes.append(world.request(label, wanted, expires_in_ms=DAY_MS).code)

    assert codes[-1] == "access.requests_full"
    assert len(waiting(world)) == codes.index("access.requests_full")
