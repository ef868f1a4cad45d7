"""A subject's log is paged in chain order, both ways, without a gap or a repeat."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.chain import Chain, commit_block, create_chain
from storage.database import create_database
from storage.errors import BlockCorrupt, ReceiptsCorrupt
from storage.keys import LogPlace, receipt_key, transaction_key
from storage.receipts import LogEntry, read_log
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, sample, subject

Blocks = list[list[list[int]]]
"""Of each block the transactions, of each of these the subjects of its events."""


def chain_with(directory: Path, blocks: Blocks) -> Chain:
    chain = create_chain(
        create_database(directory / "ledger"), CHAIN_ID, {b"a": b"1"}, time_ms=GENESIS_MS
    )
    for subjects in blocks:
        one = sample(chain, {}, subjects=subjects)
        commit_block(chain, one.block, one.result)
    return chain


def places_of(blocks: Blocks, number: int) -> list[LogPlace]:
    return [
        LogPlace(height, index, position)
        for height, transactions in enumerate(blocks, start=1)
        for index, subjects in enumerate(transactions)
        for position, one in enumerate(subjects)
        if one == number
    ]


def paged(chain: Chain, number: int, limit: int, *, newest_first: bool) -> list[LogEntry]:
    """The whole log, read page by page."""
    found: list[LogEntry] = []
    while True:
        cursor = found[-1].place if found else None
        page = read_log(
            chain,
            subject(number),
            after=None if newest_first else cursor,
            before=cursor if newest_first else None,
            limit=limit,
            newest_first=newest_first,
        )
        if not page:
            return found
        assert len(page) <= limit
        found += page


@settings(max_examples=15)
@given(
    blocks=st.lists(
        st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=3), min_size=1, max_size=5
    ),
    limit=st.integers(1, 4),
)
def test_pages_join_to_the_whole_log_in_both_directions(
    tmp_path_factory: pytest.TempPathFactory, blocks: Blocks, limit: int
) -> None:
    chain = chain_with(tmp_path_factory.mktemp("chain"), blocks)

    for number in range(3):
        expected = places_of(blocks, number)
        forwards = paged(chain, number, limit, newest_first=False)
        backwards = paged(chain, number, limit, newest_first=True)

        assert [entry.place for entry in forwards] == expected
        assert backwards == forwards[::-1]
        for entry in forwards:
            event = entry.receipt.events[entry.place.number]
            assert event.subject == subject(number)
            assert entry.receipt.height == entry.place.height
    chain.database.close()


def test_a_page_lies_strictly_between_its_places(tmp_path: Path) -> None:
    chain = chain_with(tmp_path, [[[0, 0, 0]], [[0], [0]]])

    page = read_log(chain, subject(0), after=LogPlace(1, 0, 0), before=LogPlace(2, 1, 0), limit=10)

    assert [entry.place for entry in page] == [
        LogPlace(1, 0, 1),
        LogPlace(1, 0, 2),
        LogPlace(2, 0, 0),
    ]
    chain.database.close()


def test_a_log_with_a_damaged_entry_says_which_block(tmp_path: Path) -> None:
    chain = chain_with(tmp_path, [[[0]], [[0]]])
    database = chain.database
    for key, error in (
        (transaction_key(1, 0), BlockCorrupt),
        (receipt_key(2, 0), ReceiptsCorrupt),
    ):
        stored = database.get(key)
        assert stored is not None
        database.put(key, stored[:-1] + bytes((stored[-1] ^ 1,)))

        with pytest.raises(error, match=str(tmp_path)):
            read_log(chain, subject(0), limit=10)
        database.put(key, stored)
    database.close()
