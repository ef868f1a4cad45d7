"""What a replica agrees about, in the smallest form: an ordered log of transactions.

`Application` is what the simulated shell needs to know of a ledger; `LogApplication` is a log with
a running digest. The real ledger and pool take its place behind the same protocol.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

from consensus.blocks import Block
from crypto.encoding import Value, decode_value, encode_value
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import CommitCertificate, Height, View, certificate_digest

BLOCK_TRANSACTIONS_MAX = 8
DELTA_MS = 2_000
DELTA_PAST_MS = 10_000
BODIES_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """About a proposed block: a refusal, a delay after which it is due, or neither."""

    refusal: str | None = None
    wait_ms: int = 0


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
    """A ledger with its pool, as one replica sees it; `crash` keeps what is durable."""

    @property
    def height(self) -> int: ...

    def add(self, transaction: bytes) -> bool:
        """Pool a transaction; False for one that is pooled or executed already."""

    def pooled(self) -> list[bytes]: ...

    def propose(
        self,
        *,
        height: Height,
        view: View,
        epoch: Epoch,
        proposer: ReplicaId,
        parent: Digest,
        parent_certificate: CommitCertificate | None,
        now_ms: int,
    ) -> Block: ...

    def is_consistent(self, block: Block) -> bool:
        """Whether a block's fields repeat its header and its payload leads to it."""

    def missing(self, block: Block) -> list[bytes]:
        """The hashes of bodies that are not at hand."""

    def body(self, transaction_hash: bytes) -> bytes | None: ...

    def bodies(self, block: Block) -> bytes: ...

    def take_bodies(self, block: Block, bodies: bytes) -> bool:
        """Keep bodies that came along; False if they are not those of the block."""

    def keep(self, block: Block) -> None:
        """Make the bodies of a proposal durable."""

    def check(self, block: Block, *, now_ms: int, is_fresh: bool) -> Verdict: ...

    def execute(self, block: Block) -> ValidatorSet:
        """Apply a decided block, durably; return the members of two heights on."""

    def state_digest(self) -> bytes: ...

    def executed(self) -> dict[bytes, int]:
        """Transactions in the order of execution, with the height of each."""

    def crash(self) -> None: ...


def transaction_hash(transaction: bytes) -> bytes:
    return hashlib.sha256(transaction).digest()


def hashes_of(block: Block) -> list[bytes]:
    return [block.payload[at : at + 32] for at in range(0, len(block.payload), 32)]


@dataclass(slots=True, kw_only=True)
class LogApplication:
    """An ordered log: the state is the digest of everything executed so far, and its time."""

    validators: ValidatorSet
    log: dict[bytes, int] = field(default_factory=dict)
    digest: bytes = bytes(32)
    height: int = 0
    time_ms: int = 0
    pool: dict[bytes, bytes] = field(default_factory=dict)
    arrived: dict[bytes, bytes] = field(default_factory=dict)  # Bodies that came with a block.
    kept: dict[bytes, bytes] = field(default_factory=dict)  # Bodies on disk, by hash.

    def add(self, transaction: bytes) -> bool:
        key = transaction_hash(transaction)
        if key in self.pool or transaction in self.log:
            return False
        self.pool[key] = transaction
        return True

    def pooled(self) -> list[bytes]:
        return list(self.pool.values())

    def propose(
        self,
        *,
        height: Height,
        view: View,
        epoch: Epoch,
        proposer: ReplicaId,
        parent: Digest,
        parent_certificate: CommitCertificate | None,
        now_ms: int,
    ) -> Block:
        assert height == self.height + 1, "the parent is executed"
        payload = b"".join(list(self.pool)[:BLOCK_TRANSACTIONS_MAX])
        header = Header(
            height=height,
            view=view,
            epoch=epoch,
            proposer=proposer,
            parent=parent,
            parent_certificate=_proof_digest(parent_certificate),
            time_ms=max(now_ms, self.time_ms + 1),
            payload=hashlib.sha256(payload).digest(),
            state=self.digest,
        )
        return make_block(header, parent_certificate, payload)

    def is_consistent(self, block: Block) -> bool:
        header = read_header(block.header)
        return (
            header is not None
            and make_block(header, block.parent_certificate, block.payload) == block
            and header.payload == hashlib.sha256(block.payload).digest()
            and (header.parent_certificate == _proof_digest(block.parent_certificate))
        )

    def missing(self, block: Block) -> list[bytes]:
        return [key for key in hashes_of(block) if self.body(key) is None]

    def body(self, transaction_hash: bytes) -> bytes | None:
        for place in (self.pool, self.kept, self.arrived):
            if transaction_hash in place:
                return place[transaction_hash]
        return None

    def bodies(self, block: Block) -> bytes:
        return encode_value(tuple(self.body(key) for key in hashes_of(block)))

    def take_bodies(self, block: Block, bodies: bytes) -> bool:
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

    def keep(self, block: Block) -> None:
        for key in hashes_of(block):
            body = self.body(key)
            assert body is not None, "a proposal is recorded with its bodies"
            self.kept[key] = body

    def check(self, block: Block, *, now_ms: int, is_fresh: bool) -> Verdict:
        header = read_header(block.header)
        assert header is not None, "only consistent blocks reach the core"
        if (header.height, header.state) != (self.height + 1, self.digest):
            return Verdict(refusal="block.state_root")
        if header.time_ms <= self.time_ms:
            return Verdict(refusal="block.time_order")
        if len(set(hashes_of(block))) < len(hashes_of(block)):
            return Verdict(refusal="block.duplicate")
        bodies = [self.body(key) for key in hashes_of(block)]
        if any(body in self.log for body in bodies if body is not None):
            return Verdict(refusal="block.replay")
        if is_fresh and header.time_ms < now_ms - DELTA_PAST_MS:
            return Verdict(refusal="block.time_past")
        if is_fresh and header.time_ms > now_ms + DELTA_MS:
            return Verdict(wait_ms=header.time_ms - now_ms - DELTA_MS)
        return Verdict()

    def execute(self, block: Block) -> ValidatorSet:
        header = read_header(block.header)
        assert header is not None, "decided blocks are consistent"
        assert (header.height, header.state) == (self.height + 1, self.digest), (
            "a decided block leads to another state than ours"
        )
        for key in hashes_of(block):
            transaction = self.body(key)
            assert transaction is not None, "the bodies of a decided block are at hand"
            assert transaction not in self.log, "S4: a transaction is executed twice"
            self.log[transaction] = block.height
            self.pool.pop(key, None)
            self.kept[key] = transaction
            self.digest = hashlib.sha256(self.digest + key).digest()
        self.digest = hashlib.sha256(self.digest + block.digest).digest()
        self.height, self.time_ms = block.height, header.time_ms
        self.arrived = {}
        return self.validators

    def state_digest(self) -> bytes:
        return self.digest

    def executed(self) -> dict[bytes, int]:
        return self.log

    def crash(self) -> None:
        self.pool, self.arrived = {}, {}


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
