"""How each planted bug gets into the running code: a patch of one function, for one search."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from consensus import complaints, core, evidence, normal_case, restore, soundness, view_change
from consensus.effects import Broadcast, Effect, Persist
from consensus.events import Event
from consensus.mailbox import votes_at
from consensus.messages import NewView, Prepare
from consensus.records import Record, ViewChangeRecord, VoteRecord
from consensus.state import Departure, ReplicaState, may_vote, primary_at
from consensus.view_change import leave_view
from consensus.votes import has_voted, keep_own, make_commit, vote_record
from crypto.evidence import Fault, SignedVote
from crypto.quorum import QuorumSystem
from crypto.votes import FIRST_VIEW, PreparedCertificate, View, VoteType
from shell import journal
from shell.journal import BodiesRecord, VoteJournal
from tests.simulation import host, ledger_application

Patch = pytest.MonkeyPatch


def set_quorum(patch: Patch, strong: Callable[[QuorumSystem], int]) -> None:
    patch.setattr(QuorumSystem, "__post_init__", lambda system: None)
    patch.setattr(QuorumSystem, "strong", property(strong))


def quorum_of_2f_plus_1(patch: Patch) -> None:
    set_quorum(patch, lambda system: 2 * system.f + 1)


def quorum_of_2f(patch: Patch) -> None:
    set_quorum(patch, lambda system: max(1, 2 * system.f))


def skip_records(patch: Patch, kind: type[Record | BodiesRecord]) -> None:
    """The journal forgets one kind of record."""

    def append_votes(votes: VoteJournal, records: Iterable[Record | BodiesRecord]) -> None:
        journal.append_votes(votes, [one for one in records if not isinstance(one, kind)])

    patch.setattr(ledger_application, "append_votes", append_votes)


def votes_not_journaled(patch: Patch) -> None:
    skip_records(patch, VoteRecord)


def view_not_journaled(patch: Patch) -> None:
    skip_records(patch, ViewChangeRecord)


def sent_before_durable(patch: Patch) -> None:
    """Every persist moves behind the message that it should have preceded."""

    def handle(state: ReplicaState, event: Event) -> list[Effect]:
        effects = core.handle(state, event)
        late = [effect for effect in effects if isinstance(effect, Persist)]
        return [effect for effect in effects if not isinstance(effect, Persist)] + late

    patch.setattr(host, "handle", handle)


def commit_after_view_change(patch: Patch) -> None:
    """Rule 4 forgotten: a certificate that arrives late is committed to in the view it is of."""

    def commit_if_prepared(state: ReplicaState) -> list[Effect] | None:
        normal_case.note_prepared(state)
        instance = state.instance
        prepared, commit = instance.prepared, instance.own.commit
        if prepared is None or not may_vote(state):
            return None
        if commit is not None and commit.view >= prepared.view:
            return None
        view, instance.view = instance.view, prepared.view
        message = make_commit(state, prepared.digest)
        keep_own(state, message)
        instance.view = view
        return [Persist(records=(vote_record(message),)), Broadcast(message=message)]

    steps = tuple(
        commit_if_prepared if step is normal_case.commit_if_prepared else step
        for step in core.STEPS
    )
    patch.setattr(core, "STEPS", steps)


def prepared_certificates_ignored(patch: Patch) -> None:
    """The new primary proposes what it likes, and everybody thinks that this is right."""
    for module in (soundness, view_change, restore):
        patch.setattr(module, "choose", lambda _: None)


def choice_not_recomputed(patch: Patch) -> None:
    """A backup believes the new primary's choice; the new primary is a liar."""

    def new_view_fault(state: ReplicaState, message: NewView) -> str | None:
        return None if message.signer == primary_at(state, message.view) else "another primary"

    patch.setattr(view_change, "new_view_fault", new_view_fault)


def prepares_counted_without_their_digest(patch: Patch) -> None:
    real = normal_case._prepared_at

    def prepared_at(state: ReplicaState, view: View) -> PreparedCertificate | None:
        proposal = normal_case._primary_vote(state, view)
        prepares = votes_at(state.instance.mailbox, Prepare, view)
        needed = state.members.quorum.strong - 1
        others = sorted(signer for signer in prepares if proposal and signer != proposal.signer)
        if proposal is None or len(others) < needed:
            return real(state, view)
        return PreparedCertificate(
            epoch=proposal.epoch,
            height=proposal.height,
            view=view,
            digest=proposal.digest,
            primary=proposal.signer,
            primary_signature=proposal.signature,
            signatures=tuple((one, prepares[one].signature) for one in others[:needed]),
        )

    patch.setattr(normal_case, "_prepared_at", prepared_at)


def earlier_vote_accuses(patch: Patch) -> None:
    """A vote of an earlier view is held against one of this: who votes anew after a change of the
    view is accused."""
    real = evidence._first_vote

    def first_vote(state: ReplicaState, fault: Fault) -> SignedVote | None:
        found = real(state, fault)
        if found is not None or fault.vote is not VoteType.PREPARE or fault.view == FIRST_VIEW:
            return found
        earlier = real(state, fault._replace(view=View(fault.view - 1)))
        return None if earlier is None else replace(earlier, view=fault.view)

    patch.setattr(evidence, "_first_vote", first_vote)


def one_complaint_suffices(patch: Patch) -> None:
    """Whoever complains, everybody leaves the primary."""

    def leave_if_complained(state: ReplicaState) -> list[Effect] | None:
        is_free = may_vote(state) and not has_voted(state)
        if state.instance.view != FIRST_VIEW or not is_free or not state.complaints:
            return None
        return leave_view(state, View(FIRST_VIEW + 1), Departure.COMPLAINT_CENSORING)

    steps = tuple(
        leave_if_complained if step is complaints.leave_if_complained else step
        for step in core.STEPS
    )
    patch.setattr(core, "STEPS", steps)
