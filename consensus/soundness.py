"""What is wrong with a message whose signatures are right: a reason, or None.

Everything here depends on the chain (whose turn it was, which parent) and is therefore checked
when the message's turn comes, not when it arrives.
"""

from consensus.blocks import Block
from consensus.messages import NewView, PrePrepare, ViewChange
from consensus.state import ReplicaState, height_of, primary_at
from crypto.votes import CommitCertificate, PreparedCertificate


def block_fault(state: ReplicaState, block: Block) -> str | None:
    """Check that the block stands on our tip and carries a proof of it."""
    if block.height != height_of(state):
        return "another height"
    if block.parent != state.tip.digest:
        return "another parent than the decided block"
    proof, tip = block.parent_certificate, state.tip
    if tip.certificate is None:
        return None if proof is None else "a certificate of the genesis state"
    if proof is None:
        return "no certificate of its parent"
    if (proof.height, proof.digest) != (tip.height, tip.digest):
        return "a certificate of another block than its parent"
    if proof.epoch != tip.certificate.epoch:
        return "a parent certificate of another epoch"
    return None


def fresh_fault(state: ReplicaState, pre_prepare: PrePrepare) -> str | None:
    """Check a block that the primary of this very view claims to have made."""
    block = pre_prepare.block
    if block.view != pre_prepare.view:
        return "a fresh block of another view"
    if block.proposer != pre_prepare.signer:
        return "a fresh block of another proposer"
    return block_fault(state, block)


def commit_fault(state: ReplicaState, certificate: CommitCertificate) -> str | None:
    """Check that a commit certificate can decide the height being agreed."""
    if certificate.height != height_of(state):
        return "another height"
    if certificate.epoch != state.members.epoch:
        return "another epoch"
    if len(certificate.signatures) != state.members.quorum.strong:
        return "not exactly a quorum"
    return None


def prepared_fault(state: ReplicaState, certificate: PreparedCertificate) -> str | None:
    """Check that a prepared certificate speaks of this height and of its rightful primary."""
    if (certificate.epoch, certificate.height) != (state.members.epoch, height_of(state)):
        return "a certificate of another height"
    if 1 + len(certificate.signatures) != state.members.quorum.strong:
        return "not exactly a quorum"
    if certificate.primary != primary_at(state, certificate.view):
        return "a certificate with another primary"
    return None


def choose(view_changes: tuple[ViewChange, ...]) -> PreparedCertificate | None:
    """Return the certificate of the highest view, which alone may be proposed; None: free choice.

    Two certificates of one view name one block (S1), so ties do not matter.
    """
    certificates = [one.prepared for one in view_changes if one.prepared is not None]
    return max(certificates, key=lambda one: one.view, default=None)


def new_view_fault(state: ReplicaState, message: NewView) -> str | None:
    """Check a new-view as if we had to make it ourselves (rule 5)."""
    if message.signer != primary_at(state, message.view):
        return "not from the primary of that view"
    if len(message.view_changes) != state.members.quorum.strong:
        return "not exactly a quorum of view-changes"
    for one in message.view_changes:
        if one.signer not in state.members.order:
            return "a view-change of a stranger"
        if one.prepared is not None and (fault := prepared_fault(state, one.prepared)):
            return fault
    chosen = choose(message.view_changes)
    if chosen is None:
        return fresh_fault(state, message.pre_prepare)
    if message.digest != chosen.digest:
        return "another block than the one that may be decided"
    return block_fault(state, message.pre_prepare.block)
