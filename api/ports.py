"""What the HTTP rooms need from a node: one page of ports, owned by the consumer.

`shell/ports.py` implements them; tests may implement them over a real ledger in memory. Nothing
here knows consensus, sockets between nodes or files.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from api.facts import Facts
from api.metrics import Measures
from crypto.hashing import ChainId, Digest
from crypto.votes import Height
from ledger.blocks import Receipt
from ledger.exchange import SealedHeader, Witness
from ledger.parameters import Parameters
from ledger.replay import Status
from ledger.state import StateView


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStatus:
    """A transaction's state; `receipt` is there once it stands in a decided block.

    `pruned_height` is the block of one whose receipt this node does not keep any more.
    """

    tx_id: Digest
    state: Status
    receipt: Receipt | None
    pruned_height: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The node took (or already had) the transaction; its outcome is still open or in `status`."""

    status: TransactionStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The node did not take the transaction; `definite` says that it can never commit as it is."""

    tx_id: Digest | None
    code: str
    text: str
    definite: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The last executed block and the clock of the chain."""

    height: Height
    digest: Digest
    time_ms: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """A decided block as it is kept: header, certificate, signed transactions in order."""

    sealed_header: SealedHeader
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One event of a subject's log with its place in the chain."""

    height: Height
    index: int
    number: int
    time_ms: int
    sender: bytes
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageReceipts:
    """Who has promised to keep a blob: (validator index, signature) pairs, ascending."""

    cid: bytes
    size_bytes: int
    receipts: tuple[tuple[int, bytes], ...]
    wanted: int


class TransactionPort(Protocol):
    """Submitting transactions and asking after them."""

    async def submit(
        self, items: Sequence[tuple[bytes, tuple[bytes, ...]]]
    ) -> tuple[Submitted | NotTaken, ...]:
        """Take (signed transaction, sidecar contents) pairs; one answer each, in order."""

    def status(self, tx_id: Digest) -> TransactionStatus: ...

    async def wait_final(self, tx_id: Digest, timeout_ms: int) -> TransactionStatus:
        """Return as soon as the transaction is final, or its open state at the timeout."""

    def transaction(self, tx_id: Digest) -> tuple[bytes, Receipt] | None:
        """Return the signed bytes and the receipt of a transaction in a decided block."""


class ChainPort(Protocol):
    """Decided blocks and proven state."""

    @property
    def chain_id(self) -> ChainId: ...

    @property
    def genesis(self) -> bytes:
        """Return the text of `genesis.json`."""

    def tip(self) -> Tip: ...

    def certified_height(self) -> Height:
        """Return the newest height whose resulting state a decided header commits to."""

    def block(self, height: Height) -> StoredBlock | None: ...

    def receipts(self, height: Height) -> tuple[Receipt, ...] | None:
        """Return the receipts of a decided block, checked against the root of the chain."""

    def sealed_header(self, height: Height) -> SealedHeader | None: ...

    def view(self) -> StateView:
        """Return the state after the tip."""

    def certified_view(self) -> StateView:
        """Return the state that the newest decided header commits to: what `witness` proves."""

    def parameters(self) -> Parameters: ...

    def witness(self, keys: Sequence[bytes]) -> Witness:
        """Prove `keys` at the newest certified state."""

    async def wait_height(self, height: Height, timeout_ms: int) -> Height:
        """Return the tip once it reached `height`, or whatever it is at the timeout."""

    def log(
        self, subject: bytes, *, after: tuple[int, int, int] | None, limit: int
    ) -> tuple[LogEntry, ...]:
        """Return a subject's events in chain order after a cursor."""


class BlobPort(Protocol):
    """Sealed records as opaque, content-addressed bytes."""

    async def put_blob(
        self, cid: bytes, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> StorageReceipts:
        """Store verified bytes here and at f other hospitals; raise a named error otherwise."""

    def open_blob(self, cid: bytes, *, start: int) -> AsyncGenerator[bytes]:
        """Stream verified bytes from `start`, fetching from a replica if this node has none."""

    def sidecar_places(self, digest: Digest) -> tuple[bytes, ...]:
        """Return the state keys whose entries brought the sidecar; it lives while one names it."""

    async def sidecar(self, digest: Digest) -> bytes | None:
        """Return a live sidecar's content, asking peers when it is not here."""


class NodePort(Protocol):
    """What operators see."""

    @property
    def node_index(self) -> int: ...

    @property
    def organisation(self) -> str: ...

    def clock_ms(self) -> int: ...

    def is_fresh(self) -> bool:
        """Whether f+1 peers confirmed this node's height lately (else `node.behind`)."""

    def consensus(self) -> dict[str, object]: ...

    def peers(self) -> list[dict[str, object]]: ...

    def evidence(self) -> list[dict[str, object]]: ...

    def facts(self) -> Facts:
        """Return what the node knows of itself and the others now."""

    def measures(self) -> Measures:
        """Return the node's numbers for monitoring, by their names in `api.metrics`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All a node offers to its HTTP side."""

    transactions: TransactionPort
    chain: ChainPort
    blobs: BlobPort
    node: NodePort
