"""Which signatures a message holds: the shell checks them all before the core sees any of it.

The jobs of a message are bounded by the size of the set: a new-view of n members has at most
2 q^2 + 2 q + 1 of them before those that repeat (everybody reports the same certificate) fall away.

Decided and certified blocks that arrive in `Blocks` or `Proposal` need no check of the parent
certificate inside: a quorum that checked it has signed the header that names its digest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from consensus.boots import Boot, boot_preimage
from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.messages import (
    Blocks,
    Commit,
    Complaint,
    Contradiction,
    Echo,
    Fetch,
    FetchProposal,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    complaint_preimage,
)
from crypto.errors import InvalidCertificate
from crypto.evidence import signed_vote_job
from crypto.hashing import ChainId, Digest
from crypto.signatures import SignatureJob
from crypto.validators import Epoch, ValidatorSet
from crypto.votes import (
    CommitCertificate,
    VoteType,
    commit_certificate_jobs,
    prepared_certificate_jobs,
    prepared_digest,
    vote_job,
    vote_preimage,
)

Sets = Mapping[Epoch, ValidatorSet]
"""The members of every epoch that this replica knows."""


def message_signature_jobs(
    message: Message, sets: Sets, chain_id: ChainId
) -> tuple[SignatureJob, ...]:
    """Return every signature in `message`, each once.

    Raises `UnknownEpoch` when the members are not known, and `InvalidMessage` when the votes
    cannot be right: a signer outside the set, or a certificate that is not exactly a quorum.
    """
    try:
        return tuple(dict.fromkeys(_jobs(message, sets, chain_id)))
    except InvalidCertificate as problem:
        raise InvalidMessage(f"{type(message).__name__}: {problem}") from problem


def make_verifiable(message: Message, sets: Sets) -> Message:
    """Return what can be checked of a message that comes from a later epoch.

    Blocks are cut before the first of an unknown epoch, and a status loses its proof: both are
    how a replica that was away learns that it has to catch up. What an echo shows of an epoch that
    is over falls away: it can contradict nothing that may still be signed. Anything else is left:
    an echo of a later epoch counts as no answer at all, or a start would take it for heard and
    miss the vote of a later epoch in it. Who listens is answered again with each heartbeat, and
    hears once it has caught up with the epochs.
    """
    match message:
        case Blocks():
            for count, one in enumerate(message.blocks):
                if one.certificate.epoch not in sets:
                    return Blocks(blocks=message.blocks[:count])
            return message
        case Status(certificate=certificate, boot=boot):
            if certificate is not None and certificate.epoch not in sets:
                message = replace(message, certificate=None)
            if boot is not None and boot.epoch not in sets:
                message = replace(message, boot=None)
            return message
        case Echo():
            return _without_past(message, sets)
        case _:
            return message


def _jobs(message: Message, sets: Sets, chain_id: ChainId) -> Iterator[SignatureJob]:
    match message:
        case PrePrepare():
            yield from _pre_prepare_jobs(message, sets, chain_id)
        case Prepare():
            yield _vote_job(message, VoteType.PREPARE, message.digest, sets, chain_id)
        case Commit():
            yield _vote_job(message, VoteType.COMMIT, message.digest, sets, chain_id)
        case ViewChange():
            yield from _view_change_jobs(message, sets, chain_id)
        case NewView():
            yield from _new_view_jobs(message, sets, chain_id)
        case Status(certificate=certificate, boot=boot):
            if certificate is not None:
                yield from _commit_jobs(certificate, sets, chain_id)
            if boot is not None:
                yield _boot_job(boot, sets, chain_id)
        case Echo():
            yield from _echo_jobs(message, sets, chain_id)
        case Blocks(blocks=blocks):
            for one in blocks:
                yield from _commit_jobs(one.certificate, sets, chain_id)
        case Complaint():
            members = _members(sets, message.epoch)
            preimage = complaint_preimage(chain_id, message.epoch, message.primary, message.reason)
            yield vote_job(message.signer, message.signature, preimage, members)
        case Contradiction(votes=votes):
            for vote in votes:
                yield signed_vote_job(vote, _members(sets, vote.epoch), chain_id)
        case Fetch() | FetchProposal() | Proposal():
            return


def _without_past(message: Echo, sets: Sets) -> Echo:
    first = min(sets)

    def is_past(epoch: Epoch) -> bool:
        return epoch < first

    if message.certificate is not None and is_past(message.certificate.epoch):
        message = replace(message, certificate=None)
    boots = tuple(one for one in message.boots if not is_past(one.epoch))
    if message.vote is not None and is_past(message.vote.epoch):
        message = replace(message, vote=None)
    return replace(message, boots=boots)


def _echo_jobs(message: Echo, sets: Sets, chain_id: ChainId) -> Iterator[SignatureJob]:
    if message.certificate is not None:
        yield from _commit_jobs(message.certificate, sets, chain_id)
    for boot in message.boots:
        yield _boot_job(boot, sets, chain_id)
    vote = message.vote
    if vote is not None:
        yield signed_vote_job(vote, _members(sets, vote.epoch), chain_id)


def _boot_job(boot: Boot, sets: Sets, chain_id: ChainId) -> SignatureJob:
    preimage = boot_preimage(
        chain_id, boot.epoch, boot.replica, boot.number, boot.boot_id, boot.seen
    )
    return vote_job(boot.replica, boot.signature, preimage, _members(sets, boot.epoch))


def _pre_prepare_jobs(message: PrePrepare, sets: Sets, chain_id: ChainId) -> Iterator[SignatureJob]:
    yield _vote_job(message, VoteType.PRE_PREPARE, message.digest, sets, chain_id)
    if message.block.parent_certificate is not None:
        yield from _commit_jobs(message.block.parent_certificate, sets, chain_id)


def _view_change_jobs(message: ViewChange, sets: Sets, chain_id: ChainId) -> Iterator[SignatureJob]:
    about = prepared_digest(message.prepared)
    yield _vote_job(message, VoteType.VIEW_CHANGE, about, sets, chain_id)
    if message.prepared is not None:
        members = _members(sets, message.epoch)
        yield from prepared_certificate_jobs(
            message.prepared, members, chain_id, epoch=message.epoch
        )


def _new_view_jobs(message: NewView, sets: Sets, chain_id: ChainId) -> Iterator[SignatureJob]:
    quorum = _members(sets, message.epoch).quorum.strong
    if len(message.view_changes) != quorum:
        raise InvalidMessage(
            f"NewView: {len(message.view_changes)} view-changes where a quorum has {quorum}"
        )
    for one in message.view_changes:
        yield from _view_change_jobs(one, sets, chain_id)
    yield from _pre_prepare_jobs(message.pre_prepare, sets, chain_id)


def _vote_job(
    message: PrePrepare | Prepare | Commit | ViewChange,
    vote: VoteType,
    about: Digest,
    sets: Sets,
    chain_id: ChainId,
) -> SignatureJob:
    preimage = vote_preimage(chain_id, message.epoch, vote, message.height, message.view, about)
    members = _members(sets, message.epoch)
    return vote_job(message.signer, message.signature, preimage, members)


def _commit_jobs(
    certificate: CommitCertificate, sets: Sets, chain_id: ChainId
) -> tuple[SignatureJob, ...]:
    members = _members(sets, certificate.epoch)
    return commit_certificate_jobs(certificate, members, chain_id, epoch=certificate.epoch)


def _members(sets: Sets, epoch: Epoch) -> ValidatorSet:
    if epoch not in sets:
        raise UnknownEpoch(f"the members of epoch {epoch} are not known here")
    return sets[epoch]
