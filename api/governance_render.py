"""Governance as JSON for people, named as in the wire types."""

from typing import assert_never

from api.render import Json
from crypto.signatures import account_id
from crypto.validators import ValidatorSet
from ledger.contracts.changes import change_fields
from ledger.governance_payloads import (
    AddOrganisation,
    AddValidator,
    Change,
    ChangeParameters,
    RekeyValidator,
    RemoveValidator,
    RestoreOrganisation,
    SuspendOrganisation,
)
from ledger.node_states import JOINING, LEAVING, node_state
from ledger.nodes import NodeEntry
from ledger.parameters import get_parameters, parameter_changes
from ledger.proposals import (
    EvidenceEntry,
    Outcome,
    Proposal,
    is_open,
    majority_of,
    tally,
    votes_needed,
)
from ledger.state import StateView


def render_node(node: NodeEntry, voting: ValidatorSet, *, changes_at: int) -> Json:
    """Return a node; `changes_at` is the height at which the newest epoch begins."""
    state = node_state(node, voting)
    return {
        "index": node.index,
        "org": node.org,
        "state": state,
        "from_height": changes_at if state in (JOINING, LEAVING) else None,
        "vote_key": node.vote_key.hex(),
        "tls_pin": node.tls_pin.hex(),
        "p2p_address": node.p2p_address,
        "former_tls_pin": None if node.former_tls_pin is None else node.former_tls_pin.hex(),
        "former_until_height": node.former_until_height,
        "changed_height": node.changed_height,
        "evidence_count": node.evidence_count,
    }


def render_evidence(entry: EvidenceEntry) -> Json:
    return {
        "epoch": entry.epoch,
        "height": entry.height,
        "view": entry.view,
        "vote": entry.vote.name.lower(),
        "digests": [one.hex() for one in entry.digests],
        "by": entry.by.hex(),
        "tx_id": entry.tx_id.hex(),
        "reported_height": entry.reported_height,
    }


def render_proposal(view: StateView, proposal: Proposal, height: int) -> Json:
    """Return a proposal as it stands for a ballot in the block `height`."""
    is_over = proposal.outcome is Outcome.OPEN and not is_open(proposal, height)
    count = tally(view, proposal)
    return {
        "proposal": proposal.proposal_id.hex(),
        "outcome": Outcome.EXPIRED.value if is_over else proposal.outcome.value,
        "reason": proposal.reason,
        "change": render_change(view, proposal.change),
        "epoch": proposal.epoch,
        "by": proposal.by.hex(),
        "by_org": proposal.org,
        "opened_height": proposal.opened_height,
        "expires_height": proposal.expires_height,
        "closed_height": proposal.closed_height,
        "accepts": count.accepts,
        "rejects": count.rejects,
        "needed": votes_needed(majority_of(proposal.change), count),
        "ballots": [
            {
                "org": one.org,
                "accepts": one.accepts,
                "by": one.by.hex(),
                "height": one.height,
            }
            for one in proposal.ballots
        ],
    }


def render_change(view: StateView, change: Change) -> Json:
    """Return what is proposed; of parameters, those that differ from what is in force."""
    found: Json = dict(change_fields(change))
    match change:
        case AddOrganisation():
            founders = (change.agent, *change.admins)
            found["name"] = change.name
            found["accounts"] = [
                {"role": one.role.value, "account": account_id(one.sign_key).hex()}
                for one in founders
            ]
        case AddValidator() | RekeyValidator():
            claim = change.node.claim
            found["vote_key"] = claim.vote_key.hex()
            found["tls_pin"] = claim.tls_pin.hex()
            found["p2p_address"] = claim.p2p_address
        case ChangeParameters():
            differing = parameter_changes(get_parameters(view), change.parameters)
            found["parameters"] = {name: list(pair) for name, pair in differing.items()}
        case SuspendOrganisation() | RestoreOrganisation() | RemoveValidator():
            pass
        case _:
            assert_never(change)
    return found
