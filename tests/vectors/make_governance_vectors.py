"""Writes the golden vectors of governance: payloads, state entries and their keys.

Run `python -m tests.vectors.make_governance_vectors` after a deliberate change of a format, never
to make a test pass: a vector that changes means that nodes of two versions no longer agree. It
needs a new version of that type and a line in CHANGELOG.md. Keys and digests follow from labels.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from crypto.evidence import Fault
from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View, VoteType
from ledger.contracts.governance import EpochEntry, LatestEpoch, epoch_key
from ledger.governance_payloads import (
    Change,
    ChangeParameters,
    Propose,
    Ready,
    RemoveValidator,
    RestoreOrganisation,
    SuspendOrganisation,
    Vote,
    Withdraw,
)
from ledger.nodes import NodeStanding, make_node_account, make_node_entry, node_key
from ledger.parameters import Parameters
from ledger.proposals import (
    OPEN_PROPOSALS_KEY,
    Ballot,
    EvidenceEntry,
    OpenProposal,
    OpenProposals,
    Outcome,
    Proposal,
    evidence_key,
    proposal_key,
)
from tests.unit.ledger.governance_samples import EAST, ISLE, WEST, Council, admin, node_claim
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of, seed

FILE = Path(__file__).with_name("governance.json")
ABOUT = "Governance, keys and digests from labels; see make_governance_vectors.py."


def vectors() -> dict[str, Any]:
    """Every vector: encoded instances, and one state key of every table."""
    return {
        "about": ABOUT,
        "chain_id": fixed_council().chain.chain_id.hex(),
        "wire": {name: encode(value).hex() for name, value in wire_values().items()},
        "keys": {name: key.hex() for name, key in state_keys().items()},
    }


def fixed_council() -> Council:
    """Hospitals on a chain whose id no founding document has: parameters may change freely."""
    council = Council()
    council.chain.chain_id = ChainId(seed("a chain for vectors"))
    return council


def wire_values() -> dict[str, Any]:
    """One instance of every payload and state entry, unions and optional fields all ways."""
    proposal_id = Digest(seed("proposal"))
    return {
        **{
            f"Propose, {name}": Propose(epoch=Epoch(3), expires_height=1_000, change=change)
            for name, change in changes().items()
        },
        "Vote, for": Vote(proposal=proposal_id, epoch=Epoch(3), org=SOUTH, accepts=True),
        "Vote, against": Vote(proposal=proposal_id, epoch=Epoch(3), org=EAST, accepts=False),
        "Withdraw": Withdraw(proposal=proposal_id),
        "Ready": Ready(index=ReplicaId(4), height=77),
        "Evidence": fixed_council().evidence(3, height=7, epoch=2, view=1),
        "NodeStatement": changes_of_nodes()["add"].node,
        **state_values(proposal_id),
    }


def changes() -> dict[str, Change]:
    return {
        "new member": fixed_council().new_member(ISLE),
        "suspension": SuspendOrganisation(org=WEST),
        "restoration": RestoreOrganisation(org=WEST),
        "new validator": changes_of_nodes()["add"],
        "removal": RemoveValidator(index=ReplicaId(3)),
        "new keys": changes_of_nodes()["rekey"],
        "parameters": ChangeParameters(parameters=Parameters()),
    }


def changes_of_nodes() -> dict[str, Any]:
    council = fixed_council()
    return {"add": council.add(4), "rekey": council.rekey(3, WEST, "node 3, second")}


def state_values(proposal_id: Digest) -> dict[str, Any]:
    validators = fixed_council().validators
    ballots = tuple(
        Ballot(org=org, accepts=org != EAST, by=account_of(admin(org)), height=9)
        for org in (EAST, NORTH)
    )
    proposal = Proposal(
        proposal_id=proposal_id,
        epoch=Epoch(3),
        change=RemoveValidator(index=ReplicaId(3)),
        by=account_of(admin(NORTH)),
        org=NORTH,
        opened_height=8,
        expires_height=1_000,
        ballots=ballots,
        outcome=Outcome.OPEN,
        closed_height=None,
        reason="",
    )
    entry = make_node_entry(node_claim(3, WEST), NodeStanding.VOTING, 0)
    learner = make_node_entry(node_claim(4), NodeStanding.LEARNER, 12)
    return {
        "Proposal, open": proposal,
        "Proposal, failed": replace(
            proposal, outcome=Outcome.FAILED, closed_height=10, reason="governance.unknown_node"
        ),
        "OpenProposals": OpenProposals(
            proposals=(OpenProposal(proposal_id=proposal_id, org=NORTH, expires_height=1_000),)
        ),
        "EpochEntry": EpochEntry(epoch=Epoch(3), first_height=12, validators=validators),
        "LatestEpoch": LatestEpoch(epoch=Epoch(3), first_height=12),
        "NodeEntry, validator": entry,
        "NodeEntry, learner": learner,
        "NodeEntry, re-keyed and removed": replace(
            entry,
            standing=NodeStanding.REMOVED,
            former_tls_pin=seed("tls before"),
            former_until_height=99,
            evidence_count=2,
        ),
        "EvidenceEntry": EvidenceEntry(
            index=ReplicaId(3),
            epoch=Epoch(2),
            height=Height(7),
            view=View(1),
            vote=VoteType.COMMIT,
            digests=(Digest(seed("block one")), Digest(seed("block other"))),
            by=account_of(admin(NORTH)),
            tx_id=Digest(seed("transaction")),
            reported_height=9,
        ),
        "Account, node": make_node_account(WEST, entry.vote_key, 12),
    }


def state_keys() -> dict[str, bytes]:
    """One key of every table, all parts telling themselves apart."""
    fault = Fault(ReplicaId(0x0102), Epoch(0x0304), Height(0x0506), View(0x0708), VoteType.COMMIT)
    return {
        "epoch": epoch_key(0x0102030405060708),
        "node": node_key(0x0102),
        "proposal": proposal_key(b"\xaa" * 32),
        "open proposals": OPEN_PROPOSALS_KEY,
        "evidence": evidence_key(fault),
    }


def main() -> None:
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
