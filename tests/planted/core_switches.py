"""Planted bugs of the core that the model checker is to find: a patch of a few functions each."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus import (
    catch_up,
    complaints,
    core,
    decision,
    normal_case,
    proposing,
    restore,
    soundness,
    timers,
    view_change,
    votes,
)
from consensus.blocks import Block
from consensus.effects import Effect, Persist
from consensus.mailbox import put, votes_at
from consensus.messages import NewView, PrePrepare, ViewChange, Vote
from consensus.records import PreparedRecord, Record
from consensus.soundness import block_fault
from consensus.state import Departure, ReplicaState, may_vote, primary_at
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, CommitCertificate, PreparedCertificate, View

Patch = pytest.MonkeyPatch
Step = Callable[[ReplicaState], list[Effect] | None]

VOTING = (catch_up, complaints, normal_case, proposing, timers, view_change, votes)
"""The modules that ask whether a vote may be given."""


def silence(patch: Patch) -> None:
    """Switch off the core's own assertions, so that the harm itself has to be seen."""
    patch.setattr(core, "check_invariants", lambda state: None)
    patch.setattr(restore, "check_invariants", lambda state: None)


def replace_step(patch: Patch, old: Step, new: Step) -> None:
    patch.setattr(core, "STEPS", tuple(new if one is old else one for one in core.STEPS))


def repeated_signer_counted(patch: Patch) -> None:
    """A new-view decodes whoever signed its view-changes, as long as there are enough of them."""
    patch.setattr(NewView, "__post_init__", lambda message: None)


def implicit_right_to_propose(patch: Patch) -> None:
    """A proposal of any view is taken from its primary, without a new-view."""
    take_bare_proposals(patch, lambda message: True)


def view_carried_over(patch: Patch) -> None:
    """The view of the parent's certificate is taken to go on at the next height."""

    def is_carried(message: PrePrepare) -> bool:
        proof = message.block.parent_certificate
        return proof is not None and proof.view == message.view

    take_bare_proposals(patch, is_carried)


def take_bare_proposals(patch: Patch, is_right: Callable[[PrePrepare], bool]) -> None:
    real_on_vote, real_primary_vote = core.on_vote, normal_case._primary_vote
    real_accept = normal_case.accept_pre_prepare

    def on_vote(state: ReplicaState, sender: ReplicaId, vote: Vote) -> list[Effect]:
        if isinstance(vote, PrePrepare) and vote.view > FIRST_VIEW and is_right(vote):
            if vote.height == state.tip.height + 1:
                put(state.instance.mailbox, vote, own_view=state.instance.view)
            return []
        return real_on_vote(state, sender, vote)

    def primary_vote(state: ReplicaState, view: View) -> PrePrepare | None:
        found = real_primary_vote(state, view)
        primary = primary_at(state, view)
        bare = votes_at(state.instance.mailbox, PrePrepare, view).get(primary)
        return bare if found is None else found

    def accept(state: ReplicaState) -> list[Effect] | None:
        instance = state.instance
        for view in sorted(instance.mailbox.by_kind.get(PrePrepare, {}), reverse=True):
            message = primary_vote(state, view)
            if view <= FIRST_VIEW or view < instance.view or not may_vote(state):
                continue
            if message is None or (view == instance.view and instance.proposal is not None):
                continue
            if block_fault(state, message.block) is not None:
                continue
            effects = view_change._enter(state, view, Departure.FOLLOWED)
            instance.proposal = message
            instance.blocks[message.digest] = message.block
            return effects
        return real_accept(state)

    patch.setattr(core, "on_vote", on_vote)
    patch.setattr(normal_case, "_primary_vote", primary_vote)
    replace_step(patch, real_accept, accept)


def timer_discards_prepared(patch: Patch) -> None:
    """Whoever leaves a view forgets what it had prepared there."""
    silence(patch)
    real = view_change._enter

    def enter(state: ReplicaState, view: View, reason: Departure) -> list[Effect]:
        state.instance.prepared = None
        return real(state, view, reason)

    patch.setattr(view_change, "_enter", enter)


def vote_before_execution(patch: Patch) -> None:
    """A decided height counts as over before its block is durable and executed."""
    silence(patch)

    def may(state: ReplicaState) -> bool:
        return state.fence is None and state.instance.certificate is None

    for module in VOTING:
        patch.setattr(module, "may_vote", may)


def certificate_not_journaled(patch: Patch) -> None:
    """A commit is journaled without the certificate it speaks of."""
    silence(patch)

    def persist(*, records: tuple[Record, ...]) -> Persist:
        return Persist(records=tuple(one for one in records if not _is_certificate(one)))

    patch.setattr(normal_case, "Persist", persist)


def _is_certificate(record: Record) -> bool:
    return isinstance(record, PreparedRecord)


def votes_forgotten(patch: Patch) -> None:
    """A restart reads its proposals and certificates back, and not its votes."""
    silence(patch)
    patch.setattr(restore, "_replay_vote", lambda state, record: None)


def certificate_of_another_height(patch: Patch) -> None:
    """A certificate is believed whatever height it speaks of, and so is the block it names."""

    def commit_fault(state: ReplicaState, certificate: CommitCertificate) -> str | None:
        return None

    def no_fault(state: ReplicaState, block: Block) -> str | None:
        return None

    for module in (catch_up, decision):
        patch.setattr(module, "commit_fault", commit_fault)
        patch.setattr(module, "block_fault", no_fault)


def vote_of_another_epoch(patch: Patch) -> None:
    """Votes count whatever generation of the replica set they name."""
    real = core.on_vote

    def on_vote(state: ReplicaState, sender: ReplicaId, vote: Vote) -> list[Effect]:
        if vote.epoch == state.members.epoch or isinstance(vote, NewView | ViewChange):
            return real(state, sender, vote)
        if vote.height == state.tip.height + 1:
            same = replace(vote, epoch=state.members.epoch)
            put(state.instance.mailbox, same, own_view=state.instance.view)
        return []

    patch.setattr(core, "on_vote", on_vote)


def lowest_view_chosen(patch: Patch) -> None:
    """Of several certificates the one of the lowest view is proposed again."""

    def choose(view_changes: tuple[ViewChange, ...]) -> PreparedCertificate | None:
        shown = [one.prepared for one in view_changes if one.prepared is not None]
        return min(shown, key=lambda one: one.view, default=None)

    for module in (soundness, view_change, restore):
        patch.setattr(module, "choose", choose)
