"""An enrolment says itself which role it is for: whoever registers it must have meant that one."""

import pytest

from client.enrolment import Enrolment, check_role
from client.errors import EnrolmentInvalid
from crypto.hashing import ChainId
from ledger.accounts import Role
from tests.unit.ledger.small_consortium import NORTH, registration

CHAIN = ChainId(bytes(32))


def enrolment(role: Role) -> Enrolment:
    register = registration(CHAIN, NORTH, "somebody", role)
    return Enrolment(chain_id=CHAIN, org=NORTH, register=register, sidecars=())


@pytest.mark.parametrize("role", [Role.HOSPITAL_ADMIN, Role.AUDITOR])
def test_power_over_the_hospital_is_given_only_to_who_says_so(role: Role) -> None:
    with pytest.raises(EnrolmentInvalid) as refusal:
        check_role(enrolment(role), None)

    assert role.value in str(refusal.value)
    check_role(enrolment(role), role)


def test_another_role_than_the_one_meant_is_refused() -> None:
    with pytest.raises(EnrolmentInvalid):
        check_role(enrolment(Role.DOCTOR), Role.PATIENT)

    check_role(enrolment(Role.PATIENT), None)
