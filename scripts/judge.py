"""Holds a test run against what `.ci/declared.toml` promises: cases really run, branch coverage.

    python scripts/judge.py cases test artifacts/junit/test.xml
    python scripts/judge.py counted simulate artifacts/simulate.log
    python scripts/judge.py coverage artifacts/coverage.json

Exit status 0 when every promise is kept, 1 when one is broken.
"""

import collections
import json
import re
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

DECLARED = Path(__file__).resolve().parent.parent / ".ci" / "declared.toml"
# A promise that is left this far behind no longer guards anything.
RAISE_WHEN_RATIO = 1.25
LAST_LINES = (
    re.compile(r"(?P<count>\d+) passed, (?P<bad>\d+) failed"),
    re.compile(r"(?P<count>\d+) planted, (?P<found>\d+) found"),
    re.compile(r"\d+ searches, (?P<count>[\d,]+) distinct states, (?P<bad>\d+) broken"),
    re.compile(r"(?P<count>\d+) faults injected, \d+ acknowledged, (?P<bad>\d+) broken"),
)


def main(arguments: list[str]) -> int:
    declared = tomllib.loads(DECLARED.read_text(encoding="utf-8"))
    match arguments:
        case ["cases", stage, report]:
            kept, lines = judge_cases(stage, Path(report), declared["cases"])
        case ["counted", stage, log]:
            kept, lines = judge_counted(stage, Path(log), declared["cases"])
        case ["coverage", report]:
            measured = json.loads(Path(report).read_text(encoding="utf-8"))
            kept, lines = judge_coverage(measured, declared["coverage"])
        case _:
            print(__doc__)
            return 2
    print("\n".join(lines))
    return 0 if kept else 1


def judge_cases(stage: str, report: Path, declared: dict[str, int]) -> tuple[bool, list[str]]:
    """Compare the cases of one junit report with the number promised for `stage`."""
    if stage not in declared:
        return False, [f"{stage}: no number of cases declared in {DECLARED.name}"]
    if not report.exists():
        return False, [f"{stage}: no report at {report}, so nothing ran"]

    outcomes = count_outcomes(report)
    ran = outcomes["passed"] + outcomes["failed"]
    promised = declared[stage]
    lines = [
        f"{stage}: {ran} cases ran ({outcomes['failed']} failed, {outcomes['skipped']} skipped); "
        f"{promised} promised"
    ]
    if ran < promised:
        lines.append(f"{stage}: fewer cases ran than {DECLARED.name} promises")
    elif ran > promised * RAISE_WHEN_RATIO:
        lines.append(f"{stage}: raise the promise in {DECLARED.name} to {ran * 9 // 10}")
    return ran >= promised and not outcomes["failed"], lines


def judge_counted(stage: str, log: Path, declared: dict[str, int]) -> tuple[bool, list[str]]:
    """Judge a command that counts by itself, by the last line it wrote."""
    last = log.read_text(encoding="utf-8").strip().rpartition("\n")[2]
    found = [match for one in LAST_LINES if (match := one.fullmatch(last))]
    if not found:
        return False, [f"{stage}: no count in its last line: {last}"]
    counts = found[0].groupdict()
    count = int(counts["count"].replace(",", ""))
    is_clean = int(counts["found"]) == count if "found" in counts else counts["bad"] == "0"
    promised = declared[stage]
    lines = [f"{stage}: {last}; {promised} promised"]
    if count < promised:
        lines.append(f"{stage}: fewer cases than {DECLARED.name} promises")
    return is_clean and count >= promised, lines


def count_outcomes(report: Path) -> collections.Counter[str]:
    """Count the cases of a junit report by outcome; what pytest wrote itself is trusted XML."""
    outcomes: collections.Counter[str] = collections.Counter()
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314
        if case.find("skipped") is not None:
            outcomes["skipped"] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            outcomes["failed"] += 1
        else:
            outcomes["passed"] += 1
    return outcomes


def judge_coverage(
    measured: dict[str, Any], floors_percent: dict[str, int]
) -> tuple[bool, list[str]]:
    """Compare line-and-branch coverage of each room with its floor, in percent."""
    covered: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    for name, file in measured["files"].items():
        room, summary = Path(name).parts[0], file["summary"]
        covered[room] += summary["covered_lines"] + summary["covered_branches"]
        total[room] += summary["num_statements"] + summary["num_branches"]

    kept, lines = True, []
    for room, floor in sorted(floors_percent.items()):
        is_kept = total[room] > 0 and covered[room] * 100 >= floor * total[room]
        percent = covered[room] * 100 / total[room] if total[room] else 0
        lines.append(f"{room}: {percent:.1f} % of lines and branches; {floor} % promised")
        kept = kept and is_kept
    return kept, lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
