"""docs/wire-sealed.md says what the code does: fields, order, versions, codes."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from crypto import directory, envelopes, errors, keystore, notes, sealed_format, tags, unixfs

PAGE = (Path(__file__).parents[3] / "docs" / "wire-sealed.md").read_text(encoding="utf-8")
MODULES = (directory, envelopes, keystore, notes, sealed_format, tags, unixfs)


def sections() -> dict[str, str]:
    parts = re.split(r"^###? ", PAGE, flags=re.M)
    return {part.split("\n", 1)[0]: part for part in parts}


def wire_types() -> dict[str, Any]:
    names = [name for name, text in sections().items() if "| field | type |" in text]
    found = {
        name: getattr(module, name) for module in MODULES for name in names if name in vars(module)
    }
    assert sorted(found) == sorted(names)
    return found


def test_every_wire_type_of_the_modules_is_on_the_page() -> None:
    in_memory = {"Sidecar", "SealPrivateKey", "Preamble", "SealSecrets", "_Link"}
    defined = {
        name
        for module in MODULES
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and kind.__module__ == module.__name__
    }

    assert defined - in_memory == set(wire_types())


@pytest.mark.parametrize("name", sorted(wire_types()))
def test_the_page_lists_the_fields_in_their_order(name: str) -> None:
    kind, text = wire_types()[name], sections()[name]

    listed = re.findall(r"^\| (\w+) \|", text.split("| field | type |")[1], flags=re.M)

    assert listed == [field.name for field in dataclasses.fields(kind)]
    starts_with_version = "starts with\nthe version" in text or "starts with the version" in text
    assert starts_with_version is ("WIRE_VERSION" in vars(kind))


def test_the_page_lists_every_reason_to_refuse_a_sealed_record() -> None:
    reader_codes = {
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.SealedError)
    } - {"sealed.error", "sealed.source_changed", "sealed.too_large", "sealed.spool"}

    listed = re.findall(r"^\| `(sealed\.\w+)` \|", PAGE, flags=re.M)

    assert sorted(listed) == sorted(reader_codes)


def test_the_page_has_the_magic_numbers() -> None:
    assert sealed_format.MAGIC.hex(" ") in PAGE
    assert keystore.MAGIC.hex(" ") in PAGE
