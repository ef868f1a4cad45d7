"""Transactions: what a user signs, and the checks that need nothing but its bytes.

A transaction travels as `SignedTransaction`: the encoded body, the key and the signature. It is
decoded once into a `Transaction`, which keeps the signed bytes; nothing is ever encoded again.
`tx_id` hashes the body and serves replay and lookup; `signed_hash` hashes the whole and serves
proposals, fetching and the tx root, because a signer can make many valid signatures over one body.
The signature covers the tx id, so a check costs the same for every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from crypto.errors import DecodeError, HighS, InvalidKey, InvalidSignature, TooLarge
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.record_ids import AccountId
from crypto.schema import U64, Bytes16, Bytes64, Count, Name, Size, decode, encode
from crypto.signatures import (
    PublicKey,
    SignatureJob,
    SigningKey,
    check_job,
    check_signature_form,
    public_key,
    sign,
    signature_preimage,
)
from ledger.contracts import KINDS
from ledger.errors import (
    InvalidPayload,
    InvalidSidecars,
    InvalidWindow,
    Malformed,
    MirroredSignature,
    NotSigned,
    TransactionTooLarge,
    UnknownKind,
    WrongChain,
)
from ledger.parameters import TRANSACTION_BYTES_LIMIT, TX_WINDOW_MS_LIMIT
from ledger.state import StateView

PAYLOAD_BYTES_MAX: Final = 64 << 10
SIDECARS_MAX: Final = 256
BODY_BYTES_MAX: Final = 80 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionBody:
    """What the sender signs.

    Valid in blocks with `valid_from_ms <= time < valid_until_ms`; `nonce` is 16 random bytes;
    `on_behalf_of` the account that a delegation lets the sender act for; `sidecars` the salted
    digests of erasable contents that travel beside, each once.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = BODY_BYTES_MAX

    chain_id: ChainId
    sender: AccountId
    kind: Name
    payload: Annotated[bytes, Size(0, PAYLOAD_BYTES_MAX)]
    valid_from_ms: U64
    valid_until_ms: U64
    nonce: Bytes16
    on_behalf_of: AccountId | None
    sidecars: Annotated[tuple[Digest, ...], Count(0, SIDECARS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """An encoded body with the sender's key and its signature over the tx id."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = TRANSACTION_BYTES_LIMIT

    body: Annotated[bytes, Size(1, BODY_BYTES_MAX)]
    key: PublicKey
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transaction:
    """A transaction decoded once; `payload` is an instance of its kind's wire type.

    Form is checked, the signature is not: `signature_job` says what to check.
    """

    signed: bytes
    body: TransactionBody
    payload: Any
    tx_id: Digest
    signed_hash: Digest
    key: PublicKey
    signature: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.signed)


def decode_transaction(
    signed: bytes, chain_id: ChainId, signed_hash: Digest | None = None
) -> Transaction:
    """Return the transaction that `signed` stands for; raise an `InvalidTransaction` otherwise.

    `signed_hash` is its hash, if the caller has it already.
    """
    try:
        outer = decode(SignedTransaction, signed)
        body = decode(TransactionBody, outer.body)
    except TooLarge as problem:
        raise TransactionTooLarge(f"the transaction is too large: {problem}") from problem
    except DecodeError as problem:
        raise Malformed(f"not a signed transaction: {problem}") from problem
    check_body(body, chain_id)
    _check_signature_form(outer)
    return Transaction(
        signed=signed,
        body=body,
        payload=_decoded_payload(body),
        tx_id=transaction_id(chain_id, outer.body),
        signed_hash=signed_hash or hash_signed(signed, chain_id),
        key=outer.key,
        signature=outer.signature,
    )


def check_body(body: TransactionBody, chain_id: ChainId) -> None:
    """Raise unless the body is for this chain, with a sane window and each sidecar once."""
    if body.chain_id != chain_id:
        raise WrongChain(
            f"signed for chain {body.chain_id.hex()[:16]}, this is chain {chain_id.hex()[:16]}"
        )
    window_ms = body.valid_until_ms - body.valid_from_ms
    if not 0 < window_ms <= TX_WINDOW_MS_LIMIT:
        raise InvalidWindow(
            f"a validity window of {window_ms} ms; use 1 to {TX_WINDOW_MS_LIMIT} ms"
        )
    if len(set(body.sidecars)) != len(body.sidecars):
        raise InvalidSidecars("a sidecar digest is listed twice")


def hash_signed(signed: bytes, chain_id: ChainId) -> Digest:
    """Return what proposals and the tx root name a signed transaction by."""
    return digest(Domain.SIGNED_TRANSACTION, chain_id, signed)


def transaction_id(chain_id: ChainId, body: bytes) -> Digest:
    """Return the id of an encoded body."""
    return digest(Domain.TRANSACTION_BODY, chain_id, body)


def signature_job(transaction: Transaction) -> SignatureJob:
    """Return what must be checked before the transaction is believed."""
    preimage = signature_preimage(
        Domain.TRANSACTION_SIGNATURE, transaction.body.chain_id, transaction.tx_id
    )
    key = transaction.key
    return SignatureJob(key.scheme, key.data, transaction.signature, preimage)


def inner_signature_jobs(view: StateView, transaction: Transaction) -> tuple[SignatureJob, ...]:
    """Return the signatures inside the payload worth checking ahead of execution."""
    inner_jobs = KINDS[transaction.body.kind].inner_jobs
    return () if inner_jobs is None else inner_jobs(view, transaction)


def check_transaction_signature(transaction: Transaction) -> None:
    """Raise `NotSigned` unless the key in the transaction signed it."""
    try:
        check_job(signature_job(transaction))
    except (InvalidSignature, InvalidKey) as problem:
        raise NotSigned(f"the signature does not match the body: {problem}") from problem


def make_transaction(
    *,
    chain_id: ChainId,
    sender: AccountId,
    kind: str,
    payload: Any,
    valid_from_ms: int,
    valid_until_ms: int,
    nonce: bytes,
    on_behalf_of: AccountId | None = None,
    sidecars: Sequence[Digest] = (),
) -> TransactionBody:
    """Return a body for `payload`, an instance of the kind's wire type; the caller draws `nonce`.

    Raises `UnknownKind`, `InvalidWindow` or `InvalidSidecars` for what no node would take.
    """
    if kind not in KINDS:
        raise UnknownKind(f"there is no transaction of kind {kind!r}")
    assert type(payload) is KINDS[kind].payload, "the payload is of the kind's wire type"
    body = TransactionBody(
        chain_id=chain_id,
        sender=sender,
        kind=kind,
        payload=encode(payload),
        valid_from_ms=valid_from_ms,
        valid_until_ms=valid_until_ms,
        nonce=nonce,
        on_behalf_of=on_behalf_of,
        sidecars=tuple(sidecars),
    )
    check_body(body, chain_id)
    return body


def sign_transaction(body: TransactionBody, key: SigningKey) -> bytes:
    """Return the signed bytes, ready to submit."""
    encoded = encode(body)
    tx_id = transaction_id(body.chain_id, encoded)
    signature = sign(key, Domain.TRANSACTION_SIGNATURE, body.chain_id, tx_id)
    return encode(SignedTransaction(body=encoded, key=public_key(key), signature=signature))


def _check_signature_form(outer: SignedTransaction) -> None:
    try:
        check_signature_form(outer.key.scheme, outer.signature)
    except HighS as problem:
        raise MirroredSignature(f"the signature is not canonical: {problem}") from problem
    except InvalidSignature as problem:
        raise NotSigned(f"the signature has no valid form: {problem}") from problem


def _decoded_payload(body: TransactionBody) -> Any:
    kind = KINDS.get(body.kind)
    if kind is None:
        raise UnknownKind(f"there is no transaction of kind {body.kind!r}")
    try:
        return decode(kind.payload, body.payload, bytes_max=PAYLOAD_BYTES_MAX)
    except DecodeError as problem:
        raise InvalidPayload(f"the payload is no {body.kind}: {problem}") from problem
