"""Making faults happen when they are due, and writing down when each had worked."""

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from benchmarks.errors import SceneError
from benchmarks.scene.faults import Event, Fault
from benchmarks.scene.local import (
    is_running,
    member_height,
    running_pid,
    start_member,
    start_members,
    wait_ready,
)
from benchmarks.scene.places import Scene
from benchmarks.scene.relays import both_ways
from client.plain_http import get_json

ASK_S: Final = 1.0
ENDED_S: Final = 5.0
COMMAND_S: Final = 60.0
POLL_S: Final = 0.005
SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "continue": signal.SIGCONT,
    "equivocate": signal.SIGUSR1,
}


async def keep_to_schedule(
    scene: Scene, faults: Sequence[Fault], start_s: float, events: list[Event]
) -> None:
    """Do each fault at its time after `start_s` (monotonic), and append what came of it."""
    victim: int | None = None
    for fault in faults:
        await asyncio.sleep(max(0.0, start_s + fault.at_s - time.monotonic()))
        event = await asyncio.to_thread(do_fault, scene, fault, victim)
        victim = event.nodes[0] if event.nodes else victim
        events.append(event)


def do_fault(scene: Scene, fault: Fault, victim: int | None) -> Event:
    """Do one fault now; `victim` is the node of the one before."""
    nodes: tuple[int, ...] = ()
    try:
        nodes = fault.apart if fault.node is None else (find_node(scene, fault.node, victim),)
        _do(scene, fault, nodes)
        failed = None
    except (SceneError, OSError) as problem:
        failed = str(problem)
    what = _told(scene, fault, nodes)
    return Event(at_s=time.monotonic(), do=fault.do, what=what, nodes=nodes, failed=failed)


def restore(scene: Scene) -> None:
    """Undo what faults have done to a local network, and wait until every node is there again.

    Nodes that lied are started anew. A remote network is left as its schedule leaves it.
    """
    if scene.directory is None:
        return
    if scene.links is not None:
        scene.links.mend()
    alive = [scene.members[index] for index in scene.live]
    for index, member in zip(scene.live, alive, strict=True):
        if running_pid(member) is not None:
            _signal(scene, index, "continue")
            if index in scene.lying:
                _signal(scene, index, "kill")
    scene.lying.clear()
    start_members(scene.directory, alive)
    wait_ready(alive, height=max(member_height(one) for one in alive))


def find_node(scene: Scene, node: str | int, victim: int | None) -> int:
    """Return the index of the node that a fault is about, at this moment; raise `SceneError`."""
    match node:
        case int():
            return node
        case "same":
            if victim is None:
                raise SceneError("no fault before this one was about a node")
            return victim
        case "primary":
            return primary_of(scene)
        case "backup":
            primary = primary_of(scene)
            return next(index for index in scene.live if index != primary)
        case name:
            return scene.orgs.index(name)


def primary_of(scene: Scene) -> int:
    """Return the primary that the node furthest ahead names; raise `SceneError` if none answers."""
    with ThreadPoolExecutor(len(scene.live)) as asking:
        told = asking.map(_position_at, [scene.urls[index] for index in scene.live])
        seen = [one for one in told if one is not None]
    if not seen:
        raise SceneError("no node says who the primary is")
    return max(seen)[2]


def _position_at(url: str) -> tuple[int, int, int] | None:
    """Return a node's height, view and primary; None if it is down, stopped or cut off."""
    try:
        told = get_json(url, "/v1/consensus", timeout_s=ASK_S)
        return int(told["height"]), int(told["view"]), int(told["primary"])
    except (OSError, ValueError, KeyError):
        return None


def _do(scene: Scene, fault: Fault, nodes: tuple[int, ...]) -> None:
    if scene.directory is None:
        for index in nodes or range(len(scene.orgs)):
            _run_command(scene.commands[index][fault.do])
        return
    match fault.do:
        case "heal" | "slow" | "partition":
            _change_links(scene, fault, nodes)
        case "restart":
            if running_pid(scene.members[nodes[0]]) is not None:
                _signal(scene, nodes[0], "kill")
            start_member(scene.directory, scene.members[nodes[0]])
        case do:
            _signal(scene, nodes[0], do)
            if do == "equivocate":
                scene.lying.add(nodes[0])


def _change_links(scene: Scene, fault: Fault, nodes: tuple[int, ...]) -> None:
    assert scene.links is not None, "a schedule with such faults has links that can be changed"
    others = [index for index in range(len(scene.orgs)) if index not in nodes]
    pairs = both_ways(list(nodes), others)
    if fault.do == "heal":
        scene.links.mend()
    elif fault.delay_ms is not None:
        scene.links.slow(pairs, fault.delay_ms)
    else:
        scene.links.cut(pairs)


def _signal(scene: Scene, index: int, do: str) -> None:
    """Send the signal; a node that is killed has ended when this returns."""
    member = scene.members[index]
    pid = running_pid(member)
    if pid is None:
        raise SceneError(f"{member.org} does not run")
    os.kill(pid, SIGNALS[do])
    deadline_s = time.monotonic() + ENDED_S
    while do == "kill" and is_running(pid) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _run_command(command: str) -> None:
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise SceneError(f"`{command}` did not end within {COMMAND_S:g} s") from problem
    if done.returncode != 0:
        raise SceneError(f"`{command}` says: {done.stderr.strip() or done.returncode}")


def _told(scene: Scene, fault: Fault, nodes: tuple[int, ...]) -> str:
    who = ", ".join(scene.orgs[index] for index in nodes)
    role = f" ({fault.node})" if fault.node in ("primary", "backup") else ""
    delay = "" if fault.delay_ms is None else f" by {fault.delay_ms} ms each way"
    return " ".join(word for word in (fault.do, who + role + delay) if word)
