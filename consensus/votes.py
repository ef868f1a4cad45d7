"""Making this replica's own votes: the one place that signs, and that keeps what it signed.

Each function returns the vote with the journal record that must be durable before it is sent.
"""

from consensus.blocks import Block
from consensus.mailbox import put
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from consensus.records import VoteRecord
from consensus.state import ReplicaState, height_of, may_vote
from crypto.hashing import Digest
from crypto.votes import FIRST_VIEW, PreparedCertificate, VoteType, prepared_digest, vote_preimage


def make_pre_prepare(state: ReplicaState, block: Block) -> PrePrepare:
    """Vote, as the primary of the present view, for a block of ours or one prepared before."""
    return PrePrepare(
        epoch=state.members.epoch,
        height=height_of(state),
        view=state.instance.view,
        digest=block.digest,
        signer=state.config.replica,
        signature=_sign(state, VoteType.PRE_PREPARE, block.digest),
        block=block,
    )


def make_prepare(state: ReplicaState, digest: Digest) -> Prepare:
    return Prepare(
        epoch=state.members.epoch,
        height=height_of(state),
        view=state.instance.view,
        digest=digest,
        signer=state.config.replica,
        signature=_sign(state, VoteType.PREPARE, digest),
    )


def make_commit(state: ReplicaState, digest: Digest) -> Commit:
    return Commit(
        epoch=state.members.epoch,
        height=height_of(state),
        view=state.instance.view,
        digest=digest,
        signer=state.config.replica,
        signature=_sign(state, VoteType.COMMIT, digest),
    )


def make_view_change(state: ReplicaState, prepared: PreparedCertificate | None) -> ViewChange:
    return ViewChange(
        epoch=state.members.epoch,
        height=height_of(state),
        view=state.instance.view,
        prepared=prepared,
        signer=state.config.replica,
        signature=_sign(state, VoteType.VIEW_CHANGE, prepared_digest(prepared)),
    )


def vote_record(message: PrePrepare | Prepare | Commit) -> VoteRecord:
    return VoteRecord(
        vote=VOTE_TYPES[type(message)],
        epoch=message.epoch,
        height=message.height,
        view=message.view,
        digest=message.digest,
        signature=message.signature,
    )


VOTE_TYPES = {
    PrePrepare: VoteType.PRE_PREPARE,
    Prepare: VoteType.PREPARE,
    Commit: VoteType.COMMIT,
}


def keep_own(
    state: ReplicaState, message: PrePrepare | Prepare | Commit | ViewChange | NewView
) -> None:
    """Remember a vote of ours for re-sending, and count it."""
    own = state.instance.own
    match message:
        case PrePrepare():
            own.pre_prepare = message
        case Prepare():
            own.prepare = message
        case Commit():
            own.commit = message
        case ViewChange():
            own.view_change = message
        case NewView():
            own.new_view = message
    put(state.instance.mailbox, message, own_view=state.instance.view)


def has_voted(state: ReplicaState) -> bool:
    """Whether our vote for the order in the present view is given."""
    instance, own = state.instance, state.instance.own
    if own.prepare is not None and own.prepare.view == instance.view:
        return True
    if instance.view == FIRST_VIEW:
        return own.pre_prepare is not None
    return own.new_view is not None and own.new_view.view == instance.view


def _sign(state: ReplicaState, vote: VoteType, about: Digest) -> bytes:
    assert may_vote(state), "nothing is signed behind a fence, before execution, or after decision"
    preimage = vote_preimage(
        state.config.chain_id,
        state.members.epoch,
        vote,
        height_of(state),
        state.instance.view,
        about,
    )
    return state.config.sign(state.members.epoch, preimage)
