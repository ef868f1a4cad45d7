"""Small searches on every run; `make model` runs the large ones."""

import pytest

from tests.model.bounds import Bounds
from tests.model.explore import explore

SMALL = (
    (Bounds(byzantine=2, heights=1), 10_000, {(1, 0), (1, 1)}),
    (Bounds(byzantine=2, heights=2, view_max=0, restarts=1), 2_000, {(1, 0), (2, 0)}),
    (Bounds(byzantine=0, heights=2, view_max=0, executes_apart=True), 1_000, {(1, 0), (2, 0)}),
)


@pytest.mark.parametrize(("bounds", "states", "decided"), SMALL, ids=lambda one: str(one)[:60])
def test_every_interleaving_within_the_bounds_keeps_the_invariants(
    bounds: Bounds, states: int, decided: set[tuple[int, int]]
) -> None:
    """S1-S4, R4, D1, X1; and the search is no empty one: every height is decided in every view."""
    result = explore(bounds)

    assert result.violation is None, "\n".join(result.path)
    assert result.is_complete
    assert result.states >= states
    assert result.decided == decided


def test_a_search_that_is_cut_short_says_so() -> None:
    result = explore(Bounds(byzantine=0), states_max=500)

    assert not result.is_complete
