"""Quorum arithmetic for every size of consortium that this house will ever see."""

import pytest

from crypto.quorum import QuorumSystem

SIZES = range(1, 101)


@pytest.mark.parametrize("n", SIZES)
def test_two_quorums_share_more_than_f_replicas(n: int) -> None:
    system = QuorumSystem(n)

    shared = 2 * system.strong - n

    assert shared > system.f


@pytest.mark.parametrize("n", SIZES)
def test_the_correct_replicas_alone_form_a_quorum(n: int) -> None:
    system = QuorumSystem(n)

    correct = n - system.f

    assert correct >= system.strong


@pytest.mark.parametrize("n", SIZES)
def test_no_smaller_quorum_would_be_safe(n: int) -> None:
    system = QuorumSystem(n)

    smaller = system.strong - 1

    assert 2 * smaller - n <= system.f


@pytest.mark.parametrize("n", SIZES)
def test_as_many_faulty_replicas_as_possible_are_tolerated(n: int) -> None:
    system = QuorumSystem(n)

    assert n >= 3 * system.f + 1
    assert n < 3 * (system.f + 1) + 1


@pytest.mark.parametrize("n", SIZES)
def test_a_weak_quorum_holds_a_correct_replica_and_fits_into_the_correct_ones(n: int) -> None:
    system = QuorumSystem(n)

    assert system.weak == system.f + 1
    assert system.weak <= n - system.f


@pytest.mark.parametrize("n", [n for n in SIZES if n % 3 != 1])
def test_the_textbook_2f_plus_1_is_too_small_wherever_n_is_not_3f_plus_1(n: int) -> None:
    system = QuorumSystem(n)

    textbook = 2 * system.f + 1

    assert textbook < system.strong
    assert 2 * textbook - n <= system.f


def test_six_replicas_split_three_against_three_have_no_quorum_on_either_side() -> None:
    system = QuorumSystem(6)

    assert system.strong > 3
