"""What the nemesis does, one function a class of faults; `storm` draws several at a time."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.scene.local import running_pid
from benchmarks.scene.relays import both_ways, cut, slow
from tests.integration.consortium import stop_one
from tests.integration.soak.arena import (
    Arena,
    choke,
    freeze,
    resume,
    start_node,
    take_down,
    wipe_directory,
)

KEPT_OF_A_DIRECTORY: Final = ("ledger", "journal", "sidecars", "blobs")


def always(_arena: Arena) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Fault:
    """A class of faults, and when it may be chosen."""

    name: str
    inject: Callable[[Arena], None]
    is_possible: Callable[[Arena], bool] = always


def draw_victim(arena: Arena) -> int:
    up = [index for index in arena.correct if index not in arena.down | arena.stopped]
    return arena.random.choice(up or arena.correct)


def kill_some(arena: Arena) -> None:
    """SIGKILL to one node, seldom to all of them at once."""
    everybody = arena.random.random() < 0.15
    for index in arena.correct if everybody else [draw_victim(arena)]:
        take_down(arena, index)


def stop_one_for_a_while(arena: Arena) -> None:
    freeze(arena, draw_victim(arena))


def isolate_one(arena: Arena) -> None:
    victim = draw_victim(arena)
    others = [index for index in range(len(arena.members)) if index != victim]
    cut(arena.links, both_ways([victim], others))


def split(arena: Arena) -> None:
    """Two groups that cannot talk; a bridge between them now and then."""
    members = list(range(len(arena.members)))
    arena.random.shuffle(members)
    half = arena.random.randint(1, len(members) - 1)
    one, other = members[:half], members[half:]
    if len(other) > 1 and arena.random.random() < 0.3:
        other = other[1:]  # The one left out talks to both.
    cut(arena.links, both_ways(one, other))


def deafen_one(arena: Arena) -> None:
    """A link that works one way: the victim is heard and hears nothing, or the other way round."""
    victim = draw_victim(arena)
    others = [index for index in range(len(arena.members)) if index != victim]
    hears = arena.random.random() < 0.5
    cut(arena.links, {(victim, one) if hears else (one, victim) for one in others})


def slow_links(arena: Arena) -> None:
    victim = draw_victim(arena)
    others = [index for index in range(len(arena.members)) if index != victim]
    slow(arena.links, both_ways([victim], others), arena.random.choice((0.05, 0.1, 0.3)))


def fill_disk(arena: Arena) -> None:
    choke(arena, draw_victim(arena))


def wipe(arena: Arena) -> None:
    """The disk is gone; the keys were kept elsewhere."""
    victim = draw_victim(arena)
    take_down(arena, victim)
    wipe_directory(arena.members[victim])
    arena.backups.pop(victim, None)
    arena.faulty.add(victim)
    start_node(arena, victim)


def back_up(arena: Arena) -> None:
    """Stop a node as an operator does, copy its directory, start it again."""
    victim = arena.random.choice(sorted(set(arena.correct) - arena.faulty - set(arena.backups)))
    member = arena.members[victim]
    if victim in arena.stopped:
        resume(arena, victim)
    if running_pid(member) is not None:
        stop_one(member)
    target = backup_folder(arena, victim)
    shutil.rmtree(target, ignore_errors=True)
    for name in KEPT_OF_A_DIRECTORY:
        shutil.copytree(member.directory / name, target / name)
    arena.backups[victim] = target
    start_node(arena, victim)


def restore(arena: Arena) -> None:
    """Put an old copy in the place of what a node has; it does not know what it signed since."""
    victim = arena.random.choice(restorable(arena))
    take_down(arena, victim)
    for name in KEPT_OF_A_DIRECTORY:
        folder = arena.members[victim].directory / name
        shutil.rmtree(folder)
        shutil.copytree(arena.backups[victim] / name, folder)
    arena.faulty.add(victim)
    start_node(arena, victim)


def restorable(arena: Arena) -> list[int]:
    return sorted(set(arena.backups) - arena.faulty - arena.down - arena.stopped)


def may_wipe(arena: Arena) -> bool:
    """A wiped node may forget what it signed: with the liar, such nodes stay within f."""
    return arena.may_forget()


def may_restore(arena: Arena) -> bool:
    return arena.may_forget() and bool(restorable(arena))


def may_back_up(arena: Arena) -> bool:
    return set(arena.correct) - arena.faulty != set(arena.backups)


def backup_folder(arena: Arena, index: int) -> Path:
    return arena.consortium.directory / "backups" / str(index)


FAULTS: Final = (
    Fault("kill", kill_some),
    Fault("stop", stop_one_for_a_while),
    Fault("isolate", isolate_one),
    Fault("partition", split),
    Fault("one-way link", deafen_one),
    Fault("slow links", slow_links),
    Fault("full disk", fill_disk),
    Fault("back up", back_up, may_back_up),
    Fault("wipe", wipe, may_wipe),
    Fault("restore old backup", restore, may_restore),
)


async def storm(arena: Arena, *, seconds_max: float) -> None:
    """Inject one to three faults and let them work for a while."""
    for _ in range(arena.random.choice((1, 1, 2, 3))):
        fault = arena.random.choice([one for one in FAULTS if one.is_possible(arena)])
        await asyncio.to_thread(fault.inject, arena)
        arena.report.faults[fault.name] += 1
    await asyncio.sleep(arena.random.uniform(0.5, seconds_max))
