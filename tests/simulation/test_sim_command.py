"""`medledger sim`: a run says what it found, a replay repeats it, a wrong use is told."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import medledger
from commands import sim
from tests.simulation import __main__ as verbs
from tests.simulation.cluster import Cluster
from tests.simulation.histories import draw_history
from tests.simulation.host import Host
from tests.simulation.monitor import Monitor, Violation
from tests.simulation.report import ARTIFACTS
from tests.simulation.run import load_history, run_one, save_history
from tests.simulation.shrink import shrink

SHORT = 6
"""A seed with a short history: one silent liar among four."""


def test_without_its_source_the_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sim, "SOURCE", tmp_path)

    result = CliRunner().invoke(medledger, ["sim", "run", "--seeds", "1"])

    assert result.exit_code == 4
    assert "run this in a source checkout" in result.output


def test_a_run_ends_with_the_count_and_a_clean_status(capsys: pytest.CaptureFixture[str]) -> None:
    status = verbs.main(["run", "--seeds", "1", "--first-seed", str(SHORT)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[-1] == "1 passed, 0 failed"


def test_a_name_that_is_neither_seed_nor_file_is_refused() -> None:
    assert verbs.main(["replay", "no such file"]) == 2


def test_a_failing_seed_is_cut_to_its_cause_and_replays_to_the_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A violation that needs the liar alone: shrinking leaves the liar and takes the faults."""

    def find_liar(_monitor: Monitor, host: Host, *_: object) -> None:
        assert isinstance(host.world, Cluster)
        if host.world.behaviours and host.application.height > 2:
            raise Violation("S1: planted for this test")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.simulation.cluster.observe_event", find_liar)
    history = draw_history(SHORT)
    outcome = run_one(history)

    smallest = shrink(history, outcome)
    again = run_one(smallest)
    save_history(smallest, again, ARTIFACTS / "kept.json")
    status = verbs.main(["replay", str(ARTIFACTS / "kept.json")])

    assert outcome.name == again.name == "S1"
    assert smallest.faults == ()
    assert smallest.liars == history.liars
    assert load_history(ARTIFACTS / "kept.json")[0] == smallest
    assert "the same to the event" in capsys.readouterr().out
    assert status == 0
