"""The bugs put in on purpose: what each is, how it gets in, who must find it, and within what.

    PLANTED = (
        Planted(
            name="quorum 2f",
            plant=switches.quorum_of_2f,
            where="simulation",
            within="1 seed",
            search=lambda: ...,
            found_by=("S1", "S5"),
        ),
    )

A room of bugs is a module beside this one with such a `PLANTED`, listed in `ROOMS`; `make planted`
runs every one of all rooms. `search` runs the stated number of seeds, states or scripts and
returns the first thing that goes wrong, or None; it is called with the bug and without it.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]

ROOMS: Final = ("simulated", "modelled")
"""Modules of this package with a `PLANTED` of their own, in the order of running."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where something went wrong (a seed, a depth, a script), and the violation's text."""

    at: str
    violation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One bug.

    `where` is what must find it: simulation, model or scenario; `within` says how far it looks;
    `found_by` are the words (invariants) of which a violation must open with one. `search_clean`
    is asked without the bug, where `search` need not be run for every bug again.
    """

    name: str
    plant: Plant
    where: str
    within: str
    search: Callable[[], Found | None]
    found_by: tuple[str, ...]
    search_clean: Callable[[], Found | None] | None = None


def find_planted(planted: Planted) -> Found | None:
    """Switch the bug on, search, and switch it off again."""
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        return planted.search()


def is_right(planted: Planted, found: Found | None) -> bool:
    """Whether it was found, and by what it breaks."""
    return found is not None and found.violation.startswith(planted.found_by)


def all_planted() -> tuple[Planted, ...]:
    """Every planted bug of every room."""
    found: list[Planted] = []
    for room in ROOMS:
        found += importlib.import_module(f"tests.planted.{room}").PLANTED
    names = [one.name for one in found]
    assert len(set(names)) == len(names), "every planted bug has its own name"
    return tuple(found)
