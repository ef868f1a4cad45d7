"""The judge of CI runs finds the broken promise: too few cases, a failure, a low floor."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.judge import judge_cases, judge_counted, judge_coverage


def write_report(folder: Path, passed: int, failed: int = 0, skipped: int = 0) -> Path:
    cases = "<testcase/>" * passed
    cases += "<testcase><failure/></testcase>" * failed
    cases += "<testcase><skipped/></testcase>" * skipped
    report = folder / "report.xml"
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")
    return report


def test_enough_cases_keep_the_promise(tmp_path: Path) -> None:
    kept, lines = judge_cases("test", write_report(tmp_path, passed=10, skipped=1), {"test": 10})

    assert kept
    assert lines == ["test: 10 cases ran (0 failed, 1 skipped); 10 promised"]


def test_skipped_cases_did_not_run(tmp_path: Path) -> None:
    kept, _ = judge_cases("test", write_report(tmp_path, passed=9, skipped=5), {"test": 10})

    assert not kept


def test_a_failed_case_breaks_the_promise(tmp_path: Path) -> None:
    kept, _ = judge_cases("test", write_report(tmp_path, passed=12, failed=1), {"test": 10})

    assert not kept


def test_a_missing_report_breaks_the_promise(tmp_path: Path) -> None:
    kept, lines = judge_cases("test", tmp_path / "none.xml", {"test": 1})

    assert not kept
    assert "nothing ran" in lines[0]


def test_an_undeclared_stage_breaks_the_promise(tmp_path: Path) -> None:
    kept, _ = judge_cases("new", write_report(tmp_path, passed=1), {"test": 1})

    assert not kept


def test_a_promise_left_behind_is_to_be_raised(tmp_path: Path) -> None:
    kept, lines = judge_cases("test", write_report(tmp_path, passed=100), {"test": 10})

    assert kept
    assert "to 90" in lines[-1]


def measured(covered: int, total: int) -> dict[str, Any]:
    summary = {
        "covered_lines": covered,
        "num_statements": total,
        "covered_branches": 0,
        "num_branches": 0,
    }
    return {"files": {"crypto/a.py": {"summary": summary}}}


@pytest.mark.parametrize(("covered", "is_kept"), [(95, True), (94, False), (100, True)])
def test_a_room_below_its_floor_breaks_the_promise(covered: int, is_kept: bool) -> None:
    kept, _ = judge_coverage(measured(covered, 100), {"crypto": 95})

    assert kept is is_kept


def test_a_room_that_was_not_measured_breaks_the_promise() -> None:
    kept, _ = judge_coverage(measured(100, 100), {"crypto": 95, "ledger": 95})

    assert not kept


def test_every_stage_of_the_ci_run_has_a_promise(repository: Path) -> None:
    declared = tomllib.loads((repository / ".ci" / "declared.toml").read_text(encoding="utf-8"))
    script = (repository / ".ci" / "run").read_text(encoding="utf-8")

    lanes = re.findall(r'^(?:ONE_LANE|OTHER_LANE|ALONE)="([^"]+)"$', script, re.MULTILINE)
    stages = {stage for lane in lanes for stage in lane.split()}

    assert len(lanes) == 3
    assert stages - {"coverage"} == declared["cases"].keys()


@pytest.mark.parametrize(
    ("last", "is_kept"),
    [
        ("10 passed, 0 failed", True),
        ("9 passed, 0 failed", False),
        ("20 passed, 1 failed", False),
        ("12 planted, 12 found", True),
        ("12 planted, 11 found", False),
        ("3 searches, 1,200 distinct states, 0 broken", True),
        ("3 searches, 1,200 distinct states, 1 broken", False),
        ("31 faults injected, 4306 acknowledged, 0 broken", True),
        ("0 faults injected, 0 acknowledged, 1 broken", False),
        ("all is well", False),
        ("", False),
    ],
)
def test_what_counts_by_itself_is_judged_by_its_last_line(
    tmp_path: Path, last: str, *, is_kept: bool
) -> None:
    log = tmp_path / "stage.log"
    log.write_text(f"much before\n{last}\n", encoding="utf-8")

    kept, _ = judge_counted("stage", log, {"stage": 10})

    assert kept is is_kept
