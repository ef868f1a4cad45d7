"""Commit at exactly one replica, then view-change: n = 4..10, every choice (attack 4)."""

import pytest

from tests.scenarios.script import run_script

CHOICES = [(n, chosen) for n in range(4, 11) for chosen in range(n)]


@pytest.mark.parametrize(("n", "chosen"), CHOICES)
def test_a_block_decided_at_one_replica_alone_is_decided_by_the_others(n: int, chosen: int) -> None:
    """S1: the one that decided is gone with its decision, and the others come to the same."""
    others = [one for one in range(n) if one != chosen]
    lines = [
        f"replicas {n}",
        "submit 2 aspirin",
        "expire 0 propose",
        "deliver 0->* pre_prepare",
        "deliver *->* prepare",
        f"deliver *->{chosen} commit",
        f"expect {chosen} tip=1 last=A",
        "drop *->* commit",
        f"crash {chosen}",
        *(f"expire {one} view_change" for one in others),
        f"settle except {chosen}",
    ]
    if chosen == 1:  # The primary of view 1 is the one that is gone: another view is needed.
        lines += [*(f"expire {one} view_change" for one in others), f"settle except {chosen}"]
    lines += [f"expect {one} tip=1 last=A" for one in others]

    transcript = run_script("\n".join(lines))

    assert transcript.count("decide A h1") == n


@pytest.mark.parametrize(("n", "chosen"), CHOICES)
def test_the_one_that_decided_alone_comes_back_to_the_same_chain(n: int, chosen: int) -> None:
    """S1, S5: it returns before anybody else has decided, in the middle of their view change."""
    others = [one for one in range(n) if one != chosen]
    lines = [
        f"replicas {n}",
        "submit 2 aspirin",
        "expire 0 propose",
        "deliver 0->* pre_prepare",
        "deliver *->* prepare",
        f"deliver *->{chosen} commit",
        "drop *->* commit",
        f"crash {chosen}",
        *(f"expire {one} view_change" for one in others),
        f"restart {chosen}",
        f"expect {chosen} tip=1 last=A",
        "heartbeats on",
        "settle",
        *(f"expire {one} status" for one in range(n)),
        "settle",
        *(f"expect {one} tip=1 last=A" for one in range(n)),
        "expire 0 propose",
        "settle",
        *(f"expect {one} tip=2 last=B" for one in range(n)),
    ]

    transcript = run_script("\n".join(lines))

    assert transcript.count("decide A h1") == n


def test_every_size_and_every_choice_ran() -> None:
    assert len(CHOICES) == sum(range(4, 11))
