"""Every scenario file runs, keeps the invariants, and does what is written below its commands.

A file may also be a path of the model checker, as it writes one for a violation (`tests.model`).

`MEDLEDGER_REWRITE=1 pytest tests/scenarios` writes the files anew: read the difference.
"""

import os
from pathlib import Path

import pytest

from tests.model.paths import is_path, play
from tests.scenarios.script import run_script, scripts

SCRIPTS = scripts()


def test_the_scenarios_of_the_design_are_all_here() -> None:
    assert {path.stem for path in SCRIPTS} >= {
        "normal_case",
        "primary_silent",
        "primary_equivocates",
        "commit_at_one_then_view_change",
        "late_commit_after_the_timer",
        "restart_repeats_votes",
        "catch_up",
        "wiped_replica_behind_the_fence",
        "stale_new_view_replayed",
        "six_split_in_two",
        "new_primary_lacks_the_block",
        "view_skew_after_random_restarts",
        "catch_up_from_a_lying_peer",
        "new_view_from_repeated_votes",
        "far_future_flood",
        "censored_client",
        "sleeper_missed_every_rekey",
        "two_proofs_of_one_parent",
        "equivocator_is_left_at_once",
    }


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_scenario_goes_as_written(path: Path) -> None:
    written = path.read_text(encoding="utf-8")

    happened = play(written) if is_path(written) else run_script(written)

    if os.environ.get("MEDLEDGER_REWRITE"):
        path.write_text(happened, encoding="utf-8")
    else:
        assert happened == written
