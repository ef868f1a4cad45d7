"""Bugs that the model checker must find; the quick ones here, all of them in `make planted`."""

import pytest

from tests.planted.modelled import PLANTED
from tests.planted.registry import Planted, find_planted, is_right

QUICK = (
    "model: quorum 2f",
    "model: commit signed after ViewChange",
    "model: new primary ignores prepared certificates",
    "stale timer discards a prepared block",
    "vote at h+1 before the decision at h is durable",
    "votes forgotten by a restart",
    "certificate accepted from another height",
    "vote accepted from another epoch",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    check(next(one for one in PLANTED if one.name == name))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "planted", [one for one in PLANTED if one.name not in QUICK], ids=lambda one: one.name
)
def test_a_planted_bug_far_from_the_start_is_found(planted: Planted) -> None:
    check(planted)


def check(planted: Planted) -> None:
    found = find_planted(planted)

    assert found is not None, f"{planted.name}: not found within {planted.within}"
    assert is_right(planted, found), found.violation
