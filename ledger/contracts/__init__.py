"""The contract table: every kind of transaction this version of the ledger knows."""

from typing import Final

from ledger.contract import Kind
from ledger.contracts import access, ballots, evidence, identity, learners, records

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        *ballots.KINDS,
        *evidence.KINDS,
        *learners.KINDS,
        *identity.KINDS,
        *records.KINDS,
        *access.KINDS,
    )
}
"""Every kind by its name; each module of this room gives its rows in its own `KINDS`."""
