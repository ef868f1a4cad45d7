"""What a node and its users say to each other in canonical bytes: batches, proofs, sessions.

Both `api/` and `client/` speak these types and neither may import the other, so they stand in the
room that owns the nouns. Everything else on HTTP is JSON for people.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from crypto.hashing import ChainId, Digest, Domain
from crypto.schema import U16, U32, U64, Bytes16, Bytes32, Bytes64, Count, Name, Size, encode
from crypto.validators import ValidatorSet
from crypto.votes import CommitCertificate
from ledger.blocks import Header
from ledger.parameters import TRANSACTION_BYTES_LIMIT
from ledger.receipts import Receipt
from ledger.tree.proofs import StateProofs

SUBMIT_ITEMS_MAX: Final = 512
SUBMIT_BYTES_MAX: Final = 8 << 20
WITNESS_KEYS_MAX: Final = 256
PATH_HASHES_MAX: Final = 32
FILE_LINKS_MAX: Final = 4_096
EPOCH_LINKS_MAX: Final = 32
OUTCOMES_MAX: Final = 4_096

StateKey = Annotated[bytes, Size(1, 256)]
"""A key of the one state space; its table is the first path part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitItem:
    """A signed transaction with the sidecar contents its body lists, in that order."""

    signed: Annotated[bytes, Size(1, 1 << 20)]
    sidecars: Annotated[tuple[Annotated[bytes, Size(32, 1 << 20)], ...], Count(0, 256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitBatch:
    """The body of `POST /v1/transactions`; order is kept in the answer."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = SUBMIT_BYTES_MAX

    items: Annotated[tuple[SubmitItem, ...], Count(1, SUBMIT_ITEMS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHeader:
    """A header with the certificate that decided it: what a light client checks."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64 << 10

    header: Header
    certificate: CommitCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLink:
    """The last header of an epoch, and the validators of the next, whose digest it names."""

    sealed_header: SealedHeader
    validators: ValidatorSet


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLinks:
    """Consecutive changes of the validators, the oldest first: the answer of `GET /v1/epochs`."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4 << 20

    links: Annotated[tuple[EpochLink, ...], Count(0, EPOCH_LINKS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptProof:
    """What became of a transaction: the answer of `GET /v1/transactions/{id}/proof`.

    `header` is that of its block, under whose tx root `tx_path` leads; `above` the certified one
    that follows, under whose receipts root `receipt_path` leads.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4 << 20

    signed: Annotated[bytes, Size(1, TRANSACTION_BYTES_LIMIT)]
    receipt: Receipt
    header: Header
    above: SealedHeader
    tx_path: Annotated[tuple[Digest, ...], Count(0, PATH_HASHES_MAX)]
    receipt_path: Annotated[tuple[Digest, ...], Count(0, PATH_HASHES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFile:
    """A receipt that needs no node: `links` lead from the founders to who certified the block."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64 << 20

    links: Annotated[tuple[EpochLink, ...], Count(0, FILE_LINKS_MAX)]
    proof: ReceiptProof


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionOutcome:
    """What became of one transaction of a block: `ok`, or the code of the refusal."""

    tx_id: Digest
    code: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOutcomes:
    """A page of a block's outcomes, from its receipts: the answer of `GET .../outcomes`.

    `digest` is the block's; `first` the index of the first outcome, `tx_count` how many the block
    has. What the receipts tell of people is left out, so anybody may read it.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512 << 10

    height: U64
    digest: Digest
    tx_count: U32
    first: U32
    outcomes: Annotated[tuple[TransactionOutcome, ...], Count(0, OUTCOMES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessQuery:
    """Ask for proofs of `keys` at a certified state no older than `at_least_height`'s result."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 80 << 10

    keys: Annotated[tuple[StateKey, ...], Count(1, WITNESS_KEYS_MAX)]
    at_least_height: U64
    wait_ms: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanQuery:
    """Ask for the entries under `prefix` from `start` on, each with its proof.

    Completeness is not proven: a node can leave an entry out, never add or change one.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    prefix: StateKey
    start: Annotated[bytes, Size(0, 256)]
    limit: U16
    at_least_height: U64
    wait_ms: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """State keys with their proofs, together, under the state root that `sealed_header` carries."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 20

    sealed_header: SealedHeader
    keys: Annotated[tuple[StateKey, ...], Count(0, WITNESS_KEYS_MAX)]
    proofs: StateProofs


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaim:
    """What an account signs to open a session at one node (privacy page, Sessions).

    `origin` is where the client believes it is talking to; `node_index` it has checked in proven
    state; times in milliseconds, at most 60 s apart; `nonce` was issued by the node, once.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    chain_id: ChainId
    node_index: U16
    origin: Name
    account: Bytes32
    key_id: Bytes16
    nonce: Bytes32
    issued_ms: U64
    expires_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedSessionClaim:
    """A session claim with its account key's signature over Domain.SESSION and the chain id."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 2 << 10

    claim: SessionClaim
    signature: Bytes64


def session_preimage(claim: SessionClaim) -> bytes:
    """Return what the account key signs: domain, chain id, canonical claim."""
    return Domain.SESSION.value + claim.chain_id + encode(claim)
