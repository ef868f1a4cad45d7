"""What the consortium agreed on about its own ledger: limits, windows and pace."""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from crypto.schema import Range, decode
from ledger.state import StateView

PARAMETERS_KEY: Final = b"governance/parameters"

TX_WINDOW_MS_LIMIT: Final = 900_000
TRANSACTION_BYTES_LIMIT: Final = 96 << 10
"""One signed transaction without its sidecars."""

SIDECAR_BYTES_LIMIT: Final = 1 << 20
BLOCK_TRANSACTIONS_LIMIT: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Numbers that every replica reads from the state after the parent block.

    `block_bytes_max` and `transaction_bytes_max` count signed transactions with their sidecars;
    `sidecar_bytes_max` bounds one sidecar. `time_delta_ms` is how far a block's time may run ahead
    of a replica's clock, `time_delta_past_ms` how far behind (consensus rule 12). In blocks: a
    proposal is open for at most `proposal_blocks_max`; a learner that says it is ready has executed
    all but the last `ready_blocks_max`; evidence is taken for `evidence_blocks_max`; a replaced TLS
    key is accepted for `tls_overlap_blocks`.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512

    protocol_version: Annotated[int, Range(1, 65_535)] = 1
    tx_window_ms_max: Annotated[int, Range(1_000, TX_WINDOW_MS_LIMIT)] = 600_000
    block_bytes_max: Annotated[int, Range(256 << 10, 64 << 20)] = 4 << 20
    block_transactions_max: Annotated[int, Range(10, BLOCK_TRANSACTIONS_LIMIT)] = 4_000
    transaction_bytes_max: Annotated[int, Range(4 << 10, 4 << 20)] = 192 << 10
    sidecar_bytes_max: Annotated[int, Range(1 << 10, SIDECAR_BYTES_LIMIT)] = 64 << 10
    account_transactions_per_block_max: Annotated[int, Range(1, BLOCK_TRANSACTIONS_LIMIT)] = 1_000
    time_delta_ms: Annotated[int, Range(50, 60_000)] = 1_000
    time_delta_past_ms: Annotated[int, Range(1_000, 600_000)] = 10_000
    idle_block_ms: Annotated[int, Range(100, 300_000)] = 5_000
    rotate_every: Annotated[int, Range(1, 1_000_000)] = 100
    read_entry_ms: Annotated[int, Range(1_000, 86_400_000)] = 600_000
    grants_per_patient_max: Annotated[int, Range(1, 4_096)] = 64
    requests_per_patient_max: Annotated[int, Range(1, 4_096)] = 64
    proposal_blocks_max: Annotated[int, Range(10, 10_000_000)] = 100_000
    proposals_per_organisation_max: Annotated[int, Range(1, 64)] = 8
    ready_blocks_max: Annotated[int, Range(2, 100_000)] = 100
    evidence_blocks_max: Annotated[int, Range(10, 10_000_000)] = 100_000
    tls_overlap_blocks: Annotated[int, Range(2, 10_000_000)] = 10_000

    def __post_init__(self) -> None:
        if self.transaction_bytes_max * 10 > self.block_bytes_max:
            raise ValueError("a transaction may fill at most a tenth of a block, a lane's share")


def get_parameters(view: StateView) -> Parameters:
    """Return the parameters in force; genesis wrote the first ones."""
    encoded = view.get(PARAMETERS_KEY)
    assert encoded is not None, "genesis wrote the parameters"
    return _decoded(encoded)


def parameter_changes(old: Parameters, new: Parameters) -> dict[str, tuple[int, int]]:
    """Return the parameters in which two sets differ, with their values in each."""
    found = {}
    for one in fields(Parameters):
        pair = (getattr(old, one.name), getattr(new, one.name))
        if pair[0] != pair[1]:
            found[one.name] = pair
    return found


@lru_cache(maxsize=8)
def _decoded(encoded: bytes) -> Parameters:
    return decode(Parameters, encoded)
