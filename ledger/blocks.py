"""Blocks: the header that replicas agree on, and the lists it commits to.

Everything that a light client or a court needs comes from headers and certificates. A header
carries the roots of the state and of the receipts *after its parent*: whoever votes for block h
has executed block h - 1. Trees are RFC 6962 (`crypto.merkle`); the tx root's leaves are the hashes
of the signed transactions, the receipts root's leaves are the digests of the receipts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.merkle import merkle_root
from crypto.schema import U32, U64, Count, Size, encode
from crypto.validators import Epoch, ReplicaId
from crypto.votes import NO_DIGEST, Height, View
from ledger.parameters import BLOCK_TRANSACTIONS_LIMIT, TRANSACTION_BYTES_LIMIT
from ledger.receipts import Event as Event
from ledger.receipts import Receipt as Receipt

BLOCK_BYTES_LIMIT: Final = 80 << 20
"""More than every block the parameters allow, encoding included."""

NO_CERTIFICATE: Final = NO_DIGEST
"""`parent_certificate` of the block at height 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What votes are about.

    `view` and `proposer` are those of the first proposal; `parent_certificate` is the digest of
    the commit certificate that travels with the block (zeros at height 1); `time_ms` is above the
    parent's; `state_root` and `receipts_root` are those after the parent; `validators` is the
    digest of the set of this height, `next_validators` of the set of the next.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512

    chain_id: ChainId
    epoch: Epoch
    height: Height
    view: View
    proposer: ReplicaId
    parent: Digest
    parent_certificate: Digest
    time_ms: U64
    tx_root: Digest
    tx_count: U32
    state_root: Digest
    receipts_root: Digest
    validators: Digest
    next_validators: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockBodies:
    """The signed transactions of a block, in order."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = BLOCK_BYTES_LIMIT

    transactions: Annotated[
        tuple[Annotated[bytes, Size(1, TRANSACTION_BYTES_LIMIT)], ...],
        Count(0, BLOCK_TRANSACTIONS_LIMIT),
    ]


def header_digest(header: Header) -> Digest:
    """Return what votes sign."""
    return digest(Domain.HEADER, header.chain_id, encode(header))


def genesis_header_digest(chain_id: ChainId) -> Digest:
    """Return the parent of the block at height 1: a header no block can have."""
    return digest(Domain.HEADER, chain_id)


def tx_root(signed_hashes: Iterable[Digest]) -> Digest:
    return _tx_root(tuple(signed_hashes))


@lru_cache(maxsize=4)
def _tx_root(signed_hashes: tuple[Digest, ...]) -> Digest:
    """Return the root of a block, which is asked for when it comes, and again to vote for it."""
    return merkle_root(signed_hashes)


def receipts_root(chain_id: ChainId, receipts: Iterable[Receipt]) -> Digest:
    return merkle_root(
        tuple([digest(Domain.RECEIPT, chain_id, encode(receipt)) for receipt in receipts])
    )
