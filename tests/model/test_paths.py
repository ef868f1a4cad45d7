"""A path of the model plays again, step by step, from its script."""

import pytest

from tests.model.bounds import Bounds
from tests.model.paths import header, play, read_header

SCRIPT = """\
model n=4 heights=1 views=1 restarts=0 liar=2
0 proposes
1 is handed pre_prepare v0 h1v0r0a
1 is handed prepares v0 h1v0r0a of 2
1 times out
"""


def test_a_script_plays_and_says_what_the_replicas_did() -> None:
    played = play(SCRIPT)

    assert played.splitlines()[-3:] == [
        "| 1 sends commit v0 h1v0r0a",
        "1 times out",
        "| 1 sends view_change v1 1:h1v0r0a@v0",
    ]
    assert play(played) == played


def test_a_step_that_is_not_possible_ends_the_script() -> None:
    with pytest.raises(AssertionError, match="0 cannot: flies"):
        play(SCRIPT + "0 flies\n")


def test_a_script_that_says_broken_where_nothing_is_fails() -> None:
    with pytest.raises(AssertionError, match="not broken there"):
        play(SCRIPT + "broken S1: replica 1 decides otherwise\n")


def test_the_header_gives_the_bounds_back() -> None:
    bounds = Bounds(byzantine=3, heights=2, view_max=2, restarts=1, leaves=True)

    assert read_header(header(bounds)) == bounds
