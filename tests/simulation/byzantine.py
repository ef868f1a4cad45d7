"""Replicas that lie: a behaviour rewrites what a real core wants to send.

A liar holds its own key and whatever it has heard, never another's key.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from consensus.blocks import Block
from consensus.messages import (
    Blocks,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.votes import VOTE_TYPES
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    NO_DIGEST,
    Height,
    View,
    VoteType,
    vote_preimage,
)
from tests.simulation.application import Header, make_block, read_header
from tests.simulation.host import Host, Parcel
from tests.simulation.ideal import CHAIN


class Behaviour(Protocol):
    """How a Byzantine replica speaks."""

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        """Return what is really sent to one replica."""


@dataclass(slots=True)
class Silent:
    """Says nothing of the kinds listed; with none listed, nothing at all."""

    kinds: tuple[type[Message], ...] = ()

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        return [] if not self.kinds or isinstance(parcel, self.kinds) else [parcel]


@dataclass(slots=True)
class Equivocator:
    """As primary shows two blocks, one to each half; as backup votes for whatever each half saw."""

    others: dict[Digest, Block] = field(default_factory=dict)

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if to % 2 == 0:
            return [parcel]
        match parcel:
            case PrePrepare():
                return [self.twin(host, parcel)]
            case NewView() if parcel.pre_prepare.block.view == parcel.view:
                twin = self.twin(host, parcel.pre_prepare)
                return [replace(parcel, pre_prepare=twin)]
            case Prepare() | Commit() if parcel.digest in self.others:
                return [re_vote(host, parcel, self.others[parcel.digest].digest), parcel]
            case _:
                return [parcel]

    def twin(self, host: Host, proposal: PrePrepare) -> PrePrepare:
        block = self.others.get(proposal.digest)
        if block is None:
            block = later_block(proposal.block)
            self.others = {proposal.digest: block}
        return propose(host, proposal, block)


@dataclass(slots=True)
class Liar:
    """Votes for things that do not exist, and for different things to different replicas."""

    random: random.Random

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Prepare | Commit) or self.random.random() < 0.5:
            return [parcel]
        return [re_vote(host, parcel, Digest(self.random.randbytes(32)))]


@dataclass(slots=True)
class Forgetter:
    """Hides what it has prepared, and as new primary proposes what it likes."""

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case ViewChange():
                return [hide_prepared(host, parcel)]
            case NewView() if parcel.pre_prepare.block.view != parcel.view:
                block = later_block(
                    parcel.pre_prepare.block, view=parcel.view, proposer=host.replica
                )
                own = [
                    hide_prepared(host, one) if one.signer == host.replica else one
                    for one in parcel.view_changes
                ]
                forged = propose(host, parcel.pre_prepare, block)
                return [NewView(view_changes=tuple(own), pre_prepare=forged)]
            case _:
                return [parcel]


@dataclass(slots=True)
class Flooder:
    """Sends what it should beside much that it should not: far, old, huge, repeated, invented."""

    random: random.Random
    heard: list[Parcel] = field(default_factory=list)
    each: int = 3

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        self.heard = [*self.heard[-200:], parcel]
        return [parcel, *(self.invent(host, parcel) for _ in range(self.each))]

    def invent(self, host: Host, parcel: Parcel) -> Parcel:
        kind = self.random.randrange(7)
        height = Height(self.random.choice((0, 1, 2**63, 2**64 - 1, self.near(host))))
        view = View(self.random.choice((1, 2, 3, 2**32 - 1, self.random.randrange(1, 1 << 16))))
        digest = Digest(self.random.randbytes(32))
        if kind == 0:
            return self.random.choice(self.heard)
        if kind == 1:
            return make_vote(host, Prepare, height, view, digest)
        if kind == 2:
            return make_vote(host, Commit, height, view, digest)
        if kind == 3:
            return self.view_change(host, height, view)
        if kind == 4:
            return Fetch(from_height=height, count=self.random.randint(1, 64))
        if kind == 5:
            return Blocks(blocks=())
        return self.status(host, height, view)

    def near(self, host: Host) -> int:
        return max(0, host.application.height + self.random.randint(-2, 3))

    def view_change(self, host: Host, height: Height, view: View) -> ViewChange:
        message = ViewChange(
            epoch=Epoch(0),
            height=height,
            view=view,
            prepared=None,
            signer=host.replica,
            signature=bytes(64),
        )
        return hide_prepared(host, message)

    def status(self, host: Host, height: Height, view: View) -> Status:
        return Status(
            height=height,
            view=view,
            has_proposal=self.random.random() < 0.5,
            has_committed=self.random.random() < 0.5,
            is_fenced=self.random.random() < 0.5,
            certificate=None,
            is_listening=self.random.random() < 0.5,
            boot=None,
            clock_ms=0,
        )


@dataclass(slots=True)
class Pretender:
    """Claims to be far ahead and never delivers a block; else correct."""

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case Status():
                return [replace(parcel, height=Height(parcel.height + 1_000))]
            case Blocks():
                return [Blocks(blocks=())]
            case _:
                return [parcel]


def draw_behaviour(draw: random.Random) -> Behaviour:
    kinds: tuple[Callable[[], Behaviour], ...] = (
        lambda: Silent(),
        lambda: Silent((PrePrepare, NewView)),
        lambda: Silent((Commit,)),
        Equivocator,
        lambda: Liar(random.Random(draw.random())),
        Forgetter,
        lambda: Flooder(random.Random(draw.random())),
        Pretender,
    )
    return draw.choice(kinds)()


def later_block(
    block: Block, *, view: View | None = None, proposer: ReplicaId | None = None
) -> Block:
    """Another valid block on the same parent: a millisecond later, and possibly ours."""
    header = read_header(block.header)
    assert header is not None, "only consistent blocks are rewritten"
    fields = {name: getattr(header, name) for name in Header.__slots__}
    fields["time_ms"] = header.time_ms + 1
    if view is not None and proposer is not None:
        fields |= {"view": view, "proposer": proposer}
    return make_block(Header(**fields), block.parent_certificate, block.payload)


def propose(host: Host, proposal: PrePrepare, block: Block) -> PrePrepare:
    """The same proposal with another block, signed again."""
    signature = _sign(host, VoteType.PRE_PREPARE, proposal.height, proposal.view, block.digest)
    return replace(proposal, digest=block.digest, block=block, signature=signature)


def re_vote(host: Host, message: Prepare | Commit, digest: Digest) -> Prepare | Commit:
    """The same vote for something else."""
    return replace(
        message,
        digest=digest,
        signature=_sign(host, VOTE_TYPES[type(message)], message.height, message.view, digest),
    )


def make_vote(
    host: Host, kind: type[Prepare] | type[Commit], height: Height, view: View, digest: Digest
) -> Prepare | Commit:
    return kind(
        epoch=Epoch(0),
        height=height,
        view=view,
        digest=digest,
        signer=host.replica,
        signature=_sign(host, VOTE_TYPES[kind], height, view, digest),
    )


def hide_prepared(host: Host, message: ViewChange) -> ViewChange:
    """The same view-change, as if nothing had been prepared."""
    signature = _sign(host, VoteType.VIEW_CHANGE, message.height, message.view, NO_DIGEST)
    return replace(message, prepared=None, signature=signature)


def _sign(host: Host, vote: VoteType, height: Height, view: View, about: Digest) -> bytes:
    return host.config.sign(vote_preimage(CHAIN, Epoch(0), vote, height, view, about))
