"""Proposing, voting and withdrawing (`ledger.contracts.governance` says how it all fits)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crypto.signatures import SignatureJob
from ledger.accounts import Role
from ledger.contract import Context, Kind, Lane, Rule
from ledger.contracts.changes import (
    apply_change,
    change_fields,
    change_jobs,
    check_change,
    is_change_of_set,
    tell_epoch,
)
from ledger.contracts.governance import get_latest_epoch
from ledger.errors import Refused
from ledger.governance_payloads import Change, Propose, Vote, Withdraw
from ledger.proposals import (
    OPEN_PROPOSALS_MAX,
    Ballot,
    OpenProposal,
    Outcome,
    Proposal,
    get_open_proposals,
    get_proposal,
    is_accepted,
    is_open,
    is_rejected,
    majority_of,
    put_open_proposals,
    put_proposal,
    tally,
)
from ledger.state import StateView

if TYPE_CHECKING:
    from ledger.transactions import Transaction

ADMINS: Final = Rule((Role.HOSPITAL_ADMIN, Role.CONSORTIUM_ADMIN))


def on_propose(context: Context, payload: Propose) -> None:
    """Open a proposal, if its change could be executed as things stand."""
    latest = get_latest_epoch(context.state)
    if payload.epoch != latest.epoch:
        raise Refused(
            "governance.epoch",
            f"it was written in epoch {payload.epoch}; the newest is {latest.epoch}: look again",
            (("epoch", latest.epoch),),
        )
    lifetime = payload.expires_height - context.height
    if not 0 < lifetime <= context.parameters.proposal_blocks_max:
        raise Refused(
            "governance.expiry",
            f"a proposal is open for 1 to {context.parameters.proposal_blocks_max} blocks",
            (("height", context.height),),
        )
    _make_room(context)
    check_change(context, payload.change)
    _check_executable(context, payload.change)
    proposal = _make_proposal(context, payload)
    put_proposal(context.state, proposal)
    entry = OpenProposal(
        proposal_id=proposal.proposal_id,
        org=proposal.org,
        expires_height=proposal.expires_height,
    )
    put_open_proposals(context.state, (*get_open_proposals(context.state), entry))
    context.emit(
        "governance.proposed",
        None,
        ("proposal", proposal.proposal_id),
        ("by", proposal.by),
        ("by_org", proposal.org),
        ("expires_height", proposal.expires_height),
        *change_fields(proposal.change),
    )


def on_vote(context: Context, payload: Vote) -> None:
    """Count one organisation's ballot; the one that makes the majority executes the change."""
    sender = context.sender
    proposal = _open_proposal(context, payload.proposal)
    if payload.epoch != proposal.epoch:
        raise Refused(
            "governance.epoch",
            f"the proposal was made in epoch {proposal.epoch}, the ballot says {payload.epoch}",
            (("epoch", proposal.epoch),),
        )
    if payload.org != sender.org:
        raise Refused(
            "governance.other_org", f"an admin of {sender.org} votes for {sender.org} alone"
        )
    if any(ballot.org == sender.org for ballot in proposal.ballots):
        raise Refused("governance.voted", f"{sender.org} has voted; a ballot is not changed")
    ballot = Ballot(
        org=sender.org, accepts=payload.accepts, by=sender.account_id, height=context.height
    )
    ballots = tuple(sorted((*proposal.ballots, ballot), key=lambda one: one.org))
    proposal = replace(proposal, ballots=ballots)
    put_proposal(context.state, proposal)
    context.emit(
        "governance.voted",
        None,
        ("proposal", proposal.proposal_id),
        ("org", sender.org),
        ("by", sender.account_id),
        ("accepts", int(payload.accepts)),
    )
    _decide(context, proposal)


def on_withdraw(context: Context, payload: Withdraw) -> None:
    """Close a proposal by the organisation that made it."""
    proposal = _open_proposal(context, payload.proposal)
    if proposal.org != context.sender.org:
        raise Refused("governance.not_proposer", f"{proposal.org} made this proposal")
    _close(context, proposal, Outcome.WITHDRAWN)


def propose_jobs(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the proofs of keys inside a proposal."""
    payload: Propose = transaction.payload
    return tuple([job for _, job in change_jobs(payload.change, transaction.body.chain_id)])


KINDS: Final = (
    Kind(
        name="governance.propose",
        payload=Propose,
        signer=ADMINS,
        handler=on_propose,
        lane=Lane.GOVERNANCE,
        inner_jobs=propose_jobs,
    ),
    Kind(
        name="governance.vote",
        payload=Vote,
        signer=ADMINS,
        handler=on_vote,
        lane=Lane.GOVERNANCE,
    ),
    Kind(
        name="governance.withdraw",
        payload=Withdraw,
        signer=ADMINS,
        handler=on_withdraw,
        lane=Lane.GOVERNANCE,
    ),
)


def _make_room(context: Context) -> None:
    """Close what has expired; raise `Refused` if too much is open even so."""
    kept: list[OpenProposal] = []
    for entry in get_open_proposals(context.state):
        if context.height < entry.expires_height:
            kept.append(entry)
            continue
        proposal = get_proposal(context.state, entry.proposal_id)
        assert proposal is not None, "an open proposal has an entry"
        closed = replace(proposal, outcome=Outcome.EXPIRED, closed_height=entry.expires_height)
        put_proposal(context.state, closed)
    if len(kept) == OPEN_PROPOSALS_MAX:
        raise Refused("governance.proposals_full", f"{OPEN_PROPOSALS_MAX} proposals are open")
    own = sum(entry.org == context.sender.org for entry in kept)
    if own >= context.parameters.proposals_per_organisation_max:
        raise Refused(
            "governance.proposals_of_org_full",
            f"{own} proposals of {context.sender.org} are open; withdraw one or wait",
        )
    put_open_proposals(context.state, tuple(kept))


def _check_executable(context: Context, change: Change) -> None:
    """Raise `Refused` unless executing the change would be possible now; it leaves nothing."""
    context.state.begin()
    try:
        apply_change(context, change)
    finally:
        context.state.discard()


def _make_proposal(context: Context, payload: Propose) -> Proposal:
    return Proposal(
        proposal_id=context.transaction.tx_id,
        epoch=payload.epoch,
        change=payload.change,
        by=context.sender.account_id,
        org=context.sender.org,
        opened_height=context.height,
        expires_height=payload.expires_height,
        ballots=(),
        outcome=Outcome.OPEN,
        closed_height=None,
        reason="",
    )


def _open_proposal(context: Context, proposal_id: bytes) -> Proposal:
    proposal = get_proposal(context.state, proposal_id)
    if proposal is None:
        raise Refused("governance.unknown_proposal", f"there is no proposal {proposal_id.hex()}")
    if proposal.outcome is not Outcome.OPEN:
        raise Refused("governance.closed", f"the proposal is {proposal.outcome.value}")
    if not is_open(proposal, context.height):
        raise Refused(
            "governance.expired", f"the proposal expired at block {proposal.expires_height}"
        )
    return proposal


def _decide(context: Context, proposal: Proposal) -> None:
    """Close the proposal if its ballots decide it; what they accept is executed here."""
    majority, count = majority_of(proposal.change), tally(context.state, proposal)
    if is_rejected(majority, count):
        _close(context, proposal, Outcome.REJECTED)
    if not is_accepted(majority, count):
        return
    changes_set = is_change_of_set(context.state, proposal.change)
    context.state.begin()
    try:
        if changes_set:
            _check_same_epoch(context, proposal)
        apply_change(context, proposal.change)
    except Refused as refusal:  # The ballot stands: it closed a proposal that came too late.
        context.state.discard()
        _close(context, proposal, Outcome.FAILED, refusal.code)
        return
    context.state.commit()
    if changes_set:
        tell_epoch(context)
    _close(context, proposal, Outcome.EXECUTED)


def _check_same_epoch(context: Context, proposal: Proposal) -> None:
    """A change of the set is judged against the set that its voters saw.

    While another is not effective nothing of the kind is proposed (`check_in_turn`): so whatever
    passes here is in its turn.
    """
    if proposal.epoch != get_latest_epoch(context.state).epoch:
        raise Refused(
            "governance.set_changed", "the set has changed since this was proposed; propose anew"
        )


def _close(context: Context, proposal: Proposal, outcome: Outcome, reason: str = "") -> None:
    closed = replace(proposal, outcome=outcome, closed_height=context.height, reason=reason)
    put_proposal(context.state, closed)
    still_open = [
        entry
        for entry in get_open_proposals(context.state)
        if entry.proposal_id != proposal.proposal_id
    ]
    put_open_proposals(context.state, tuple(still_open))
    context.emit(
        "governance.closed",
        None,
        ("proposal", proposal.proposal_id),
        ("outcome", outcome.value),
        ("reason", reason),
    )
