"""A few real cores whose shells do everything at once: for starts, copies and restored disks.

Time passes in heartbeats. What is in flight is delivered in an order drawn from a seed. A process
is one running core on one disk; two processes may have one key, and whoever speaks to that replica
reaches the one that spoke to it last, as with links of which the newer replaces the older.
"""

import copy
import random
from dataclasses import dataclass, field

from consensus.blocks import CertifiedBlock
from consensus.core import handle
from consensus.effects import (
    Broadcast,
    CheckProposal,
    Decide,
    Effect,
    Persist,
    RequestProposal,
    Send,
    SendBlocks,
    SendProposal,
    SetTimer,
)
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
from consensus.messages import Blocks, Message, Proposal, Vote
from consensus.records import ProposalRecord, Record
from consensus.restore import Decided, restore
from consensus.state import ReplicaState, Tip
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId
from crypto.votes import GENESIS_HEIGHT
from tests.simulation.ideal import make_validators
from tests.unit.consensus.replicas import GENESIS, config_of, make_block, start_journal

Slot = tuple[int, int, int, str]


@dataclass(slots=True)
class Disk:
    """What a crash leaves: journal and decided blocks."""

    journal: list[Record]
    blocks: list[CertifiedBlock] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Process:
    replica: int
    disk: Disk
    state: ReplicaState | None = None
    timers: dict[TimerKind, Timer] = field(default_factory=dict)


@dataclass(slots=True)
class World:
    n: int
    draw: random.Random
    processes: list[Process] = field(default_factory=list)
    flight: list[tuple[Process, int, Message]] = field(default_factory=list)
    links: dict[tuple[int, int], Process] = field(default_factory=dict)
    signed: dict[Slot, set[Digest]] = field(default_factory=dict)
    boots: int = 0
    made: int = 0


def make_world(n: int, seed: int) -> World:
    """Nodes as `init` leaves them; none is started."""
    world = World(n, random.Random(seed))
    world.processes = [Process(one, Disk([start_journal(one)])) for one in range(n)]
    return world


def start(world: World, process: Process, *, listen_heartbeats: int = 3) -> None:
    """Start a process on its disk, under a boot id that was never used."""
    world.boots += 1
    config = config_of(
        process.replica,
        listen_heartbeats=listen_heartbeats,
        boot_id=b"boot %011d" % world.boots,
    )
    process.timers = {}
    process.state, effects = restore(
        config,
        _decided(world, process.disk),
        process.disk.journal,
        is_journal_whole=True,
        waiting=True,
    )
    perform(world, process, effects)


def crash(process: Process) -> None:
    process.state = None


def copied(process: Process) -> Disk:
    return copy.deepcopy(process.disk)


def run(world: World, heartbeats: int) -> None:
    """Let heartbeats pass, each with whatever it sets in motion."""
    for _ in range(heartbeats):
        for process in world.processes:
            for kind in (TimerKind.STATUS, TimerKind.PROPOSE, TimerKind.FETCH):
                _expire(world, process, kind)
            if world.draw.random() < 0.15:
                _expire(world, process, TimerKind.VIEW_CHANGE)
        _deliver_all(world)


def height(process: Process) -> int:
    return -1 if process.state is None else process.state.tip.height


def conflicts(world: World) -> dict[Slot, set[Digest]]:
    """Slots of a replica in which more than one digest was let out."""
    return {slot: found for slot, found in world.signed.items() if len(found) > 1}


def perform(world: World, process: Process, effects: list[Effect]) -> None:
    """Do what the core asks, in order, and at once what it asks of the shell."""
    waiting = list(effects)
    while waiting and process.state is not None:
        match waiting.pop(0):
            case Persist(records=records):
                process.disk.journal += records
            case Send(to=to, message=message):
                _send(world, process, to, message)
            case Broadcast(message=message):
                for index in range(world.n):
                    if index != process.replica:
                        _send(world, process, ReplicaId(index), message)
            case SendBlocks(to=to, from_height=first, count=count):
                found = process.disk.blocks[first - 1 : first - 1 + count]
                _send(world, process, to, Blocks(blocks=tuple(found)))
            case SendProposal(to=to, digest=wanted):
                for record in process.disk.journal:
                    if isinstance(record, ProposalRecord) and record.block.digest == wanted:
                        _send(world, process, to, Proposal(block=record.block, bodies=b"bodies"))
                        break
            case SetTimer(timer=timer):
                process.timers[timer.kind] = timer
            case RequestProposal() as asked:
                world.made += 1
                block = make_block(
                    f"block {world.made}",
                    height=asked.height,
                    view=asked.view,
                    proposer=process.replica,
                    parent=asked.parent,
                    parent_certificate=asked.parent_certificate,
                )
                made = ProposalMade(height=asked.height, view=asked.view, block=block)
                waiting += handle(process.state, made)
            case CheckProposal(height=at, view=view, block=block):
                verdict = ProposalChecked(height=at, view=view, digest=block.digest, refusal=None)
                waiting += handle(process.state, verdict)
            case Decide(block=block, certificate=certificate):
                one = CertifiedBlock(block=block, certificate=certificate, bodies=b"bodies")
                process.disk.blocks.append(one)
                executed = BlockExecuted(
                    height=block.height, digest=block.digest, validators=make_validators(world.n)
                )
                waiting += handle(process.state, executed)
            case _:
                pass


def _send(world: World, process: Process, to: int, message: Message) -> None:
    if isinstance(message, Vote):
        vote = bare_vote(message)
        slot = (vote.signer, vote.height, vote.view, vote.vote.name)
        world.signed.setdefault(slot, set()).add(vote.digest)
    world.flight.append((process, to, message))


def _deliver_all(world: World) -> None:
    for _ in range(5_000):
        if not world.flight:
            return
        sender, to, message = world.flight.pop(world.draw.randrange(len(world.flight)))
        world.links[to, sender.replica] = sender
        target = _reached(world, sender.replica, to)
        if target is not None and target.state is not None:
            event = MessageReceived(sender=ReplicaId(sender.replica), message=message)
            perform(world, target, handle(target.state, event))
    raise AssertionError("it does not settle")


def _reached(world: World, sender: int, to: int) -> Process | None:
    """Return which process of a replica a message reaches: the one that spoke there last."""
    linked = world.links.get((sender, to))
    if linked is not None and linked.state is not None:
        return linked
    alive = [one for one in world.processes if one.replica == to and one.state is not None]
    return alive[0] if alive else None


def _expire(world: World, process: Process, kind: TimerKind) -> None:
    timer = process.timers.pop(kind, None)
    if timer is not None and process.state is not None:
        perform(world, process, handle(process.state, TimerExpired(timer=timer)))


def _decided(world: World, disk: Disk) -> Decided:
    validators = make_validators(world.n)
    tip = Tip(
        height=GENESIS_HEIGHT, digest=GENESIS, proposer=None, transaction_count=0, certificate=None
    )
    if disk.blocks:
        last = disk.blocks[-1]
        tip = Tip(
            height=last.block.height,
            digest=last.block.digest,
            proposer=last.block.proposer,
            transaction_count=last.block.transaction_count,
            certificate=last.certificate,
        )
    return Decided(tip=tip, epoch=Epoch(0), validators=validators, next_validators=validators)
