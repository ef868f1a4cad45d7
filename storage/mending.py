"""Mending a damaged ledger: a block or its receipts, replaced by a copy from anybody.

Nobody has to be trusted for it: the next header, or the tip, says which block and which receipts
belong to a height.
"""

from collections.abc import Sequence

from crypto.errors import DecodeError
from crypto.schema import decode
from crypto.votes import Height
from ledger.blocks import Header, header_digest, tx_root
from ledger.errors import InvalidTransaction
from ledger.receipts import Receipt
from ledger.transactions import Transaction, decode_transaction
from storage.blocks import StoredBlock, check_kept, get_header
from storage.chain import Chain, DecidedBlock, block_rows, receipt_rows
from storage.errors import BlockNotOurs
from storage.keys import Place
from storage.receipts import receipts_root_after, root_of_receipts


def replace_block(chain: Chain, height: Height, block: StoredBlock) -> None:
    """Put a copy of a damaged block in its place; its certificate was checked by the caller.

    Raises `BlockNotOurs` unless it is the block that the next header, or the tip, names, and
    `BlockCorrupt` if that header is damaged too: mend from the tip downwards.
    """
    _check_height(chain, height)
    following = get_header(chain, height + 1)
    expected = chain.tip.digest if following is None else following.parent
    try:
        header = decode(Header, block.header)
        transactions = tuple(
            decode_transaction(signed, chain.chain_id) for signed in block.transactions
        )
    except (DecodeError, InvalidTransaction) as problem:
        raise BlockNotOurs(f"the copy of block {height} does not decode: {problem}") from problem
    if header_digest(header) != expected:
        raise BlockNotOurs(f"the copy is not the block decided at height {height}")
    if tx_root([one.signed_hash for one in transactions]) != header.tx_root:
        raise BlockNotOurs(f"the copy of block {height} has other transactions")
    _write_block(chain, height, block, transactions)


def replace_receipts(chain: Chain, height: Height, encoded: Sequence[bytes]) -> None:
    """Put copies of damaged receipts in their place; raise `BlockNotOurs` for other receipts.

    Raises `HistoryPruned` where none are kept.
    """
    _check_height(chain, height)
    check_kept(chain, height)
    if root_of_receipts(chain, encoded) != receipts_root_after(chain, height):
        raise BlockNotOurs(f"these are not the receipts of block {height}")
    rows = [
        row
        for index, one in enumerate(encoded)
        for row in receipt_rows(Place(height, index), decode(Receipt, one), one)
    ]
    chain.database.write(rows)


def _check_height(chain: Chain, height: int) -> None:
    if not 1 <= height <= chain.tip.height:
        raise BlockNotOurs(f"there is no block {height} here that could be replaced")


def _write_block(
    chain: Chain, height: Height, block: StoredBlock, transactions: tuple[Transaction, ...]
) -> None:
    decided = DecidedBlock(
        header=block.header, certificate=block.certificate, transactions=transactions
    )
    rows = list(block_rows(height, decided))
    if height < chain.history.whole_from:
        rows = rows[:1]  # Of a pruned block only the header is kept.
    chain.database.write(rows)
    chain.headers.drop(height)
