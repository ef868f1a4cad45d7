"""One flipped byte in the ledger names height and database, and a copy from a peer mends it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crypto.schema import encode
from crypto.votes import Height
from storage.blocks import find_transaction, get_block, get_header, get_transaction, replay_entries
from storage.chain import Chain, create_chain, open_chain
from storage.database import create_database, open_database
from storage.errors import BlockCorrupt, BlockNotOurs, ReceiptsCorrupt, StorageError
from storage.keys import (
    HEADERS,
    RECEIPTS,
    TRANSACTIONS,
    header_key,
    height_of,
    receipt_key,
    transaction_key,
    tx_index_key,
)
from storage.mending import replace_block, replace_receipts
from storage.receipts import get_encoded_receipts, get_receipt, get_receipts
from storage.rows import open_row, seal_row
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, Sample, grow

HEIGHTS = range(1, 4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def grown(directory: Path) -> Iterator[tuple[Chain, list[Sample]]]:
    """A chain of three blocks, and what was committed."""
    with create_database(directory) as database:
        chain = create_chain(database, CHAIN_ID, {b"a": b"1"}, time_ms=GENESIS_MS)
        yield chain, grow(chain, len(HEIGHTS))


def reopened(chain: Chain) -> Chain:
    """The same chain with nothing remembered."""
    return open_chain(chain.database, CHAIN_ID)


def receipts_of(one: Sample) -> tuple[bytes, ...]:
    return tuple(encode(receipt) for receipt in one.result.receipts)


def read_everything(chain: Chain) -> None:
    for height in HEIGHTS:
        get_block(chain, height)
        get_receipts(chain, height)
    list(replay_entries(chain, 0))


def mended(chain: Chain, samples: list[Sample], problem: StorageError) -> None:
    """Do what a node does that can ask a peer."""
    if isinstance(problem, BlockCorrupt):
        replace_block(chain, Height(problem.height), samples[problem.height - 1].stored)
    else:
        assert isinstance(problem, ReceiptsCorrupt)
        replace_receipts(chain, Height(problem.height), receipts_of(samples[problem.height - 1]))


@pytest.mark.parametrize("family", [HEADERS, TRANSACTIONS, RECEIPTS])
def test_every_flipped_byte_of_a_row_is_found_named_and_mended(
    grown: tuple[Chain, list[Sample]], family: bytes
) -> None:
    chain, samples = grown
    database = chain.database
    for key, stored in list(database.scan(family)):
        for position in range(0, len(stored), 1 + len(stored) // 40):
            flipped = bytearray(stored)
            flipped[position] ^= 1
            database.put(key, bytes(flipped), sync=False)
            again = reopened(chain)

            with pytest.raises((BlockCorrupt, ReceiptsCorrupt)) as caught:
                read_everything(again)

            assert str(database.path) in str(caught.value)
            assert f"block {height_of(key)}" in str(caught.value)
            mended(again, samples, caught.value)
            read_everything(again)
            assert database.get(key) == stored


@pytest.mark.parametrize("family", [HEADERS, TRANSACTIONS, RECEIPTS])
def test_a_missing_row_is_damage_too(grown: tuple[Chain, list[Sample]], family: bytes) -> None:
    chain, samples = grown
    for key, stored in list(chain.database.scan(family)):
        chain.database.delete(key)
        again = reopened(chain)

        with pytest.raises((BlockCorrupt, ReceiptsCorrupt)) as caught:
            read_everything(again)

        mended(again, samples, caught.value)
        assert chain.database.get(key) == stored


def test_single_reads_find_damage_too(grown: tuple[Chain, list[Sample]]) -> None:
    chain, samples = grown
    place = find_transaction(chain, samples[1].block.transactions[1].tx_id)
    assert place is not None
    for key, read, error in (
        (transaction_key(2, 1), get_transaction, BlockCorrupt),
        (receipt_key(2, 1), get_receipt, ReceiptsCorrupt),
    ):
        chain.database.put(key, b"garbage of some length, not sealed")
        with pytest.raises(error, match="block 2"):
            read(chain, place)
        chain.database.delete(key)
        with pytest.raises(error, match="missing"):
            read(chain, place)


def test_a_row_under_another_key_does_not_pass(grown: tuple[Chain, list[Sample]]) -> None:
    chain, _ = grown
    stored = chain.database.get(transaction_key(1, 0))
    assert stored is not None
    chain.database.put(transaction_key(2, 0), stored)

    with pytest.raises(BlockCorrupt, match="block 2"):
        get_block(chain, 2)


def test_whole_rows_of_another_block_do_not_pass(grown: tuple[Chain, list[Sample]]) -> None:
    chain, _ = grown
    database = chain.database
    for key_at, read, error in (
        (transaction_key, get_block, BlockCorrupt),
        (receipt_key, get_receipts, ReceiptsCorrupt),
    ):
        other = database.get(key_at(1, 0))
        assert other is not None
        database.put(key_at(2, 0), seal_row(key_at(2, 0), open_row(key_at(1, 0), other)))
        with pytest.raises(error, match="block 2"):
            read(chain, 2)
    stored = database.get(header_key(1))
    assert stored is not None
    database.put(header_key(2), seal_row(header_key(2), open_row(header_key(1), stored)))
    with pytest.raises(BlockCorrupt, match="it is block 1"):
        get_header(reopened(chain), 2)


def test_mending_restores_the_index(grown: tuple[Chain, list[Sample]]) -> None:
    chain, samples = grown
    tx_id = samples[0].block.transactions[0].tx_id
    chain.database.delete(tx_index_key(tx_id))

    replace_block(chain, Height(1), samples[0].stored)

    assert find_transaction(chain, tx_id) is not None


def test_only_the_decided_block_and_its_receipts_may_come_in(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, samples = grown
    first, second, last = (one.stored for one in samples)

    for height, copy in (
        (2, first),
        (3, second),
        (0, first),
        (4, last),
        (1, replace(first, transactions=second.transactions)),
        (1, replace(first, transactions=first.transactions[:1])),
        (1, replace(first, header=b"\x00" * 100)),
        (1, replace(first, transactions=(b"\xc0", b"\xc0"))),
    ):
        with pytest.raises(BlockNotOurs):
            replace_block(chain, Height(height), copy)
    for height, receipts in (
        (1, receipts_of(samples[1])),
        (3, receipts_of(samples[2])[:1]),
        (0, ()),
        (4, ()),
    ):
        with pytest.raises(BlockNotOurs):
            replace_receipts(chain, Height(height), receipts)

    read_everything(chain)


def test_neighbouring_damage_is_mended_from_the_tip_down(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, samples = grown
    for key, _ in list(chain.database.scan(HEADERS)):
        chain.database.put(key, b"garbage")
    again = reopened(chain)
    with pytest.raises(BlockCorrupt, match="block 2"):
        replace_block(again, Height(1), samples[0].stored)

    for height in reversed(HEIGHTS):
        replace_block(again, Height(height), samples[height - 1].stored)

    read_everything(again)
    header = get_header(again, 1)
    assert header is not None
    assert encode(header) == samples[0].block.header


def test_a_flipped_byte_in_leveldbs_own_file_is_found_and_mended_too(
    directory: Path, grown: tuple[Chain, list[Sample]]
) -> None:
    chain, samples = grown
    wanted = samples[1].block.transactions[0].signed
    chain.database.compact_range()
    chain.database.close()
    (table,) = [path for path in directory.glob("*.ldb") if wanted in path.read_bytes()]
    content = bytearray(table.read_bytes())
    content[content.index(wanted) + 10] ^= 1
    table.write_bytes(content)

    with open_database(directory) as database:
        again = open_chain(database, CHAIN_ID)
        for _ in range(20):
            try:
                read_everything(again)
            except (BlockCorrupt, ReceiptsCorrupt) as problem:
                assert str(directory) in str(problem)  # noqa: PT017
                mended(again, samples, problem)
        read_everything(again)
        for one in samples:
            assert get_block(again, one.height) == one.stored
            assert get_encoded_receipts(again, one.height) == receipts_of(one)
