"""Governing: proposing changes, casting the ballot of one's hospital, seeing what is open.

What a proposal says is read from proven state, never from a node's word: an admin votes on what the
ledger will execute. After a ballot the proposal is read again, so that a node cannot pretend.
"""

from dataclasses import dataclass
from typing import Final

from client.connection import Client, act, ask, ask_view, check_done, scan
from client.errors import NotFound
from client.people import find_person
from client.transactions import Outcome as Committed
from client.wallet import Keys
from crypto.envelopes import seal_public_key
from crypto.hashing import ChainId, Digest
from crypto.signatures import public_key
from ledger.accounts import OrgId, Role, organisation_key
from ledger.contracts.governance import LATEST_EPOCH_KEY, get_latest_epoch
from ledger.founders import FoundingAccount
from ledger.governance_payloads import AddOrganisation, Change, Propose, Vote, Withdraw
from ledger.key_proofs import sign_registration, sign_seal_binding
from ledger.parameters import PARAMETERS_KEY, Parameters, get_parameters
from ledger.proposals import (
    OPEN_PROPOSALS_KEY,
    Outcome,
    Proposal,
    Tally,
    get_open_proposals,
    get_proposal,
    is_open,
    majority_of,
    proposal_key,
    tally,
    votes_needed,
)

OPEN_BLOCKS: Final = 20_000
"""How long a proposal is open unless told otherwise: a day and more of an idle chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A proposal with its ballots as they count in the state after block `height`."""

    proposal: Proposal
    count: Tally
    needed: int
    height: int

    @property
    def outcome(self) -> Outcome:
        """What became of it; a proposal that nobody closed expires by itself."""
        found = self.proposal.outcome
        if found is Outcome.OPEN and not is_open(self.proposal, self.height + 1):
            return Outcome.EXPIRED
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A proposal that was made, and in which block."""

    proposal_id: Digest
    expires_height: int
    height: int


async def propose(client: Client, change: Change, *, blocks: int = OPEN_BLOCKS) -> Proposed:
    """Propose a change, open for ballots for `blocks` blocks or as long as the ledger allows."""
    (latest, parameters), view = await ask_view(
        client,
        lambda view: (get_latest_epoch(view), get_parameters(view)),
        (LATEST_EPOCH_KEY, PARAMETERS_KEY),
    )
    lifetime = min(blocks, max(parameters.proposal_blocks_max - 1, 1))
    payload = Propose(epoch=latest.epoch, expires_height=view.height + 1 + lifetime, change=change)
    outcome = await act(client, "governance.propose", payload)
    found = await _find(client, outcome.tx_id)
    check_done(outcome, "the proposal is there", is_done=found is not None)
    return Proposed(
        proposal_id=outcome.tx_id, expires_height=payload.expires_height, height=outcome.height
    )


async def vote(client: Client, proposal_id: Digest, *, accepts: bool) -> Standing:
    """Cast the ballot of the actor's hospital; return the proposal as it stands then."""
    proposal = (await find_proposal(client, proposal_id)).proposal
    org = (await find_person(client, client.actor.account)).org
    ballot = Vote(proposal=proposal_id, epoch=proposal.epoch, org=org, accepts=accepts)
    outcome = await act(client, "governance.vote", ballot)
    standing = await find_proposal(client, proposal_id)
    has_voted = any(one.org == org for one in standing.proposal.ballots)
    check_done(outcome, f"{org} has voted", is_done=has_voted)
    return standing


async def withdraw(client: Client, proposal_id: Digest) -> Committed:
    """Take back a proposal of the actor's hospital."""
    outcome = await act(client, "governance.withdraw", Withdraw(proposal=proposal_id))
    standing = await find_proposal(client, proposal_id)
    is_done = standing.outcome is Outcome.WITHDRAWN
    check_done(outcome, "the proposal is withdrawn", is_done=is_done)
    return outcome


async def find_proposal(client: Client, proposal_id: Digest) -> Standing:
    """Return a proven proposal; raise `NotFound`."""
    found = await _find(client, proposal_id)
    if found is None:
        raise NotFound(f"no proposal was made under {proposal_id.hex()}", code="proposal.unknown")
    return found


async def list_proposals(client: Client) -> tuple[Standing, ...]:
    """Return the proposals that are open for ballots, as they were made; none is left out."""
    entries = await ask(client, get_open_proposals, (OPEN_PROPOSALS_KEY,))
    found = [await find_proposal(client, entry.proposal_id) for entry in entries]
    return tuple(one for one in found if one.outcome is Outcome.OPEN)


async def current_parameters(client: Client) -> Parameters:
    """Return the proven parameters in force."""
    return await ask(client, get_parameters, (PARAMETERS_KEY,))


def make_member(
    org: OrgId, name: str, *, admin: Keys, agent: Keys, chain_id: ChainId
) -> AddOrganisation:
    """Return what a hospital that wants to become a member hands to one that is."""
    return AddOrganisation(
        org=org,
        name=name,
        agent=_founder(org, Role.KEY_AGENT, agent, chain_id),
        admins=(_founder(org, Role.HOSPITAL_ADMIN, admin, chain_id),),
    )


async def _find(client: Client, proposal_id: Digest) -> Standing | None:
    """Read a proposal, and the members whose ballots count."""
    proposal, view = await ask_view(
        client, lambda view: get_proposal(view, proposal_id), (proposal_key(proposal_id),)
    )
    if proposal is None:
        return None
    count = tally(await scan(client, organisation_key("")), proposal)
    needed = votes_needed(majority_of(proposal.change), count)
    return Standing(proposal=proposal, count=count, needed=needed, height=view.height)


def _founder(org: OrgId, role: Role, keys: Keys, chain_id: ChainId) -> FoundingAccount:
    seal_key = seal_public_key(keys.seal_key)
    return FoundingAccount(
        role=role,
        sign_key=public_key(keys.sign_key),
        seal_key=seal_key,
        seal_binding=sign_seal_binding(keys.sign_key, account_id=keys.account, seal_key=seal_key),
        possession=sign_registration(
            keys.sign_key, chain_id=chain_id, org=org, role=role, seal_key=seal_key
        ),
    )
