"""The planner against counting by hand: every set of one to ten, every choice of the dead."""

from itertools import combinations

import pytest

from ledger.membership_plan import Standing, plan_change

SIZES = range(1, 11)


def quorum_by_search(n: int) -> int:
    """The smallest q of which two share more than f, with f below a third of n."""
    f = max(faulty for faulty in range(n) if 3 * faulty < n)
    return min(q for q in range(1, n + 1) if 2 * q - n > f)


@pytest.mark.parametrize("n", SIZES)
def test_quorums_are_the_smallest_that_share_a_correct_member(n: int) -> None:
    standing = Standing(n, n)

    assert standing.quorum == quorum_by_search(n)
    assert 3 * standing.f < n <= 3 * standing.f + 3
    assert standing.spare >= standing.f


@pytest.mark.parametrize("n", SIZES)
def test_every_add_remove_and_down_is_planned_as_counted(n: int) -> None:
    """Whoever is down, the plan says stop exactly if the live ones are no quorum afterwards."""
    members = range(n)
    cases = 0
    for down_count in range(n + 1):
        for down in combinations(members, down_count):
            live = {one for one in members if one not in down}
            was_going = len(live) >= quorum_by_search(n)

            for added_is_live in (True, False):
                answering = live | {n} if added_is_live else live
                plan = plan_change(members, answering, add=(n,))
                goes_on = len(answering) >= quorum_by_search(n + 1)
                assert plan.after == Standing(n + 1, len(answering))
                assert (plan.stalls and was_going) == (was_going and not goes_on)
                cases += 1
            if n == 1:
                continue
            for gone in members:
                plan = plan_change(members, live, remove=(gone,))
                goes_on = len(live - {gone}) >= quorum_by_search(n - 1)
                assert plan.after == Standing(n - 1, len(live - {gone}))
                assert (plan.stalls and was_going) == (was_going and not goes_on)
                cases += 1
    assert cases == 2**n * (2 + (n if n > 1 else 0))


@pytest.mark.parametrize("n", SIZES)
def test_a_learner_that_is_live_stalls_no_set_that_goes_on(n: int) -> None:
    """Why `validator.ready` needs no look at who is live: quorums grow by at most one."""
    for live in range(quorum_by_search(n), n + 1):
        answering = {*range(live), n}

        assert not plan_change(range(n), answering, add=(n,)).stalls


def test_adding_a_fifth_while_one_of_four_is_down_stops_the_chain() -> None:
    """Attack 10: the quorum rises from three to four, and three are live."""
    plan = plan_change(range(4), {0, 1, 2}, add=(4,))

    assert (plan.before.quorum, plan.after.quorum) == (3, 4)
    assert not plan.before.is_stalled
    assert plan.stalls
    assert plan.reason == (
        "of 5 validators 4 must be live, and 2 of them would be down: the chain would stop"
    )


def test_adding_a_fifth_that_is_live_leaves_no_failure_to_spare() -> None:
    plan = plan_change(range(4), {0, 1, 2, 4}, add=(4,))

    assert not plan.stalls
    assert plan.reason == ""
    assert (plan.before.spare, plan.after.spare) == (0, 0)


def test_a_chain_that_stands_is_not_made_worse() -> None:
    """Removing one of the dead brings it nearer to going on; removing a live one does not."""
    dead = plan_change(range(7), {0, 1, 2}, remove=(6,))
    live = plan_change(range(6), {0, 1, 2}, remove=(0,))

    assert dead.before.is_stalled
    assert dead.after.spare > dead.before.spare
    assert not dead.stalls
    assert live.stalls


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add": (0,)}, "0 is a validator already"),
        ({"remove": (9,)}, "9 is no validator"),
        ({"remove": (0, 1)}, "nobody would be left"),
    ],
)
def test_what_is_no_change_is_no_plan(change: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_change((0, 1), {0, 1}, **change)
