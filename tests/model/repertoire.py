"""What the Byzantine replica can say: whatever its key and the votes it has heard make possible.

It votes for every block to everybody, makes two blocks where it may propose (and shows either to
anyone), reports nothing or any certificate that exists, and as primary shows new-views right and
wrong. Everything goes through the real verifier before a replica is handed it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from itertools import combinations
from typing import Any, Concatenate, ParamSpec, TypeVar

from consensus.blocks import Block
from consensus.mailbox import V
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from consensus.state import ReplicaState, height_of, primary_at
from consensus.votes import VOTE_TYPES
from crypto.hashing import Digest
from crypto.quorum import QuorumSystem
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    GENESIS_HEIGHT,
    CommitCertificate,
    Height,
    PreparedCertificate,
    View,
    VoteType,
    prepared_digest,
    vote_preimage,
)
from tests.model.bounds import Bounds, make_block, name_of
from tests.model.fingerprints import fingerprint
from tests.model.soup import Soup, heard
from tests.simulation.ideal import CHAIN, make_signer

VARIANTS = "xy"


B = TypeVar("B", Prepare, Commit)
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a replica may be handed something in: who lies, what was said, where it stands.

    `known` remembers what was worked out for other replicas on the same tip and the same soup.
    """

    bounds: Bounds
    soup: Soup
    mask: int
    state: ReplicaState
    known: dict[tuple[object, ...], Any]
    height: Height
    epoch: Epoch
    liar: ReplicaId
    quorum: QuorumSystem

    def sent(self, kind: type[V], view: int) -> list[V]:
        return heard(self.soup, self.mask, kind, self.height, view)

    def may_lie(self) -> bool:
        """Whether the liar is a member of this height."""
        return self.bounds.is_member(self.bounds.byzantine, self.height)

    def leads(self, view: int) -> bool:
        return primary_at(self.state, View(view)) == self.liar


def make_scene(
    bounds: Bounds,
    soup: Soup,
    mask: int,
    state: ReplicaState,
    known: dict[tuple[object, ...], Any],
) -> Scene:
    height = height_of(state)
    return Scene(
        bounds=bounds,
        soup=soup,
        mask=mask,
        state=state,
        known=known,
        height=height,
        epoch=bounds.epoch(height),
        liar=ReplicaId(bounds.byzantine),
        quorum=state.members.quorum,
    )


def shared(
    work: Callable[Concatenate[Scene, P], Iterable[T]],
) -> Callable[Concatenate[Scene, P], list[T]]:
    """Work something out once for all replicas that stand on the same tip in the same soup."""

    @wraps(work)
    def known(scene: Scene, /, *args: P.args, **named: P.kwargs) -> list[T]:
        key = (work, *args)
        found: list[T] | None = scene.known.get(key)
        if found is None:
            found = scene.known[key] = list(work(scene, *args, **named))
        return found

    return known


def lie(scene: Scene, kind: type[B], view: int, digest: Digest) -> B:
    """The liar's vote for a block; as a former member it can only name its old epoch."""
    epoch = scene.epoch if scene.may_lie() else Epoch(0)
    signature = _signed(scene.liar, VOTE_TYPES[kind], epoch, scene.height, View(view), digest)
    return kind(
        epoch=epoch,
        height=scene.height,
        view=View(view),
        digest=digest,
        signer=scene.liar,
        signature=signature,
    )


@cache
def _signed(
    liar: ReplicaId, vote: VoteType, epoch: Epoch, height: Height, view: View, about: Digest
) -> bytes:
    return make_signer(liar)(vote_preimage(CHAIN, epoch, vote, height, view, about))


@shared
def fresh_blocks(scene: Scene, view: int) -> Iterator[Block]:
    """The blocks that the liar would make for a view it leads, on every proof of the parent.

    There are two on each, alike but for their names: so the second comes up only once a correct
    replica has voted for the first.
    """
    voted = {vote.digest for vote in scene.sent(Prepare, view)}
    for proof in parent_proofs(scene):
        first, second = (
            make_block(
                height=scene.height,
                view=View(view),
                proposer=scene.liar,
                parent=scene.state.tip.digest,
                proof=proof,
                variant=variant,
            )
            for variant in VARIANTS
        )
        yield first
        if first.digest in voted:
            yield second


@shared
def parent_proofs(scene: Scene) -> Iterable[CommitCertificate | None]:
    """Certificates of the parent, one for each view in which a quorum has committed to it."""
    tip = scene.state.tip
    if tip.height == GENESIS_HEIGHT:
        return [None]
    return proofs(scene.bounds, scene.soup, scene.mask, tip.height, tip.digest)


def proofs(
    bounds: Bounds, soup: Soup, mask: int, height: Height, digest: Digest
) -> Iterator[CommitCertificate]:
    """Return a commit certificate of a block for each view that has one."""
    for certificate, bit in soup.proofs.items():
        if mask >> bit & 1 and certificate.digest == digest:
            yield certificate
    quorum, epoch = bounds.validators(height).quorum.strong, bounds.epoch(height)
    for view in range(bounds.view_max + 1):
        commits = [one for one in heard(soup, mask, Commit, height, view) if one.digest == digest]
        signers = [(one.signer, one.signature) for one in commits]
        if bounds.is_member(bounds.byzantine, height):
            liar = ReplicaId(bounds.byzantine)
            own = _signed(liar, VoteType.COMMIT, epoch, height, View(view), digest)
            signers.append((liar, own))
        if len(signers) >= quorum:
            yield CommitCertificate(
                epoch=epoch,
                height=height,
                view=View(view),
                digest=digest,
                signatures=tuple(sorted(signers[-quorum:])),
            )


def make_pre_prepare(scene: Scene, view: int, block: Block) -> PrePrepare:
    return PrePrepare(
        epoch=scene.epoch,
        height=scene.height,
        view=View(view),
        digest=block.digest,
        signer=scene.liar,
        signature=_signed(
            scene.liar,
            VoteType.PRE_PREPARE,
            scene.epoch,
            scene.height,
            View(view),
            block.digest,
        ),
        block=block,
    )


@shared
def first_votes(scene: Scene, view: int) -> list[PrePrepare]:
    """What the primary of a view has voted for, or would vote for if it is the liar."""
    primary = primary_at(scene.state, View(view))
    if primary == scene.liar:
        if not scene.may_lie():
            return []
        blocks = {block.digest: block for block in fresh_blocks(scene, view)}
        if view:
            blocks |= {block.digest: block for block in proposed_below(scene, view)}
        return [make_pre_prepare(scene, view, block) for block in blocks.values()]
    if view == 0:
        return [vote for vote in scene.sent(PrePrepare, 0) if vote.signer == primary]
    return [vote.pre_prepare for vote in scene.sent(NewView, view) if vote.signer == primary]


@shared
def proposed_below(scene: Scene, view: int) -> list[Block]:
    """Blocks that were proposed at this height in a lower view."""
    found: dict[Digest, Block] = {}
    for lower in range(view):
        for vote in first_votes(scene, lower):
            found[vote.digest] = vote.block
    return list(found.values())


@shared
def certificates_below(scene: Scene, view: int) -> list[PreparedCertificate]:
    """Prepared certificates that the liar can put together from what was said."""
    found = []
    for lower in range(view):
        for first in first_votes(scene, lower):
            certificate = _certificate(scene, lower, first)
            if certificate is not None:
                found.append(certificate)
    return found


def _certificate(scene: Scene, view: int, first: PrePrepare) -> PreparedCertificate | None:
    signers = [
        (vote.signer, vote.signature)
        for vote in scene.sent(Prepare, view)
        if vote.digest == first.digest and vote.signer != first.signer
    ]
    if scene.may_lie() and first.signer != scene.liar:
        own = lie(scene, Prepare, view, first.digest)
        signers.append((own.signer, own.signature))
    needed = scene.quorum.strong - 1
    if len(signers) < needed:
        return None
    return PreparedCertificate(
        epoch=scene.epoch,
        height=scene.height,
        view=View(view),
        digest=first.digest,
        primary=first.signer,
        primary_signature=first.signature,
        signatures=tuple(sorted(signers[len(signers) - needed :])),
    )


@shared
def reports(scene: Scene, view: int) -> list[ViewChange]:
    """The liar's view-changes for a view: hiding everything, or showing any one certificate."""
    if not scene.may_lie():
        return []
    return [
        ViewChange(
            epoch=scene.epoch,
            height=scene.height,
            view=View(view),
            prepared=shown,
            signer=scene.liar,
            signature=_signed(
                scene.liar,
                VoteType.VIEW_CHANGE,
                scene.epoch,
                scene.height,
                View(view),
                prepared_digest(shown),
            ),
        )
        for shown in (None, *certificates_below(scene, view))
    ]


@shared
def view_changes(scene: Scene, view: int) -> list[ViewChange]:
    """All view-changes for a view that can be shown, those of the liar last."""
    return [*scene.sent(ViewChange, view), *reports(scene, view)]


@shared
def new_views(scene: Scene, view: int) -> Iterator[tuple[str, NewView]]:
    """New-views that the liar can make as primary, each with its name; right ones and wrong.

    From every set of view-changes (also with one signer twice, and one short of a quorum) it
    proposes every block there is, and fresh ones. What does not decode is never made.
    """
    if not scene.leads(view) or not scene.may_lie():
        return
    shown = view_changes(scene, view)
    blocks = {block.digest: block for block in fresh_blocks(scene, view)}
    blocks |= {block.digest: block for block in proposed_below(scene, view)}
    q = scene.quorum.strong
    seen = set()
    for chosen in (*combinations(shown, q), *_repeated(shown, q), *combinations(shown, q - 1)):
        for block in blocks.values():
            ordered = tuple(sorted(chosen, key=lambda one: one.signer))
            try:
                message = NewView(
                    view_changes=ordered, pre_prepare=make_pre_prepare(scene, view, block)
                )
            except ValueError:
                continue  # It would not decode.
            repeats = len({one.signer for one in ordered}) < len(ordered)
            identity = (fingerprint(message), len(ordered), repeats)
            if identity not in seen:
                seen.add(identity)
                yield describe_new_view(message), message


def _repeated(shown: list[ViewChange], q: int) -> Iterator[tuple[ViewChange, ...]]:
    """Quorums in which the first signer is counted twice."""
    for fewer in combinations(shown, q - 1):
        yield (fewer[0], *fewer)


def describe_new_view(message: NewView) -> str:
    shown = " ".join(describe_report(one) for one in message.view_changes)
    return f"new_view v{message.view} {name_of(message.digest)} from {shown}"


def describe_report(message: ViewChange) -> str:
    prepared = message.prepared
    shown = "none" if prepared is None else f"{name_of(prepared.digest)}@v{prepared.view}"
    return f"{message.signer}:{shown}"
