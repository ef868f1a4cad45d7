"""What a block is to consensus: a digest with a parent, a certificate and an opaque payload."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from crypto.hashing import Digest
from crypto.schema import Size
from crypto.validators import ReplicaId
from crypto.votes import CERTIFICATE_BYTES_MAX, CommitCertificate, Height, View

HEADER_BYTES_MAX: Final = 4 << 10
TRANSACTION_HASH_BYTES: Final = 32
PAYLOAD_BYTES_MAX: Final = 100_000 * TRANSACTION_HASH_BYTES
"""As many transactions as the ledger's parameters may ever allow in one block."""

BLOCK_BYTES_MAX: Final = HEADER_BYTES_MAX + PAYLOAD_BYTES_MAX + CERTIFICATE_BYTES_MAX + 256
BODIES_BYTES_MAX: Final = 80 << 20
"""As much as the ledger's parameters may ever allow in one block, encoding included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A header with what it commits to, bodies apart.

    `digest` is that of `header`; `height`, `view`, `proposer` and `parent` repeat header fields,
    and whoever decodes a block checks that they do. `view` and `proposer` are those of the first
    proposal. `parent_certificate` proves the parent decided; only the first block has none.
    `payload` is the hashes of the signed transactions, 32 bytes each, and empty in an empty block.
    """

    WIRE_BYTES_MAX: ClassVar[int] = BLOCK_BYTES_MAX

    height: Height
    view: View
    proposer: ReplicaId
    parent: Digest
    digest: Digest
    header: Annotated[bytes, Size(1, HEADER_BYTES_MAX)]
    parent_certificate: CommitCertificate | None
    payload: Annotated[bytes, Size(0, PAYLOAD_BYTES_MAX)]

    def __post_init__(self) -> None:
        if len(self.payload) % TRANSACTION_HASH_BYTES:
            raise ValueError("a payload is whole transaction hashes")

    @property
    def transaction_count(self) -> int:
        return len(self.payload) // TRANSACTION_HASH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedBlock:
    """A decided block with its proof; `bodies` is whatever the shell executes it from."""

    block: Block
    certificate: CommitCertificate
    bodies: Annotated[bytes, Size(0, BODIES_BYTES_MAX)]
