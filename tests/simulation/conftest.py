"""Simulations sign with a table of keys instead of curves."""

from collections.abc import Iterator

import pytest

from tests.simulation.ideal import ideal_world


@pytest.fixture(autouse=True)
def _ideal_signatures() -> Iterator[None]:
    with ideal_world():
        yield
