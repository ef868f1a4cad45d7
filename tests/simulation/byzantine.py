"""Replicas that lie: a behaviour rewrites what a real core wants to send.

A liar holds its own key and whatever it has heard, never another's key.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from typing_extensions import override

from consensus.blocks import Block
from consensus.messages import (
    Blocks,
    Commit,
    Complaint,
    Fetch,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    Suspicion,
    ViewChange,
    Vote,
    complaint_preimage,
    encode_message,
)
from consensus.state import primary_at
from consensus.votes import VOTE_TYPES
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import (
    FIRST_VIEW,
    NO_DIGEST,
    CommitCertificate,
    Height,
    PreparedCertificate,
    View,
    VoteType,
    vote_preimage,
)
from tests.simulation.founding import DOCTORS, PATIENTS, vote_public_key
from tests.simulation.host import BodiesGiven, Host, Parcel, Raw
from tests.simulation.ideal import signature
from tests.simulation.ledger_application import LedgerApplication
from tests.unit.ledger.small_consortium import account_of

HEARD_MAX: Final = 200
CLIENTS: Final = tuple(account_of(label) for label in (*PATIENTS, *DOCTORS))
OVERSIZE_BYTES: Final = 200_000


class Behaviour:
    """How a Byzantine replica speaks; this one speaks the truth."""

    def begin(self, host: Host) -> None:
        """Bend what is inside the node, once."""

    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        """Return what is really sent to one replica."""
        return [parcel]

    def delay_ms(self, host: Host, parcel: Parcel) -> int:
        """How long it is kept back."""
        return 0


@dataclass(slots=True)
class Silent(Behaviour):
    """Says nothing of the kinds listed; with none listed, nothing at all."""

    kinds: tuple[type[Message], ...] = ()

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        return [] if not self.kinds or isinstance(parcel, self.kinds) else [parcel]


@dataclass(slots=True)
class Slow(Behaviour):
    """As primary takes almost as long as the backups wait, from a time on."""

    for_ms: int
    after_ms: int = 0

    @override
    def delay_ms(self, host: Host, parcel: Parcel) -> int:
        is_late = isinstance(parcel, PrePrepare | NewView)
        return self.for_ms if is_late and host.world.now_ms(host) >= self.after_ms else 0


@dataclass(slots=True)
class Partial(Behaviour):
    """Sends its votes and proposals to a few only."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        return [] if isinstance(parcel, Vote) and self.random.random() < 0.5 else [parcel]


@dataclass(slots=True)
class Equivocator(Behaviour):
    """As primary shows two blocks, one to each half; as backup votes for whatever each half saw."""

    others: dict[Digest, Block] = field(default_factory=dict)

    @override
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
            block = host.application.vary(proposal.block)
            self.others = {proposal.digest: block}
        return propose(host, proposal, block)


@dataclass(slots=True)
class WrongDigests(Behaviour):
    """Votes for things that do not exist, and for different things to different replicas."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Prepare | Commit | PrePrepare) or self.random.random() < 0.5:
            return [parcel]
        invented = Digest(self.random.randbytes(32))
        if isinstance(parcel, PrePrepare):
            return [malformed(parcel, digest=invented)]
        return [re_vote(host, parcel, invented)]


@dataclass(slots=True)
class WrongRoot(Behaviour):
    """As primary now and then states a root of the state that nobody has."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, PrePrepare) or parcel.height % 3:
            return [parcel]
        assert isinstance(host.application, LedgerApplication), "a log has no root to misstate"
        return [propose(host, parcel, host.application.misstate(parcel.block))]


@dataclass(slots=True)
class BadSigner(Behaviour):
    """Half of what it signs is not signed."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Prepare | Commit | PrePrepare | ViewChange):
            return [parcel]
        if self.random.random() < 0.5:
            return [parcel]
        return [replace(parcel, signature=self.random.randbytes(64))]


@dataclass(slots=True)
class Forgetter(Behaviour):
    """Hides what it has prepared, and as new primary proposes what it likes."""

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case ViewChange():
                return [hide_prepared(host, parcel)]
            case NewView() if parcel.pre_prepare.block.view != parcel.view:
                block = host.application.vary(
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
class ViewForger(Behaviour):
    """Sends view-changes with certificates nobody signed, stale ones, and a NewView that counts
    its own view-change as often as a quorum needs."""

    random: random.Random
    heard: list[ViewChange] = field(default_factory=list)

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case ViewChange():
                self.heard = [*self.heard[-20:], parcel]
                stale = self.random.choice(self.heard)
                return [stale, self.forged(host, parcel), parcel]
            case NewView():
                own = [one for one in parcel.view_changes if one.signer == host.replica]
                own = own or [parcel.view_changes[0]]  # A quorum without ours is there, too.
                repeated = (own * len(parcel.view_changes))[: len(parcel.view_changes)]
                return [malformed(parcel, view_changes=tuple(repeated)), parcel]
            case PrePrepare() if self.random.random() < 0.1:
                return [parcel, self.early(host, parcel)]
            case _:
                return [parcel]

    def forged(self, host: Host, message: ViewChange) -> ViewChange:
        """The same, with a prepared certificate of our own making."""
        quorum = host.validators.quorum
        others = [one.index for one in host.validators.members if one.index != host.replica]
        certificate = PreparedCertificate(
            epoch=message.epoch,
            height=message.height,
            view=View(max(0, message.view - 1)),
            digest=Digest(self.random.randbytes(32)),
            primary=host.replica,
            primary_signature=self.random.randbytes(64),
            signatures=tuple(
                (one, self.random.randbytes(64)) for one in others[: quorum.strong - 1]
            ),
        )
        return replace(message, prepared=certificate)

    def early(self, host: Host, proposal: PrePrepare) -> Raw:
        """A NewView for view 1 that rests on our own word alone."""
        view = View(proposal.view + 1)
        own = hide_prepared(
            host,
            ViewChange(
                epoch=proposal.epoch,
                height=proposal.height,
                view=view,
                prepared=None,
                signer=host.replica,
                signature=bytes(64),
            ),
        )
        again = propose(host, replace(proposal, view=view), proposal.block)
        true = NewView(view_changes=(own,), pre_prepare=again)
        return malformed(true, view_changes=(own,) * host.validators.quorum.strong)


@dataclass(slots=True)
class CertificateForger(Behaviour):
    """Proves what was never decided, with signatures of its own making and its own repeated."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Status):
            return [parcel]
        digest = Digest(self.random.randbytes(32))
        view = View(self.random.randrange(2))
        own = _sign(host, epoch_of(host), VoteType.COMMIT, parcel.height, view, digest)
        members = [one.index for one in host.validators.members]
        certificate = CommitCertificate(
            epoch=epoch_of(host),
            height=parcel.height,
            view=view,
            digest=digest,
            signatures=tuple((one, own) for one in members[: host.validators.quorum.strong]),
        )
        return [replace(parcel, certificate=certificate), parcel]


@dataclass(slots=True)
class Flooder(Behaviour):
    """Sends what it should beside much that it should not: far, old, huge, repeated, invented."""

    random: random.Random
    heard: list[Parcel] = field(default_factory=list)
    each: int = 3

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        self.heard = [*self.heard[-HEARD_MAX:], parcel]
        return [parcel, *(self.invent(host, parcel) for _ in range(self.each))]

    def invent(self, host: Host, parcel: Parcel) -> Parcel:
        kind = self.random.randrange(9)
        height = Height(self.random.choice((0, 1, 2**63, 2**64 - 1, self.near(host))))
        view = View(self.random.choice((1, 2, 3, 2**32 - 1, self.random.randrange(1, 1 << 16))))
        digest = Digest(self.random.randbytes(32))
        match kind:
            case 0:
                return self.random.choice(self.heard)
            case 1:
                return make_vote(host, Prepare, height, view, digest)
            case 2:
                return make_vote(host, Commit, height, view, digest)
            case 3:
                return self.view_change(host, height, view)
            case 4:
                return Fetch(from_height=height, count=self.random.randint(1, 64))
            case 5:
                return Blocks(blocks=())
            case 6:
                return Raw(self.random.randbytes(self.random.randint(0, 300)))
            case 7:
                return Raw(bytes((1, self.random.randrange(16))) + bytes(OVERSIZE_BYTES))
            case _:
                return self.status(host, height, view)

    def near(self, host: Host) -> int:
        return max(0, host.application.height + self.random.randint(-2, 3))

    def view_change(self, host: Host, height: Height, view: View) -> ViewChange:
        message = ViewChange(
            epoch=epoch_of(host),
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
class Pretender(Behaviour):
    """Claims to be far ahead and never delivers a block; else correct."""

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case Status():
                return [replace(parcel, height=Height(parcel.height + 1_000))]
            case Blocks():
                return [Blocks(blocks=())]
            case _:
                return [parcel]


@dataclass(slots=True)
class CorruptServer(Behaviour):
    """Serves blocks that were changed, and bodies of other transactions."""

    random: random.Random

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        match parcel:
            case Status():
                return [replace(parcel, height=Height(parcel.height + 2))]
            case Blocks() if parcel.blocks:
                return [self.spoiled(host, parcel)]
            case BodiesGiven(bodies) if bodies:
                return [BodiesGiven((self.random.randbytes(40), *reversed(bodies)))]
            case _:
                return [parcel]

    def spoiled(self, host: Host, message: Blocks) -> Raw:
        at = self.random.randrange(len(message.blocks))
        one = message.blocks[at]
        match self.random.randrange(4):
            case 0:
                one = replace(one, block=host.application.vary(one.block))
            case 1:
                one = replace(one, bodies=one.bodies[:-1])
            case 2:
                digest = Digest(self.random.randbytes(32))
                one = replace(one, certificate=replace(one.certificate, digest=digest))
            case _:
                header = bytearray(one.block.header)
                header[self.random.randrange(len(header))] ^= 1
                one = replace(one, block=replace(one.block, header=bytes(header)))
        return malformed(message, blocks=(*message.blocks[:at], one, *message.blocks[at + 1 :]))


@dataclass(slots=True)
class Censor(Behaviour):
    """Takes nothing from one client, neither into its pool nor into its blocks."""

    account: bytes

    @override
    def begin(self, host: Host) -> None:
        if isinstance(host.application, LedgerApplication):
            host.application.censored = self.account


@dataclass(slots=True)
class TimePusher(Behaviour):
    """As primary gives every block a time ahead of its clock."""

    ahead_ms: int

    @override
    def begin(self, host: Host) -> None:
        if isinstance(host.application, LedgerApplication):
            host.application.watch.pushed_ms = self.ahead_ms


@dataclass(slots=True)
class Complainer(Behaviour):
    """Complains about every primary, whatever it does."""

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Status) or host.state is None:
            return [parcel]
        base, reason = primary_at(host.state, FIRST_VIEW), Suspicion.CENSORING
        epoch = epoch_of(host)
        preimage = complaint_preimage(host.config.chain_id, epoch, base, reason)
        complaint = Complaint(
            epoch=epoch,
            primary=base,
            reason=reason,
            signer=host.replica,
            signature=host.config.sign(epoch, preimage),
        )
        return [parcel, complaint]


@dataclass(slots=True)
class Straddler(Behaviour):
    """Says each vote for the epochs before and after, too, and once more under its first key."""

    @override
    def rewrite(self, host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        if not isinstance(parcel, Prepare | Commit):
            return [parcel]
        beside = (Epoch(max(0, parcel.epoch - 1)), Epoch(parcel.epoch + 1))
        others = [re_vote(host, replace(parcel, epoch=one), parcel.digest) for one in beside]
        kind = VOTE_TYPES[type(parcel)]
        slot = (parcel.epoch, kind, parcel.height, parcel.view, parcel.digest)
        first = signature(vote_public_key(host.replica), vote_preimage(host.config.chain_id, *slot))
        return [parcel, *others, replace(parcel, signature=first)]


Make = Callable[[random.Random], Behaviour]

CENSOR: Final = "censoring one client"
ACROSS_EPOCHS: Final = "votes for other epochs, and under its first key"
TURNS_SLOW: Final = "primary that turns slow"

DIRECTED: Final[dict[str, Make]] = {
    ACROSS_EPOCHS: lambda _: Straddler(),
    TURNS_SLOW: lambda draw: Slow(draw.choice((700, 800, 900)), after_ms=3_300),
}
"""What is a lie, or is found out, only in histories of a certain kind: they alone draw it."""

BEHAVIOURS: Final[dict[str, Make]] = {
    "silent": lambda _: Silent(),
    "silent primary": lambda _: Silent((PrePrepare, NewView)),
    "no commits": lambda _: Silent((Commit,)),
    "slow primary": lambda draw: Slow(draw.choice((300, 800, 950, 2_000))),
    "partial broadcast": Partial,
    "equivocating primary": lambda _: Equivocator(),
    "wrong digest": WrongDigests,
    "wrong root in a proposal": WrongRoot,
    "invalid signature": BadSigner,
    "hides what is prepared": lambda _: Forgetter(),
    "stale or forged view-change, NewView from duplicated votes": ViewForger,
    "forged certificate": CertificateForger,
    "far-future heights and views, oversize messages": Flooder,
    "pretends to be ahead": lambda _: Pretender(),
    "corrupt catch-up server": CorruptServer,
    "timestamp pusher": lambda draw: TimePusher(draw.choice((450, 600, 5_000, 120_000))),
    CENSOR: lambda draw: Censor(draw.choice(CLIENTS)),
    "complaints without reason": lambda _: Complainer(),
    "twin": lambda _: Behaviour(),
}
"""Every way of lying by its name; a twin is a second process with the same key and disk."""


def malformed(message: Message, **changes: Any) -> Raw:
    """The bytes of a message that its own type would not let anybody make."""
    made = object.__new__(type(message))
    for one in fields(message):
        object.__setattr__(made, one.name, changes.get(one.name, getattr(message, one.name)))
    return Raw(encode_message(made))


def propose(host: Host, proposal: PrePrepare, block: Block) -> PrePrepare:
    """The same proposal with another block, signed again."""
    slot = (proposal.epoch, VoteType.PRE_PREPARE, proposal.height, proposal.view)
    signature = _sign(host, *slot, block.digest)
    return replace(proposal, digest=block.digest, block=block, signature=signature)


def re_vote(host: Host, message: Prepare | Commit, digest: Digest) -> Prepare | Commit:
    """The same vote for something else."""
    return replace(
        message,
        digest=digest,
        signature=_sign(
            host, message.epoch, VOTE_TYPES[type(message)], message.height, message.view, digest
        ),
    )


def make_vote(
    host: Host, kind: type[Prepare] | type[Commit], height: Height, view: View, digest: Digest
) -> Prepare | Commit:
    epoch = epoch_of(host)
    return kind(
        epoch=epoch,
        height=height,
        view=view,
        digest=digest,
        signer=host.replica,
        signature=_sign(host, epoch, VOTE_TYPES[kind], height, view, digest),
    )


def hide_prepared(host: Host, message: ViewChange) -> ViewChange:
    """The same view-change, as if nothing had been prepared."""
    slot = (message.epoch, VoteType.VIEW_CHANGE, message.height, message.view)
    signature = _sign(host, *slot, NO_DIGEST)
    return replace(message, prepared=None, signature=signature)


def epoch_of(host: Host) -> Epoch:
    """The epoch that a host is in."""
    return Epoch(0) if host.state is None else host.state.members.epoch


def _sign(
    host: Host, epoch: Epoch, vote: VoteType, height: Height, view: View, about: Digest
) -> bytes:
    preimage = vote_preimage(host.config.chain_id, epoch, vote, height, view, about)
    return host.config.sign(epoch, preimage)
