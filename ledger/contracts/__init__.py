"""The contract table: every kind of transaction this version of the ledger knows."""

from typing import Final

from ledger.contract import Kind

KINDS: Final[dict[str, Kind]] = {}
"""Every kind by its name; each module of this room gives its rows in its own `KINDS`."""
