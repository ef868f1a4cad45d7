"""Consortia of real processes, always stopped at the end of the test that asked for them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.parameters import Parameters
from tests.integration.consortium import Consortium, found_consortium, start_all, stop_all

MakeConsortium = Callable[..., Consortium]

DETACHED = "ignore:subprocess .* is still running:ResourceWarning"
"""Nodes are meant to outlive the object that started them; they are stopped by process id."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.filterwarnings(DETACHED))


@pytest.fixture
def make_consortium(tmp_path: Path) -> Iterator[MakeConsortium]:
    """Found consortia; `is_started=False` leaves their nodes for the test to start."""
    made: list[Consortium] = []

    def make(
        count: int, *, parameters: Parameters | None = None, is_started: bool = True
    ) -> Consortium:
        directory = tmp_path / f"consortium-{len(made)}"
        consortium = found_consortium(directory, count, parameters=parameters)
        made.append(consortium)
        if is_started:
            start_all(consortium)
        return consortium

    yield make
    for consortium in made:
        stop_all(consortium)


@pytest.fixture
def four(make_consortium: MakeConsortium) -> Consortium:
    """Four hospitals whose nodes run."""
    return make_consortium(4)
