"""One real core under test, and the words that others would say to it."""

from collections.abc import Sequence
from typing import TypeVar

from consensus.blocks import Block, CertifiedBlock
from consensus.boots import NOBODY, Boot, boot_preimage
from consensus.core import handle
from consensus.effects import Broadcast, Decide, Effect, Ignore, Persist, Send, SetTimer
from consensus.events import (
    BlockExecuted,
    MessageReceived,
    ProposalChecked,
    ProposalMade,
    Timer,
    TimerExpired,
    TimerKind,
)
from consensus.hearing import bare_vote
from consensus.membership import Pace
from consensus.messages import (
    Commit,
    Echo,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
)
from consensus.records import JournalStarted, Record
from consensus.restore import Decided, restore
from consensus.state import Config, ReplicaState, Tip
from consensus.votes import VOTE_TYPES
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId, ValidatorSet
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
from tests.simulation.ideal import CHAIN, at_every_epoch, make_signer, make_validators

GENESIS = Digest(b"\xfe" * 32)
BASE_MS = 1_000
CAP_MS = 8_000
GATHER_MS = 5
IDLE_MS = 3_000
STATUS_MS = 250
FETCH_MS = 300

Kind = TypeVar("Kind")


def digest_of(name: str) -> Digest:
    return Digest(name.encode().ljust(32, b"."))


def config_of(
    replica: int, *, rotate_every: int = 100, listen_heartbeats: int = 0, boot_id: bytes = b""
) -> Config:
    return Config(
        chain_id=CHAIN,
        replica=ReplicaId(replica),
        boot_id=boot_id or b"boot-%011d" % replica,
        sign=at_every_epoch(make_signer(replica)),
        base_timeout_ms=BASE_MS,
        timeout_cap_ms=CAP_MS,
        gather_ms=GATHER_MS,
        idle_block_ms=IDLE_MS,
        status_ms=STATUS_MS,
        fetch_ms=FETCH_MS,
        rotate_every=rotate_every,
        listen_heartbeats=listen_heartbeats,
    )


def genesis_of(n: int) -> Decided:
    validators = make_validators(n)
    tip = Tip(
        height=GENESIS_HEIGHT, digest=GENESIS, proposer=None, transaction_count=0, certificate=None
    )
    return Decided(tip=tip, epoch=Epoch(0), validators=validators, next_validators=validators)


def start_journal(replica: int) -> JournalStarted:
    return JournalStarted(chain_id=CHAIN, replica=ReplicaId(replica))


def fresh(
    n: int = 4, *, me: int = 0, waiting: bool = False, records: Sequence[Record] = ()
) -> tuple[ReplicaState, list[Effect]]:
    """A replica at height 1, started from what `init` wrote and then `records`, and heard."""
    state, effects = restore(
        config_of(me),
        genesis_of(n),
        (start_journal(me), *records),
        is_journal_whole=True,
        waiting=waiting,
    )
    return state, [*effects, *hear(state)]


def hear(state: ReplicaState) -> list[Effect]:
    """Let the others answer this start: they remember nothing that it does not know."""
    answer = echo(state.config.boot_id)
    return [effect for one in others_of(state) for effect in hand(state, one, answer)]


def boot(
    replica: int, boot_id: bytes, *, number: int = 1, seen: bytes = NOBODY, epoch: int = 0
) -> Boot:
    """What a start of a replica says of itself."""
    fields = (Epoch(epoch), ReplicaId(replica), number, boot_id, seen)
    return Boot(
        epoch=Epoch(epoch),
        replica=ReplicaId(replica),
        number=number,
        boot_id=boot_id,
        seen=seen,
        signature=make_signer(replica)(boot_preimage(CHAIN, *fields)),
    )


def echo(
    boot_id: bytes,
    *,
    boots: tuple[Boot, ...] = (),
    vote: Vote | None = None,
    height: int = 1,
    certificate: CommitCertificate | None = None,
) -> Echo:
    return Echo(
        boot_id=boot_id,
        boots=boots,
        vote=None if vote is None else bare_vote(vote),
        height=Height(height),
        certificate=certificate,
    )


def replica(n: int = 4, *, me: int = 0, waiting: bool = False) -> ReplicaState:
    return fresh(n, me=me, waiting=waiting)[0]


def make_block(
    name: str = "a",
    *,
    height: int = 1,
    view: int = 0,
    proposer: int = 0,
    parent: Digest = GENESIS,
    parent_certificate: CommitCertificate | None = None,
    is_empty: bool = False,
) -> Block:
    return Block(
        height=Height(height),
        view=View(view),
        proposer=ReplicaId(proposer),
        parent=parent,
        digest=digest_of(name),
        header=name.encode(),
        parent_certificate=parent_certificate,
        payload=b"" if is_empty else digest_of(f"transaction of {name}"),
    )


def sign(signer: int, vote: VoteType, height: int, view: int, about: Digest) -> bytes:
    preimage = vote_preimage(CHAIN, Epoch(0), vote, Height(height), View(view), about)
    return make_signer(signer)(preimage)


def pre_prepare(signer: int, block: Block, *, view: int = 0) -> PrePrepare:
    return PrePrepare(
        epoch=Epoch(0),
        height=block.height,
        view=View(view),
        digest=block.digest,
        signer=ReplicaId(signer),
        signature=sign(signer, VoteType.PRE_PREPARE, block.height, view, block.digest),
        block=block,
    )


def prepare(signer: int, block: Block, *, view: int = 0) -> Prepare:
    return _vote(Prepare, signer, block, view)


def commit(signer: int, block: Block, *, view: int = 0) -> Commit:
    return _vote(Commit, signer, block, view)


Phase = TypeVar("Phase", Prepare, Commit)


def _vote(kind: type[Phase], signer: int, block: Block, view: int) -> Phase:
    return kind(
        epoch=Epoch(0),
        height=block.height,
        view=View(view),
        digest=block.digest,
        signer=ReplicaId(signer),
        signature=sign(signer, VOTE_TYPES[kind], block.height, view, block.digest),
    )


def prepared(
    block: Block, *, primary: int = 0, backups: Sequence[int] = (1, 2), view: int = 0
) -> PreparedCertificate:
    return PreparedCertificate(
        epoch=Epoch(0),
        height=block.height,
        view=View(view),
        digest=block.digest,
        primary=ReplicaId(primary),
        primary_signature=pre_prepare(primary, block, view=view).signature,
        signatures=tuple(
            (ReplicaId(one), prepare(one, block, view=view).signature) for one in backups
        ),
    )


def committed(
    block: Block, *, signers: Sequence[int] = (0, 1, 2), view: int = 0
) -> CommitCertificate:
    return CommitCertificate(
        epoch=Epoch(0),
        height=block.height,
        view=View(view),
        digest=block.digest,
        signatures=tuple(
            (ReplicaId(one), commit(one, block, view=view).signature) for one in signers
        ),
    )


def certified(block: Block, *, bodies: bytes = b"bodies") -> CertifiedBlock:
    return CertifiedBlock(block=block, certificate=committed(block), bodies=bodies)


def view_change(
    signer: int, view: int, *, report: PreparedCertificate | None = None, height: int = 1
) -> ViewChange:
    return ViewChange(
        epoch=Epoch(0),
        height=Height(height),
        view=View(view),
        prepared=report,
        signer=ReplicaId(signer),
        signature=sign(signer, VoteType.VIEW_CHANGE, height, view, prepared_digest(report)),
    )


def new_view(block: Block, *, view: int, leavers: Sequence[ViewChange], signer: int) -> NewView:
    return NewView(
        view_changes=tuple(sorted(leavers, key=lambda one: one.signer)),
        pre_prepare=pre_prepare(signer, block, view=view),
    )


def status(
    height: int,
    view: int = 0,
    *,
    has_proposal: bool = False,
    has_committed: bool = False,
    is_fenced: bool = False,
    certificate: CommitCertificate | None = None,
    is_listening: bool = False,
    boot: Boot | None = None,
) -> Status:
    return Status(
        height=Height(height),
        view=View(view),
        has_proposal=has_proposal,
        has_committed=has_committed,
        is_fenced=is_fenced,
        is_listening=is_listening,
        certificate=certificate,
        boot=boot,
        clock_ms=0,
    )


def hand(state: ReplicaState, sender: int, message: Message) -> list[Effect]:
    """Deliver a message of its sender."""
    return handle(state, MessageReceived(sender=ReplicaId(sender), message=message))


def hand_all(state: ReplicaState, *votes: Prepare | Commit | ViewChange) -> list[Effect]:
    """Deliver votes, each from its signer."""
    return [effect for vote in votes for effect in hand(state, vote.signer, vote)]


def expire(state: ReplicaState, kind: TimerKind) -> list[Effect]:
    """Let the timer of a kind that runs expire."""
    return handle(state, TimerExpired(timer=Timer(kind=kind, serial=state.timers[kind])))


def accept(state: ReplicaState, block: Block, *, view: int | None = None) -> list[Effect]:
    """The shell finds the block valid."""
    checked = ProposalChecked(
        height=block.height,
        view=state.instance.view if view is None else View(view),
        digest=block.digest,
        refusal=None,
    )
    return handle(state, checked)


def refuse(state: ReplicaState, block: Block, reason: str = "block.state_root") -> list[Effect]:
    checked = ProposalChecked(
        height=block.height, view=state.instance.view, digest=block.digest, refusal=reason
    )
    return handle(state, checked)


def make(state: ReplicaState, block: Block) -> list[Effect]:
    """The shell has made the block that was asked for."""
    return handle(state, ProposalMade(height=block.height, view=state.instance.view, block=block))


def execute(
    state: ReplicaState,
    *,
    validators: ValidatorSet | None = None,
    pace: Pace | None = None,
    is_mute: bool = False,
) -> list[Effect]:
    """The shell has executed the tip."""
    executed = BlockExecuted(
        height=state.tip.height,
        digest=state.tip.digest,
        validators=validators or state.members.validators,
        pace=pace,
        is_mute=is_mute,
    )
    return handle(state, executed)


def propose_to(state: ReplicaState, block: Block) -> list[Effect]:
    """Lead a backup through a proposal of view 0 and its validation."""
    effects = hand(state, block.proposer, pre_prepare(block.proposer, block))
    return [*effects, *accept(state, block)]


def decide_next(
    state: ReplicaState,
    name: str,
    *,
    is_empty: bool = True,
    pace: Pace | None = None,
) -> Block:
    """Have a backup follow the others' decision of one more block, and execute it."""
    tip = state.tip
    block = make_block(
        name,
        height=tip.height + 1,
        proposer=tip.proposer or 0,
        parent=tip.digest,
        parent_certificate=tip.certificate,
        is_empty=is_empty,
    )
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in others_of(state)))
    execute(state, pace=pace)
    return block


def others_of(state: ReplicaState) -> list[int]:
    return [one for one in state.members.order if one != state.config.replica]


def of(effects: list[Effect], kind: type[Kind]) -> list[Kind]:
    """The effects of one kind, in order."""
    return [effect for effect in effects if isinstance(effect, kind)]


def sent(effects: list[Effect], kind: type[Kind]) -> list[Kind]:
    """The messages of one kind that were broadcast or sent."""
    messages = [effect.message for effect in effects if isinstance(effect, Broadcast | Send)]
    return [message for message in messages if isinstance(message, kind)]


def written(effects: list[Effect]) -> list[Record]:
    """The records that were made durable, in order."""
    return [record for effect in of(effects, Persist) for record in effect.records]


def reasons(effects: list[Effect]) -> list[str]:
    """Why something was ignored."""
    return [effect.reason for effect in of(effects, Ignore)]


def delay_of(effects: list[Effect], kind: TimerKind) -> list[int]:
    return [one.delay_ms for one in of(effects, SetTimer) if one.timer.kind is kind]


def decided(effects: list[Effect]) -> list[Block]:
    return [effect.block for effect in of(effects, Decide)]
