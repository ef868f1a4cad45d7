"""What tests/conftest.py promises: data missed loudly, seeds that replay, layers by folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SEEDED = "def test_history(seed):\n    assert seed != 7\n"
READS_DATA = "def test_reads(shared_data):\n    assert shared_data.is_dir()\n"


@pytest.fixture
def elsewhere(repository: Path, tmp_path: Path) -> Path:
    """A repository of its own with this conftest and these options, and no data beside it."""
    project = tmp_path / "project"
    (project / "tests" / "simulation").mkdir(parents=True)
    shutil.copy(repository / "tests" / "conftest.py", project / "tests")
    shutil.copy(repository / "pyproject.toml", project)
    return project


def run_pytest(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"CI", "MEDLEDGER_TEST_DATA", "PYTEST_ADDOPTS"}
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *arguments],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_missing_data_skips_with_its_reason_at_home(elsewhere: Path) -> None:
    (elsewhere / "tests" / "test_it.py").write_text(READS_DATA, encoding="utf-8")

    outcome = run_pytest(elsewhere)

    assert "1 skipped" in outcome.stdout
    assert "set MEDLEDGER_TEST_DATA" in outcome.stdout


def test_missing_data_fails_in_ci(elsewhere: Path) -> None:
    (elsewhere / "tests" / "test_it.py").write_text(READS_DATA, encoding="utf-8")

    outcome = run_pytest(elsewhere, CI="1")

    assert outcome.returncode == 1
    assert "set MEDLEDGER_TEST_DATA" in outcome.stdout


def test_data_is_found_where_the_environment_says(elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "tests" / "test_it.py").write_text(READS_DATA, encoding="utf-8")

    outcome = run_pytest(elsewhere, CI="1", MEDLEDGER_TEST_DATA=str(tmp_path))

    assert "1 passed" in outcome.stdout


def test_a_failing_seed_is_named_and_replays_alone(elsewhere: Path) -> None:
    (elsewhere / "tests" / "simulation" / "test_it.py").write_text(SEEDED, encoding="utf-8")

    range_run = run_pytest(elsewhere, "--first-seed", "5", "--seeds", "4")
    replay = run_pytest(elsewhere, "--seed", "7")

    assert "test_history[seed=7]" in range_run.stdout
    assert "1 failed, 3 passed" in range_run.stdout
    assert "seeds run: 5..8" in range_run.stdout
    assert "1 failed" in replay.stdout
    assert "passed" not in replay.stdout


def test_no_seed_at_all_is_a_mistake_of_usage(elsewhere: Path) -> None:
    (elsewhere / "tests" / "simulation" / "test_it.py").write_text(SEEDED, encoding="utf-8")

    outcome = run_pytest(elsewhere, "--seeds", "0")

    assert outcome.returncode == 4


def test_a_test_may_list_its_own_seeds(elsewhere: Path) -> None:
    listed = "import pytest\n@pytest.mark.parametrize('seed', [7, 9])\n" + SEEDED
    (elsewhere / "tests" / "simulation" / "test_it.py").write_text(listed, encoding="utf-8")

    outcome = run_pytest(elsewhere)

    assert "1 failed, 1 passed" in outcome.stdout


def test_the_folder_gives_the_marker(elsewhere: Path) -> None:
    (elsewhere / "tests" / "simulation" / "test_it.py").write_text(SEEDED, encoding="utf-8")
    (elsewhere / "tests" / "test_it_not.py").write_text("def test_b(): pass\n", encoding="utf-8")

    outcome = run_pytest(elsewhere, "-m", "not simulation")

    assert "1 passed, 5 deselected" in outcome.stdout


def test_a_warning_is_an_error(elsewhere: Path) -> None:
    warns = "import warnings\ndef test_it(): warnings.warn('x', stacklevel=1)\n"
    (elsewhere / "tests" / "test_it.py").write_text(warns, encoding="utf-8")

    outcome = run_pytest(elsewhere)

    assert outcome.returncode == 1
