"""Domain-separated SHA-256: what a digest or a signature is about is part of what is hashed.

Every preimage opens with one of the names below and, wherever a chain is involved, its chain id.
No name is a prefix of another, so a preimage of one domain is never one of another.
"""

import enum
import hashlib
import hmac
from typing import Annotated, NewType

from crypto.schema import Size

Digest = NewType("Digest", Annotated[bytes, Size(32, 32)])
"""SHA-256 over a domain-separated preimage; 32 bytes."""

ChainId = NewType("ChainId", Annotated[bytes, Size(32, 32)])
"""Digest of the founding document; 32 bytes."""


class Domain(bytes, enum.Enum):
    """What a digest, signature or key is for."""

    GENESIS = b"medledger/genesis/v1"
    INVITATION = b"medledger/invitation/v1"
    FOUNDING = b"medledger/founding/v1"
    ACCOUNT = b"medledger/account/v1"
    KEY_ID = b"medledger/key-id/v1"
    KEY_BINDING = b"medledger/key-binding/v1"
    KEY_POSSESSION = b"medledger/key-possession/v1"
    TRANSACTION_BODY = b"medledger/transaction-body/v1"
    TRANSACTION_SIGNATURE = b"medledger/transaction-signature/v1"
    SIGNED_TRANSACTION = b"medledger/signed-transaction/v1"
    RECEIPT = b"medledger/receipt/v1"
    HEADER = b"medledger/header/v1"
    CERTIFICATE = b"medledger/certificate/v1"
    PREPARED_CERTIFICATE = b"medledger/prepared-certificate/v1"
    VALIDATOR_SET = b"medledger/validator-set/v1"
    VOTE = b"medledger/vote/v1"
    COMPLAINT = b"medledger/complaint/v1"
    BOOT = b"medledger/boot/v1"
    TIP_STATEMENT = b"medledger/tip-statement/v1"
    EVIDENCE = b"medledger/evidence/v1"
    SIDECAR = b"medledger/sidecar/v1"
    RECORD_ID = b"medledger/record-id/v1"
    RECORD_AUTHOR = b"medledger/record-author/v1"
    RECORD_COMMITMENT = b"medledger/record-commitment/v1"
    ENVELOPE = b"medledger/envelope/v1"
    NOTE = b"medledger/note/v1"
    TAG = b"medledger/tag/v1"
    SEALED_CHUNK_KEY = b"medledger/sealed-chunk-key/v1"
    SEALED_KEY_COMMITMENT = b"medledger/sealed-key-commitment/v1"
    STORAGE_RECEIPT = b"medledger/storage-receipt/v1"
    SESSION = b"medledger/session/v1"
    MACHINE = b"medledger/machine/v1"
    STORED_ROW = b"medledger/stored-row/v1"
    STATE_KEY = b"medledger/state-key/v1"
    STATE_VALUE = b"medledger/state-value/v1"
    STATE_LEAF = b"medledger/state-leaf/v1"
    STATE_INNER = b"medledger/state-inner/v1"
    STATE_EMPTY = b"medledger/state-empty/v1"


def digest(domain: Domain, *parts: bytes) -> Digest:
    """Return SHA-256(domain || parts); variable-length parts are framed by the caller."""
    state = hashlib.sha256(domain)  # A member is its own bytes; `.value` would cost a call.
    for part in parts:
        state.update(part)
    return Digest(state.digest())


def is_equal(one: bytes, other: bytes) -> bool:
    """Compare in constant time: for commitments and tags that an attacker may probe."""
    return hmac.compare_digest(one, other)
