"""A node in one process and in memory: a real ledger, real blocks, real certificates, no consensus.

Each block that is decided has a header, commits of a quorum of the founding nodes and a state tree,
so clients can check everything they are told. Time stands still until a test moves it.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.facts import Facts
from api.metrics import Measures, Value
from api.ports import (
    LogEntry,
    NotTaken,
    Ports,
    StorageReceipts,
    StoredBlock,
    Submitted,
    Tip,
    TransactionStatus,
)
from crypto.cid import Cid
from crypto.envelopes import check_sidecar
from crypto.hashing import ChainId, Digest, Domain
from crypto.signatures import Scheme, sign
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from crypto.validators import ReplicaId
from crypto.votes import (
    FIRST_VIEW,
    NO_DIGEST,
    Height,
    certificate_digest,
)
from genesis.files import dump_genesis
from ledger.blocks import Header, header_digest, receipts_root, tx_root
from ledger.contracts.governance import epoch_at
from ledger.errors import InvalidTransaction, PoolFull
from ledger.exchange import SealedHeader, Witness
from ledger.parameters import Parameters, get_parameters
from ledger.receipts import Receipt
from ledger.replay import Status
from ledger.state import MemoryState, StateView
from ledger.storage_receipts import storage_receipt_payload
from ledger.transactions import (
    Transaction,
    check_transaction_signature,
    decode_transaction,
)
from ledger.tree.proofs import prove_many
from storage.errors import BlobMismatch, BlobMissing
from tests.api.written_facts import make_facts
from tests.unit.ledger.certified_headers import certify, lowest_voters
from tests.unit.ledger.record_samples import Hospitals, sidecars_of
from tests.unit.ledger.small_consortium import signing_key
from tests.unit.ledger.state_tree_samples import StoredTree

POOL_MAX = 1_000


def ignore_leaf(_position: int) -> None:
    """Let a download go on."""


@dataclass(slots=True)
class MemoryNode:
    """Node 1 of the small consortium.

    `ahead_ms` is how far its clock runs ahead of the tip's time; `is_deciding` False lets
    transactions wait for `decide_waiting`; `on_leaf` is called before each leaf that is read;
    `awaited` is set when somebody begins to wait for a block.
    """

    hospitals: Hospitals = field(default_factory=Hospitals)
    node_index: int = 1
    organisation: str = "north"
    ahead_ms: int = 0
    is_deciding: bool = True
    freshness: bool = True
    on_leaf: Callable[[int], None] = ignore_leaf
    tree: StoredTree = field(default_factory=StoredTree)
    tip_view: MemoryState = field(default_factory=MemoryState)
    last_view: MemoryState = field(default_factory=MemoryState)
    blocks: dict[int, StoredBlock] = field(default_factory=dict)
    decided: dict[Digest, tuple[bytes, Receipt]] = field(default_factory=dict)
    waiting: dict[Digest, Transaction] = field(default_factory=dict)
    logs: dict[bytes, list[LogEntry]] = field(default_factory=dict)
    sidecar_contents: dict[Digest, bytes] = field(default_factory=dict)
    places: dict[Digest, tuple[bytes, ...]] = field(default_factory=dict)
    blob_contents: dict[bytes, bytes] = field(default_factory=dict)
    last_receipts: tuple[Receipt, ...] = ()
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    awaited: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        entries = self.hospitals.chain.state.entries()
        self.tree.change(entries)
        self.tip_view = MemoryState(entries)
        self.decide([])

    @property
    def chain_id(self) -> ChainId:
        return self.hospitals.chain.chain_id

    @property
    def genesis(self) -> bytes:
        return dump_genesis(self.hospitals.chain.document)

    def ports(self) -> Ports:
        return Ports(transactions=self, chain=self, blobs=self, node=self)

    def decide(self, transactions: Sequence[Transaction], *, after_ms: int = 1_000) -> None:
        """Decide and execute the next block."""
        chain = self.hospitals.chain
        certified = self.tree.version
        result = chain.apply(*transactions, after_ms=after_ms)
        sealed = self._sealed(self._header(transactions))
        assert certified is not None
        self.blocks[chain.height] = StoredBlock(
            sealed_header=sealed, transactions=tuple(one.signed for one in transactions)
        )
        self.last_view, self.tip_view = self.tip_view, MemoryState(chain.state.entries())
        self.tree.change(result.writes)
        self.last_receipts = result.receipts
        for transaction, receipt in zip(transactions, result.receipts, strict=True):
            self.decided[transaction.tx_id] = (transaction.signed, receipt)
            self.waiting.pop(transaction.tx_id, None)
            self._enter(transaction, receipt)
        for place in result.sidecars:
            known = self.places.get(place.digest, ())
            self.places[place.digest] = (*known, place.key)

    def decide_waiting(self) -> None:
        self.decide(list(self.waiting.values()))

    async def announce(self) -> None:
        """Wake whoever waits for a height or a receipt."""
        async with self.moved:
            self.moved.notify_all()

    def signed(self, kind: str, payload: Any, by: str, **options: Any) -> bytes:
        options.setdefault("sidecars", sidecars_of(payload))
        return self.hospitals.chain.signed(kind, payload, by, **options)

    def accept(self, kind: str, payload: Any, by: str, **options: Any) -> Receipt:
        """Decide a block with this one transaction; it must be accepted."""
        signed = self.signed(kind, payload, by, **options)
        transaction = decode_transaction(signed, self.chain_id)
        self.decide([transaction])
        receipt = self.last_receipts[0]
        assert receipt.accepted, receipt.code
        return receipt

    # What `api.ports` asks for: transactions.

    async def submit(
        self, items: Sequence[tuple[bytes, tuple[bytes, ...]]]
    ) -> tuple[Submitted | NotTaken, ...]:
        answers = [self._take(signed, sidecars) for signed, sidecars in items]
        if self.is_deciding and self.waiting:
            self.decide_waiting()
            await self.announce()
        return tuple(answers)

    def status(self, tx_id: Digest) -> TransactionStatus:
        found = self.decided.get(tx_id)
        if found is not None:
            state = Status.COMMITTED if found[1].accepted else Status.REFUSED
            return TransactionStatus(tx_id=tx_id, state=state, receipt=found[1])
        state = Status.PENDING if tx_id in self.waiting else Status.UNKNOWN
        return TransactionStatus(tx_id=tx_id, state=state, receipt=None)

    async def wait_final(self, tx_id: Digest, timeout_ms: int) -> TransactionStatus:
        await self._wait(lambda: tx_id in self.decided, timeout_ms)
        return self.status(tx_id)

    def transaction(self, tx_id: Digest) -> tuple[bytes, Receipt] | None:
        return self.decided.get(tx_id)

    # The chain.

    def tip(self) -> Tip:
        chain = self.hospitals.chain
        header = self.blocks[chain.height].sealed_header.header
        return Tip(
            height=Height(chain.height),
            digest=header_digest(header),
            time_ms=chain.time_ms,
            epoch=header.epoch,
        )

    def certified_height(self) -> Height:
        return Height(self.hospitals.chain.height - 1)

    def block(self, height: Height) -> StoredBlock | None:
        return self.blocks.get(height)

    def receipts(self, height: Height) -> tuple[Receipt, ...] | None:
        if height not in self.blocks:
            return None
        there = [receipt for _, receipt in self.decided.values() if receipt.height == height]
        return tuple(sorted(there, key=lambda receipt: receipt.index))

    def sealed_header(self, height: Height) -> SealedHeader | None:
        found = self.blocks.get(height)
        return None if found is None else found.sealed_header

    def view(self) -> StateView:
        return self.tip_view

    def certified_view(self) -> StateView:
        return self.last_view

    def parameters(self) -> Parameters:
        return get_parameters(self.tip_view)

    def witness(self, keys: Sequence[bytes]) -> Witness:
        assert self.tree.version is not None
        return Witness(
            sealed_header=self.blocks[self.hospitals.chain.height].sealed_header,
            keys=tuple(keys),
            proofs=prove_many(self.tree.nodes, self.tree.version - 1, keys),
        )

    async def wait_height(self, height: Height, timeout_ms: int) -> Height:
        await self._wait(lambda: self.hospitals.chain.height >= height, timeout_ms)
        return Height(self.hospitals.chain.height)

    def log(
        self, subject: bytes, *, after: tuple[int, int, int] | None, limit: int
    ) -> tuple[LogEntry, ...]:
        found = [
            one
            for one in self.logs.get(subject, [])
            if after is None or (one.height, one.index, one.number) > after
        ]
        return tuple(found[:limit])

    # Bytes.

    async def put_blob(
        self, cid: bytes, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> StorageReceipts:
        content = b"".join([chunk async for chunk in chunks])
        if len(content) != size_bytes or cid_of_stream(io.BytesIO(content)) != cid:
            raise BlobMismatch("the uploaded bytes are not those of the content address")
        self.blob_contents[cid] = content
        return StorageReceipts(
            cid=cid,
            size_bytes=size_bytes,
            receipts=tuple((index, self._promise(Cid(cid), size_bytes, index)) for index in (1, 2)),
            wanted=2,
        )

    async def open_blob(self, cid: bytes, *, start: int) -> AsyncGenerator[bytes]:
        content = self.blob_contents.get(cid)
        if content is None:
            raise BlobMissing("the blob cannot be had now; try again later")
        position = start
        while position < len(content):
            self.on_leaf(position // LEAF_BYTES)
            end = (position // LEAF_BYTES + 1) * LEAF_BYTES
            yield content[position:end]
            position = end

    def sidecar_places(self, digest: Digest) -> tuple[bytes, ...]:
        return self.places.get(digest, ())

    async def sidecar(self, digest: Digest) -> bytes | None:
        return self.sidecar_contents.get(digest)

    # What operators see.

    def clock_ms(self) -> int:
        return self.hospitals.chain.time_ms + self.ahead_ms

    def is_fresh(self) -> bool:
        return self.freshness

    def consensus(self) -> dict[str, object]:
        return {"height": self.hospitals.chain.height, "view": 0, "loop_lag_ms_max": 5}

    def peers(self) -> list[dict[str, object]]:
        return [{"node": 2, "state": "connected", "rtt_ms": 3, "clock_offset_ms": -20}]

    def evidence(self) -> list[dict[str, object]]:
        return [{"node": 2, "height": 7, "vote": "prepare"}]

    def facts(self) -> Facts:
        return make_facts(height=self.hospitals.chain.height)

    def measures(self) -> Measures:
        height: Value = self.hospitals.chain.height
        return {"height": [((), height)], "peers": [(("connected",), 1)]}

    # Below the ports.

    def _take(self, signed: bytes, sidecars: Sequence[bytes]) -> Submitted | NotTaken:
        tx_id: Digest | None = None
        try:
            transaction = decode_transaction(signed, self.chain_id)
            tx_id = transaction.tx_id
            if tx_id in self.decided or tx_id in self.waiting:
                return Submitted(status=self.status(tx_id))
            check_transaction_signature(transaction)
        except InvalidTransaction as problem:
            return NotTaken(tx_id=tx_id, code=problem.code, text=str(problem), definite=True)
        if len(self.waiting) >= POOL_MAX:
            full = PoolFull("the pool is full")
            return NotTaken(tx_id=tx_id, code=full.code, text=str(full), definite=False)
        for digest, content in zip(transaction.body.sidecars, sidecars, strict=False):
            check_sidecar(digest, content)
            self.sidecar_contents[digest] = content
        self.waiting[transaction.tx_id] = transaction
        return Submitted(
            status=TransactionStatus(tx_id=transaction.tx_id, state=Status.PENDING, receipt=None)
        )

    def _enter(self, transaction: Transaction, receipt: Receipt) -> None:
        for number, event in enumerate(receipt.events):
            if event.subject is not None:
                entry = LogEntry(
                    height=Height(receipt.height),
                    index=receipt.index,
                    number=number,
                    time_ms=self.hospitals.time_ms,
                    sender=transaction.body.sender,
                    receipt=receipt,
                )
                self.logs.setdefault(event.subject, []).append(entry)

    async def _wait(self, condition: Callable[[], bool], timeout_ms: int) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1_000), self.moved:
                self.awaited.set()
                await self.moved.wait_for(condition)
        except TimeoutError:
            pass  # The caller looks for itself.

    def _header(self, transactions: Sequence[Transaction]) -> Header:
        chain = self.hospitals.chain
        parent = self.blocks.get(chain.height - 1)
        epoch = epoch_at(self.tip_view, chain.height)
        return Header(
            chain_id=self.chain_id,
            epoch=epoch.epoch,
            height=Height(chain.height),
            view=FIRST_VIEW,
            proposer=ReplicaId(0),
            parent=NO_DIGEST if parent is None else header_digest(parent.sealed_header.header),
            parent_certificate=NO_DIGEST
            if parent is None
            else certificate_digest(parent.sealed_header.certificate),
            time_ms=chain.time_ms,
            tx_root=tx_root([one.signed_hash for one in transactions]),
            tx_count=len(transactions),
            state_root=self.tree.root,
            receipts_root=receipts_root(self.chain_id, self.last_receipts),
            validators=epoch.validators.digest(),
            next_validators=epoch_at(self.tip_view, chain.height + 1).validators.digest(),
        )

    def _sealed(self, header: Header) -> SealedHeader:
        """Under the votes of the lowest members that make a quorum."""
        validators = epoch_at(self.tip_view, header.height).validators
        assert validators.digest() == header.validators, "the header names its own set"
        return SealedHeader(header=header, certificate=certify(header, lowest_voters(validators)))

    def _promise(self, cid: Cid, size_bytes: int, index: int) -> bytes:
        payload = storage_receipt_payload(cid, size_bytes, index)
        key = signing_key(f"node {index}", Scheme.ED25519)
        return sign(key, Domain.STORAGE_RECEIPT, self.chain_id, payload)
