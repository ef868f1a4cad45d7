from dataclasses import replace
from typing import Any

import pytest

from crypto.signatures import public_key
from ledger.accounts import (
    Role,
    get_key,
    is_key_valid_at,
)
from ledger.identity_payloads import (
    Register,
)
from ledger.key_proofs import sign_rotation
from tests.unit.ledger.small_consortium import (
    NORTH,
    Consortium,
    account_of,
    registration,
    rotation,
    signing_key,
)
from tests.unit.ledger.small_consortium import (
    seal_key_of as seal_key_with,
)

ADMIN, SECOND_ADMIN, OTHER_ADMIN = (
    "first admin of north",
    "second admin of north",
    "first admin of south",
)


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


def register(
    consortium: Consortium, label: str, role: Role = Role.DOCTOR, **options: Any
) -> Register:
    return registration(consortium.chain_id, NORTH, label, role, **options)


def test_the_old_sign_key_ends_at_once_and_keeps_its_record(consortium: Consortium) -> None:
    consortium.register("dr. a", Role.DOCTOR)
    before = consortium.account("dr. a")
    next_key = signing_key("dr. a, second")
    rotate = consortium.transaction(
        "identity.rotate_key", rotation(consortium.chain_id, "dr. a", next_key=next_key), "dr. a"
    )
    late = consortium.transaction(
        "identity.rotate_key", rotation(consortium.chain_id, "dr. a", next_seal="z"), "dr. a"
    )

    result = consortium.apply(rotate, late)

    assert [receipt.code for receipt in result.receipts] == ["ok", "key.inactive"]
    after = consortium.account("dr. a")
    assert after.account_id == before.account_id
    assert after.sign_key == public_key(next_key)
    assert after.seal_key == before.seal_key
    old = get_key(consortium.state, before.account_id, before.sign_key_id)
    new = get_key(consortium.state, before.account_id, after.sign_key_id)
    assert old is not None
    assert new is not None
    assert [is_key_valid_at(old, height) for height in (0, 1, 2, 3)] == [False, True, True, False]
    assert [is_key_valid_at(new, height) for height in (1, 2, 3)] == [False, True, True]


def test_the_new_key_signs_for_the_old_account(consortium: Consortium) -> None:
    doctor = consortium.register("dr. a", Role.DOCTOR)
    next_key = signing_key("dr. a, second")
    consortium.submit(
        "identity.rotate_key", rotation(consortium.chain_id, "dr. a", next_key=next_key), "dr. a"
    )

    receipt = consortium.outcome(
        "identity.rotate_key",
        rotation(consortium.chain_id, "dr. a", next_seal="dr. a, third", binding_by=next_key),
        "dr. a, second",
        sender=doctor,
    )

    assert receipt.accepted
    assert consortium.account("dr. a").seal_key == seal_key_with("dr. a, third")


def test_a_key_that_was_in_force_never_comes_back(consortium: Consortium) -> None:
    doctor = consortium.register("dr. a", Role.DOCTOR)
    second = signing_key("dr. a, second")
    consortium.submit(
        "identity.rotate_key", rotation(consortium.chain_id, "dr. a", next_key=second), "dr. a"
    )

    back = consortium.outcome(
        "identity.rotate_key",
        rotation(consortium.chain_id, "dr. a", next_key=signing_key("dr. a")),
        "dr. a, second",
        sender=doctor,
    )
    same_seal = consortium.outcome(
        "identity.rotate_key",
        rotation(consortium.chain_id, "dr. a", next_seal="dr. a", binding_by=second),
        "dr. a, second",
        sender=doctor,
    )

    assert back.code == same_seal.code == "identity.key_reused"


def test_a_new_sign_key_must_agree_and_vouch_for_the_seal_key(consortium: Consortium) -> None:
    consortium.register("dr. a", Role.DOCTOR)
    second = signing_key("second")
    good = rotation(consortium.chain_id, "dr. a", next_key=second)
    foreign = sign_rotation(second, chain_id=consortium.chain_id, account_id=account_of(ADMIN))
    old_binding = consortium.account("dr. a").seal_binding
    assert old_binding is not None

    codes = [
        consortium.outcome("identity.rotate_key", payload, "dr. a").code
        for payload in (
            replace(good, possession=foreign),
            replace(good, seal_binding=old_binding),
        )
    ]

    assert codes == ["identity.possession", "identity.binding"]


def test_a_patient_leaves_custody_with_keys_of_its_own(consortium: Consortium) -> None:
    in_custody = replace(register(consortium, "pat", Role.PATIENT), in_custody=True)
    consortium.submit("identity.register", in_custody, ADMIN)

    rotate = rotation(consortium.chain_id, "pat", next_key=signing_key("own"), next_seal="own")
    receipt = consortium.outcome("identity.rotate_key", rotate, "pat")

    assert receipt.accepted
    assert not consortium.account("pat").in_custody


def test_only_patients_are_in_custody(consortium: Consortium) -> None:
    consortium.register("dr. a", Role.DOCTOR)

    receipt = consortium.outcome(
        "identity.rotate_key",
        rotation(consortium.chain_id, "dr. a", next_seal="b", in_custody=True),
        "dr. a",
    )

    assert receipt.code == "identity.custody"
