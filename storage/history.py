"""How far back this node's ledger goes: what a pruning or a snapshot has left of the past."""

from dataclasses import dataclass
from typing import ClassVar

from crypto.errors import DecodeError
from crypto.schema import U64, decode, encode
from storage.database import Database
from storage.errors import REBUILD, DatabaseCorrupt
from storage.keys import HISTORY_KEY
from storage.rows import RowDamaged, open_row, seal_row


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The first height of which something is here, for all heights from there to the tip.

    From `headers_from` on headers with their certificates; from `whole_from` on transactions,
    receipts and log entries; from `indexed_from` on the place of every transaction id. The headers
    that end an epoch are kept at any height.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    headers_from: U64
    whole_from: U64
    indexed_from: U64

    def __post_init__(self) -> None:
        if not 1 <= self.headers_from <= self.whole_from:
            raise ValueError("a whole block has its header")


EVERYTHING = History(headers_from=1, whole_from=1, indexed_from=1)


def read_history(database: Database) -> History:
    """Return what is kept; a ledger that never lost anything has no row that says so.

    Raises `DatabaseCorrupt`.
    """
    stored = database.get(HISTORY_KEY)
    if stored is None:
        return EVERYTHING
    try:
        return decode(History, open_row(HISTORY_KEY, stored))
    except (RowDamaged, DecodeError) as problem:
        raise DatabaseCorrupt(
            f"the database {database.path} is damaged ({problem}): {REBUILD}"
        ) from problem


def history_row(history: History) -> tuple[bytes, bytes]:
    """Return the row that holds what is kept."""
    return HISTORY_KEY, seal_row(HISTORY_KEY, encode(history))
