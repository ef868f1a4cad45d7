"""What the HTTP side asks of a running node (`api.ports`), answered by the rooms behind it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

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
from crypto.cid import Cid
from crypto.hashing import ChainId, Digest
from crypto.schema import decode
from crypto.votes import CommitCertificate, Height
from ledger.blocks import Header
from ledger.exchange import SealedHeader, Witness
from ledger.parameters import Parameters
from ledger.receipts import Receipt
from ledger.state import StateView
from shell import blobs as blob_exchange
from shell import intake as way_in
from shell import sidecars as sidecar_exchange
from shell.blobs import Blobs
from shell.chain import Chain, wait_height, wait_receipt
from shell.clock import Clock
from shell.facts import Sources, gather_facts, make_sources
from shell.fetching import stream_blob
from shell.freshness import is_fresh
from shell.intake import Intake
from shell.measures import gather_measures
from shell.mending import Mending, report_damage, report_damaged_receipts
from shell.overview import consensus_overview, evidence_overview, peers_overview
from shell.replica import Replica
from shell.sidecars import Sidecars
from shell.upkeep import Upkeep, storage_overview
from storage import blocks as stored_blocks
from storage import receipts as stored_receipts
from storage.errors import BlockCorrupt, ReceiptsCorrupt
from storage.keys import LogPlace


@dataclass(slots=True, kw_only=True)
class Transactions:
    """Submitting, and asking after what was submitted."""

    intake: Intake
    chain: Chain

    async def submit(
        self, items: Sequence[tuple[bytes, tuple[bytes, ...]]]
    ) -> tuple[Submitted | NotTaken, ...]:
        return tuple(await way_in.submit(self.intake, items))

    def status(self, tx_id: Digest) -> TransactionStatus:
        return self.chain.status(tx_id)

    async def wait_final(self, tx_id: Digest, timeout_ms: int) -> TransactionStatus:
        return await wait_receipt(self.chain, tx_id, timeout_ms)

    def transaction(self, tx_id: Digest) -> tuple[bytes, Receipt] | None:
        stored = self.chain.stored
        place = stored_blocks.find_transaction(stored, tx_id)
        if place is None:
            return None
        return (
            stored_blocks.get_transaction(stored, place),
            stored_receipts.get_receipt(stored, place),
        )


@dataclass(slots=True, kw_only=True)
class ChainReads:
    """Decided blocks and proven state."""

    chain: Chain
    mending: Mending

    @property
    def chain_id(self) -> ChainId:
        return self.chain.chain_id

    @property
    def genesis(self) -> bytes:
        return self.chain.genesis

    def tip(self) -> Tip:
        tip = self.chain.tip
        return Tip(height=tip.height, digest=tip.digest, time_ms=tip.time_ms, epoch=tip.epoch)

    def certified_height(self) -> Height:
        return Height(max(0, self.chain.tip.height - 1))

    def block(self, height: Height) -> StoredBlock | None:
        try:
            stored = stored_blocks.get_block(self.chain.stored, height)
        except BlockCorrupt as problem:
            report_damage(self.mending, problem.height)
            raise
        if stored is None:
            return None
        sealed = _sealed(stored.header, stored.certificate)
        return StoredBlock(sealed_header=sealed, transactions=stored.transactions)

    def receipts(self, height: Height) -> tuple[Receipt, ...] | None:
        kept = self.chain.receipts.get(height)
        if kept is not None:
            return kept
        try:
            return stored_receipts.get_receipts(self.chain.stored, height)
        except ReceiptsCorrupt as problem:
            report_damaged_receipts(self.mending, problem.height)
            raise

    def sealed_header(self, height: Height) -> SealedHeader | None:
        stored = stored_blocks.get_stored_header(self.chain.stored, height)
        return None if stored is None else _sealed(stored.header, stored.certificate)

    def view(self) -> StateView:
        return self.chain.view()

    def certified_view(self) -> StateView:
        certified = self.chain.stored.world.certified
        return self.chain.view() if certified is None else certified

    def parameters(self) -> Parameters:
        return self.chain.parameters()

    def witness(self, keys: Sequence[bytes]) -> Witness:
        height = self.chain.tip.height
        sealed_header = self.sealed_header(Height(height))
        if sealed_header is None:
            raise NothingCertified("no block is decided yet; try again in a moment")
        ordered = tuple(dict.fromkeys(keys))
        return Witness(
            sealed_header=sealed_header,
            keys=ordered,
            proofs=stored_blocks.prove_states(self.chain.stored, height - 1, ordered),
        )

    async def wait_height(self, height: Height, timeout_ms: int) -> Height:
        return Height(await wait_height(self.chain, height, timeout_ms))

    def log(
        self, subject: bytes, *, after: tuple[int, int, int] | None, limit: int
    ) -> tuple[LogEntry, ...]:
        entries = stored_receipts.read_log(
            self.chain.stored,
            subject,
            after=None if after is None else LogPlace(*after),
            limit=limit,
        )
        return tuple(
            LogEntry(
                height=Height(one.place.height),
                index=one.place.index,
                number=one.place.number,
                time_ms=one.time_ms,
                sender=one.sender,
                receipt=one.receipt,
            )
            for one in entries
        )


@dataclass(slots=True, kw_only=True)
class BlobReads:
    """Sealed records and sidecars."""

    blobs: Blobs
    sidecars: Sidecars

    async def put_blob(
        self, cid: bytes, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> StorageReceipts:
        return await blob_exchange.put_blob(self.blobs, Cid(cid), size_bytes, chunks)

    def open_blob(self, cid: bytes, *, start: int) -> AsyncGenerator[bytes]:
        return stream_blob(self.blobs, Cid(cid), start=start)

    def sidecar_places(self, digest: Digest) -> tuple[bytes, ...]:
        places = stored_blocks.sidecar_places(self.sidecars.chain.stored, digest)
        return tuple(key for _, key in places)

    async def sidecar(self, digest: Digest) -> bytes | None:
        return await sidecar_exchange.find_live_sidecar(self.sidecars, digest)


@dataclass(slots=True, kw_only=True)
class NodeReads:
    """What operators see."""

    replica: Replica
    upkeep: Upkeep
    clock: Clock
    run_by: str
    sources: Sources

    @property
    def organisation(self) -> str:
        return self.run_by

    @property
    def node_index(self) -> int:
        return self.replica.state.config.replica

    def clock_ms(self) -> int:
        return self.clock.now_ms()

    def is_fresh(self) -> bool:
        return is_fresh(self.replica)

    def consensus(self) -> dict[str, object]:
        return {**consensus_overview(self.replica), "storage": storage_overview(self.upkeep)}

    def peers(self) -> list[dict[str, object]]:
        return peers_overview(self.replica)

    def evidence(self) -> list[dict[str, object]]:
        return evidence_overview(self.replica)

    def facts(self) -> Facts:
        return gather_facts(self.sources)

    def measures(self) -> Measures:
        return gather_measures(self.sources)


class NothingCertified(Exception):
    """No header carries a state root yet: the chain has no block."""

    code = "state.not_certified"


def make_ports(
    *,
    intake: Intake,
    chain: Chain,
    blobs: Blobs,
    sidecars: Sidecars,
    upkeep: Upkeep,
    replica: Replica,
    clock: Clock,
    organisation: str,
) -> Ports:
    return Ports(
        transactions=Transactions(intake=intake, chain=chain),
        chain=ChainReads(chain=chain, mending=upkeep.mending),
        blobs=BlobReads(blobs=blobs, sidecars=sidecars),
        node=NodeReads(
            replica=replica,
            upkeep=upkeep,
            clock=clock,
            run_by=organisation,
            sources=make_sources(replica, intake, upkeep.scrubbing),
        ),
    )


def _sealed(header: bytes, certificate: bytes) -> SealedHeader:
    return SealedHeader(
        header=decode(Header, header), certificate=decode(CommitCertificate, certificate)
    )
