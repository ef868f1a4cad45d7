"""Sizes from one to ten, one member more or less, whoever is down: on, or stopped, never forked.

The real core on virtual time with a network that loses nothing. The sets come as a ledger would
hand them in, two heights ahead; whoever votes outside its epoch or its set fails the test at once.
`make membership` runs all sizes and says how many cases there were; `make test` the first six.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

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
from tests.unit.consensus.replicas import STATUS_MS, config_of, genesis_of, start_journal

CHANGE_HEIGHT = 6
"""The first height of the second epoch."""

REST_MS = 4 * STATUS_MS
"""Four heartbeats of everybody, and all their answers."""

GRACE_MS = 40_000
"""(f + 2) capped timeouts of ten members: what has not moved by then has stopped."""


SLOW_TIMEOUT_S = 1_800

SIZES = [
    *range(1, 7),
    *(
        pytest.param(n, marks=[pytest.mark.slow, pytest.mark.timeout(SLOW_TIMEOUT_S)])
        for n in range(7, 11)
    ),
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
    """Let things happen until something is so; return whether it was in time.

    A world at rest stays as it is, so nobody waits for it.
    """
    end, looked_ms, before = world.now + within_ms, world.now, positions(world)
    while not until():
        if not world.queue or world.queue[0][0] > end:
            return False
        if world.queue[0][0] >= looked_ms + REST_MS:
            looked_ms, former, before = world.queue[0][0], before, positions(world)
            if former == before and has_only_heartbeats(world):
                return False
        world.now, _, replica, event = heapq.heappop(world.queue)
        if replica in world.down:
            continue
        if isinstance(event, TimerExpired):
            kind, serial = event.timer.kind, event.timer.serial
            if world.timers.get((replica, kind)) != serial:
                continue
            del world.timers[replica, kind]
        perform(world, replica, handle(world.states[replica], event))
    return True


def positions(world: World) -> list[Any]:
    """Everything by which those who are up decide what to do next; not what heartbeats count."""
    return [
        (
            state.tip.height,
            state.members.epoch,
            state.instance.view,
            state.instance.proposal,
            state.instance.chosen,
            state.instance.prepared,
            state.instance.certificate,
            state.instance.is_timed,
            replace(state.instance.own),
            state.fetching,
            len(state.fetched),
            [
                len(by_signer)
                for by_view in state.instance.mailbox.by_kind.values()
                for by_signer in by_view.values()
            ],
        )
        for replica, state in world.states.items()
        if replica not in world.down
    ]


def has_only_heartbeats(world: World) -> bool:
    """Whether no timer runs that would change anything by itself."""
    return all(
        kind is TimerKind.STATUS for replica, kind in world.timers if replica not in world.down
    )


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


def changes(n: int, leavers: Iterable[int]) -> Iterator[tuple[ValidatorSet, ValidatorSet]]:
    """One member more; and one less, each of the leavers in turn."""
    before = make_validators(n)
    yield before, make_validators(n + 1)
    for gone in leavers if n > 1 else ():
        left = tuple(one for one in before.members if one.index != gone)
        yield before, ValidatorSet(members=left)


def subsets(members: list[int]) -> Iterator[tuple[int, ...]]:
    for count in range(len(members) + 1):
        yield from combinations(members, count)


def is_live(validators: ValidatorSet, down: set[int]) -> bool:
    up = [one.index for one in validators.members if one.index not in down]
    return len(up) >= QuorumSystem(len(validators.members)).strong


def world_at(before: ValidatorSet, after: ValidatorSet, at: int) -> World:
    """A world in which all who vote there have decided block `at`."""
    world = make_world(before, after)
    voters = [one.index for one in (before if at < CHANGE_HEIGHT else after).members]
    assert run(world, lambda: min(world.height(one) for one in voters) >= at)
    return world


def copy_of(world: World) -> World:
    """The same moment once more; what never changes is shared."""
    shared: list[object] = [*world.sets, *world.blocks.values()]
    shared += [event for _, _, _, event in world.queue]
    shared += [one for chain in world.chains.values() for one in chain]
    for state in world.states.values():
        shared += [state.config, state.members, state.next_members, state.tip]
        for box in (state.instance.mailbox, state.next_mailbox):
            by_view = [one for views in box.by_kind.values() for one in views.values()]
            shared += [vote for by_signer in by_view for vote in by_signer.values()]
    return deepcopy(world, {id(one): one for one in shared})


def check(world: World, down: tuple[int, ...], at: int) -> None:
    """Take `down` away once all have decided block `at`; the chain goes on exactly if it may."""
    before, after = world.sets
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
    """Every set of members down. Who has left is no part of it any more, and cores compare indexes
    and know no more of them: so of the leavers the first primary, another and the last stand for
    all."""
    cases = 0
    for before, after in changes(n, dict.fromkeys((0, n // 2, n - 1))):
        world = world_at(before, after, CHANGE_HEIGHT + 1)
        for down in subsets([one.index for one in after.members]):
            check(copy_of(world), down, CHANGE_HEIGHT + 1)
            cases += 1

    print(f"after a change of {n} members: {cases} cases")
    assert cases == 2 ** (n + 1) + (min(n, 3) * 2 ** (n - 1) if n > 1 else 0)


@pytest.mark.parametrize("n", SIZES)
def test_members_that_are_down_at_the_change_stop_it_exactly_where_a_quorum_is_missing(
    n: int,
) -> None:
    """Every set of members down, and every member that may leave."""
    cases = 0
    for before, after in changes(n, range(n)):
        world = world_at(before, after, CHANGE_HEIGHT - 3)
        for down in subsets([one.index for one in before.members]):
            check(copy_of(world), down, CHANGE_HEIGHT - 3)
            cases += 1

    print(f"down at a change of {n} members: {cases} cases")
    assert cases == (1 + (n if n > 1 else 0)) * 2**n


def test_a_replica_set_names_an_epoch_of_its_own() -> None:
    world = make_world(make_validators(4), make_validators(5))

    run(world, lambda: all(world.height(one) >= CHANGE_HEIGHT for one in world.states))

    epochs = [one.certificate.epoch for one in world.chains[4]]
    assert epochs[: CHANGE_HEIGHT - 1] == [Epoch(0)] * (CHANGE_HEIGHT - 1)
    assert epochs[CHANGE_HEIGHT - 1] == 1
