"""The consortium of a simulated chain: a real founding document, and people registered in it.

Two hospitals run the nodes between them. The people are registered by real transactions before the
chain starts; what those leave is the state at height 0. Keys are real, signatures ideal.
"""

from dataclasses import dataclass, replace
from functools import cache

from crypto.hashing import ChainId
from crypto.signatures import Scheme, public_key
from crypto.validators import ValidatorSet
from genesis.ceremony import assemble
from genesis.document import GenesisDocument, chain_id_of
from ledger.accounts import Role
from ledger.contracts.governance import get_validators
from ledger.parameters import Parameters
from ledger.state import Writes
from tests.unit.ledger.small_consortium import (
    CREATED_MS,
    NORTH,
    SOUTH,
    Consortium,
    invitation,
    signing_key,
    statement,
)

PATIENTS = ("ada", "ben", "cleo")
DOCTORS = ("dr one", "dr two")
IDLE_BLOCK_MS = 1_500
ROTATE_EVERY = 20
PARAMETERS = Parameters(
    tx_window_ms_max=60_000,
    block_transactions_max=16,
    account_transactions_per_block_max=8,
    time_delta_ms=500,
    time_delta_past_ms=10_000,
    idle_block_ms=IDLE_BLOCK_MS,
    rotate_every=ROTATE_EVERY,
    grants_per_patient_max=8,
    requests_per_patient_max=8,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What every node of the chain starts from; `created_ms` is virtual time zero."""

    chain_id: ChainId
    writes: Writes
    validators: ValidatorSet
    rotate_every: int
    created_ms: int = CREATED_MS


@cache
def found(replicas: int, rotate_every: int = ROTATE_EVERY) -> Founding:
    """The consortium with so many validators, of which another leads after so many heights."""
    document = _document(replicas, replace(PARAMETERS, rotate_every=rotate_every))
    consortium = Consortium(document=document)
    for label in PATIENTS:
        consortium.register(label, Role.PATIENT)
    for label in DOCTORS:
        consortium.register(label, Role.DOCTOR)
    return Founding(
        chain_id=chain_id_of(document),
        writes=dict(consortium.state.entries()),
        validators=get_validators(consortium.state),
        rotate_every=rotate_every,
    )


@cache
def vote_public_key(replica: int) -> bytes:
    return public_key(signing_key(f"node {replica}", Scheme.ED25519)).data


def _document(replicas: int, parameters: Parameters) -> GenesisDocument:
    indexes = range(replicas)
    statements = [statement(NORTH, indexes[::2], parameters)]
    if replicas > 1:
        statements.append(statement(SOUTH, indexes[1::2], parameters))
    return assemble(invitation(parameters), statements)
