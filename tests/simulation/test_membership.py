"""Sizes from one to ten, one member more or less, any number down: on, or stopped, never forked.

The real core on virtual time with a network that loses nothing. The sets come as a ledger would
hand them in, two heights ahead; whoever votes outside its epoch or its set fails the test at once.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

import pytest

from consensus.blocks import Block, CertifiedBlock
from consensus.core import handle
from consensus.effects import (
    Broadcast,
    CancelTimer,
    CheckProposal,
    Decide,
    Effect,
    Ignore,
    Persist,
    ReportEvidence,
    RequestProposal,
    Send,
    SendBlocks,
    SendProposal,
    SetTimer,
)
from consensus.events import (
    BlockExecuted,
    Event,
    MessageReceived,
    ProposalChecked,
    ProposalMade,
    TimerExpired,
    TimerKind,
)
from consensus.messages import (
    Blocks,
    Commit,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
)
from consensus.restore import restore
from consensus.state import ReplicaState
from crypto.hashing import Digest
from crypto.quorum import QuorumSystem
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from tests.simulation.ideal import make_validators
from tests.unit.consensus.replicas import config_of, genesis_of, start_journal

CHANGE_HEIGHT = 6
"""The first height of the second epoch."""

GRACE_MS = 40_000
"""(f + 2) capped timeouts of ten members: what has not moved by then has stopped."""


SIZES = [
    *range(1, 8),
    *(pytest.param(n, marks=pytest.mark.slow) for n in range(8, 11)),
]


@dataclass(slots=True, kw_only=True)
class World:
    """Replicas and what is on its way; `sets` are those of the two epochs."""

    sets: tuple[ValidatorSet, ValidatorSet]
    states: dict[int, ReplicaState] = field(default_factory=dict)
    chains: dict[int, list[CertifiedBlock]] = field(default_factory=dict)
    blocks: dict[Digest, Block] = field(default_factory=dict)
    timers: dict[tuple[int, TimerKind], int] = field(default_factory=dict)
    down: set[int] = field(default_factory=set)
    queue: list[tuple[int, int, int, Event]] = field(default_factory=list)
    now: int = 0
    number: int = 0

    def set_at(self, height: int) -> ValidatorSet:
        return self.sets[epoch_of(height)]

    def height(self, replica: int) -> int:
        return len(self.chains[replica])

    def post(self, delay_ms: int, replica: int, event: Event) -> None:
        self.number += 1
        heapq.heappush(self.queue, (self.now + delay_ms, self.number, replica, event))

    def send(self, sender: int, to: int, message: Message) -> None:
        check_epoch(self, sender, message)
        if to in self.states and sender not in self.down:
            received = MessageReceived(sender=ReplicaId(sender), message=message)
            self.post(1, to, received)


def epoch_of(height: int) -> Epoch:
    return Epoch(1 if height >= CHANGE_HEIGHT else 0)


def check_epoch(world: World, sender: int, message: Message) -> None:
    """No vote crosses epochs, and nobody votes whom the set of the height does not name."""
    if isinstance(message, NewView):
        message = message.pre_prepare
    if isinstance(message, PrePrepare | Prepare | Commit | ViewChange):
        assert message.epoch == epoch_of(message.height), (sender, message)
        assert world.set_at(message.height).member(ReplicaId(sender)) is not None, (sender, message)


def make_world(before: ValidatorSet, after: ValidatorSet) -> World:
    world = World(sets=(before, after))
    members = {one.index for one in (*before.members, *after.members)}
    genesis = genesis_of(len(before.members))
    for index in sorted(members):
        world.chains[index] = []
        state, effects = restore(
            config_of(index),
            genesis,
            (start_journal(index),),
            is_journal_whole=True,
            waiting=True,
        )
        world.states[index] = state
        perform(world, index, effects)
    return world


def run(world: World, until: Callable[[], bool], *, within_ms: int = GRACE_MS) -> bool:
    """Let things happen until something is so; return whether it was in time."""
    end = world.now + within_ms
    while not until():
        if not world.queue or world.queue[0][0] > end:
            return False
        world.now, _, replica, event = heapq.heappop(world.queue)
        if replica in world.down:
            continue
        if isinstance(event, TimerExpired):
            kind, serial = event.timer.kind, event.timer.serial
            if world.timers.get((replica, kind)) != serial:
                continue
        perform(world, replica, handle(world.states[replica], event))
    return True


def perform(world: World, me: int, effects: list[Effect]) -> None:
    for effect in effects:
        match effect:
            case Send():
                world.send(me, effect.to, effect.message)
            case Broadcast():
                for other in sorted(world.states.keys() | world.chains.keys()):
                    if other != me:
                        world.send(me, other, effect.message)
            case SendBlocks():
                first = effect.from_height - 1
                found = tuple(world.chains[me][first : first + effect.count])
                world.send(me, effect.to, Blocks(blocks=found))
            case SendProposal():
                message = Proposal(block=world.blocks[effect.digest], bodies=b"")
                world.send(me, effect.to, message)
            case RequestProposal():
                block = make_block(world, me, effect)
                made = ProposalMade(height=effect.height, view=effect.view, block=block)
                world.post(0, me, made)
            case CheckProposal():
                checked = ProposalChecked(
                    height=effect.height,
                    view=effect.view,
                    digest=effect.block.digest,
                    refusal=None,
                )
                world.post(0, me, checked)
            case Decide():
                execute(world, me, effect)
            case SetTimer():
                world.timers[me, effect.timer.kind] = effect.timer.serial
                world.post(effect.delay_ms, me, TimerExpired(timer=effect.timer))
            case CancelTimer():
                world.timers.pop((me, effect.timer.kind), None)
            case Persist() | Ignore() | ReportEvidence():
                pass


def make_block(world: World, me: int, request: RequestProposal) -> Block:
    header = b"%d %d %d " % (request.height, request.view, me) + request.parent
    block = Block(
        height=request.height,
        view=request.view,
        proposer=ReplicaId(me),
        parent=request.parent,
        digest=Digest(hashlib.sha256(header).digest()),
        header=header,
        parent_certificate=request.parent_certificate,
        payload=b"",
    )
    world.blocks[block.digest] = block
    return block


def execute(world: World, me: int, decided: Decide) -> None:
    block = decided.block
    assert block.height == world.height(me) + 1
    for chain in world.chains.values():  # S1: nobody has decided another block there.
        if len(chain) >= block.height:
            assert chain[block.height - 1].block.digest == block.digest, "a fork"
    signers = [signer for signer, _ in decided.certificate.signatures]
    assert len(signers) == world.set_at(block.height).quorum.strong
    assert all(world.set_at(block.height).member(signer) is not None for signer in signers)
    world.chains[me].append(
        CertifiedBlock(block=block, certificate=decided.certificate, bodies=b"bodies")
    )
    executed = BlockExecuted(
        height=block.height, digest=block.digest, validators=world.set_at(block.height + 2)
    )
    world.post(0, me, executed)


def changes(n: int) -> Iterator[tuple[ValidatorSet, ValidatorSet]]:
    """One member more; and the first one less, which leads, one in the middle, or the last."""
    before = make_validators(n)
    yield before, make_validators(n + 1)
    for gone in dict.fromkeys((0, n // 2, n - 1) if n > 1 else ()):
        left = tuple(one for one in before.members if one.index != gone)
        yield before, ValidatorSet(members=left)


def downs(members: list[int]) -> Iterator[tuple[int, ...]]:
    """All subsets of up to three members; of more, for every number those at either end."""
    for count in range(len(members) + 1):
        if len(members) <= 3:
            yield from combinations(members, count)
        else:
            ends = (tuple(members[:count]), tuple(members[-count:] if count else ()))
            yield from dict.fromkeys(ends)


def is_live(validators: ValidatorSet, down: set[int]) -> bool:
    up = [one.index for one in validators.members if one.index not in down]
    return len(up) >= QuorumSystem(len(validators.members)).strong


def check(before: ValidatorSet, after: ValidatorSet, down: tuple[int, ...], at: int) -> None:
    """Take `down` away once all have decided block `at`; the chain goes on exactly if it may."""
    world = make_world(before, after)
    voters = [one.index for one in (before if at < CHANGE_HEIGHT else after).members]
    assert run(world, lambda: min(world.height(one) for one in voters) >= at)
    world.down = set(down)
    up = [one.index for one in after.members if one.index not in world.down]
    goal = max(world.height(one) for one in world.states) + 3
    goal = max(goal, CHANGE_HEIGHT + 1)

    has_gone_on = run(world, lambda: bool(up) and min(world.height(one) for one in up) >= goal)

    may_cross = at >= CHANGE_HEIGHT or is_live(before, world.down)
    assert has_gone_on == (may_cross and is_live(after, world.down)), (down, at)
    if not may_cross:
        assert max(world.height(one) for one in world.states) <= at + 2
    elif not has_gone_on and at < CHANGE_HEIGHT:
        assert max(world.height(one) for one in world.states) == CHANGE_HEIGHT - 1


@pytest.mark.parametrize("n", SIZES)
def test_after_a_change_the_chain_goes_on_exactly_with_a_live_quorum(n: int) -> None:
    cases = 0
    for before, after in changes(n):
        for down in downs([one.index for one in after.members]):
            check(before, after, down, CHANGE_HEIGHT + 1)
            cases += 1

    assert cases >= 2 * n


@pytest.mark.parametrize("n", SIZES)
def test_members_that_are_down_at_the_change_stop_it_exactly_where_a_quorum_is_missing(
    n: int,
) -> None:
    cases = 0
    for before, after in changes(n):
        for down in downs([one.index for one in before.members]):
            check(before, after, down, CHANGE_HEIGHT - 3)
            cases += 1

    assert cases >= 2 * n


def test_a_replica_set_names_an_epoch_of_its_own() -> None:
    world = make_world(make_validators(4), make_validators(5))

    run(world, lambda: all(world.height(one) >= CHANGE_HEIGHT for one in world.states))

    epochs = [one.certificate.epoch for one in world.chains[4]]
    assert epochs[: CHANGE_HEIGHT - 1] == [Epoch(0)] * (CHANGE_HEIGHT - 1)
    assert epochs[CHANGE_HEIGHT - 1] == 1
