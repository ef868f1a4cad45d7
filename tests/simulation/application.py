"""What the simulated shell needs to know of a ledger, and the smallest thing that is one.

`ledger_application.LedgerApplication` is the real ledger. `LogApplication` here is an ordered log
with a running digest: scenarios use it, whose files should not change with every payload.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from consensus.blocks import Block, CertifiedBlock
from consensus.effects import CheckProposal, Decide, Effect, RequestProposal
from consensus.events import BlockExecuted
from consensus.messages import Blocks, Proposal
from consensus.records import JournalStarted, ProposalRecord, Record
from consensus.restore import Decided, restore
from consensus.state import Config, ReplicaState, Tip
from crypto.encoding import Value, decode_value, encode_value
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import (
    GENESIS_HEIGHT,
    CommitCertificate,
    Height,
    View,
    certificate_digest,
)
from tests.simulation.disk import Disk, append, compact, records, store

GENESIS_DIGEST = Digest(b"\xfe" * 32)
COMPACT_EVERY = 50
"""Heights between two compactions of the journal."""

BLOCK_TRANSACTIONS_MAX = 8
DELTA_MS = 2_000
DELTA_PAST_MS = 10_000
BODIES_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """About a proposed block: a refusal, bodies it lacks, a delay until it is due, or none."""

    refusal: str | None = None
    wait_ms: int = 0
    missing: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a simulated header says."""

    height: int
    view: int
    epoch: int
    proposer: int
    parent: bytes
    parent_certificate: bytes
    time_ms: int
    payload: bytes
    state: bytes


class Application(Protocol):
    """A node's ledger, pool and journal; `crash` keeps what is durable. Times are virtual.

    `written` repeats what is in the journal, decoded, for those who watch.
    """

    @property
    def written(self) -> Sequence[Record]: ...

    @property
    def height(self) -> int: ...

    def begin(self, config: Config) -> None:
        """Do what `init` does."""

    def start(self, config: Config, now_ms: int) -> tuple[ReplicaState, Sequence[Effect]]:
        """Open what is on the disk; return the replica and what it does first."""

    def crash(self) -> None: ...

    def persist(self, records: Sequence[Record]) -> None:
        """Append to the vote journal, bodies of proposals included; durable on return."""

    def offer(self, signed: bytes, now_ms: int) -> bool:
        """Pool a transaction; False for one that is not new, or not sound."""

    def has_backlog(self, now_ms: int) -> bool: ...

    def tidy(self, now_ms: int) -> None:
        """Forget what expired."""

    def to_repeat(self, now_ms: int) -> list[bytes]:
        """Transactions to be gossiped once more."""

    def waiting(self, from_ms: int, until_ms: int) -> list[bytes]:
        """The ids in the pool that are valid all the time between."""

    def propose(self, request: RequestProposal, now_ms: int) -> Block | None: ...

    def note_heard(self, block: Block, now_ms: int) -> None:
        """Remember when a proposed block arrived first."""

    def is_consistent(self, block: Block) -> bool:
        """Whether a block's fields repeat its header and its payload leads to it."""

    def is_sound_upload(self, message: Blocks | Proposal) -> bool:
        """Whether blocks are consistent and come with their bodies."""

    def check(self, request: CheckProposal, now_ms: int) -> Verdict: ...

    def retain(self, height: int, digests: Sequence[Digest]) -> None:
        """Of the blocks under agreement forget all but these."""

    def body(self, signed_hash: bytes) -> bytes | None: ...

    def take_body(self, signed: bytes) -> None:
        """Keep a body that was asked for."""

    def proposal(self, digest: Digest) -> tuple[Block, bytes] | None:
        """An undecided block that this node promised to have, with the bodies that travel."""

    def vary(
        self, block: Block, *, view: View | None = None, proposer: ReplicaId | None = None
    ) -> Block:
        """Another valid block on the same parent: a millisecond later, and possibly ours."""

    def execute(self, decided: Decide) -> BlockExecuted:
        """Apply a decided block, durably; return what the core is told of it."""

    def certified(self, height: int) -> CertifiedBlock | None: ...

    def validator_sets(self) -> Mapping[Epoch, ValidatorSet]: ...

    def state_digest(self) -> bytes: ...

    def time_ms(self) -> int:
        """The time of the last block."""

    def decided_at(self, height: int) -> list[bytes]:
        """The ids of a block's transactions."""

    def height_of(self, tx_id: bytes) -> int | None:
        """Where a transaction was executed."""


def transaction_hash(transaction: bytes) -> bytes:
    return hashlib.sha256(transaction).digest()


def hashes_of(block: Block) -> list[bytes]:
    return [block.payload[at : at + 32] for at in range(0, len(block.payload), 32)]


@dataclass(slots=True, kw_only=True)
class LogApplication:
    """An ordered log: the state is the digest of everything executed so far, and its time.

    The id of a transaction is the transaction.
    """

    validators: ValidatorSet
    replica: ReplicaId
    disk: Disk = field(default_factory=Disk)
    log: dict[bytes, int] = field(default_factory=dict)
    digest: bytes = bytes(32)
    height: int = 0
    last_ms: int = 0
    pool: dict[bytes, bytes] = field(default_factory=dict)
    arrived: dict[bytes, bytes] = field(default_factory=dict)  # Bodies that came with a block.
    kept: dict[bytes, bytes] = field(default_factory=dict)  # Bodies on disk, by hash.

    @property
    def written(self) -> list[Record]:
        return self.disk.written

    def begin(self, config: Config) -> None:
        append(self.disk, JournalStarted(chain_id=config.chain_id, replica=config.replica))

    def start(self, config: Config, now_ms: int) -> tuple[ReplicaState, Sequence[Effect]]:
        return restore(
            config,
            self._decided(),
            records(self.disk),
            is_journal_whole=True,
            waiting=False,
        )

    def crash(self) -> None:
        self.pool, self.arrived = {}, {}

    def persist(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, ProposalRecord):
                self._keep(record.block)
            append(self.disk, record)

    def offer(self, signed: bytes, now_ms: int) -> bool:
        key = transaction_hash(signed)
        if key in self.pool or signed in self.log:
            return False
        self.pool[key] = signed
        return True

    def has_backlog(self, now_ms: int) -> bool:
        return bool(self.pool)

    def tidy(self, now_ms: int) -> None:
        """Nothing expires."""

    def to_repeat(self, now_ms: int) -> list[bytes]:
        return list(self.pool.values())[:16]

    def waiting(self, from_ms: int, until_ms: int) -> list[bytes]:
        return list(self.pool.values())

    def propose(self, request: RequestProposal, now_ms: int) -> Block | None:
        if request.height != self.height + 1:
            return None
        certificate = request.parent_certificate
        payload = b"".join(list(self.pool)[:BLOCK_TRANSACTIONS_MAX])
        header = Header(
            height=request.height,
            view=request.view,
            epoch=request.epoch,
            proposer=self.replica,
            parent=request.parent,
            parent_certificate=_proof_digest(certificate),
            time_ms=max(now_ms, self.last_ms + 1),
            payload=hashlib.sha256(payload).digest(),
            state=self.digest,
        )
        return make_block(header, certificate, payload)

    def note_heard(self, block: Block, now_ms: int) -> None:
        """Times are compared when a block is checked."""

    def is_consistent(self, block: Block) -> bool:
        header = read_header(block.header)
        return (
            header is not None
            and make_block(header, block.parent_certificate, block.payload) == block
            and header.payload == hashlib.sha256(block.payload).digest()
            and (header.parent_certificate == _proof_digest(block.parent_certificate))
        )

    def is_sound_upload(self, message: Blocks | Proposal) -> bool:
        if isinstance(message, Proposal):
            return self.is_consistent(message.block) and (
                not message.bodies or self._take_bodies(message.block, message.bodies)
            )
        return all(
            self.is_consistent(one.block) and self._take_bodies(one.block, one.bodies)
            for one in message.blocks
        )

    def check(self, request: CheckProposal, now_ms: int) -> Verdict:
        block = request.block
        if request.bodies is not None:
            self._take_bodies(block, request.bodies)
        missing = tuple(key for key in hashes_of(block) if self.body(key) is None)
        if missing:
            return Verdict(missing=missing)
        header = read_header(block.header)
        assert header is not None, "only consistent blocks reach the core"
        if (header.height, header.state) != (self.height + 1, self.digest):
            return Verdict(refusal="block.state_root")
        if header.time_ms <= self.last_ms:
            return Verdict(refusal="block.time_order")
        if len(set(hashes_of(block))) < len(hashes_of(block)):
            return Verdict(refusal="block.duplicate")
        bodies = [self.body(key) for key in hashes_of(block)]
        if any(body in self.log for body in bodies if body is not None):
            return Verdict(refusal="block.replay")
        if request.is_fresh and header.time_ms < now_ms - DELTA_PAST_MS:
            return Verdict(refusal="block.time_past")
        if request.is_fresh and header.time_ms > now_ms + DELTA_MS:
            return Verdict(wait_ms=header.time_ms - now_ms - DELTA_MS)
        return Verdict()

    def retain(self, height: int, digests: Sequence[Digest]) -> None:
        """Bodies are kept until a block is executed."""

    def body(self, signed_hash: bytes) -> bytes | None:
        for place in (self.pool, self.kept, self.arrived):
            if signed_hash in place:
                return place[signed_hash]
        return None

    def take_body(self, signed: bytes) -> None:
        self.offer(signed, 0)

    def proposal(self, digest: Digest) -> tuple[Block, bytes] | None:
        block = self.disk.proposals.get(digest)
        if block is None:
            return None  # Below, both ways are allowed: who brings the bodies is all that differs.
        return block, self._bodies(block) if self.replica % 2 else b""

    def vary(
        self, block: Block, *, view: View | None = None, proposer: ReplicaId | None = None
    ) -> Block:
        return later_block(block, view=view, proposer=proposer)

    def execute(self, decided: Decide) -> BlockExecuted:
        block = decided.block
        assert block.height == self.height + 1, "heights are executed in order"
        if decided.bodies is not None:
            assert self._take_bodies(block, decided.bodies), "bodies are checked on arrival"
        header = read_header(block.header)
        assert header is not None, "decided blocks are consistent"
        assert header.state == self.digest, "a decided block leads to another state than ours"
        bodies = self._bodies(block)
        for key in hashes_of(block):
            transaction = self.body(key)
            assert transaction is not None, "the bodies of a decided block are at hand"
            assert transaction not in self.log, "S4: a transaction is executed twice"
            self.log[transaction] = block.height
            self.pool.pop(key, None)
            self.kept[key] = transaction
            self.digest = hashlib.sha256(self.digest + key).digest()
        self.digest = hashlib.sha256(self.digest + block.digest).digest()
        self.height, self.last_ms = block.height, header.time_ms
        self.arrived = {}
        one = CertifiedBlock(block=block, certificate=decided.certificate, bodies=bodies)
        store(self.disk, one)
        if block.height % COMPACT_EVERY == 0:
            compact(self.disk)
        return BlockExecuted(height=block.height, digest=block.digest, validators=self.validators)

    def certified(self, height: int) -> CertifiedBlock | None:
        return self.disk.blocks.get(Height(height))

    def validator_sets(self) -> Mapping[Epoch, ValidatorSet]:
        return {Epoch(0): self.validators}

    def state_digest(self) -> bytes:
        return self.digest

    def time_ms(self) -> int:
        return self.last_ms

    def decided_at(self, height: int) -> list[bytes]:
        return [one for one, at in self.log.items() if at == height]

    def height_of(self, tx_id: bytes) -> int | None:
        return self.log.get(tx_id)

    def _bodies(self, block: Block) -> bytes:
        return encode_value(tuple(self.body(key) for key in hashes_of(block)))

    def _take_bodies(self, block: Block, bodies: bytes) -> bool:
        """Keep bodies that came along; False if they are not those of the block."""
        try:
            listed = decode_value(bodies, bytes_max=BODIES_BYTES_MAX)
        except DecodeError:
            return False
        if not isinstance(listed, tuple) or not all(isinstance(one, bytes) for one in listed):
            return False
        found = {transaction_hash(one): one for one in listed if isinstance(one, bytes)}
        if list(found) != hashes_of(block):
            return False
        self.arrived |= found
        return True

    def _keep(self, block: Block) -> None:
        for key in hashes_of(block):
            body = self.body(key)
            assert body is not None, "a proposal is recorded with its bodies"
            self.kept[key] = body

    def _decided(self) -> Decided:
        tip = Tip(
            height=GENESIS_HEIGHT,
            digest=GENESIS_DIGEST,
            proposer=None,
            transaction_count=0,
            certificate=None,
        )
        if self.height:
            last = self.disk.blocks[Height(self.height)]
            tip = Tip(
                height=last.block.height,
                digest=last.block.digest,
                proposer=last.block.proposer,
                transaction_count=last.block.transaction_count,
                certificate=last.certificate,
            )
        return Decided(
            tip=tip,
            epoch=Epoch(0),
            validators=self.validators,
            next_validators=self.validators,
        )


def later_block(
    block: Block, *, view: View | None = None, proposer: ReplicaId | None = None
) -> Block:
    """Another valid block on the same parent: a millisecond later, and possibly ours."""
    header = read_header(block.header)
    assert header is not None, "only consistent blocks are varied"
    fields = {name: getattr(header, name) for name in Header.__slots__}
    fields["time_ms"] = header.time_ms + 1
    if view is not None and proposer is not None:
        fields |= {"view": view, "proposer": proposer}
    return make_block(Header(**fields), block.parent_certificate, block.payload)


def make_block(
    header: Header, parent_certificate: CommitCertificate | None, payload: bytes
) -> Block:
    encoded = encode_value(tuple(getattr(header, name) for name in Header.__slots__))
    return Block(
        height=Height(header.height),
        view=View(header.view),
        proposer=ReplicaId(header.proposer),
        parent=Digest(header.parent),
        digest=Digest(hashlib.sha256(b"header" + encoded).digest()),
        header=encoded,
        parent_certificate=parent_certificate,
        payload=payload,
    )


def read_header(encoded: bytes) -> Header | None:
    try:
        fields: Value = decode_value(encoded, bytes_max=1 << 12)
    except DecodeError:
        return None
    if not isinstance(fields, tuple) or len(fields) != len(Header.__slots__):
        return None
    named = dict(zip(Header.__slots__, fields, strict=True))
    if any(
        not isinstance(value, bytes if name in BYTES_FIELDS else int)
        for name, value in named.items()
    ):
        return None
    return Header(**named)  # type: ignore[arg-type]  # Checked just above.


BYTES_FIELDS = ("parent", "parent_certificate", "payload", "state")


def _proof_digest(certificate: CommitCertificate | None) -> bytes:
    return bytes(32) if certificate is None else certificate_digest(certificate)
