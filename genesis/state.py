"""The state that the founding document stands for: what block 1 is executed on."""

from crypto.validators import ValidatorSet
from genesis.document import GenesisDocument
from ledger.accounts import add_account
from ledger.contracts.governance import put_first_epoch, put_parameters
from ledger.founders import add_member
from ledger.nodes import (
    NodeClaim,
    NodeStanding,
    make_node_account,
    make_node_entry,
    make_validator,
    put_node,
)
from ledger.state import MemoryState, Overlay, Writes


def apply_genesis(document: GenesisDocument) -> Writes:
    """Return what the founding document writes to the empty state."""
    state = Overlay(MemoryState())
    put_parameters(state, document.invitation.parameters)
    put_first_epoch(state, founding_validators(document))
    for claim in _nodes(document):
        put_node(state, make_node_entry(claim, NodeStanding.VOTING, height=0))
        add_account(state, make_node_account(claim.org, claim.vote_key, height=0))
    for statement in document.statements:
        body = statement.body
        add_member(
            state, org=body.org, name=body.name, agent=body.agent, admins=body.admins, height=0
        )
    return state.writes


def founding_validators(document: GenesisDocument) -> ValidatorSet:
    """Return the replica set of the first epoch."""
    return ValidatorSet(members=tuple([make_validator(claim) for claim in _nodes(document)]))


def _nodes(document: GenesisDocument) -> list[NodeClaim]:
    claims = [node.claim for one in document.statements for node in one.body.nodes]
    return sorted(claims, key=lambda claim: claim.index)
