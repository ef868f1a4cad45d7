from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.schema import decode, encode
from crypto.signatures import P256_ORDER, Scheme, is_valid_many, sign
from ledger.accounts import Role
from ledger.contracts import KINDS
from ledger.errors import (
    InvalidPayload,
    InvalidSidecars,
    InvalidTransaction,
    InvalidWindow,
    Malformed,
    MirroredSignature,
    NotSigned,
    TransactionTooLarge,
    UnknownKind,
    WrongChain,
)
from ledger.identity_payloads import Suspend
from ledger.parameters import TRANSACTION_BYTES_LIMIT, TX_WINDOW_MS_LIMIT
from ledger.state import MemoryState
from ledger.transactions import (
    PAYLOAD_BYTES_MAX,
    SIDECARS_MAX,
    SignedTransaction,
    TransactionBody,
    check_transaction_signature,
    decode_transaction,
    inner_signature_jobs,
    make_transaction,
    sign_transaction,
    signature_job,
    transaction_id,
)
from tests.unit.ledger.small_consortium import (
    CREATED_MS,
    NORTH,
    Consortium,
    account_of,
    registration,
    signing_key,
)

ADMIN = "first admin of north"
CHAIN = Consortium().chain_id
PAYLOAD = Suspend(account_id=account_of("somebody"), reason="left")


def body(**changes: Any) -> TransactionBody:
    made = make_transaction(
        chain_id=CHAIN,
        sender=account_of(ADMIN),
        kind="identity.suspend",
        payload=PAYLOAD,
        valid_from_ms=CREATED_MS,
        valid_until_ms=CREATED_MS + 60_000,
        nonce=bytes(16),
    )
    return replace(made, **changes)


def signed(**changes: Any) -> bytes:
    return sign_transaction(body(**changes), signing_key(ADMIN))


def test_a_transaction_is_decoded_once_with_its_ids() -> None:
    bytes_in = signed()

    transaction = decode_transaction(bytes_in, CHAIN)

    outer = decode(SignedTransaction, bytes_in)
    assert transaction.signed is bytes_in
    assert transaction.body == body()
    assert transaction.payload == PAYLOAD
    assert transaction.tx_id == digest(Domain.TRANSACTION_BODY, CHAIN, outer.body)
    assert transaction.signed_hash == digest(Domain.SIGNED_TRANSACTION, CHAIN, bytes_in)
    assert transaction.size_bytes == len(bytes_in)
    check_transaction_signature(transaction)


def test_another_signature_changes_the_signed_hash_and_not_the_id() -> None:
    first = decode_transaction(signed(), CHAIN)
    second = decode_transaction(sign_transaction(body(), signing_key(ADMIN, Scheme.ED25519)), CHAIN)

    assert first.tx_id == second.tx_id
    assert first.signed_hash != second.signed_hash


def test_the_signature_job_is_valid_for_the_signer_only() -> None:
    good = decode_transaction(signed(), CHAIN)
    outer = decode(SignedTransaction, signed())
    stolen = decode_transaction(
        encode(replace(outer, key=decode(SignedTransaction, signed_by("another")).key)), CHAIN
    )

    answers = is_valid_many([signature_job(good), signature_job(stolen)])

    assert answers == [True, False]
    with pytest.raises(NotSigned):
        check_transaction_signature(stolen)


def signed_by(label: str) -> bytes:
    return sign_transaction(body(), signing_key(label))


def test_a_signature_over_the_body_for_another_purpose_is_none() -> None:
    encoded = encode(body())
    tx_id = transaction_id(CHAIN, encoded)
    outer = decode(SignedTransaction, signed())
    for domain in (Domain.SESSION, Domain.KEY_POSSESSION, Domain.VOTE):
        signature = sign(signing_key(ADMIN), domain, CHAIN, tx_id)

        transaction = decode_transaction(encode(replace(outer, signature=signature)), CHAIN)

        with pytest.raises(NotSigned):
            check_transaction_signature(transaction)


def mirrored(bytes_in: bytes) -> bytes:
    outer = decode(SignedTransaction, bytes_in)
    s = P256_ORDER - int.from_bytes(outer.signature[32:], "big")
    return encode(replace(outer, signature=outer.signature[:32] + s.to_bytes(32, "big")))


@pytest.mark.parametrize(
    ("bytes_in", "error", "code"),
    [
        (b"", Malformed, "transaction.malformed"),
        (b"\xc0", Malformed, "transaction.malformed"),
        (signed() + b"\x00", Malformed, "transaction.malformed"),
        (bytes(TRANSACTION_BYTES_LIMIT + 1), TransactionTooLarge, "transaction.too_large"),
        (signed(chain_id=ChainId(bytes(32))), WrongChain, "transaction.wrong_chain"),
        (signed(valid_until_ms=CREATED_MS), InvalidWindow, "transaction.window"),
        (signed(valid_until_ms=CREATED_MS - 1), InvalidWindow, "transaction.window"),
        (
            signed(valid_until_ms=CREATED_MS + TX_WINDOW_MS_LIMIT + 1),
            InvalidWindow,
            "transaction.window",
        ),
        (signed(kind="identity.resurrect"), UnknownKind, "transaction.unknown_kind"),
        (signed(payload=b""), InvalidPayload, "transaction.payload"),
        (signed(payload=encode(PAYLOAD) + b"\x00"), InvalidPayload, "transaction.payload"),
        (signed(kind="identity.register"), InvalidPayload, "transaction.payload"),
        (
            signed(sidecars=(Digest(bytes(32)), Digest(bytes(32)))),
            InvalidSidecars,
            "transaction.sidecars",
        ),
        (mirrored(signed()), MirroredSignature, "transaction.high_s"),
        (
            encode(replace(decode(SignedTransaction, signed()), signature=bytes(64))),
            NotSigned,
            "transaction.signature",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_wrong_form_has_its_code(
    bytes_in: bytes, error: type[InvalidTransaction], code: str
) -> None:
    with pytest.raises(InvalidTransaction) as refusal:
        decode_transaction(bytes_in, CHAIN)

    assert type(refusal.value) is error
    assert refusal.value.code == code
    assert len(str(refusal.value)) > 10


def test_the_longest_window_is_admitted() -> None:
    decode_transaction(signed(valid_until_ms=CREATED_MS + TX_WINDOW_MS_LIMIT), CHAIN)


def test_sidecar_digests_keep_their_order_and_their_number_is_bounded() -> None:
    digests = tuple(Digest(bytes([255 - at]) * 32) for at in range(SIDECARS_MAX))

    transaction = decode_transaction(signed(sidecars=digests), CHAIN)

    assert transaction.body.sidecars == digests


def test_the_largest_transaction_fits() -> None:
    digests = tuple(Digest(at.to_bytes(32, "big")) for at in range(SIDECARS_MAX))
    largest = body(payload=bytes(PAYLOAD_BYTES_MAX), sidecars=digests)

    bytes_in = sign_transaction(largest, signing_key(ADMIN))

    assert len(bytes_in) <= TRANSACTION_BYTES_LIMIT
    with pytest.raises(InvalidPayload):
        decode_transaction(bytes_in, CHAIN)


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_not_signed(at: int, change: int) -> None:
    bytes_in = bytearray(signed())
    bytes_in[at % len(bytes_in)] ^= change

    with pytest.raises(InvalidTransaction):
        check_transaction_signature(decode_transaction(bytes(bytes_in), CHAIN))


@given(st.binary(max_size=400))
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    with pytest.raises(InvalidTransaction):
        decode_transaction(garbage, CHAIN)


@given(st.binary(max_size=200), st.sampled_from(sorted(KINDS)))
def test_a_garbage_payload_of_any_kind_is_refused_by_name(garbage: bytes, kind: str) -> None:
    bytes_in = sign_transaction(body(payload=garbage, kind=kind), signing_key(ADMIN))

    try:
        transaction = decode_transaction(bytes_in, CHAIN)
    except InvalidPayload:
        return
    assert encode(transaction.payload) == garbage


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "identity.resurrect"}, UnknownKind),
        ({"valid_until_ms": CREATED_MS}, InvalidWindow),
        ({"sidecars": (Digest(bytes(32)),) * 2}, InvalidSidecars),
    ],
)
def test_a_client_is_told_before_it_signs(
    changes: dict[str, Any], error: type[InvalidTransaction]
) -> None:
    fields: dict[str, Any] = {
        "chain_id": CHAIN,
        "sender": account_of(ADMIN),
        "kind": "identity.suspend",
        "payload": PAYLOAD,
        "valid_from_ms": CREATED_MS,
        "valid_until_ms": CREATED_MS + 1,
        "nonce": bytes(16),
    }

    with pytest.raises(error):
        make_transaction(**{**fields, **changes})


def test_signatures_inside_a_payload_can_be_checked_ahead() -> None:
    consortium = Consortium()
    payload = registration(consortium.chain_id, NORTH, "dr. new", Role.DOCTOR)
    register = consortium.transaction("identity.register", payload, ADMIN)
    suspend = consortium.transaction("identity.suspend", PAYLOAD, ADMIN)

    jobs = inner_signature_jobs(consortium.state, register)

    assert is_valid_many(jobs) == [True, True]
    assert inner_signature_jobs(consortium.state, suspend) == ()
    assert inner_signature_jobs(MemoryState(), register) == ()
