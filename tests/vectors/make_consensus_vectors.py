"""Writes the golden vectors of consensus: sets, vote preimages, certificates, messages, records.

Run `python -m tests.vectors.make_consensus_vectors` after a deliberate change of a format, never to
make a test pass: a vector that changes means that nodes of two versions no longer agree. Keys are
Ed25519 with the seeds 01..01 to 04..04; signatures are deterministic.
"""

import json
from pathlib import Path

from consensus.blocks import Block, CertifiedBlock
from consensus.boots import Boot, boot_preimage
from consensus.evidence import signed_vote
from consensus.messages import (
    Blocks,
    Commit,
    Complaint,
    Contradiction,
    Echo,
    Fetch,
    FetchProposal,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    Suspicion,
    ViewChange,
    complaint_preimage,
    encode_message,
)
from consensus.records import (
    Booted,
    FenceLifted,
    FenceRaised,
    JournalStarted,
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    Record,
    Restarted,
    ViewChangeRecord,
    encode_record,
)
from consensus.votes import vote_record
from crypto.evidence import Evidence, SignedVote, evidence_digest, make_evidence
from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.signatures import Scheme, SigningKey, public_key, sign_preimage
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from crypto.votes import (
    CommitCertificate,
    Height,
    PreparedCertificate,
    View,
    VoteType,
    certificate_digest,
    prepared_digest,
    vote_preimage,
)

FILE = Path(__file__).with_name("consensus.json")

CHAIN = ChainId(bytes(range(32)))
EPOCH = Epoch(2)
HEIGHT = Height(7)
KEYS = [SigningKey(scheme=Scheme.ED25519, secret=bytes([index + 1]) * 32) for index in range(4)]
VALIDATORS = ValidatorSet(
    members=tuple(
        Validator(
            index=ReplicaId(index),
            org=f"hospital-{index}",
            vote_key=public_key(key).data,
            tls_pin=bytes([0x10 + index]) * 32,
        )
        for index, key in enumerate(KEYS)
    )
)


def sign(
    signer: int, vote: VoteType, about: Digest, *, view: int, height: Height = HEIGHT
) -> bytes:
    preimage = vote_preimage(CHAIN, EPOCH, vote, height, View(view), about)
    return sign_preimage(KEYS[signer], preimage)


PARENT = Digest(b"\x55" * 32)
PARENT_CERTIFICATE = CommitCertificate(
    epoch=EPOCH,
    height=Height(6),
    view=View(0),
    digest=PARENT,
    signatures=tuple(
        (ReplicaId(one), sign(one, VoteType.COMMIT, PARENT, view=0, height=Height(6)))
        for one in (0, 1, 3)
    ),
)
BLOCK = Block(
    height=HEIGHT,
    view=View(0),
    proposer=ReplicaId(0),
    parent=PARENT,
    digest=Digest(b"\x77" * 32),
    header=b"an encoded header",
    parent_certificate=PARENT_CERTIFICATE,
    payload=b"\x01" * 32 + b"\x02" * 32,
)
FIRST_BLOCK = Block(
    height=Height(1),
    view=View(0),
    proposer=ReplicaId(0),
    parent=Digest(b"\x44" * 32),
    digest=Digest(b"\x66" * 32),
    header=b"an encoded header",
    parent_certificate=None,
    payload=b"",
)
PRE_PREPARE = PrePrepare(
    epoch=EPOCH,
    height=HEIGHT,
    view=View(0),
    digest=BLOCK.digest,
    signer=ReplicaId(0),
    signature=sign(0, VoteType.PRE_PREPARE, BLOCK.digest, view=0),
    block=BLOCK,
)
PREPARE = Prepare(
    epoch=EPOCH,
    height=HEIGHT,
    view=View(0),
    digest=BLOCK.digest,
    signer=ReplicaId(1),
    signature=sign(1, VoteType.PREPARE, BLOCK.digest, view=0),
)
COMMIT = Commit(
    epoch=EPOCH,
    height=HEIGHT,
    view=View(0),
    digest=BLOCK.digest,
    signer=ReplicaId(2),
    signature=sign(2, VoteType.COMMIT, BLOCK.digest, view=0),
)
PREPARED = PreparedCertificate(
    epoch=EPOCH,
    height=HEIGHT,
    view=View(0),
    digest=BLOCK.digest,
    primary=ReplicaId(0),
    primary_signature=PRE_PREPARE.signature,
    signatures=tuple(
        (ReplicaId(one), sign(one, VoteType.PREPARE, BLOCK.digest, view=0)) for one in (1, 2)
    ),
)
COMMITTED = CommitCertificate(
    epoch=EPOCH,
    height=HEIGHT,
    view=View(0),
    digest=BLOCK.digest,
    signatures=tuple(
        (ReplicaId(one), sign(one, VoteType.COMMIT, BLOCK.digest, view=0)) for one in (0, 2, 3)
    ),
)


def make_view_change(signer: int, prepared: PreparedCertificate | None) -> ViewChange:
    return ViewChange(
        epoch=EPOCH,
        height=HEIGHT,
        view=View(1),
        prepared=prepared,
        signer=ReplicaId(signer),
        signature=sign(signer, VoteType.VIEW_CHANGE, prepared_digest(prepared), view=1),
    )


def make_boot(number: int, boot_id: bytes, *, seen: bytes) -> Boot:
    preimage = boot_preimage(CHAIN, EPOCH, ReplicaId(1), number, boot_id, seen)
    return Boot(
        epoch=EPOCH,
        replica=ReplicaId(1),
        number=number,
        boot_id=boot_id,
        seen=seen,
        signature=sign_preimage(KEYS[1], preimage),
    )


VIEW_CHANGES = (make_view_change(1, None), make_view_change(2, PREPARED), make_view_change(3, None))
NEW_VIEW = NewView(
    view_changes=VIEW_CHANGES,
    pre_prepare=PrePrepare(
        epoch=EPOCH,
        height=HEIGHT,
        view=View(1),
        digest=BLOCK.digest,
        signer=ReplicaId(1),
        signature=sign(1, VoteType.PRE_PREPARE, BLOCK.digest, view=1),
        block=BLOCK,
    ),
)
STATUS = Status(
    height=Height(8),
    view=View(0),
    has_proposal=True,
    has_committed=False,
    is_fenced=False,
    is_listening=True,
    certificate=COMMITTED,
    boot=make_boot(5, b"sixteen bytes id", seen=bytes(16)),
    clock_ms=1_790_000_000_000,
)
ECHO = Echo(
    boot_id=b"sixteen bytes id",
    boots=(
        make_boot(6, b"another boot id.", seen=b"sixteen bytes id"),
        make_boot(5, b"sixteen bytes id", seen=bytes(16)),
    ),
    vote=signed_vote(PREPARE),
    height=Height(8),
    certificate=COMMITTED,
)
PREPARE_OF_ANOTHER = Digest(b"\x22" * 32)


def evidence() -> Evidence:
    found = make_evidence(
        *(
            SignedVote(
                epoch=EPOCH,
                height=HEIGHT,
                view=View(0),
                vote=VoteType.PREPARE,
                digest=about,
                signer=ReplicaId(1),
                signature=sign(1, VoteType.PREPARE, about, view=0),
            )
            for about in (BLOCK.digest, PREPARE_OF_ANOTHER)
        )
    )
    assert found is not None, "two votes for one slot are evidence"
    return found


EVIDENCE = evidence()
COMPLAINT = Complaint(
    epoch=EPOCH,
    primary=ReplicaId(0),
    reason=Suspicion.CENSORING,
    signer=ReplicaId(2),
    signature=sign_preimage(
        KEYS[2], complaint_preimage(CHAIN, EPOCH, ReplicaId(0), Suspicion.CENSORING)
    ),
)
MESSAGES: dict[str, Message] = {
    "pre_prepare": PRE_PREPARE,
    "prepare": PREPARE,
    "commit": COMMIT,
    "view_change": VIEW_CHANGES[0],
    "view_change_prepared": VIEW_CHANGES[1],
    "new_view": NEW_VIEW,
    "status": STATUS,
    "fetch": Fetch(from_height=HEIGHT, count=64),
    "blocks": Blocks(
        blocks=(CertifiedBlock(block=BLOCK, certificate=COMMITTED, bodies=b"bodies"),)
    ),
    "fetch_proposal": FetchProposal(height=HEIGHT, digest=BLOCK.digest),
    "complaint": COMPLAINT,
    "contradiction": Contradiction(votes=(EVIDENCE.first, EVIDENCE.second)),
    "proposal": Proposal(block=FIRST_BLOCK, bodies=b""),
    "echo": ECHO,
}
RECORDS: dict[str, Record] = {
    "journal_started": JournalStarted(chain_id=CHAIN, replica=ReplicaId(3)),
    "fence_raised": FenceRaised(reason="the vote journal is missing"),
    "fence_lifted": FenceLifted(height=HEIGHT),
    "proposal": ProposalRecord(block=BLOCK),
    "vote": vote_record(PREPARE),
    "prepared": PreparedRecord(certificate=PREPARED),
    "view_change": ViewChangeRecord(message=VIEW_CHANGES[1]),
    "new_view": NewViewRecord(message=NEW_VIEW),
    "restarted": Restarted(epoch=EPOCH, height=HEIGHT, digest=BLOCK.digest),
    "booted": Booted(number=3, boot_id=b"sixteen bytes id", earlier=(b"another boot id.",)),
}


def make_vectors() -> dict[str, object]:
    return {
        "about": "Consensus; written by make_consensus_vectors.py.",
        "chain_id": CHAIN.hex(),
        "validators": {
            "encoded": encode(VALIDATORS).hex(),
            "digest": VALIDATORS.digest().hex(),
        },
        "vote_preimages": {
            vote.name.lower(): vote_preimage(
                CHAIN, EPOCH, vote, HEIGHT, View(1), BLOCK.digest
            ).hex()
            for vote in VoteType
        },
        "complaint_preimage": complaint_preimage(
            CHAIN, EPOCH, ReplicaId(0), Suspicion.CENSORING
        ).hex(),
        "commit_certificate": {
            "encoded": encode(COMMITTED).hex(),
            "digest": certificate_digest(COMMITTED).hex(),
        },
        "prepared_certificate": {
            "encoded": encode(PREPARED).hex(),
            "digest": prepared_digest(PREPARED).hex(),
        },
        "evidence": {
            "encoded": encode(EVIDENCE).hex(),
            "digest": evidence_digest(EVIDENCE, CHAIN).hex(),
        },
        "messages": {name: encode_message(one).hex() for name, one in MESSAGES.items()},
        "records": {name: encode_record(one).hex() for name, one in RECORDS.items()},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_vectors(), indent=1) + "\n", encoding="utf-8")
