"""The steps of one replica: each hands it exactly what enables one transition of `handle`.

A vote that changes nothing yet is not delivered before it does. That loses no behaviour: a vote is
filed, and read when the number of votes beside it reaches a quorum, so a step that delivers the
last of them may as well deliver all. Where more votes than a quorum exist, the liar's comes first
and then those of the lowest correct replicas: the liar's can always be had, and which valid
signatures make up a certificate is never read again (`fingerprints`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from consensus.blocks import Block, CertifiedBlock
from consensus.events import MessageReceived, TimerKind
from consensus.mailbox import V, votes_at
from consensus.messages import (
    Blocks,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    Vote,
)
from consensus.state import is_executed, is_primary, primary_at
from crypto.hashing import Digest
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, CommitCertificate, Height, View
from tests.model.bounds import Bounds, is_verified, name_of
from tests.model.repertoire import (
    B,
    Scene,
    describe_new_view,
    describe_report,
    first_votes,
    fresh_blocks,
    lie,
    make_pre_prepare,
    make_scene,
    new_views,
    proposed_below,
    view_changes,
)
from tests.model.replica import Local, Stage, execute, expire, tell
from tests.model.soup import Soup

Play = Callable[[Stage], None]
Known = dict[tuple[object, ...], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `name` says the same of two steps only if they are the same."""

    name: str
    play: Play


def steps(
    bounds: Bounds, soup: Soup, mask: int, local: Local, known: Known | None = None
) -> Iterator[Step]:
    """Return what one replica may do next, apart from dying.

    `known` may be shared by calls with the same soup, mask and tip.
    """
    scene = make_scene(bounds, soup, mask, local.state, {} if known is None else known)
    if local.decided is not None:
        yield Step("executes", execute)
    if scene.height > bounds.heights:
        return
    yield from _alone(scene)
    yield from _handed_old(scene, local)
    yield from _handed_proposals(scene)
    yield from _handed_prepares(scene)
    yield from _handed_decisions(scene)
    yield from _handed_view_changes(scene)
    if local.boots:
        yield Step("is asked to repeat itself", lambda stage: _ask(stage))


def _alone(scene: Scene) -> Iterator[Step]:
    state, instance = scene.state, scene.state.instance
    if instance.certificate is not None:
        return
    if instance.view == FIRST_VIEW and is_primary(state) and instance.proposal is None:
        yield Step("proposes", lambda stage: expire(stage, TimerKind.PROPOSE))
    if instance.view < scene.bounds.view_max:
        yield Step("times out", lambda stage: expire(stage, TimerKind.VIEW_CHANGE))


def _handed_proposals(scene: Scene) -> Iterator[Step]:
    """First proposals of view 0, new-views, proposals that nothing justifies."""
    instance = scene.state.instance
    if instance.certificate is None:
        if instance.view == FIRST_VIEW and not _has(scene, PrePrepare, FIRST_VIEW):
            for vote in first_votes(scene, FIRST_VIEW):
                yield _hand(f"pre_prepare v0 {name_of(vote.digest)}", vote)
        for view in range(1, scene.bounds.view_max + 1):
            if not _has(scene, NewView, view) and _may_adopt(scene, view):
                yield from _handed_new_views(scene, view)
                yield from _handed_bare_proposals(scene, view)


def _handed_old(scene: Scene, local: Local) -> Iterator[Step]:
    """The proof of a height that is over, and the block that is asked for, of whatever height."""
    if scene.state.tip.certificate is not None and scene.state.instance.certificate is None:
        yield _hand("status with the proof of its tip", _status(scene, scene.state.tip.certificate))
    fetching = scene.state.fetching
    if fetching is not None and fetching.digest is not None:
        known = _blocks(scene) | {one.block.digest: one.block for one in local.stored}
        block = known.get(fetching.digest)
        if block is not None:
            yield _hand(f"proposal {name_of(block.digest)}", Proposal(block=block, bodies=b""))


def _may_adopt(scene: Scene, view: int) -> bool:
    instance = scene.state.instance
    if view < instance.view:  # Filed, so that a late certificate of that view can be completed.
        return instance.prepared is None or instance.prepared.view < view
    return view > instance.view or instance.proposal is None


def _handed_new_views(scene: Scene, view: int) -> Iterator[Step]:
    if scene.leads(view):
        for name, message in new_views(scene, view):
            yield _hand(name, message)
        return
    primary = primary_at(scene.state, View(view))
    for vote in scene.sent(NewView, view):
        if vote.signer == primary != scene.state.config.replica:
            yield _hand(describe_new_view(vote), vote)


def _handed_bare_proposals(scene: Scene, view: int) -> Iterator[Step]:
    """Proposals above view 0 without a new-view: nobody may take them."""
    if scene.leads(view) and scene.may_lie():
        for block in fresh_blocks(scene, view):
            vote = make_pre_prepare(scene, view, block)
            yield _hand(f"pre_prepare v{view} {name_of(block.digest)} without a new-view", vote)


def _handed_prepares(scene: Scene) -> Iterator[Step]:
    """Enough prepares for a certificate, in time or late, with the first proposal if it lacks."""
    state, instance = scene.state, scene.state.instance
    known = -1 if instance.prepared is None else instance.prepared.view
    if instance.certificate is not None:
        return
    for view in range(known + 1, instance.view + 1):
        primary = primary_at(state, View(view))
        for first in first_votes(scene, view) if primary != state.config.replica else _own(scene):
            if first.view != view:
                continue
            before: list[Message] = []
            if view == FIRST_VIEW and not _has(scene, PrePrepare, view):
                if instance.view > FIRST_VIEW and primary != state.config.replica:
                    before.append(first)
                elif primary != state.config.replica:
                    continue  # It is handed the proposal by itself.
            elif _first_of(scene, view) != first.digest:
                continue
            votes = _missing(scene, Prepare, view, first.digest, scene.quorum.strong - 1, primary)
            if votes:
                name = f"prepares v{view} {name_of(first.digest)} of {_signers(votes)}"
                yield _hand(name, *before, *votes)


def _own(scene: Scene) -> list[PrePrepare]:
    own = scene.state.instance.own
    new_view = None if own.new_view is None else own.new_view.pre_prepare
    return [vote for vote in (own.pre_prepare, new_view) if vote is not None]


def _first_of(scene: Scene, view: int) -> Digest | None:
    """Return what the replica knows the primary of a view to have voted for."""
    primary, mailbox = primary_at(scene.state, View(view)), scene.state.instance.mailbox
    vote = votes_at(mailbox, NewView, View(view)).get(primary) or votes_at(
        mailbox, PrePrepare, View(view)
    ).get(primary)
    return None if vote is None else vote.digest


def _handed_decisions(scene: Scene) -> Iterator[Step]:
    """A quorum of commits of any view; the certificate in a status; the block with it."""
    state, instance = scene.state, scene.state.instance
    if instance.certificate is not None:
        return
    q = scene.quorum.strong
    for view in range(scene.bounds.view_max + 1):
        for digest, block in _blocks(scene).items():
            votes = _missing(scene, Commit, view, digest, q, None)
            if not votes:
                continue
            name = name_of(block.digest)
            yield _hand(f"commits v{view} {name} of {_signers(votes)}", *votes)
            shown = [*scene.sent(Commit, view), lie(scene, Commit, view, digest)]
            shown = [vote for vote in shown if vote.digest == digest]
            certificate = _commit_certificate(scene, view, digest, shown[-q:])
            yield _hand(f"status with v{view} {name}", _status(scene, certificate))
            if is_executed(state) and not state.fetched:
                one = CertifiedBlock(block=block, certificate=certificate, bodies=b"")
                yield _hand(f"block {name} decided in v{view}", Blocks(blocks=(one,)))


def _commit_certificate(
    scene: Scene, view: int, digest: Digest, votes: Sequence[Prepare | Commit]
) -> CommitCertificate:
    return CommitCertificate(
        epoch=scene.epoch,
        height=scene.height,
        view=View(view),
        digest=digest,
        signatures=tuple(sorted((vote.signer, vote.signature) for vote in votes)),
    )


def _handed_view_changes(scene: Scene) -> Iterator[Step]:
    """What makes a primary lead; and f + 1 leavers, whom a backup follows."""
    state, instance = scene.state, scene.state.instance
    me = state.config.replica
    if instance.certificate is not None:
        return
    for view in range(max(1, instance.view), scene.bounds.view_max + 1):
        others = [vote for vote in view_changes(scene, view) if vote.signer != me]
        leads = primary_at(state, View(view)) == me
        count = scene.quorum.strong - 1 if leads else scene.quorum.weak
        if leads and view == instance.view and (instance.basis or instance.proposal is not None):
            continue
        if not leads and view == instance.view:
            continue
        verb = "leads" if leads else "follows"
        for chosen in combinations(others, count):
            if len({one.signer for one in chosen}) == count:
                shown = " ".join(describe_report(one) for one in chosen)
                yield _hand(f"v{view} view_changes {shown}: {verb}", *chosen)
                if not leads:
                    break  # Any f + 1 move a backup alike.


def _blocks(scene: Scene) -> dict[Digest, Block]:
    return {block.digest: block for block in proposed_below(scene, scene.bounds.view_max + 1)}


def _missing(
    scene: Scene,
    kind: type[B],
    view: int,
    digest: Digest,
    needed: int,
    primary: ReplicaId | None,
) -> list[B]:
    """Return the votes that complete a quorum at this replica; nothing if there are too few."""
    filed = votes_at(scene.state.instance.mailbox, kind, View(view))
    have = [one for one in filed.values() if one.digest == digest and one.signer != primary]
    candidates = scene.sent(kind, view)
    candidates.insert(0, lie(scene, kind, view, digest))
    fresh = [
        vote
        for vote in candidates
        if vote.digest == digest
        and vote.signer not in filed
        and vote.signer not in (primary, scene.state.config.replica)
    ]
    wanted = needed - len(have)
    return fresh[:wanted] if 0 < wanted <= len(fresh) else []


def _signers(votes: Sequence[Vote]) -> str:
    return ",".join(str(vote.signer) for vote in votes)


def _has(scene: Scene, kind: type[V], view: int) -> bool:
    primary = primary_at(scene.state, View(view))
    return primary in votes_at(scene.state.instance.mailbox, kind, View(view))


def _hand(name: str, *messages: Message) -> Step:
    def play(stage: Stage) -> None:
        for message in messages:
            if not is_verified(stage.bounds, message):
                continue  # The shell drops it.
            sender = message.signer if isinstance(message, Vote) else _other(stage)
            tell(stage, MessageReceived(sender=sender, message=message))

    return Step(f"is handed {name}", play)


def _ask(stage: Stage) -> None:
    """Somebody at the same height shows that it has seen nothing yet."""
    assert stage.state is not None, "only a running replica is asked"
    height = Height(stage.state.tip.height + 1)
    message = _position(height, None)
    tell(stage, MessageReceived(sender=_other(stage), message=message))


def _status(scene: Scene, certificate: CommitCertificate) -> Status:
    return _position(Height(scene.height + 1), certificate)


def _position(height: Height, certificate: CommitCertificate | None) -> Status:
    return Status(
        height=height,
        view=FIRST_VIEW,
        has_proposal=False,
        has_committed=False,
        is_fenced=False,
        certificate=certificate,
        is_listening=False,
        boot=None,
        clock_ms=0,
    )


def _other(stage: Stage) -> ReplicaId:
    return ReplicaId(0 if stage.replica else 1)
