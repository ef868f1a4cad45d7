"""The page for operators says what the code says: codes of the doctor and their exit status."""

import re
from pathlib import Path

from api.diagnosis import RULES, WELL
from api.metrics import METRICS
from commands.silent_node import SILENT

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(\w+)` \| (\d) \| (.+) \|$", re.MULTILINE)


def rows_after(text: str, marker: str) -> list[tuple[str, str, str]]:
    """The rows of the table under a marker."""
    _, found, rest = text.partition(f"<!-- {marker} -->\n")
    assert found, f"{PAGE.name} has lost its marker {marker}"
    return ROW.findall(rest.lstrip("\n").split("\n\n", 1)[0])


def test_the_page_lists_every_code_of_a_node_that_answers() -> None:
    rows = rows_after(PAGE.read_text(encoding="utf-8"), "doctor codes")

    told = [(rule.code, "0" if rule.is_note else "4", rule.meaning) for rule in RULES]
    assert rows == [*((code, "0", meaning) for code, meaning in WELL.items()), *told]


def test_the_page_lists_every_code_of_a_node_that_does_not_answer() -> None:
    rows = rows_after(PAGE.read_text(encoding="utf-8"), "doctor codes of a silent node")

    assert rows == [(code, "4", meaning) for code, meaning in SILENT.items()]


def test_the_page_lists_every_number() -> None:
    _, found, rest = PAGE.read_text(encoding="utf-8").partition("<!-- metrics -->\n")
    assert found, "the page has lost its table of numbers"
    rows = re.findall(r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.*) \| (.+) \|$", rest, re.M)

    assert rows == [
        (one.name, one.kind, ", ".join(f"`{label}`" for label in one.labels), one.text)
        for one in METRICS
    ]


def test_a_code_means_one_thing() -> None:
    rules = {rule.code for rule in RULES}

    assert len(rules) == len(RULES)
    assert (rules | WELL.keys()) & SILENT.keys() == {"disk_full"}, (
        "full is full, asked or looked at"
    )


def test_a_missing_marker_is_found() -> None:
    text = (
        "<!-- doctor codes -->\n\n| code | status | what |\n|---|---|---|\n| `a` | 4 | b |\n\nend"
    )

    assert rows_after(text, "doctor codes") == [("a", "4", "b")]
