"""The backup's part of the three phases (PBFT §4.2): accept a proposal, prepare it, commit it.

Votes are filed as they come; the functions here are steps, each taken as soon as what was filed
allows it (`consensus.core.advance`), so the order in which messages arrive does not matter.
"""

from consensus.effects import Broadcast, Effect, Ignore, Persist
from consensus.events import ProposalChecked
from consensus.fetching import pause_fetching
from consensus.mailbox import discard, views_of, votes_at
from consensus.messages import NewView, Prepare, PrePrepare
from consensus.peers import note_failure
from consensus.records import PreparedRecord, ProposalRecord, Record
from consensus.soundness import fresh_fault
from consensus.state import Departure, ReplicaState, height_of, is_primary, may_vote, primary_at
from consensus.view_change import check_block, leave_view
from consensus.votes import has_voted, keep_own, make_commit, make_prepare, vote_record
from crypto.votes import FIRST_VIEW, PreparedCertificate, View


def accept_pre_prepare(state: ReplicaState) -> list[Effect] | None:
    """Take the first proposal of view 0's primary, or leave the view if it cannot be right."""
    instance = state.instance
    if instance.view != FIRST_VIEW or instance.proposal is not None or not may_vote(state):
        return None
    primary = primary_at(state, FIRST_VIEW)
    message = votes_at(instance.mailbox, PrePrepare, FIRST_VIEW).get(primary)
    if message is None or primary == state.config.replica:
        return None
    prepare = instance.own.prepare
    if prepare is not None and prepare.view == FIRST_VIEW and prepare.digest != message.digest:
        discard(instance.mailbox, PrePrepare, FIRST_VIEW, primary)
        return [Ignore(sender=primary, kind="PrePrepare", reason="we have voted for another block")]
    fault = fresh_fault(state, message)
    if fault is not None:
        ignored = Ignore(sender=primary, kind="PrePrepare", reason=fault)
        return [ignored, *leave_view(state, View(FIRST_VIEW + 1), Departure.UNSOUND)]

    instance.proposal = message
    instance.blocks[message.digest] = message.block
    return []


def check_proposal(state: ReplicaState) -> list[Effect] | None:
    """Have the accepted proposal validated; nothing is signed for it before that."""
    proposal = state.instance.proposal
    if proposal is None or not may_vote(state):
        return None
    return check_block(state, proposal.block)


def on_proposal_checked(state: ReplicaState, event: ProposalChecked) -> list[Effect]:
    """Take the verdict: a valid block may be voted for, an invalid one ends its view."""
    instance = state.instance
    stale = Ignore(sender=None, kind="ProposalChecked", reason="nobody waits for it")
    if event.height != height_of(state) or event.digest not in instance.blocks:
        return [stale]
    if event.refusal is None:
        instance.checking.pop(event.digest, None)
        instance.valid[event.digest] = None
        return []
    if event.view != instance.view or event.digest not in instance.checking:
        return [stale]
    instance.checking.pop(event.digest)
    primary = primary_at(state, instance.view)
    refused = Ignore(sender=primary, kind="PrePrepare", reason=f"refused: {event.refusal}")
    certificate = instance.certificate
    if certificate is not None and certificate.digest == event.digest:
        # Decided and refused: whoever decided it has bodies to execute, and that will tell. What
        # travels beside the header may also be wrong: another is asked for the block next time.
        note_failure(state, instance.supplier)
        return [refused, *pause_fetching(state, event.digest)]
    if not may_vote(state):
        return [refused]
    return [refused, *leave_view(state, View(instance.view + 1), Departure.REFUSED)]


def prepare_if_valid(state: ReplicaState) -> list[Effect] | None:
    """Vote for the primary's order, once the block is valid and on disk (rule 6)."""
    instance = state.instance
    proposal = instance.proposal
    if proposal is None or proposal.digest not in instance.valid:
        return None
    if is_primary(state) or has_voted(state) or not may_vote(state):
        return None
    records: list[Record] = []
    if proposal.digest not in instance.durable:
        records.append(ProposalRecord(block=proposal.block))
        instance.durable[proposal.digest] = None
    prepare = make_prepare(state, proposal.digest)
    keep_own(state, prepare)
    records.append(vote_record(prepare))
    return [Persist(records=tuple(records)), Broadcast(message=prepare)]


def commit_if_prepared(state: ReplicaState) -> list[Effect] | None:
    """Vote to decide, once the certificate that nothing else is prepared here is on disk."""
    note_prepared(state)
    instance = state.instance
    prepared, proposal, commit = instance.prepared, instance.proposal, instance.own.commit
    if prepared is None or proposal is None or not may_vote(state):
        return None
    if prepared.view != instance.view or prepared.digest != proposal.digest:
        return None  # Of a view we have left: kept for later view-changes only (rule 4).
    if commit is not None and commit.view == instance.view:
        return None
    if not has_voted(state) or proposal.digest not in instance.valid:
        return None
    message = make_commit(state, proposal.digest)
    keep_own(state, message)
    records = (PreparedRecord(certificate=prepared), vote_record(message))
    return [Persist(records=records), Broadcast(message=message)]


def note_prepared(state: ReplicaState) -> None:
    """Keep the prepared certificate of the highest view up to ours, however late it comes."""
    instance = state.instance
    below = FIRST_VIEW if instance.prepared is None else instance.prepared.view + 1
    if below > instance.view:
        return
    views = {*views_of(instance.mailbox, Prepare), instance.view}
    for view in sorted(views, reverse=True):
        if below <= view <= instance.view:
            certificate = _prepared_at(state, view)
            if certificate is not None:
                instance.prepared = certificate
                return


def _prepared_at(state: ReplicaState, view: View) -> PreparedCertificate | None:
    pre_prepare = _primary_vote(state, view)
    if pre_prepare is None:
        return None
    prepares = votes_at(state.instance.mailbox, Prepare, view)
    needed = state.members.quorum.strong - 1
    if len(prepares) < needed:
        return None
    signatures = [
        (signer, prepare.signature)
        for signer, prepare in sorted(prepares.items())
        if prepare.digest == pre_prepare.digest and signer != pre_prepare.signer
    ]
    if len(signatures) < needed:
        return None
    return PreparedCertificate(
        epoch=pre_prepare.epoch,
        height=pre_prepare.height,
        view=view,
        digest=pre_prepare.digest,
        primary=pre_prepare.signer,
        primary_signature=pre_prepare.signature,
        signatures=tuple(signatures[:needed]),
    )


def _primary_vote(state: ReplicaState, view: View) -> PrePrepare | None:
    """Return what the primary of a view voted for, as far as we have heard."""
    primary = primary_at(state, view)
    mailbox = state.instance.mailbox
    if view == FIRST_VIEW:
        return votes_at(mailbox, PrePrepare, view).get(primary)
    new_view = votes_at(mailbox, NewView, view).get(primary)
    return None if new_view is None else new_view.pre_prepare
