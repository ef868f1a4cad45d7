"""Blocks for the chain store: real signed transactions, results as a test wants them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.signatures import Scheme, SigningKey, account_id, public_key
from crypto.validators import Epoch, ReplicaId
from crypto.votes import CommitCertificate, Height, View
from ledger.blocks import Header, header_digest, tx_root
from ledger.contract import SidecarPlace
from ledger.identity_payloads import Suspend
from ledger.receipts import Event, Receipt
from ledger.transactions import (
    Transaction,
    decode_transaction,
    make_transaction,
    sign_transaction,
)
from ledger.transition import BlockResult
from storage.blocks import StoredBlock
from storage.chain import Chain, DecidedBlock, commit_block

CHAIN_ID = ChainId(hashlib.sha256(b"a chain").digest())
GENESIS_MS = 1_000_000
BLOCK_MS = 1_000
WINDOW_MS = 60_000
KEY = SigningKey(scheme=Scheme.ED25519, secret=bytes(range(32)))
SENDER = account_id(public_key(KEY))
NOTHING = Digest(bytes(32))


@dataclass(frozen=True)
class Sample:
    """One block to commit, with what came of it."""

    block: DecidedBlock
    result: BlockResult

    @property
    def height(self) -> Height:
        return Height(self.result.receipts[0].height)

    @property
    def stored(self) -> StoredBlock:
        return StoredBlock(
            header=self.block.header,
            certificate=self.block.certificate,
            transactions=tuple(one.signed for one in self.block.transactions),
        )


def subject(number: int) -> bytes:
    return hashlib.sha256(b"subject %d" % number).digest()


def transaction(number: int, *, from_ms: int = GENESIS_MS) -> Transaction:
    body = make_transaction(
        chain_id=CHAIN_ID,
        sender=SENDER,
        kind="identity.suspend",
        payload=Suspend(account_id=SENDER, reason="test"),
        valid_from_ms=from_ms,
        valid_until_ms=from_ms + WINDOW_MS,
        nonce=number.to_bytes(16, "big"),
    )
    return decode_transaction(sign_transaction(body, KEY), CHAIN_ID)


def certificate(height: int, digest: Digest) -> bytes:
    """A certificate of the right form; its signatures are not looked at here."""
    return encode(
        CommitCertificate(
            epoch=Epoch(0),
            height=Height(height),
            view=View(0),
            digest=digest,
            signatures=((ReplicaId(0), bytes(64)),),
        )
    )


def sample(
    chain: Chain,
    writes: Mapping[bytes, bytes | None],
    *,
    subjects: Sequence[Sequence[int]] = ((),),
    sidecars: Sequence[SidecarPlace] = (),
    time_ms: int | None = None,
) -> Sample:
    """The next block: one transaction for each item of `subjects`, with an event for each of it."""
    tip = chain.tip
    height = tip.height + 1
    transactions = tuple(
        transaction(height * 1_000 + index, from_ms=tip.time_ms) for index in range(len(subjects))
    )
    header = Header(
        chain_id=CHAIN_ID,
        epoch=Epoch(0),
        height=Height(height),
        view=View(0),
        proposer=ReplicaId(0),
        parent=tip.digest,
        parent_certificate=NOTHING,
        time_ms=time_ms or tip.time_ms + BLOCK_MS,
        tx_root=tx_root([one.signed_hash for one in transactions]),
        tx_count=len(transactions),
        state_root=tip.state_root,
        receipts_root=tip.receipts_root,
        validators=NOTHING,
        next_validators=NOTHING,
    )
    receipts = tuple(
        Receipt(
            tx_id=one.tx_id,
            height=height,
            index=index,
            accepted=True,
            code="ok",
            events=tuple(
                Event(kind="test.event", subject=subject(number), fields=(("n", number),))
                for number in subjects[index]
            ),
        )
        for index, one in enumerate(transactions)
    )
    return Sample(
        block=DecidedBlock(
            header=encode(header),
            certificate=certificate(height, header_digest(header)),
            transactions=transactions,
        ),
        result=BlockResult(
            writes=dict(writes), receipts=receipts, sidecars=tuple(sidecars), reasons={}
        ),
    )


def grow(chain: Chain, count: int, *, transactions: int = 2) -> list[Sample]:
    """Commit some blocks, each of which changes one entry and writes one of its own."""
    samples = []
    for _ in range(count):
        height = chain.tip.height + 1
        one = sample(
            chain,
            {b"test/changing": b"at %d" % height, b"test/at/%06d" % height: b"v"},
            subjects=[(0, index + 1) for index in range(transactions)],
        )
        commit_block(chain, one.block, one.result)
        samples.append(one)
    return samples
