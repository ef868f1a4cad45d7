"""docs/storage.md says what the code says."""

from pathlib import Path

import storage.errors
from storage import journal_format

PAGE = Path(__file__).resolve().parents[3] / "docs" / "storage.md"


def test_every_error_is_on_the_page_with_its_sentence() -> None:
    listed = {
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    }

    for error in vars(storage.errors).values():
        if isinstance(error, type) and issubclass(error, storage.errors.StorageError):
            assert error.__doc__ is not None
            assert f"| `{error.code}` | {error.__doc__.splitlines()[0]} |" in listed


def test_codes_are_told_apart() -> None:
    errors = [
        error
        for error in vars(storage.errors).values()
        if isinstance(error, type) and issubclass(error, storage.errors.StorageError)
    ]

    assert len({error.code for error in errors}) == len(errors)


def test_the_journals_layout_on_the_page_is_that_of_the_code() -> None:
    page, source = PAGE.read_text(encoding="utf-8"), journal_format.__doc__ or ""

    for line in source.splitlines():
        if line.startswith("    "):
            assert line.strip() in page
