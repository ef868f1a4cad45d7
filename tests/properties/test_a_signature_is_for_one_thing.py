"""Attack 31: what one key signed for one purpose, chain, epoch, height or view is nothing else.

A node has one Ed25519 key for votes, complaints, starts, statements, storage receipts, the
transactions of its account and the possession of itself, so all are tried against each other.
"""

from collections.abc import Iterator
from itertools import product

import pytest

from consensus.boots import boot_preimage
from consensus.messages import Suspicion, complaint_preimage
from consensus.restarting import statement_preimage
from crypto.cid import RAW, Cid, make_cid
from crypto.content import author_payload, author_preimage
from crypto.hashing import ChainId, Digest, Domain
from crypto.record_ids import AccountId, RecordId, VersionId
from crypto.schema import encode
from crypto.signatures import (
    Scheme,
    SignatureJob,
    account_id,
    is_valid_many,
    public_key,
    sign_preimage,
    signature_preimage,
)
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from crypto.votes import Height, View, VoteType, vote_preimage
from ledger.accounts import Role
from ledger.exchange import SessionClaim, session_preimage
from ledger.identity_payloads import Suspend
from ledger.key_proofs import registration_job, rotation_job, seal_binding_job
from ledger.nodes import NodeClaim
from ledger.records_payloads import StorageReceipt
from ledger.storage_receipts import storage_receipt_job
from ledger.transactions import (
    decode_transaction,
    make_transaction,
    sign_transaction,
    signature_job,
)
from tests.unit.ledger.small_consortium import NORTH, seal_key_of, signing_key

KEY = signing_key("node 0", Scheme.ED25519)
PUBLIC = public_key(KEY)
ME = account_id(PUBLIC)
CHAINS = (ChainId(b"\x01" * 32), ChainId(b"\x02" * 32))
ONE = Digest(b"\x11" * 32)
UNSIGNED = bytes(64)
VALIDATORS = ValidatorSet(
    members=(Validator(index=ReplicaId(0), org=NORTH, vote_key=PUBLIC.data, tls_pin=bytes(32)),)
)


def votes(chain: ChainId) -> Iterator[bytes]:
    for vote, epoch, height, view in product(VoteType, (0, 1), (7, 8), (0, 1)):
        yield vote_preimage(chain, Epoch(epoch), vote, Height(height), View(view), ONE)


def words_of_replicas(chain: ChainId) -> Iterator[bytes]:
    """Everything else that the core signs."""
    for epoch in (Epoch(0), Epoch(1)):
        for reason in Suspicion:
            yield complaint_preimage(chain, epoch, ReplicaId(0), reason)
        for number in (7, 8):
            yield boot_preimage(chain, epoch, ReplicaId(0), number, bytes(16), bytes(16))
            for is_stuck in (False, True):
                yield statement_preimage(
                    chain, epoch, Height(number), ONE, is_stuck=is_stuck, signer=ReplicaId(0)
                )


def words_of_accounts(chain: ChainId) -> Iterator[bytes]:
    """Everything that accounts and nodes sign for the ledger, its clients and its founding."""
    yield registration_job(
        PUBLIC, UNSIGNED, chain_id=chain, org=NORTH, role=Role.NODE, seal_key=seal_key_of("x")
    ).preimage
    yield rotation_job(PUBLIC, UNSIGNED, chain_id=chain, account_id=ME).preimage
    claim = NodeClaim(
        index=ReplicaId(0), org=NORTH, vote_key=PUBLIC.data, tls_pin=ONE, p2p_address="a:1"
    )
    yield signature_preimage(Domain.KEY_POSSESSION, chain, encode(claim))
    cid: Cid = make_cid(RAW, ONE)
    for size_bytes in (7, 8):
        receipt = StorageReceipt(validator=ReplicaId(0), signature=UNSIGNED)
        job = storage_receipt_job(
            receipt, cid=cid, size_bytes=size_bytes, validators=VALIDATORS, chain_id=chain
        )
        assert job is not None
        yield job.preimage
    for nonce in (b"\x07" * 16, b"\x08" * 16):
        body = make_transaction(
            chain_id=chain,
            sender=ME,
            kind="identity.suspend",
            payload=Suspend(account_id=AccountId(ONE), reason="test"),
            valid_from_ms=0,
            valid_until_ms=1_000,
            nonce=nonce,
        )
        yield signature_job(decode_transaction(sign_transaction(body, KEY), chain)).preimage
        yield session_preimage(
            SessionClaim(
                chain_id=chain,
                node_index=0,
                origin="https://a",
                account=ME,
                key_id=bytes(16),
                nonce=nonce * 2,
                issued_ms=0,
                expires_ms=1,
            )
        )
        yield author_preimage(
            chain,
            author_payload(
                pseudonym=AccountId(ONE),
                record_id=RecordId(nonce),
                version_id=VersionId(nonce),
                author=ME,
                commitment=ONE,
            ),
        )
    yield signature_preimage(Domain.FOUNDING, chain, b"")


def everything() -> list[bytes]:
    found = [
        preimage
        for chain in CHAINS
        for words in (votes, words_of_replicas, words_of_accounts)
        for preimage in words(chain)
    ]
    # A seal binding is of an account, whose id is a digest of a key: of no chain, on purpose.
    binding = seal_binding_job(PUBLIC, UNSIGNED, account_id=ME, seal_key=seal_key_of("x"))
    return [*found, binding.preimage]


def test_no_signature_of_one_thing_passes_for_another() -> None:
    preimages = everything()
    signed = [sign_preimage(KEY, one) for one in preimages]

    for index, signature in enumerate(signed):
        answers = is_valid_many(
            [SignatureJob(Scheme.ED25519, PUBLIC.data, signature, one) for one in preimages]
        )
        assert [at for at, is_valid in enumerate(answers) if is_valid] == [index]

    assert len(preimages) > 120, "votes of 2 x 2 x 2 x 2 slots in 4 types, and everything else"


def test_everything_signed_opens_with_its_domain_and_chain() -> None:
    domains = tuple(one.value for one in Domain)

    for preimage in everything():
        (opened_by,) = [one for one in domains if preimage.startswith(one)]
        chain = preimage[len(opened_by) : len(opened_by) + 32]
        assert chain in CHAINS or opened_by == Domain.KEY_BINDING.value


@pytest.mark.parametrize("one", Domain)
def test_no_domain_opens_another(one: Domain) -> None:
    assert [other for other in Domain if other.value.startswith(one.value)] == [one]
