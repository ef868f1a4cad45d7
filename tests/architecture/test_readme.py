"""The README's example is the client page's, which a test of the client runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find_python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_readme_shows_the_example_that_is_run() -> None:
    readme = find_python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    page = find_python_blocks((ROOT / "docs" / "client.md").read_text(encoding="utf-8"))

    assert len(readme) == 1
    assert readme[0] == page[0]


def test_the_example_is_twenty_lines_or_so() -> None:
    (example,) = find_python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))

    assert len(example.splitlines()) <= 24
