"""Four hospitals with one node each that govern themselves, one block per transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from crypto.evidence import Evidence, SignedVote, make_evidence
from crypto.hashing import ChainId, Digest
from crypto.signatures import Scheme, public_key, sign_preimage
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import Height, View, VoteType, vote_preimage
from genesis.ceremony import assemble
from genesis.document import GenesisDocument
from ledger.accounts import OrgId, Role
from ledger.contracts.governance import get_latest_epoch, get_validators
from ledger.founders import FoundingAccount
from ledger.governance_payloads import (
    AddOrganisation,
    AddValidator,
    Change,
    Propose,
    Ready,
    RekeyValidator,
    Vote,
    Withdraw,
)
from ledger.key_proofs import sign_registration, sign_seal_binding
from ledger.nodes import NodeClaim, NodeEntry, NodeStatement, get_node, sign_node_claim
from ledger.parameters import Parameters
from ledger.proposals import Proposal, get_proposal
from ledger.receipts import Receipt
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    Consortium,
    account_of,
    invitation,
    seal_key_of,
    seed,
    sign_key_of,
    signing_key,
    statement,
)

EAST, WEST, ISLE = OrgId("east"), OrgId("west"), OrgId("isle")
HOSPITALS = (NORTH, SOUTH, EAST, WEST)
NODE_OF = {NORTH: 0, SOUTH: 1, EAST: 2, WEST: 3}


@cache
def four_hospitals(parameters: Parameters | None = None) -> GenesisDocument:
    statements = [statement(org, (NODE_OF[org],), parameters) for org in HOSPITALS]
    return assemble(invitation(parameters), statements)


def admin(org: str) -> str:
    """The label of the first admin's key."""
    return f"first admin of {org}"


def node_claim(index: int, org: OrgId = NORTH, *, keys: str | None = None) -> NodeClaim:
    """What a node with the keys `keys` asks to be; without, those of `small_consortium`."""
    label = keys or f"node {index}"
    return NodeClaim(
        index=ReplicaId(index),
        org=org,
        vote_key=public_key(signing_key(label, Scheme.ED25519)).data,
        tls_pin=seed(f"tls {keys or index}"),
        p2p_address=f"127.0.0.1:{7_000 + index}",
    )


def founding_account(chain_id: ChainId, org: OrgId, label: str, role: Role) -> FoundingAccount:
    key, seal_key = signing_key(label), seal_key_of(label)
    return FoundingAccount(
        role=role,
        sign_key=sign_key_of(label),
        seal_key=seal_key,
        seal_binding=sign_seal_binding(key, account_id=account_of(label), seal_key=seal_key),
        possession=sign_registration(key, chain_id=chain_id, org=org, role=role, seal_key=seal_key),
    )


@dataclass(slots=True)
class Council:
    """The chain, and what its hospitals' admins and nodes do to it."""

    chain: Consortium = field(default_factory=lambda: Consortium(document=four_hospitals()))

    @property
    def epoch(self) -> Epoch:
        return get_latest_epoch(self.chain.state).epoch

    @property
    def validators(self) -> ValidatorSet:
        return get_validators(self.chain.state)

    @property
    def indexes(self) -> list[int]:
        return [int(member.index) for member in self.validators.members]

    def node(self, index: int) -> NodeEntry:
        found = get_node(self.chain.state, index)
        assert found is not None, f"node {index} is or was there"
        return found

    def proposal(self, proposal_id: bytes) -> Proposal:
        found = get_proposal(self.chain.state, proposal_id)
        assert found is not None, "the proposal was made"
        return found

    def try_propose(self, change: Change, org: str = NORTH, **fields: Any) -> Receipt:
        values = {"epoch": self.epoch, "expires_height": self.chain.height + 100, **fields}
        return self.chain.outcome(
            "governance.propose", Propose(change=change, **values), admin(org)
        )

    def propose(self, change: Change, org: str = NORTH, **fields: Any) -> Digest:
        """Propose; it must be accepted."""
        receipt = self.try_propose(change, org, **fields)
        assert receipt.accepted, receipt.code
        return receipt.tx_id

    def vote(
        self, proposal_id: bytes, org: str, *, accepts: bool = True, by: str | None = None
    ) -> Receipt:
        ballot = Vote(
            proposal=Digest(proposal_id),
            epoch=self.proposal(proposal_id).epoch,
            org=OrgId(org),
            accepts=accepts,
        )
        return self.chain.outcome("governance.vote", ballot, by or admin(org))

    def withdraw(self, proposal_id: bytes, org: str = NORTH) -> Receipt:
        payload = Withdraw(proposal=Digest(proposal_id))
        return self.chain.outcome("governance.withdraw", payload, admin(org))

    def decide(
        self, change: Change, org: str = NORTH, voters: Sequence[str] = HOSPITALS[:3]
    ) -> Proposal:
        """Propose, let the voters accept, and return what became of it."""
        proposal_id = self.propose(change, org)
        for voter in voters:
            receipt = self.vote(proposal_id, voter)
            assert receipt.accepted, receipt.code
        return self.proposal(proposal_id)

    def wait(self, blocks: int = 2) -> None:
        """Let empty blocks pass."""
        for _ in range(blocks):
            self.chain.apply()

    def statement(self, claim: NodeClaim, *, keys: str | None = None) -> NodeStatement:
        key = signing_key(keys or f"node {claim.index}", Scheme.ED25519)
        return sign_node_claim(claim, key, self.chain.chain_id)

    def add(self, index: int, org: OrgId = NORTH) -> AddValidator:
        return AddValidator(node=self.statement(node_claim(index, org)))

    def rekey(self, index: int, org: OrgId, keys: str) -> RekeyValidator:
        return RekeyValidator(node=self.statement(node_claim(index, org, keys=keys), keys=keys))

    def new_member(self, org: OrgId) -> AddOrganisation:
        chain_id = self.chain.chain_id
        return AddOrganisation(
            org=org,
            name=f"Hospital {org}",
            agent=founding_account(chain_id, org, f"agent of {org}", Role.KEY_AGENT),
            admins=(founding_account(chain_id, org, admin(org), Role.HOSPITAL_ADMIN),),
        )

    def ready(self, index: int, *, by: str | None = None, height: int | None = None) -> Receipt:
        payload = Ready(
            index=ReplicaId(index), height=self.chain.height if height is None else height
        )
        return self.send("validator.ready", payload, by or f"node {index}")

    def grow(self, index: int, org: OrgId = NORTH) -> None:
        """Add a learner, let it be ready, and wait until it votes."""
        self.decide(self.add(index, org), org)
        receipt = self.ready(index)
        assert receipt.accepted, receipt.code
        self.wait()

    def evidence(
        self,
        index: int,
        *,
        height: int,
        keys: str | None = None,
        epoch: int = 0,
        view: int = 0,
        vote: VoteType = VoteType.PREPARE,
        forged: bool = False,
    ) -> Evidence:
        """Two votes of a node for one slot; `forged` spoils the second's signature."""
        one, other = (
            signed_vote(
                self.chain.chain_id, index, height, word, keys=keys, epoch=epoch, view=view,
                vote=vote,
            )
            for word in ("one", "other")
        )  # fmt: skip
        found = make_evidence(one, other)
        assert found is not None, "the two votes contradict each other"
        if not forged:
            return found
        second = SignedVote(
            epoch=found.second.epoch,
            height=found.second.height,
            view=found.second.view,
            vote=found.second.vote,
            digest=found.second.digest,
            signer=found.second.signer,
            signature=found.first.signature,
        )
        return Evidence(first=found.first, second=second)

    def report(self, evidence: Evidence, by: str = "node 1") -> Receipt:
        return self.send("governance.evidence", evidence, by)

    def send(self, kind: str, payload: Any, by: str) -> Receipt:
        """Submit anything, by anybody: nodes sign with Ed25519."""
        scheme = Scheme.ED25519 if by.startswith("node") else Scheme.P256
        return self.chain.outcome(kind, payload, by, scheme=scheme)


def signed_vote(
    chain_id: ChainId,
    index: int,
    height: int,
    word: str,
    *,
    keys: str | None,
    epoch: int,
    view: int,
    vote: VoteType,
) -> SignedVote:
    digest = Digest(seed(f"block {word}"))
    slot = (Epoch(epoch), vote, Height(height), View(view))
    preimage = vote_preimage(chain_id, *slot, digest)
    return SignedVote(
        epoch=Epoch(epoch),
        height=Height(height),
        view=View(view),
        vote=vote,
        digest=digest,
        signer=ReplicaId(index),
        signature=sign_preimage(signing_key(keys or f"node {index}", Scheme.ED25519), preimage),
    )
