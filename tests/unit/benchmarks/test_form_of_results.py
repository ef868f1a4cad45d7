"""The form of `results.json`: explained on the page field by field, held wherever it is read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import ResultsInvalid
from benchmarks.schema import FIELDS, FILE, RUN_FIELDS, load_results, save_results

ROW = re.compile(r"^\| (?P<names>`\w+`(?:, `\w+`)*) \|", re.MULTILINE)


def some_results() -> dict[str, Any]:
    values: dict[type, Any] = {int: 1, str: "x", dict: {}, bool: False, list: []}
    results = {name: values[kinds[0]] for name, kinds in FIELDS.items()}
    results["runs"] = [{name: values[kinds[0]] for name, kinds in RUN_FIELDS.items()}]
    return results


def explained(section: str) -> set[str]:
    return {name for row in ROW.findall(section) for name in re.findall(r"\w+", row)}


def test_the_page_explains_every_field_and_no_other() -> None:
    page = Path(__file__).parents[3] / "docs" / "benchmarks.md"
    form = page.read_text(encoding="utf-8").partition("## `results.json`")[2]
    top, _, runs = form.partition("Every row of `runs`:")

    assert explained(top) == set(FIELDS)
    assert explained(runs) == set(RUN_FIELDS)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_results(tmp_path, some_results())

    assert load_results(tmp_path) == load_results(tmp_path / FILE) == some_results()
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 2}, "no results file of schema 1"),
        ({"seed": "x"}, "`seed` is 'x'"),
        ({"seed": True}, "`seed` is True"),
        ({"runs": [3]}, "runs[0] is no table"),
        ({"runs": [{}]}, "runs[0]: `name` is missing"),
    ],
)
def test_a_file_of_another_form_is_answered_with_what_is_wrong(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    (tmp_path / FILE).write_text(json.dumps({**some_results(), **change}))

    with pytest.raises(ResultsInvalid) as raised:
        load_results(tmp_path)

    assert told in str(raised.value)


def test_results_of_no_form_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ResultsInvalid, match="`title` is missing"):
        save_results(tmp_path, {"schema": 1})

    assert list(tmp_path.iterdir()) == []
