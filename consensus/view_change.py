"""Leaving a view and entering the next (PBFT §4.4; rules 2, 4, 5, 9).

A view-change reports the certificate of the highest view in which its sender prepared. Any block
that was decided below the new view was prepared by a quorum, so any quorum of view-changes holds
the certificate of a correct replica, and the highest one names that block: the new primary must
propose it again, and every backup recomputes the choice instead of believing it.
"""

from typing import Final

from consensus.blocks import Block
from consensus.effects import Broadcast, CheckProposal, Effect, Ignore, Persist
from consensus.events import TimerKind
from consensus.mailbox import discard, views_of, votes_at
from consensus.messages import NewView, ViewChange
from consensus.peers import note_position
from consensus.proposing import propose, request_proposal
from consensus.records import ViewChangeRecord
from consensus.soundness import choose, new_view_fault, prepared_fault
from consensus.state import (
    Departure,
    ReplicaState,
    height_of,
    is_primary,
    may_vote,
    primary_at,
)
from consensus.timers import cancel_timer, extend_by_lag
from consensus.votes import keep_own, make_view_change
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, PreparedCertificate, View

VIEW_MAX: Final = View(2**32 - 1)
VOTED_KEPT: Final = 16
"""Blocks voted for at one height that are kept, the latest, beside one for each faulty replica."""


def on_view_timer(state: ReplicaState) -> list[Effect]:
    """The view has had its time: ask for the next. Nothing prepared or committed is dropped."""
    if not may_vote(state):
        return []
    extended = extend_by_lag(state)
    if extended is not None:
        return extended
    return leave_view(state, View(state.instance.view + 1), Departure.TIMER)


def leave_view(state: ReplicaState, view: View, reason: Departure) -> list[Effect]:
    """Move up to `view`: say so durably, with the highest certificate; vote below no more."""
    assert view > state.instance.view, "the view never falls"
    if view > VIEW_MAX:
        return []
    effects = _enter(state, view, reason)
    message = make_view_change(state, state.instance.prepared)
    keep_own(state, message)
    return [
        *effects,
        Persist(records=(ViewChangeRecord(message=message),)),
        Broadcast(message=message),
    ]


def join_if_others_left(state: ReplicaState) -> list[Effect] | None:
    """Follow f + 1 replicas that went higher, as far as the last of them: one is correct."""
    if not may_vote(state):
        return None
    highest: dict[ReplicaId, View] = {}
    mailbox = state.instance.mailbox
    for view in views_of(mailbox, ViewChange):  # Ascending, so the highest of each stays.
        for signer in votes_at(mailbox, ViewChange, view):
            highest[signer] = view
    highest.pop(state.config.replica, None)
    views = sorted(highest.values(), reverse=True)
    f = state.members.quorum.f
    if len(views) <= f or views[f] <= state.instance.view:
        return None
    return leave_view(state, views[f], Departure.JOINED)


def adopt_new_view(state: ReplicaState) -> list[Effect] | None:
    """Accept the highest sound new-view at or above our view; drop the unsound."""
    if not may_vote(state):
        return None
    instance = state.instance
    for view in reversed(views_of(instance.mailbox, NewView)):
        if view < instance.view or (view == instance.view and instance.proposal is not None):
            return None
        for signer, message in sorted(votes_at(instance.mailbox, NewView, view).items()):
            if signer == state.config.replica:
                continue
            fault = new_view_fault(state, message) or _contradiction(state, message)
            if fault is None:
                return _adopt(state, message)
            discard(instance.mailbox, NewView, view, signer)
            return [Ignore(sender=signer, kind="NewView", reason=fault)]
    return None


def lead_if_chosen(state: ReplicaState) -> list[Effect] | None:
    """Act as the new primary once a quorum has left the lower views."""
    instance = state.instance
    if instance.view == FIRST_VIEW or instance.proposal is not None or not may_vote(state):
        return None
    if not is_primary(state):
        return None
    if not instance.basis:
        instance.basis = _basis(state)
        if not instance.basis:
            return None
        instance.chosen = choose(instance.basis)

    if instance.chosen is None:
        return None if instance.is_requested else request_proposal(state)
    block = instance.blocks.get(instance.chosen.digest)
    if block is None:
        return None  # It is being fetched from those who promised to serve it.
    if block.digest in instance.valid:
        return propose(state, block)
    return check_block(state, block)


def check_block(
    state: ReplicaState, block: Block, *, bodies: bytes | None = None
) -> list[Effect] | None:
    """Have the shell check a block of this height, once; one made for this view, for its time too.

    A block with a certificate is not fresh, and its signers have its bodies.
    """
    instance = state.instance
    if block.digest in instance.checking or block.digest in instance.valid:
        return None
    instance.checking[block.digest] = None
    holders: tuple[ReplicaId, ...] = (primary_at(state, instance.view),)
    if instance.certificate is not None:
        holders = tuple(signer for signer, _ in instance.certificate.signatures)
    elif instance.chosen is not None:
        holders = signers_of(instance.chosen)
    return [
        CheckProposal(
            height=height_of(state),
            view=instance.view,
            block=block,
            is_fresh=instance.certificate is None and instance.chosen is None,
            holders=holders,
            bodies=bodies,
        )
    ]


def signers_of(certificate: PreparedCertificate) -> tuple[ReplicaId, ...]:
    """Return who has promised to serve the certified block, ascending."""
    backups = (signer for signer, _ in certificate.signatures)
    return tuple(sorted((certificate.primary, *backups)))


def _enter(state: ReplicaState, view: View, reason: Departure) -> list[Effect]:
    """Forget the proposal of the view below; keep what may still be decided."""
    state.view_changes[reason] += 1
    instance = state.instance
    instance.view = view
    instance.proposal = None
    instance.chosen = None
    instance.basis = ()
    instance.checking = {}
    instance.contradicted = {}
    instance.is_requested = instance.is_timed = instance.is_extended = False
    instance.lag_ms = 0
    forget_blocks(state)
    return [
        *cancel_timer(state, TimerKind.PROPOSE),
        *cancel_timer(state, TimerKind.VIEW_CHANGE),
    ]


def forget_blocks(state: ReplicaState) -> None:
    """Keep the blocks in use, and those voted for: their certificates may be shown late.

    Whoever holds back such a certificate makes a later primary propose that block again. Faulty
    primaries in a row make at most f of them; more need long trouble on the network.
    """
    instance = state.instance
    voted_max = VOTED_KEPT + state.members.quorum.f
    kept = [*list(instance.durable)[-voted_max:], *list(instance.valid)[-1:]]
    if instance.proposal is not None:
        kept.append(instance.proposal.digest)
    if instance.prepared is not None:
        kept.append(instance.prepared.digest)
    for held in (instance.blocks, instance.valid, instance.durable):
        for digest in [digest for digest in held if digest not in kept]:
            del held[digest]


def _adopt(state: ReplicaState, message: NewView) -> list[Effect]:
    instance = state.instance
    effects: list[Effect] = []
    if message.view > instance.view:
        effects = _enter(state, message.view, Departure.FOLLOWED)
    instance.chosen = choose(message.view_changes)
    instance.proposal = message.pre_prepare
    instance.blocks[message.digest] = message.pre_prepare.block
    for one in message.view_changes:
        note_position(state, one.signer, one.height, one.view)
    return effects


def _contradiction(state: ReplicaState, message: NewView) -> str | None:
    """Refuse a second proposal for a view in which we voted before a restart."""
    prepare = state.instance.own.prepare
    if prepare is not None and prepare.view == message.view and prepare.digest != message.digest:
        return "we have voted for another block in that view"
    return None


def _basis(state: ReplicaState) -> tuple[ViewChange, ...]:
    """Return a quorum of sound view-changes for exactly this view, ours included; or none."""
    instance = state.instance
    found = votes_at(instance.mailbox, ViewChange, instance.view)
    quorum = state.members.quorum.strong
    if len(found) < quorum or state.config.replica not in found:
        return ()
    sound = [
        message
        for _, message in sorted(found.items())
        if message.prepared is None or prepared_fault(state, message.prepared) is None
    ]
    others = [message for message in sound if message.signer != state.config.replica]
    chosen = [found[state.config.replica], *others[: quorum - 1]]
    if len(chosen) < quorum:
        return ()
    return tuple(sorted(chosen, key=lambda message: message.signer))
