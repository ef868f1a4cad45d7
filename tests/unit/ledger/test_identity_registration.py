from dataclasses import replace
from typing import Any

import pytest

from crypto.envelopes import SealScheme, make_seal_private_key, seal_key_id, seal_public_key
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import Scheme, account_id, key_id
from ledger.accounts import (
    ADMINS_MAX,
    Account,
    OrgId,
    Role,
    Status,
    get_account,
    get_key,
    get_organisation,
    is_active,
    is_key_valid_at,
    organisation_key,
    seal_key_of,
    sign_key_of,
)
from ledger.identity_payloads import (
    Register,
)
from ledger.key_proofs import sign_seal_binding
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    Consortium,
    account_of,
    registration,
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


@pytest.mark.parametrize("scheme", Scheme)
def test_an_admin_registers_a_person_with_the_keys_it_made(
    consortium: Consortium, scheme: Scheme
) -> None:
    payload = register(consortium, "dr. a", scheme=scheme)
    new_id = account_id(payload.sign_key)

    receipt = consortium.outcome("identity.register", payload, ADMIN)

    assert receipt.accepted
    found = get_account(consortium.state, new_id)
    assert found == Account(
        account_id=new_id,
        org=NORTH,
        role=Role.DOCTOR,
        status=Status.ACTIVE,
        sign_key=payload.sign_key,
        sign_key_id=key_id(payload.sign_key),
        seal_key=payload.seal_key,
        seal_key_id=seal_key_id(payload.seal_key),
        seal_binding=payload.seal_binding,
        registered_height=1,
        specialty="general",
        licence=None,
        categories=(),
        in_custody=False,
    )
    assert is_active(consortium.state, found)
    assert [event.kind for event in receipt.events] == ["identity.registered"]
    assert receipt.events[0].subject == new_id


def test_first_keys_have_records_from_their_height_on(consortium: Consortium) -> None:
    consortium.register("dr. a", Role.DOCTOR)
    found = consortium.account("dr. a")
    assert found.seal_key_id is not None

    sign, seal = (
        get_key(consortium.state, found.account_id, one)
        for one in (found.sign_key_id, found.seal_key_id)
    )

    assert sign is not None
    assert seal is not None
    assert sign_key_of(sign) == found.sign_key
    assert seal_key_of(seal) == found.seal_key
    assert not is_key_valid_at(sign, 0)
    assert is_key_valid_at(sign, 1)
    assert is_key_valid_at(sign, 10**9)


def test_a_patient_has_categories_and_may_be_in_custody(consortium: Consortium) -> None:
    categories = tuple(sorted(bytes([at]) * 16 for at in (9, 3, 5)))
    payload = replace(
        register(consortium, "pat", Role.PATIENT, categories=categories), in_custody=True
    )

    receipt = consortium.outcome("identity.register", payload, ADMIN)

    assert receipt.accepted
    found = consortium.account("pat")
    assert found.categories == categories
    assert found.in_custody


def test_nobody_is_registered_twice(consortium: Consortium) -> None:
    consortium.register("dr. a", Role.DOCTOR)

    again = consortium.outcome("identity.register", register(consortium, "dr. a"), ADMIN)
    elsewhere = consortium.outcome(
        "identity.register",
        registration(consortium.chain_id, SOUTH, "dr. a", Role.NURSE),
        OTHER_ADMIN,
    )

    assert again.code == elsewhere.code == "identity.exists"
    assert again.events[0].fields == (("account", account_of("dr. a")),)


@pytest.mark.parametrize("role", [Role.CONSORTIUM_ADMIN, Role.KEY_AGENT])
def test_a_hospital_gives_no_role_of_the_consortium(consortium: Consortium, role: Role) -> None:
    receipt = consortium.outcome("identity.register", register(consortium, "x", role), ADMIN)

    assert receipt.code == "identity.role"


@pytest.mark.parametrize(
    "role",
    [one for one in Role if one not in (Role.HOSPITAL_ADMIN, Role.CONSORTIUM_ADMIN, Role.NODE)],
)
def test_only_an_admin_registers(consortium: Consortium, role: Role) -> None:
    by = "agent of north"
    if role is not Role.KEY_AGENT:
        consortium.register("somebody", role)
        by = "somebody"

    receipt = consortium.outcome("identity.register", register(consortium, "dr. a"), by)

    assert receipt.code == "role.not_allowed"


@pytest.mark.parametrize(
    "changes",
    [
        {"role": Role.NURSE},
        {"seal_key": seal_public_key(make_seal_private_key(SealScheme.P256))},
        {"possession": bytes([1]) * 64},
    ],
    ids=["role", "seal key", "signature"],
)
def test_a_key_must_agree_to_its_account(consortium: Consortium, changes: dict[str, Any]) -> None:
    payload = replace(register(consortium, "dr. a"), **changes)

    receipt = consortium.outcome("identity.register", payload, ADMIN)

    assert receipt.code == "identity.possession"


def test_another_hospital_cannot_use_an_agreement(consortium: Consortium) -> None:
    receipt = consortium.outcome("identity.register", register(consortium, "dr. a"), OTHER_ADMIN)

    assert receipt.code == "identity.possession"


def test_a_seal_key_must_be_signed_by_the_sign_key(consortium: Consortium) -> None:
    binding = sign_seal_binding(
        signing_key("dr. b"), account_id=account_of("dr. a"), seal_key=seal_key_with("dr. a")
    )
    payload = replace(register(consortium, "dr. a"), seal_binding=binding)

    receipt = consortium.outcome("identity.register", payload, ADMIN)

    assert receipt.code == "identity.binding"


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        (Role.DOCTOR, {"categories": (bytes(16),)}),
        (Role.DOCTOR, {"in_custody": True}),
        (Role.PATIENT, {"specialty": "cardiology"}),
        (Role.PATIENT, {"licence": bytes(32)}),
        (Role.PATIENT, {"categories": (bytes(16), bytes(16))}),
        (Role.PATIENT, {"categories": (bytes([2]) * 16, bytes([1]) * 16)}),
    ],
)
def test_a_registration_that_contradicts_itself_is_no_payload(
    consortium: Consortium, role: Role, changes: dict[str, Any]
) -> None:
    payload = register(consortium, "x", role)

    with pytest.raises(ValueError, match=r"categories|patients"):
        replace(payload, **changes)


def test_a_new_admin_joins_the_organisations_admins(consortium: Consortium) -> None:
    consortium.register("third admin", Role.HOSPITAL_ADMIN)

    organisation = get_organisation(consortium.state, NORTH)

    assert organisation is not None
    assert organisation.admins == tuple(
        sorted(account_of(label) for label in (ADMIN, SECOND_ADMIN, "third admin"))
    )
    consortium.register("dr. b", Role.DOCTOR)
    payload = register(consortium, "dr. c")
    assert consortium.outcome("identity.register", payload, "third admin").accepted


def test_an_organisation_has_a_bounded_number_of_admins(consortium: Consortium) -> None:
    organisation = get_organisation(consortium.state, NORTH)
    assert organisation is not None
    many = tuple(AccountId(at.to_bytes(32, "big")) for at in range(ADMINS_MAX))
    consortium.state.apply({organisation_key(NORTH): encode(replace(organisation, admins=many))})

    receipt = consortium.outcome(
        "identity.register",
        register(consortium, "third admin", Role.HOSPITAL_ADMIN),
        ADMIN,
    )

    assert receipt.code == "identity.admins_full"


def test_an_organisation_is_named_by_a_slug(consortium: Consortium) -> None:
    organisation = get_organisation(consortium.state, NORTH)
    assert organisation is not None

    for slug in ("", "-a", "a-", "A", "a b", "ä", "a/b"):
        with pytest.raises(ValueError, match="organisation"):
            replace(organisation, org=OrgId(slug))
