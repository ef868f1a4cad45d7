"""A certified state in memory: what an honest node would prove, and means to prove it wrongly."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from client.trust import Trust, make_trust
from crypto.hashing import Digest
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import (
    FIRST_VIEW,
    NO_DIGEST,
    Height,
    VoteType,
)
from ledger.blocks import Header
from ledger.contracts.governance import FIRST_EPOCH
from ledger.exchange import SealedHeader, Witness
from ledger.state import MemoryState
from ledger.tree.proofs import prove_many
from tests.unit.ledger.certified_headers import certify, founding_key, lowest_voters
from tests.unit.ledger.record_samples import Hospitals
from tests.unit.ledger.small_consortium import genesis
from tests.unit.ledger.state_tree_samples import StoredTree

QUORUM = (0, 1, 2)


@dataclass(slots=True)
class CertifiedState:
    """The state of some hospitals, under headers that the founding nodes sign."""

    hospitals: Hospitals = field(default_factory=Hospitals)
    trust: Trust = field(default_factory=lambda: make_trust(genesis()))

    @property
    def state(self) -> MemoryState:
        return self.hospitals.chain.state

    @property
    def time_ms(self) -> int:
        return self.hospitals.time_ms + 1_000

    def tree(self, changes: dict[bytes, bytes | None] | None = None) -> StoredTree:
        tree = StoredTree()
        tree.change({**self.state.entries(), **(changes or {})})
        return tree

    def header(self, state_root: Digest, **changes: Any) -> Header:
        validators = self.trust.validators.digest()
        header = Header(
            chain_id=self.trust.chain_id,
            epoch=FIRST_EPOCH,
            height=Height(self.hospitals.chain.height + 1),
            view=FIRST_VIEW,
            proposer=ReplicaId(0),
            parent=NO_DIGEST,
            parent_certificate=NO_DIGEST,
            time_ms=self.time_ms,
            tx_root=NO_DIGEST,
            tx_count=0,
            state_root=state_root,
            receipts_root=NO_DIGEST,
            validators=validators,
            next_validators=validators,
        )
        return replace(header, **changes)

    def sealed(
        self,
        header: Header,
        *,
        signers: Sequence[int] = QUORUM,
        keys: Sequence[int] | None = None,
        vote: VoteType = VoteType.COMMIT,
        validators: ValidatorSet | None = None,
    ) -> SealedHeader:
        """The header under commits of `signers`, made with the vote keys of the nodes `keys`.

        With `validators`: under commits of the lowest of them that make a quorum.
        """
        if validators is not None:
            voters = lowest_voters(validators)
        else:
            pairs = zip(signers, keys or signers, strict=True)
            voters = [(ReplicaId(signer), founding_key(key)) for signer, key in pairs]
        return SealedHeader(header=header, certificate=certify(header, voters, vote=vote))

    def witness(
        self,
        keys: Sequence[bytes],
        *,
        changes: dict[bytes, bytes | None] | None = None,
        sealed: SealedHeader | None = None,
    ) -> Witness:
        """Proofs of keys in this state; with `changes`, proofs from a state that was never."""
        tree = self.tree(changes)
        assert tree.version is not None
        return Witness(
            sealed_header=sealed or self.sealed(self.header(tree.root)),
            keys=tuple(keys),
            proofs=prove_many(tree.nodes, tree.version, keys),
        )
