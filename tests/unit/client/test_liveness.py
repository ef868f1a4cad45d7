"""Who counts as live, and which changes are looked at before they are voted on."""

from typing import Any

import pytest

from client.errors import AnswerRejected
from client.liveness import BEHIND_BLOCKS, Seen, plan_of, seen_by
from crypto.validators import ReplicaId
from ledger.governance_payloads import (
    Change,
    ChangeParameters,
    RemoveValidator,
    SuspendOrganisation,
)
from ledger.parameters import Parameters
from tests.unit.ledger.governance_samples import Council
from tests.unit.ledger.small_consortium import NORTH, SOUTH

HEIGHT = 1_000


def seen(states: dict[int, str], peers: dict[int, tuple[str, int | None]]) -> Seen:
    """What node 0 sees of nodes in these states, with these links and heights."""
    return seen_by(
        {"node_index": 0},
        {
            "height": HEIGHT,
            "validators": [{"index": one, "state": state} for one, state in states.items()],
        },
        [{"node": one, "state": state, "height": height} for one, (state, height) in peers.items()],
    )


FOUR = dict.fromkeys(range(4), "voting")


def test_who_is_connected_and_not_far_behind_is_live() -> None:
    found = seen(
        FOUR,
        {
            1: ("connected", HEIGHT - BEHIND_BLOCKS),
            2: ("connected", HEIGHT - BEHIND_BLOCKS - 1),
            3: ("connecting", HEIGHT),
            4: ("connected", None),
        },
    )

    assert found.live == {0, 1}
    assert found.heights == {0: HEIGHT, 1: HEIGHT - BEHIND_BLOCKS, 2: HEIGHT - BEHIND_BLOCKS - 1}
    assert found.members == (0, 1, 2, 3)


def test_the_set_is_the_one_after_every_change_that_is_decided() -> None:
    states = {0: "voting", 1: "leaving", 2: "joining", 3: "learner", 4: "voting"}

    assert seen(states, {}).members == (0, 2, 4)


@pytest.mark.parametrize(
    ("node", "validators", "peers"),
    [
        ({}, {"height": 1, "validators": []}, []),
        ({"node_index": 0}, {"validators": []}, []),
        ({"node_index": 0}, {"height": 1, "validators": [{"index": 0}]}, []),
        ({"node_index": 0}, {"height": 1, "validators": []}, [{"node": 1}]),
        ({"node_index": 0}, {"height": 1, "validators": 7}, []),
    ],
)
def test_an_answer_that_is_no_nodes_is_refused(node: Any, validators: Any, peers: Any) -> None:
    with pytest.raises(AnswerRejected):
        seen_by(node, validators, peers)


def test_only_changes_of_who_votes_are_planned() -> None:
    council = Council()
    found = seen(FOUR, dict.fromkeys((1, 2, 3), ("connected", HEIGHT)))
    unplanned: tuple[Change, ...] = (
        SuspendOrganisation(org=SOUTH),
        ChangeParameters(parameters=Parameters()),
        council.rekey(3, SOUTH, "other"),
        RemoveValidator(index=ReplicaId(9)),
        council.add(3),
    )

    added, removed = council.add(4, NORTH), RemoveValidator(index=ReplicaId(3))

    assert [plan_of(found, change) for change in unplanned] == [None] * len(unplanned)
    for change, n in ((added, 5), (removed, 3)):
        plan = plan_of(found, change)
        assert plan is not None
        assert plan.after.n == n
        assert not plan.stalls


def test_the_last_validator_is_the_ledgers_to_keep() -> None:
    assert plan_of(seen({0: "voting"}, {}), RemoveValidator(index=ReplicaId(0))) is None


def test_one_down_of_four_speaks_against_a_fifth() -> None:
    """Attack 10."""
    found = seen(FOUR, dict.fromkeys((1, 2), ("connected", HEIGHT)))

    plan = plan_of(found, Council().add(4, NORTH))

    assert plan is not None
    assert plan.stalls
