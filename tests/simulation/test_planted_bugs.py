"""Bugs put in on purpose: a simulator that cannot find them shows nothing (`tests.planted`).

`make planted` searches for all of them, with and without the bug; here are the quick ones.
"""

import pytest

from tests.planted.registry import Planted, find_planted, is_right
from tests.planted.simulated import PLANTED

QUICK = tuple(one for one in PLANTED if one.within == "1 seed")


@pytest.mark.parametrize("planted", QUICK, ids=lambda one: one.name)
def test_a_planted_bug_is_found(planted: Planted) -> None:
    found = find_planted(planted)

    assert found is not None, f"{planted.name}: not found within {planted.within}"
    print(f"\n{planted.name}: {found.at}: {found.violation}")
    assert is_right(planted, found), found.violation
