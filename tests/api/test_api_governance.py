"""Validators, epochs, evidence and proposals as everybody may read them."""

from collections.abc import Sequence
from typing import Any

from crypto.hashing import Digest
from crypto.signatures import Scheme
from crypto.validators import ReplicaId
from ledger.accounts import OrgId
from ledger.governance_payloads import (
    Change,
    ChangeParameters,
    Propose,
    RemoveValidator,
    Vote,
)
from ledger.parameters import Parameters
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.governance_samples import ISLE, Council, admin
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of


def propose(node: MemoryNode, change: Change, org: str = NORTH) -> Digest:
    council = Council(chain=node.hospitals.chain)
    payload = Propose(epoch=council.epoch, expires_height=node.tip().height + 100, change=change)
    return node.accept("governance.propose", payload, admin(org)).tx_id


def vote(node: MemoryNode, proposal: Digest, orgs: Sequence[OrgId] = (NORTH, SOUTH)) -> None:
    council = Council(chain=node.hospitals.chain)
    for org in orgs:
        epoch = council.proposal(proposal).epoch
        ballot = Vote(proposal=proposal, epoch=epoch, org=org, accepts=True)
        node.accept("governance.vote", ballot, admin(org))


def by_index(answer: Any) -> dict[int, dict[str, Any]]:
    return {row["index"]: row for row in answer["validators"]}


async def test_validators_are_listed_with_what_they_are_now(
    server: Server, node: MemoryNode
) -> None:
    council = Council(chain=node.hospitals.chain)
    vote(node, propose(node, council.add(4)))
    vote(node, propose(node, RemoveValidator(index=ReplicaId(3)), SOUTH))
    begins = node.tip().height + 2

    leaving = (await server.get("/v1/validators")).json
    node.decide([])
    gone = (await server.get("/v1/validators")).json

    rows = by_index(leaving)
    assert [rows[index]["state"] for index in (0, 1, 2, 3, 4)] == [
        "voting", "voting", "voting", "leaving", "learner",
    ]  # fmt: skip
    assert rows[3]["from_height"] == begins
    assert rows[4]["p2p_address"] == "127.0.0.1:7004"
    assert (leaving["epoch"], leaving["latest_epoch"]) == (0, 1)
    assert (leaving["quorum"], leaving["tolerated_faults"]) == (3, 1)
    assert sorted(by_index(gone)) == [0, 1, 2, 4]
    assert (gone["epoch"], gone["quorum"], gone["tolerated_faults"]) == (1, 2, 0)


async def test_a_validator_is_shown_with_its_evidence_even_when_it_is_gone(
    server: Server, node: MemoryNode
) -> None:
    council = Council(chain=node.hospitals.chain)
    height = node.tip().height
    evidence = council.evidence(3, height=height)
    receipt = node.accept("governance.evidence", evidence, "node 1", scheme=Scheme.ED25519)
    vote(node, propose(node, RemoveValidator(index=ReplicaId(3))))
    node.decide([])

    answer = (await server.get("/v1/validators/3")).json

    assert (answer["state"], answer["evidence_count"]) == ("removed", 1)
    (entry,) = answer["evidence"]
    assert (entry["height"], entry["vote"]) == (height, "prepare")
    assert entry["tx_id"] == receipt.tx_id.hex()
    assert entry["digests"] == [evidence.first.digest.hex(), evidence.second.digest.hex()]


async def test_what_was_never_there_is_unknown(server: Server) -> None:
    for path, code in (
        ("/v1/validators/9", "validator.unknown"),
        ("/v1/validators/70000", "validator.unknown"),
        (f"/v1/proposals/{'ab' * 32}", "proposal.unknown"),
        ("/v1/validators/-1", "request.malformed"),
        ("/v1/proposals/ab", "request.malformed"),
    ):
        assert (await server.get(path)).code == code, path


async def test_proposals_are_listed_with_their_ballots_while_they_are_open(
    server: Server, node: MemoryNode
) -> None:
    change = ChangeParameters(parameters=Parameters(rotate_every=7))
    proposal = propose(node, change)
    vote(node, proposal, (NORTH,))

    (row,) = (await server.get("/v1/proposals")).json["proposals"]
    vote(node, proposal, (SOUTH,))
    closed = (await server.get("/v1/proposals")).json["proposals"]
    shown = (await server.get(f"/v1/proposals/{proposal.hex()}")).json

    assert (row["proposal"], row["outcome"]) == (proposal.hex(), "open")
    assert (row["accepts"], row["rejects"], row["needed"]) == (1, 0, 2)
    assert row["change"]["parameters"] == {"rotate_every": [100, 7]}
    assert row["ballots"][0]["by"] == account_of(admin(NORTH)).hex()
    assert closed == []
    assert (shown["outcome"], len(shown["ballots"])) == ("executed", 2)


async def test_a_proposal_that_nobody_closed_is_expired_when_its_height_comes(
    server: Server, node: MemoryNode
) -> None:
    council = Council(chain=node.hospitals.chain)
    payload = Propose(
        epoch=council.epoch,
        expires_height=node.tip().height + 2,
        change=council.new_member(ISLE),
    )
    proposal = node.accept("governance.propose", payload, admin(NORTH)).tx_id

    listed = (await server.get("/v1/proposals")).json["proposals"]
    shown = (await server.get(f"/v1/proposals/{proposal.hex()}")).json

    assert listed == []
    assert (shown["outcome"], shown["closed_height"]) == ("expired", None)
    assert shown["change"]["org"] == ISLE
    assert [one["role"] for one in shown["change"]["accounts"]] == ["key_agent", "hospital_admin"]
