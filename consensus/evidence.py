"""Noticing equivocation (rule 16): two votes of one member for one slot, about different blocks.

A replica hears only one of the two as a rule: whoever equivocates shows each to somebody else. So
a replica that hears a vote which contradicts the proposal it was shown sends both to all
(`Contradiction`), and whoever holds another vote of that slot has the proof. Votes inside
certificates count like those that came by themselves: each was signed on its own.

The first vote of a slot still counts for the agreement, whatever is reported. What is compared
reaches back `PAST_HEIGHTS` decided heights; older contradictions are nobody's business any more.
Votes of our own key are the fence's (`consensus.fence`).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from consensus.effects import Broadcast, Effect, Ignore, ReportEvidence
from consensus.mailbox import Mailbox, votes_at
from consensus.messages import (
    Commit,
    Contradiction,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
)
from consensus.state import ReplicaState, height_of, primary_at
from crypto.evidence import Fault, SignedVote, fault_of, make_evidence
from crypto.validators import ReplicaId
from crypto.votes import CommitCertificate, PreparedCertificate, View, VoteType

PAST_HEIGHTS: Final = 4
REPORTS_MAX: Final = 8
"""Slots of one member that are reported, of the heights that are compared: one is enough to act."""


def examine(state: ReplicaState, sender: ReplicaId, message: Message) -> list[Effect]:
    """Report what a message proves together with what was heard before; call it before filing."""
    effects: list[Effect] = []
    for vote in _comparable(state, _votes_in(message)):
        fault = fault_of(vote)
        first = _first_vote(state, fault)
        evidence = None if first is None else make_evidence(first, vote)
        if evidence is None or fault in state.reported:
            continue
        if sum(one.signer == fault.signer for one in state.reported) >= REPORTS_MAX:
            kind = fault.vote.name.lower()
            effects.append(Ignore(sender=sender, kind=kind, reason="equivocates again and again"))
            continue
        state.reported[fault] = None
        effects.append(ReportEvidence(evidence=evidence))
    return effects


def contradict(state: ReplicaState, vote: Vote) -> list[Effect]:
    """Say to all what we hold when a filed vote and the proposal of its view contradict.

    Once for each voter in a view: either it or the primary has signed what others did not see.
    """
    instance = state.instance
    if vote.height != height_of(state) or vote.view != instance.view:
        return []
    proposal = _primary_vote(state, instance.mailbox, vote.view)
    if proposal is None:
        return []
    effects: list[Effect] = []
    for other in _voters(instance.mailbox, vote):
        if other.digest == proposal.digest or other.signer in instance.contradicted:
            continue
        instance.contradicted[other.signer] = None
        votes = (signed_vote(proposal), signed_vote(other))
        effects.append(Broadcast(message=Contradiction(votes=votes)))
    return effects


def contradict_decision(state: ReplicaState, certificate: CommitCertificate) -> list[Effect]:
    """Say to all that the primary showed us another block than the one that is decided now."""
    proposal = _primary_vote(state, state.instance.mailbox, certificate.view)
    if proposal is None or proposal.digest == certificate.digest:
        return []
    return [Broadcast(message=Contradiction(votes=(signed_vote(proposal),)))]


def keep_past_votes(state: ReplicaState) -> None:
    """Remember who voted for what at the height that ends; forget what is too old."""
    lowest = state.tip.height - PAST_HEIGHTS + 1
    for held in (state.past_votes, state.reported):
        for fault in [fault for fault in held if fault.height < lowest]:
            del held[fault]
    for kind in (PrePrepare, NewView, Prepare, Commit):
        for signers in state.instance.mailbox.by_kind.get(kind, {}).values():
            for vote in signers.values():
                assert not isinstance(vote, ViewChange), "filed under its own kind"
                kept = signed_vote(vote)
                state.past_votes.setdefault(fault_of(kept), kept)


def signed_vote(vote: PrePrepare | Prepare | Commit | NewView) -> SignedVote:
    """Return the vote alone, without what travelled beside it."""
    voice = vote.pre_prepare if isinstance(vote, NewView) else vote
    return SignedVote(
        epoch=voice.epoch,
        height=voice.height,
        view=voice.view,
        vote=_TYPES[type(voice)],
        digest=voice.digest,
        signer=voice.signer,
        signature=voice.signature,
    )


_TYPES: Final = {
    PrePrepare: VoteType.PRE_PREPARE,
    Prepare: VoteType.PREPARE,
    Commit: VoteType.COMMIT,
}


def _comparable(state: ReplicaState, votes: Iterable[SignedVote]) -> Iterator[SignedVote]:
    lowest, highest = state.tip.height - PAST_HEIGHTS + 1, state.tip.height + 2
    for vote in votes:
        if lowest <= vote.height <= highest and vote.signer != state.config.replica:
            yield vote


def _first_vote(state: ReplicaState, fault: Fault) -> SignedVote | None:
    """Return the vote of a slot that was heard first, if one was."""
    if fault.height <= state.tip.height:
        return state.past_votes.get(fault)
    is_present = fault.height == height_of(state)
    mailbox = state.instance.mailbox if is_present else state.next_mailbox
    vote: PrePrepare | NewView | Prepare | Commit | None
    match fault.vote:
        case VoteType.PRE_PREPARE:
            vote = _proposal_of(mailbox, fault.view, fault.signer)
        case VoteType.PREPARE:
            vote = votes_at(mailbox, Prepare, fault.view).get(fault.signer)
        case VoteType.COMMIT:
            vote = votes_at(mailbox, Commit, fault.view).get(fault.signer)
        case VoteType.VIEW_CHANGE:
            return None  # It votes for no block.
    return None if vote is None else signed_vote(vote)


def _proposal_of(mailbox: Mailbox, view: View, signer: ReplicaId) -> PrePrepare | NewView | None:
    found = votes_at(mailbox, PrePrepare, view).get(signer)
    return votes_at(mailbox, NewView, view).get(signer) if found is None else found


def _primary_vote(state: ReplicaState, mailbox: Mailbox, view: View) -> PrePrepare | NewView | None:
    return _proposal_of(mailbox, view, primary_at(state, view))


def _voters(mailbox: Mailbox, vote: Vote) -> list[Prepare | Commit]:
    """Return the votes to hold against the proposal: this one, or all there are if it is that."""
    if isinstance(vote, Prepare | Commit):
        return [vote]
    if isinstance(vote, ViewChange):
        return []
    prepares = sorted(votes_at(mailbox, Prepare, vote.view).items())
    commits = sorted(votes_at(mailbox, Commit, vote.view).items())
    return [*(one for _, one in prepares), *(one for _, one in commits)]


def _votes_in(message: Message) -> Iterator[SignedVote]:
    """Yield the votes whose signatures the shell has checked, one by one."""
    match message:
        case PrePrepare():
            yield signed_vote(message)
            if message.block.parent_certificate is not None:
                yield from _commits_of(message.block.parent_certificate)
        case Prepare() | Commit():
            yield signed_vote(message)
        case ViewChange(prepared=prepared):
            if prepared is not None:
                yield from _prepares_of(prepared)
        case NewView():
            for one in message.view_changes:
                yield from _votes_in(one)
            yield from _votes_in(message.pre_prepare)
        case Status(certificate=certificate):
            if certificate is not None:
                yield from _commits_of(certificate)
        case Contradiction(votes=votes):
            yield from votes
        case _:
            return


def _commits_of(certificate: CommitCertificate) -> Iterator[SignedVote]:
    for signer, signature in certificate.signatures:
        yield _certified(certificate, VoteType.COMMIT, signer, signature)


def _prepares_of(certificate: PreparedCertificate) -> Iterator[SignedVote]:
    primary, signature = certificate.primary, certificate.primary_signature
    yield _certified(certificate, VoteType.PRE_PREPARE, primary, signature)
    for signer, one in certificate.signatures:
        yield _certified(certificate, VoteType.PREPARE, signer, one)


def _certified(
    certificate: CommitCertificate | PreparedCertificate,
    vote: VoteType,
    signer: ReplicaId,
    signature: bytes,
) -> SignedVote:
    return SignedVote(
        epoch=certificate.epoch,
        height=certificate.height,
        view=certificate.view,
        vote=vote,
        digest=certificate.digest,
        signer=signer,
        signature=signature,
    )
