"""docs/protocol.md: its tables of messages are those of the wire types.

`MEDLEDGER_REWRITE=1 pytest tests/unit/consensus/test_protocol_page.py` writes the tables anew.
"""

import dataclasses
import os
import re
import typing

from consensus.blocks import Block, CertifiedBlock
from consensus.boots import Boot
from consensus.messages import MESSAGE_KINDS
from crypto.evidence import SignedVote
from crypto.votes import CommitCertificate, PreparedCertificate
from scripts.wire_tables import describe
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "protocol.md"
PARTS = (Block, CertifiedBlock, PreparedCertificate, CommitCertificate, SignedVote, Boot)


def test_the_invariants_are_those_of_the_page_on_testing() -> None:
    codes = re.compile(r"^\| ([A-Z]\d) \| ", re.MULTILINE)
    testing = (PAGE.parent / "testing.md").read_text(encoding="utf-8")

    told = codes.findall(PAGE.read_text(encoding="utf-8"))

    assert len(told) > 10
    assert told == codes.findall(testing)


def render(kinds: tuple[type, ...]) -> str:
    """One row for each field: the page is read beside the code, so names are those of the code."""
    rows = ["| message | field | type |", "|---|---|---|"]
    for kind in kinds:
        marks = vars(kind)
        size = f", at most {marks['WIRE_BYTES_MAX']:,} bytes" if "WIRE_BYTES_MAX" in marks else ""
        tag = f" (tag {marks['WIRE_TAG']}{size})" if "WIRE_TAG" in marks else ""
        hints = typing.get_type_hints(kind, include_extras=True)
        for position, field in enumerate(dataclasses.fields(kind)):
            title = f"**{kind.__name__}**{tag}" if position == 0 else ""
            rows.append(f"| {title} | {field.name} | {describe(hints[field.name])} |")
    return "\n".join(rows)


def render_page(page: str) -> str:
    for mark, kinds in (("messages", MESSAGE_KINDS), ("parts", PARTS)):
        table = f"<!-- {mark} -->\n\n{render(kinds)}\n\n"
        pattern = rf"<!-- {mark} -->\n\n(?:\|.*\n)*\n?"
        page = re.sub(pattern, table.replace("\\", r"\\"), page)
    return page


def test_the_tables_of_the_page_are_those_of_the_messages() -> None:
    page = PAGE.read_text(encoding="utf-8")
    fresh = render_page(page)

    if os.environ.get("MEDLEDGER_REWRITE"):
        PAGE.write_text(fresh, encoding="utf-8")
    else:
        assert fresh == page, "a message changed: see the first lines of this test file"


def test_every_message_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert all(f"**{kind.__name__}**" in page for kind in MESSAGE_KINDS)
