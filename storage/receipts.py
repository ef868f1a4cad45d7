"""Reading receipts, and the logs that their events make for each subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from crypto.errors import DecodeError
from crypto.hashing import Digest, Domain, digest
from crypto.merkle import merkle_root
from crypto.schema import decode
from ledger.receipts import Receipt
from ledger.transactions import SignedTransaction, TransactionBody
from storage.blocks import check_kept, get_header, get_transaction
from storage.chain import Chain
from storage.errors import DatabaseCorrupt, ReceiptsCorrupt
from storage.keys import (
    U32_MAX,
    LogPlace,
    Place,
    log_key,
    log_place_of,
    log_prefix,
    receipt_key,
    receipts_prefix,
)
from storage.rows import RowDamaged, open_row, read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One event of a subject's log; it is number `place.number` of the receipt's events."""

    place: LogPlace
    time_ms: int
    sender: bytes
    receipt: Receipt


def get_receipt(chain: Chain, place: Place) -> Receipt:
    """Return the receipt of the transaction at a place that exists.

    Raises `ReceiptsCorrupt`, or `HistoryPruned` below what is kept.
    """
    check_kept(chain, place.height)
    path, key = chain.database.path, receipt_key(place.height, place.index)
    try:
        stored = chain.database.get(key)
        if stored is None:
            raise ReceiptsCorrupt(place.height, path, f"receipt {place.index} is missing")
        return decode(Receipt, open_row(key, stored))
    except (DatabaseCorrupt, RowDamaged, DecodeError) as problem:
        raise ReceiptsCorrupt(place.height, path, str(problem)) from problem


def get_receipts(chain: Chain, height: int) -> tuple[Receipt, ...] | None:
    """Return all receipts of a block, verified against the root that the chain carries for them.

    None above the tip and where pruned. Raises `ReceiptsCorrupt`, or `BlockCorrupt` if the header
    that carries the root cannot be read.
    """
    encoded = get_encoded_receipts(chain, height)
    return None if encoded is None else tuple(decode(Receipt, one) for one in encoded)


def get_encoded_receipts(chain: Chain, height: int) -> tuple[bytes, ...] | None:
    """Return what `get_receipts` does, as the bytes that the receipts root is made of."""
    header = get_header(chain, height)
    if header is None or height < chain.history.whole_from:
        return None
    path = chain.database.path
    keys = [receipt_key(height, index) for index in range(header.tx_count)]
    try:
        encoded = tuple(read_run(chain.database, receipts_prefix(height), keys))
    except (DatabaseCorrupt, RowDamaged) as problem:
        raise ReceiptsCorrupt(height, path, str(problem)) from problem
    if root_of_receipts(chain, encoded) != receipts_root_after(chain, height):
        raise ReceiptsCorrupt(height, path, "they are not those of the block's execution")
    return encoded


def receipts_root_after(chain: Chain, height: int) -> Digest:
    """Return the receipts root after an executed block: the next header's, or the tip's."""
    following = get_header(chain, height + 1)
    return chain.tip.receipts_root if following is None else following.receipts_root


def root_of_receipts(chain: Chain, encoded: Sequence[bytes]) -> Digest:
    """Return the root of encoded receipts, without decoding them (`ledger.blocks`)."""
    return merkle_root(tuple(digest(Domain.RECEIPT, chain.chain_id, one) for one in encoded))


def read_log(
    chain: Chain,
    subject: bytes,
    *,
    after: LogPlace | None = None,
    before: LogPlace | None = None,
    limit: int,
    newest_first: bool = False,
) -> tuple[LogEntry, ...]:
    """Return at most `limit` events of a subject strictly between two places, in chain order.

    The place of the last entry is the cursor of the next page: as `after`, or as `before` when
    the newest come first. What is pruned is left out. Raises `BlockCorrupt` or `ReceiptsCorrupt`.
    """
    # No entry's own key: plyvel, going backwards, would lose an entry that a scan starts with.
    kept_from = log_key(subject, LogPlace(chain.history.whole_from - 1, U32_MAX, U32_MAX))
    rows = chain.database.scan(
        log_prefix(subject),
        start=kept_from if after is None else max(kept_from, log_key(subject, after) + b"\x00"),
        stop=None if before is None else log_key(subject, before),
        reverse=newest_first,
    )
    return tuple(_log_entry(chain, log_place_of(key)) for key, _ in islice(rows, limit))


def _log_entry(chain: Chain, place: LogPlace) -> LogEntry:
    header = get_header(chain, place.height)
    assert header is not None, "a log names decided blocks"
    at = Place(place.height, place.index)
    outer = decode(SignedTransaction, get_transaction(chain, at))
    return LogEntry(
        place=place,
        time_ms=header.time_ms,
        sender=decode(TransactionBody, outer.body).sender,
        receipt=get_receipt(chain, at),
    )
