"""A node without peers: the real ledger, tree and API; each transaction becomes a block at once.

Four founding nodes certify every block, all of their keys being in this process. Whatever a client
sees of it is what a node of a consortium would show.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from api.app import start_api
from api.facts import Facts
from api.metrics import Measures
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
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.unixfs import CidHasher
from crypto.votes import NO_DIGEST, Height
from genesis.files import dump_genesis
from ledger.blocks import Receipt, header_digest, receipts_root, tx_root
from ledger.contracts.governance import epoch_at
from ledger.errors import InvalidTransaction
from ledger.exchange import SealedHeader, Witness
from ledger.parameters import Parameters, get_parameters
from ledger.replay import Status
from ledger.state import MemoryState
from ledger.transactions import check_transaction_signature, decode_transaction
from ledger.tree.proofs import prove_many
from tests.api.written_facts import make_facts
from tests.unit.client.certified_state import CertifiedState
from tests.unit.ledger.record_samples import SAFE_NODES, Hospitals
from tests.unit.ledger.small_consortium import Consortium, genesis
from tests.unit.ledger.state_tree_samples import StoredTree

NODE = 1


class BlobMismatch(Exception):
    code = "blob.mismatch"


@dataclass(slots=True)
class SmallNode:
    """The chain so far; `keeps_at` are the nodes that promise to keep a
    blob, `before_take` runs once, before the next transaction handed in."""

    hospitals: Hospitals = field(default_factory=Hospitals)
    headers: dict[int, SealedHeader] = field(default_factory=dict)
    bodies: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    decided: dict[Digest, tuple[bytes, Receipt]] = field(default_factory=dict)
    events: list[LogEntry] = field(default_factory=list)
    kept: dict[bytes, bytes] = field(default_factory=dict)
    contents: dict[Digest, bytes] = field(default_factory=dict)
    places: dict[Digest, tuple[bytes, ...]] = field(default_factory=dict)
    keeps_at: tuple[int, ...] = SAFE_NODES
    node_index: int = NODE
    organisation: str = "north"
    peer_rows: list[dict[str, object]] = field(default_factory=list)
    before_take: Callable[[], None] | None = None
    tree: StoredTree = field(default_factory=StoredTree)
    receipts_before: tuple[Receipt, ...] = ()
    certified: CertifiedState = field(init=False)

    def __post_init__(self) -> None:
        self.certified = CertifiedState(hospitals=self.hospitals)
        self.tree.change(self.chain.state.entries())
        self.seal_empty()

    @property
    def chain(self) -> Consortium:
        return self.hospitals.chain

    # TransactionPort

    async def submit(
        self, items: Sequence[tuple[bytes, tuple[bytes, ...]]]
    ) -> tuple[Submitted | NotTaken, ...]:
        before, self.before_take = self.before_take, None
        if before is not None:
            before()  # What others did while this was on its way.
        return tuple([self.take(signed, sidecars) for signed, sidecars in items])

    def status(self, tx_id: Digest) -> TransactionStatus:
        found = self.decided.get(tx_id)
        if found is None:
            return TransactionStatus(tx_id=tx_id, state=Status.UNKNOWN, receipt=None)
        receipt = found[1]
        state = Status.COMMITTED if receipt.accepted else Status.REFUSED
        return TransactionStatus(tx_id=tx_id, state=state, receipt=receipt)

    async def wait_final(self, tx_id: Digest, timeout_ms: int) -> TransactionStatus:
        return self.status(tx_id)

    def transaction(self, tx_id: Digest) -> tuple[bytes, Receipt] | None:
        return self.decided.get(tx_id)

    # ChainPort

    @property
    def chain_id(self) -> ChainId:
        return self.chain.chain_id

    @property
    def genesis(self) -> bytes:
        return dump_genesis(genesis())

    def tip(self) -> Tip:
        header = self.headers[self.chain.height].header
        return Tip(
            height=header.height,
            digest=header_digest(header),
            time_ms=header.time_ms,
            epoch=header.epoch,
        )

    def certified_height(self) -> Height:
        return Height(self.chain.height - 1)

    def block(self, height: Height) -> StoredBlock | None:
        sealed = self.headers.get(height)
        if sealed is None:
            return None
        return StoredBlock(sealed_header=sealed, transactions=self.bodies.get(height, ()))

    def receipts(self, height: Height) -> tuple[Receipt, ...] | None:
        there = [receipt for _, receipt in self.decided.values() if receipt.height == height]
        return tuple(there) if height in self.headers else None

    def sealed_header(self, height: Height) -> SealedHeader | None:
        return self.headers.get(height)

    def view(self) -> MemoryState:
        return self.chain.state

    def certified_view(self) -> MemoryState:
        return self.chain.state  # The tip is an empty block.

    def parameters(self) -> Parameters:
        return get_parameters(self.chain.state)

    def witness(self, keys: Sequence[bytes]) -> Witness:
        assert self.tree.version is not None
        return Witness(
            sealed_header=self.headers[self.chain.height],
            keys=tuple(keys),
            proofs=prove_many(self.tree.nodes, self.tree.version, keys),
        )

    async def wait_height(self, height: Height, timeout_ms: int) -> Height:
        """Decide an idle block when somebody waits for the next one."""
        if height == self.chain.height + 1:
            self.seal_empty()
        return Height(self.chain.height)

    def log(
        self, subject: bytes, *, after: tuple[int, int, int] | None, limit: int
    ) -> tuple[LogEntry, ...]:
        found = [
            entry
            for entry in self.events
            if entry.receipt.events[entry.number].subject == subject
            and (after is None or (entry.height, entry.index, entry.number) > after)
        ]
        return tuple(found[:limit])

    # BlobPort

    async def put_blob(
        self, cid: bytes, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> StorageReceipts:
        hasher, content = CidHasher(), bytearray()
        async for chunk in chunks:
            hasher.update(chunk)
            content += chunk
        if hasher.finish() != cid or len(content) != size_bytes:
            raise BlobMismatch("the bytes are others")
        self.kept[cid] = bytes(content)
        receipts = [
            (node, self.hospitals.receipt(node, cid, size_bytes).signature)
            for node in self.keeps_at
        ]
        return StorageReceipts(cid=cid, size_bytes=size_bytes, receipts=tuple(receipts), wanted=2)

    async def open_blob(self, cid: bytes, *, start: int) -> AsyncGenerator[bytes]:
        content = self.kept[cid]
        for offset in range(start, len(content), 1 << 20):
            yield content[offset : offset + (1 << 20)]

    def sidecar_places(self, digest: Digest) -> tuple[bytes, ...]:
        return self.places.get(digest, ())

    async def sidecar(self, digest: Digest) -> bytes | None:
        return self.contents.get(digest)

    # NodePort

    def clock_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def is_fresh(self) -> bool:
        return True

    def consensus(self) -> dict[str, object]:
        return {}

    def peers(self) -> list[dict[str, object]]:
        return self.peer_rows

    def evidence(self) -> list[dict[str, object]]:
        return []

    def facts(self) -> Facts:
        return make_facts()

    def measures(self) -> Measures:
        return {}

    def take(self, signed: bytes, sidecars: tuple[bytes, ...]) -> Submitted | NotTaken:
        try:
            transaction = decode_transaction(signed, self.chain_id)
            check_transaction_signature(transaction)
        except InvalidTransaction as problem:
            return NotTaken(tx_id=None, code=problem.code, text=str(problem), definite=True)
        tx_id = transaction.tx_id
        if tx_id in self.decided:
            return Submitted(status=self.status(tx_id))
        if self.chain.state.get(b"identity/account/" + transaction.body.sender) is None:
            return NotTaken(
                tx_id=tx_id, code="transaction.unknown_sender", text="who?", definite=False
            )
        result = self.chain.apply(transaction, after_ms=self._pause_ms())
        receipt = result.receipts[0]
        self.decided[tx_id] = (signed, receipt)
        self.bodies[self.chain.height] = (signed,)
        self.events += [
            LogEntry(
                height=Height(receipt.height),
                index=receipt.index,
                number=number,
                time_ms=self.chain.time_ms,
                sender=transaction.body.sender,
                receipt=receipt,
            )
            for number in range(len(receipt.events))
        ]
        contents = dict(zip(transaction.body.sidecars, sidecars, strict=True))
        for place in result.sidecars:
            self.contents[place.digest] = contents[place.digest]
            self.places[place.digest] = (*self.places.get(place.digest, ()), place.key)
        self._seal((receipt,))
        if result.writes:
            self.tree.change(result.writes)
        self.seal_empty()
        return Submitted(status=self.status(tx_id))

    def _pause_ms(self) -> int:
        return max(1, self.clock_ms() - self.chain.time_ms)

    def seal_empty(self) -> None:
        self.chain.apply(after_ms=self._pause_ms())
        self._seal(())

    def _seal(self, receipts: tuple[Receipt, ...]) -> None:
        """Certify the block just executed; its header carries the roots from before it."""
        height = self.chain.height
        parent = self.headers.get(height - 1)
        signed = self.bodies.get(height, ())
        epoch = epoch_at(self.chain.state, height)
        header = self.certified.header(
            self.tree.root,
            height=Height(height),
            time_ms=self.chain.time_ms,
            epoch=epoch.epoch,
            validators=epoch.validators.digest(),
            next_validators=epoch_at(self.chain.state, height + 1).validators.digest(),
            parent=NO_DIGEST if parent is None else header_digest(parent.header),
            tx_root=tx_root(
                [digest(Domain.SIGNED_TRANSACTION, self.chain_id, one) for one in signed]
            ),
            tx_count=len(signed),
            receipts_root=receipts_root(self.chain_id, self.receipts_before),
        )
        self.receipts_before = receipts
        self.headers[height] = self.certified.sealed(header, validators=epoch.validators)


@asynccontextmanager
async def serve(node: SmallNode) -> AsyncIterator[str]:
    """Serve a node on loopback; yield its address."""
    ports = Ports(transactions=node, chain=node, blobs=node, node=node)
    running = await start_api(ports, host="127.0.0.1", port=0)
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        await running.close()
