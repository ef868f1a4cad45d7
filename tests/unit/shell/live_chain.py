"""A node's chain and stores as they run, over the hospitals' state, without network or consensus.

Blocks are decided by a test: executed, made durable and published as a running node does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from consensus.blocks import Block
from consensus.effects import Decide
from crypto.envelopes import make_sidecar
from crypto.hashing import Digest
from crypto.schema import encode
from crypto.validators import ReplicaId
from crypto.votes import (
    FIRST_VIEW,
    NO_DIGEST,
    CommitCertificate,
    Height,
    certificate_digest,
)
from genesis.files import dump_genesis
from ledger.blocks import BlockBodies, Header, header_digest, tx_root
from ledger.pool import Pool, PoolLimits
from ledger.receipts import Receipt
from ledger.records_payloads import EnvelopeRef
from ledger.transactions import Transaction, decode_transaction
from shell.chain import Chain, open_live_chain
from shell.clock import Clock
from shell.execution import execute
from shell.proposals import Proposals
from storage.chain import create_chain
from storage.database import create_database
from storage.sidecars import SidecarStore, open_sidecars, put_sidecars
from tests.unit.ledger.certified_headers import certify, founding_voters
from tests.unit.ledger.record_samples import Hospitals, sidecars_of

QUORUM = (0, 1, 2)


@dataclass(slots=True)
class LiveChain:
    """`hospitals` signs and knows what was written; `chain` is what the node under test runs.

    `contents` are the sidecars that were handed in, by digest.
    """

    hospitals: Hospitals
    chain: Chain
    proposals: Proposals
    sidecars: SidecarStore
    certificate: CommitCertificate | None = None
    contents: dict[Digest, bytes] = field(default_factory=dict)

    async def decide(self, *transactions: Transaction, after_ms: int = 1_000) -> list[Receipt]:
        """Store the sidecars, then execute a block with the transactions, here and at hospitals."""
        for one in transactions:
            wanted = [(digest, self.contents[digest]) for digest in one.body.sidecars]
            put_sidecars(self.sidecars, wanted)
        decision = self.decision(*transactions, after_ms=after_ms)
        result = await execute(self.chain, self.proposals, self.sidecars, decision)
        assert result is not None, "a block is decided once"
        self.hospitals.chain.apply(*transactions, after_ms=after_ms)
        return list(result.receipts)

    async def submit(self, kind: str, payload: Any, by: str, **options: Any) -> Receipt:
        options.setdefault("sidecars", sidecars_of(payload))
        signed = self.hospitals.chain.signed(kind, payload, by, **options)
        (receipt,) = await self.decide(decode_transaction(signed, self.chain.chain_id))
        return receipt

    def with_contents(self, envelopes: Sequence[EnvelopeRef]) -> tuple[EnvelopeRef, ...]:
        """The same envelopes with sidecars that have contents."""
        found = []
        for one in envelopes:
            sidecar = make_sidecar(b"envelope for " + one.recipient)
            self.contents[sidecar.digest] = sidecar.content
            found.append(replace(one, sidecar=sidecar.digest))
        return tuple(found)

    def decision(self, *transactions: Transaction, after_ms: int = 1_000) -> Decide:
        """A decided block upon the tip with these transactions."""
        chain, tip = self.chain, self.chain.tip
        parent = NO_DIGEST if self.certificate is None else certificate_digest(self.certificate)
        facts = chain.parent_facts(parent)
        header = Header(
            chain_id=facts.chain_id,
            epoch=facts.epoch,
            height=Height(facts.height + 1),
            view=FIRST_VIEW,
            proposer=ReplicaId(0),
            parent=facts.header,
            parent_certificate=parent,
            time_ms=tip.time_ms + after_ms,
            tx_root=tx_root([one.signed_hash for one in transactions]),
            tx_count=len(transactions),
            state_root=facts.state_root,
            receipts_root=facts.receipts_root,
            validators=facts.validators.digest(),
            next_validators=facts.next_validators,
        )
        block = Block(
            height=header.height,
            view=header.view,
            proposer=header.proposer,
            parent=header.parent,
            digest=header_digest(header),
            header=encode(header),
            parent_certificate=self.certificate,
            payload=b"".join(one.signed_hash for one in transactions),
        )
        self.certificate = certify(header, founding_voters(QUORUM))
        bodies = encode(BlockBodies(transactions=tuple(one.signed for one in transactions)))
        return Decide(block=block, certificate=self.certificate, bodies=bodies)


def make_live_chain(folder: Path) -> LiveChain:
    """A chain whose first state is the hospitals' own, and an empty sidecar store."""
    hospitals = Hospitals()
    pool = Pool(
        PoolLimits(transactions_max=1_000, bytes_max=1 << 20, account_transactions_max=1_000)
    )
    stored = create_chain(
        create_database(folder / "ledger"),
        hospitals.chain.chain_id,
        hospitals.chain.state.entries(),
        time_ms=hospitals.chain.time_ms,
    )
    chain = open_live_chain(stored, dump_genesis(hospitals.chain.document), pool)
    (folder / "sidecars").mkdir()
    return LiveChain(
        hospitals=hospitals,
        chain=chain,
        proposals=Proposals(chain=chain, pool=pool, clock=Clock(), replica=ReplicaId(0)),
        sidecars=open_sidecars(folder / "sidecars"),
    )
