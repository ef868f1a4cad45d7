"""Sealed rows: a value that carries a digest over its key and itself.

LevelDB's checksums find what a disk changes; the digest also finds what was written wrongly, or
stands under another key.
"""

from collections.abc import Sequence
from typing import Final

from crypto.hashing import Domain, digest
from storage.database import Database
from storage.errors import DatabaseCorrupt

SEAL_BYTES: Final = 16


class RowDamaged(Exception):
    """A stored row that does not carry its own digest."""


def seal_row(key: bytes, payload: bytes) -> bytes:
    """Return what is stored under `key`."""
    return digest(Domain.STORED_ROW, key, payload)[:SEAL_BYTES] + payload


def open_row(key: bytes, stored: bytes) -> bytes:
    """Return the payload; raise `RowDamaged` unless it is the one sealed under `key`."""
    payload = stored[SEAL_BYTES:]
    if digest(Domain.STORED_ROW, key, payload)[:SEAL_BYTES] != stored[:SEAL_BYTES]:
        raise RowDamaged(f"row {key.hex()} does not have its digest")
    return payload


def read_run(database: Database, prefix: bytes, keys: Sequence[bytes]) -> list[bytes]:
    """Return the payloads of the sealed rows under `keys`, all of them under `prefix`.

    They are read in one go, or one by one where the scan stumbles over a damaged place that newer
    rows have made up for. Raises `RowDamaged` or `DatabaseCorrupt`.
    """
    try:
        found = dict(database.scan(prefix))
    except DatabaseCorrupt:
        found = {key: stored for key in keys if (stored := database.get(key)) is not None}
    missing = [key for key in keys if key not in found]
    if missing:
        raise RowDamaged(f"row {missing[0].hex()} is missing")
    return [open_row(key, found[key]) for key in keys]
