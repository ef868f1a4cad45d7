"""Writes the golden vectors of what nodes and users exchange, and of what a node keeps for itself.

Run `python -m tests.vectors.make_exchange_vectors` after a deliberate change of a format, never to
make a test pass: it needs a new version of that type and a line in CHANGELOG.md.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from client.enrolment import Enrolment
from crypto.cid import RAW, make_cid
from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.unixfs import LeafIndex
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from crypto.votes import CommitCertificate, Height, View
from ledger.accounts import Role
from ledger.blocks import Header
from ledger.exchange import (
    BlockOutcomes,
    EpochLink,
    EpochLinks,
    ReceiptFile,
    ReceiptProof,
    ScanQuery,
    SealedHeader,
    SessionClaim,
    SignedSessionClaim,
    SubmitBatch,
    SubmitItem,
    TransactionOutcome,
    Witness,
    WitnessQuery,
)
from ledger.receipts import Receipt
from ledger.tree.proofs import OtherLeaf, StateProof, StateProofs
from shell.blobs import BlobOffer, Stored
from shell.bodies import FindByDigest, FoundSidecars
from shell.fetching import LeafRange
from shell.journal import BodiesRecord
from shell.mending import BlockCopy
from shell.snapshots import (
    ChunkQuery,
    EntryQuery,
    EpochQuery,
    FoundHeaders,
    FoundReceipts,
    HeaderQuery,
    ReceiptsQuery,
    SnapshotOffer,
)
from storage.chain import StoredHeader, Tip
from storage.history import History
from tests.unit.ledger.small_consortium import NORTH, registration

PATH = Path(__file__).with_name("exchange.json")


def digest_of(label: str) -> Digest:
    return Digest(hashlib.sha256(label.encode()).digest())


CHAIN = ChainId(digest_of("chain"))
CID = make_cid(RAW, digest_of("blob"))


def make_samples() -> tuple[Any, ...]:
    """Return one instance of each type, every optional part present somewhere."""
    header = Header(
        chain_id=CHAIN,
        epoch=Epoch(1),
        height=Height(7),
        view=View(2),
        proposer=ReplicaId(3),
        parent=digest_of("parent"),
        parent_certificate=digest_of("certificate"),
        time_ms=1_790_000_000_007,
        tx_root=digest_of("tx root"),
        tx_count=1,
        state_root=digest_of("state root"),
        receipts_root=digest_of("receipts root"),
        validators=digest_of("validators"),
        next_validators=digest_of("next validators"),
    )
    certificate = CommitCertificate(
        epoch=Epoch(1),
        height=Height(7),
        view=View(2),
        digest=digest_of("header"),
        signatures=tuple((ReplicaId(one), bytes([one]) * 64) for one in range(3)),
    )
    sealed = SealedHeader(header=header, certificate=certificate)
    present = StateProof(value=b"value", other=None, siblings=(digest_of("sibling"),))
    other = OtherLeaf(key_hash=digest_of("other key"), value_hash=digest_of("other value"))
    absent = StateProof(value=None, other=other, siblings=())
    proofs = StateProofs(proofs=(present, absent))
    claim = SessionClaim(
        chain_id=CHAIN,
        node_index=ReplicaId(3),
        origin="https://ledger.example",
        account=digest_of("account"),
        key_id=digest_of("key")[:16],
        nonce=digest_of("nonce"),
        issued_ms=1_790_000_000_000,
        expires_ms=1_790_000_060_000,
    )
    keys = (b"governance/parameters", b"governance/validators")
    receipt_proof = ReceiptProof(
        signed=b"signed",
        receipt=Receipt(
            tx_id=digest_of("transaction"), height=7, index=0, accepted=True, code="ok", events=()
        ),
        header=header,
        above=sealed,
        tx_path=(digest_of("beside"),),
        receipt_path=(),
    )
    member = Validator(
        index=ReplicaId(3), org=NORTH, vote_key=digest_of("vote key"), tls_pin=digest_of("pin")
    )
    members = ValidatorSet(members=(member,))
    return (
        SubmitBatch(items=(SubmitItem(signed=b"signed", sidecars=(bytes(32) + b"note",)),)),
        sealed,
        BlockOutcomes(
            height=7,
            digest=digest_of("block"),
            tx_count=9,
            first=8,
            outcomes=(TransactionOutcome(tx_id=digest_of("transaction"), code="ok"),),
        ),
        WitnessQuery(keys=keys, at_least_height=7, wait_ms=500),
        ScanQuery(prefix=b"governance/", start=b"", limit=16, at_least_height=7, wait_ms=500),
        present,
        absent,
        proofs,
        Witness(sealed_header=sealed, keys=keys, proofs=proofs),
        EpochLinks(links=(EpochLink(sealed_header=sealed, validators=members),)),
        claim,
        SignedSessionClaim(claim=claim, signature=bytes(64)),
        Enrolment(
            chain_id=CHAIN,
            org=NORTH,
            register=registration(CHAIN, NORTH, "doctor", Role.DOCTOR),
            sidecars=(),
        ),
        LeafIndex(cid=CID, size_bytes=5, leaf_digests=(digest_of("blob"),)),
        BlobOffer(cid=CID, size_bytes=5),
        Stored(signature=bytes(64)),
        LeafRange(cid=CID, first=0, count=1),
        FindByDigest(digests=(digest_of("one"), digest_of("two"))),
        FoundSidecars(contents=(bytes(32) + b"note",)),
        BlockCopy(height=7),
        BodiesRecord(height=7, digest=digest_of("header"), transactions=(b"signed",)),
        Tip(
            height=Height(7),
            digest=digest_of("header"),
            time_ms=1_790_000_000_007,
            epoch=Epoch(1),
            state_root=digest_of("state root"),
            receipts_root=digest_of("receipts root"),
        ),
        StoredHeader(header=encode(header), certificate=encode(certificate)),
        SnapshotOffer(oldest_block=3, oldest_state=5, newest_state=7),
        HeaderQuery(first=7, count=2),
        FoundHeaders(
            headers=(StoredHeader(header=encode(header), certificate=encode(certificate)),)
        ),
        EpochQuery(epoch=1),
        EntryQuery(height=7, keys=keys),
        ChunkQuery(height=7, start=digest_of("key")),
        ReceiptsQuery(height=7),
        FoundReceipts(receipts=(b"receipt",)),
        History(headers_from=2, whole_from=3, indexed_from=3),
        receipt_proof,
        ReceiptFile(links=(), proof=receipt_proof),
    )


def make_vectors() -> list[dict[str, str]]:
    return [
        {"type": f"{type(one).__module__}.{type(one).__name__}", "hex": encode(one).hex()}
        for one in make_samples()
    ]


if __name__ == "__main__":
    PATH.write_text(json.dumps(make_vectors(), indent=1) + "\n", encoding="utf-8")
