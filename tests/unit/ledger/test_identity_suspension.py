from dataclasses import replace
from typing import Any

import pytest

from crypto.record_ids import AccountId
from crypto.schema import encode
from ledger.accounts import (
    Role,
    Status,
    get_organisation,
    is_active,
    organisation_key,
)
from ledger.identity_payloads import (
    Register,
    Restore,
    Suspend,
)
from tests.unit.ledger.small_consortium import (
    NORTH,
    Consortium,
    account_of,
    registration,
    rotation,
)

ADMIN, SECOND_ADMIN, OTHER_ADMIN = (
    "first admin of north",
    "second admin of north",
    "first admin of south",
)

NOBODY, DOCTOR = AccountId(bytes(32)), account_of("dr. a")


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


def register(
    consortium: Consortium, label: str, role: Role = Role.DOCTOR, **options: Any
) -> Register:
    return registration(consortium.chain_id, NORTH, label, role, **options)


def test_a_suspended_person_may_do_nothing_until_restored(consortium: Consortium) -> None:
    doctor = consortium.register("dr. a", Role.DOCTOR)
    rotate = rotation(consortium.chain_id, "dr. a", next_seal="dr. a, second")

    suspended = consortium.outcome(
        "identity.suspend", Suspend(account_id=doctor, reason="left"), ADMIN
    )
    refused = consortium.outcome("identity.rotate_key", rotate, "dr. a")
    assert not is_active(consortium.state, consortium.account("dr. a"))
    restored = consortium.outcome("identity.restore", Restore(account_id=doctor, reason=""), ADMIN)
    accepted = consortium.outcome("identity.rotate_key", rotate, "dr. a")

    assert suspended.accepted
    assert suspended.events[0].fields == (("by", account_of(ADMIN)), ("reason", "left"))
    assert refused.code == "identity.suspended"
    assert restored.accepted
    assert accepted.accepted


def test_a_suspension_counts_from_the_next_transaction_of_its_block(
    consortium: Consortium,
) -> None:
    doctor = consortium.register("dr. a", Role.DOCTOR)
    rotate = consortium.transaction(
        "identity.rotate_key", rotation(consortium.chain_id, "dr. a", next_seal="2"), "dr. a"
    )
    suspend = consortium.transaction(
        "identity.suspend", Suspend(account_id=doctor, reason=""), ADMIN
    )

    result = consortium.apply(suspend, rotate)

    assert [receipt.code for receipt in result.receipts] == ["ok", "identity.suspended"]


@pytest.mark.parametrize(
    ("payload", "by", "code"),
    [
        (Suspend(account_id=NOBODY, reason=""), ADMIN, "identity.unknown"),
        (Restore(account_id=NOBODY, reason=""), ADMIN, "identity.unknown"),
        (Suspend(account_id=DOCTOR, reason=""), OTHER_ADMIN, "identity.other_org"),
        (Restore(account_id=DOCTOR, reason=""), OTHER_ADMIN, "identity.other_org"),
        (Restore(account_id=DOCTOR, reason=""), ADMIN, "identity.not_suspended"),
        (Suspend(account_id=DOCTOR, reason=""), "dr. a", "role.not_allowed"),
    ],
)
def test_a_suspension_that_the_rules_refuse_has_its_code(
    consortium: Consortium, payload: Suspend | Restore, by: str, code: str
) -> None:
    consortium.register("dr. a", Role.DOCTOR)
    kind = "identity.suspend" if isinstance(payload, Suspend) else "identity.restore"

    receipt = consortium.outcome(kind, payload, by)

    assert receipt.code == code


def test_nobody_is_suspended_twice(consortium: Consortium) -> None:
    doctor = consortium.register("dr. a", Role.DOCTOR)
    suspend = Suspend(account_id=doctor, reason="")

    codes = [consortium.outcome("identity.suspend", suspend, ADMIN).code for _ in range(2)]

    assert codes == ["ok", "identity.already_suspended"]


def test_the_last_admin_stays(consortium: Consortium) -> None:
    second = Suspend(account_id=account_of(SECOND_ADMIN), reason="")
    own = Suspend(account_id=account_of(ADMIN), reason="")

    codes = [
        consortium.outcome("identity.suspend", payload, ADMIN).code for payload in (second, own)
    ]

    assert codes == ["ok", "identity.last_admin"]
    restore = Restore(account_id=account_of(SECOND_ADMIN), reason="")
    assert consortium.outcome("identity.restore", restore, ADMIN).accepted
    assert consortium.outcome("identity.suspend", own, ADMIN).accepted
    organisation = get_organisation(consortium.state, NORTH)
    assert organisation is not None
    assert organisation.admins == (account_of(SECOND_ADMIN),)


def test_members_of_a_suspended_organisation_may_do_nothing(consortium: Consortium) -> None:
    organisation = get_organisation(consortium.state, NORTH)
    assert organisation is not None
    suspended = replace(organisation, status=Status.SUSPENDED)
    consortium.state.apply({organisation_key(NORTH): encode(suspended)})

    receipt = consortium.outcome("identity.register", register(consortium, "dr. a"), ADMIN)

    assert receipt.code == "organisation.suspended"
    assert not is_active(consortium.state, consortium.account(ADMIN))
