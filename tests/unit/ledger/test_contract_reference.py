"""The reference page of all kinds, and its promises: a test per refusal, words per event."""

from pathlib import Path

import pytest

from ledger.contract import Kind
from ledger.contracts import KINDS, access, records
from ledger.log import SENTENCES
from scripts.contract_reference import (
    PAGE,
    common_findings,
    findings,
    own_refusals,
    render,
)

TESTS = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py"))
)


def test_the_page_is_what_the_contract_tables_say() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == render(), "a contract changed: run `python -m scripts.contract_reference`"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_kind_may_be_refused_and_tells_what_it_did(kind: Kind) -> None:
    found = findings(kind.handler)

    assert found.events
    assert own_refusals(kind)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_event_of_a_kind_has_words_in_the_log(kind: Kind) -> None:
    assert set(findings(kind.handler).events) <= set(SENTENCES)


def test_every_refusal_of_every_kind_is_named_in_a_test() -> None:
    codes = {code for kind in KINDS.values() for code in own_refusals(kind)}
    codes |= set(common_findings().refusals)

    missing = sorted(code for code in codes if f'"{code}"' not in TESTS)

    assert missing == []
    assert len(codes) > 40


def test_what_decisions_refuse_is_found_behind_the_contracts() -> None:
    for kind in (*records.KINDS[:3],):
        assert {"access.denied", "access.purpose", "access.not_delegated"} <= set(
            own_refusals(kind)
        )
    assert set(findings(access.KINDS[0].handler).events) == {"access.requested"}


def test_messages_of_refusals_are_told_on_the_page() -> None:
    refusals = own_refusals(KINDS["records.reseal"])

    assert refusals["records.seals_full"] == "too many earlier seals wait for a confirmation"
    assert refusals["records.unknown_record"] == "there is no record …"
    assert all(refusals.values())
