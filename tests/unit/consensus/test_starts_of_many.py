"""Starts, copies and old disks of whole sets of cores: everybody comes back, nobody votes twice."""

import pytest

from consensus.records import record_height
from crypto.quorum import QuorumSystem
from tests.unit.consensus.small_world import (
    Process,
    World,
    conflicts,
    copied,
    crash,
    height,
    make_world,
    run,
    start,
)

SEEDS = range(12)


def start_all(world: World, *, down: int = 0) -> list[Process]:
    """Start all but the last `down` processes; return those that run."""
    running = world.processes[: len(world.processes) - down]
    for process in running:
        start(world, process)
    return running


@pytest.mark.parametrize("n", range(1, 11))
@pytest.mark.parametrize("with_f_down", [False, True], ids=["all", "f down"])
def test_everybody_restarted_at_once_goes_on_without_an_operator(
    n: int, *, with_f_down: bool
) -> None:
    down = QuorumSystem(n).f if with_f_down else 0
    world = make_world(n, seed=n)
    start_all(world)
    run(world, 12)
    before = max(height(one) for one in world.processes)
    for process in world.processes:
        crash(process)

    running = start_all(world, down=down)
    run(world, 25)

    assert before > 1
    assert all(one.state is not None and one.state.fence is None for one in running)
    assert min(height(one) for one in running) > before
    assert conflicts(world) == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_old_disk_signs_nothing_that_it_has_signed_otherwise(seed: int) -> None:
    """Attack 24, without the place of the directory: copied at some time, put back at another."""
    world = make_world(4 + seed % 4, seed)
    victim = world.processes[seed % len(world.processes)]
    start_all(world)
    run(world, world.draw.randint(5, 9))
    old = copied(victim)
    run(world, world.draw.randint(1, 5))
    crash(victim)
    newest = copied(victim)

    victim.disk = old
    start(world, victim)
    run(world, 40)

    assert conflicts(world) == {}
    if len(newest.journal) > len(old.journal) and newest.blocks[-1:] == old.blocks[-1:]:
        assert any(type(one).__name__ == "FenceRaised" for one in victim.disk.journal)
    assert height(victim) > len(newest.blocks), "it catches up"
    assert victim.state is not None
    assert victim.state.fence is None, "and votes again"


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_processes_on_copies_of_one_disk_at_least_one_stays_silent(seed: int) -> None:
    """Attack 24: the original runs, and whoever hears the copy hears it too."""
    world = make_world(4 + seed % 4, seed)
    original = world.processes[seed % len(world.processes)]
    start_all(world)
    run(world, world.draw.randint(5, 9))
    copy = Process(original.replica, copied(original))
    world.processes.append(copy)
    signed_before = votes_of(copy)

    start(world, copy)
    run(world, 40)

    assert conflicts(world) == {}
    assert copy.state is not None
    assert original.state is not None
    assert copy.state.fence is not None
    assert original.state.fence is not None
    assert votes_of(copy) == signed_before, "the copy was fenced before its first signature"
    others = [one for one in world.processes if one.replica != original.replica]
    assert min(height(one) for one in others) > len(original.disk.blocks) - 40


def votes_of(process: Process) -> int:
    return sum(record_height(one) is not None for one in process.disk.journal)


@pytest.mark.parametrize("seed", range(5))
def test_once_the_copy_has_ended_the_restarted_original_votes_again(seed: int) -> None:
    world = make_world(4, seed)
    original = world.processes[seed % 4]
    start_all(world)
    run(world, 6)
    copy = Process(original.replica, copied(original))
    world.processes.append(copy)
    start(world, copy)
    run(world, 10)

    crash(copy)
    crash(original)
    world.processes.remove(copy)
    start(world, original)
    run(world, 40)

    assert original.state is not None
    assert original.state.fence is None
    assert original.state.listening is None
    assert conflicts(world) == {}
