"""A consortium to be tormented: real node processes whose links go through relays.

One of them may be a liar (`lying_node`). `faulty` are nodes that were wiped or restored from a
backup, until their fence has lifted: with the liar they stay within f. Whoever is down for a reason
stands in `down`; a node that ends for no reason is a finding.
"""

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.scene.local import (
    LIAR,
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    pids_of,
    running_pid,
    start_member,
    stop_members,
)
from benchmarks.scene.relays import (
    Links,
    close_relays,
    mend,
    move_behind_relays,
    open_relays,
)
from client.wallet import open_wallet
from config import Timeouts
from crypto.keystore import KDF_CHEAPEST
from crypto.quorum import QuorumSystem
from ledger.parameters import Parameters
from tests.integration.consortium import (
    Consortium,
    ask,
    height_of,
    kill,
    log_tail,
    wait_until_async,
)

BASE_TIMEOUT_MS = 2_000
TIMEOUT_CAP_MS = 8_000
IDLE_BLOCK_MS = 1_000
START_S = 30.0
"""Starting a Python process beside busy ones and opening its directory, at the most."""


class Violation(AssertionError):
    """A promise is broken; the text says which."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What happened in one or several rounds; `broken` are the promises that were not kept.

    `checked` of the acknowledged transactions were looked up at the end; `lost` are not where told
    or nowhere, `doubled` stand in two blocks; `served_late` are reads past `max_staleness`;
    `late_healings` those after which the first block took more than (f + 2) capped timeouts, where
    `START_S` more is forgiven for starting processes.
    """

    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    checked: int = 0
    lost: int = 0
    doubled: int = 0
    blocks: int = 0
    reads: int = 0
    late_tries: int = 0
    served_late: int = 0
    stalls_ms: list[int] = field(default_factory=list)
    late_healings: int = 0
    levels_ms: list[int] = field(default_factory=list)
    evidence: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Arena:
    consortium: Consortium
    links: Links
    random: random.Random
    report: Report
    liar: int | None
    down: set[int] = field(default_factory=set)
    stopped: set[int] = field(default_factory=set)
    choked: set[int] = field(default_factory=set)
    faulty: set[int] = field(default_factory=set)
    backups: dict[int, Path] = field(default_factory=dict)

    @property
    def members(self) -> list[Member]:
        return self.consortium.members

    @property
    def quorum(self) -> QuorumSystem:
        return QuorumSystem(len(self.members))

    @property
    def correct(self) -> list[int]:
        return [index for index in range(len(self.members)) if index != self.liar]

    def may_forget(self) -> bool:
        """Whether one more node may lose what it signed without passing f."""
        return len(self.faulty) + (self.liar is not None) < self.quorum.f

    def resume_limit_s(self) -> float:
        return (self.quorum.f + 2) * TIMEOUT_CAP_MS / 1000


@asynccontextmanager
async def open_arena(
    directory: Path, count: int, *, seed: int, report: Report, has_liar: bool
) -> AsyncIterator[Arena]:
    """Found `count` hospitals behind relays and start them, one as a liar if asked for."""
    consortium = found_behind_relays(directory, count, has_liar=has_liar)
    links = Links(pids=lambda: pids_of(consortium.members))
    arena = Arena(
        consortium=consortium,
        links=links,
        random=random.Random(f"soak {seed} {count}"),
        report=report,
        liar=count - 1 if has_liar else None,
    )
    await open_relays(links, consortium.members)
    try:
        for index in range(count):
            start_node(arena, index)
        await wait_heights(arena, 1, timeout_s=60)
        yield arena
    finally:
        for index in tuple(arena.stopped):
            resume(arena, index)
        await asyncio.to_thread(stop_members, consortium.members)
        await close_relays(links)


def found_behind_relays(directory: Path, count: int, *, has_liar: bool) -> Consortium:
    """Found a consortium whose nodes are reached through relays; the last may be a liar."""
    found_devnet(
        directory,
        count,
        parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS),
        timeouts=Timeouts(
            base_timeout_ms=BASE_TIMEOUT_MS, timeout_cap_ms=TIMEOUT_CAP_MS, status_ms=250
        ),
    )
    members = load_members(directory)
    move_behind_relays(members)
    if has_liar:
        members[-1] = replace(members[-1], program=LIAR)
    passphrase = passphrase_path(directory).read_text(encoding="utf-8").strip()
    wallet = open_wallet(directory / "home", passphrase, kdf=KDF_CHEAPEST)
    return Consortium(directory=directory, members=members, wallet=wallet)


def start_node(arena: Arena, index: int) -> None:
    """Start a node that does not run, as what it is."""
    arena.down.discard(index)
    start_member(arena.consortium.directory, arena.members[index])


def take_down(arena: Arena, index: int) -> None:
    """End a node with SIGKILL."""
    arena.down.add(index)
    if index in arena.stopped:
        resume(arena, index)
    if running_pid(arena.members[index]) is not None:
        kill(arena.members[index])


def freeze(arena: Arena, index: int) -> None:
    pid = running_pid(arena.members[index])
    if pid is not None:
        os.kill(pid, signal.SIGSTOP)
        arena.stopped.add(index)


def resume(arena: Arena, index: int) -> None:
    arena.stopped.discard(index)
    pid = running_pid(arena.members[index])
    if pid is not None:
        os.kill(pid, signal.SIGCONT)


def choke(arena: Arena, index: int) -> None:
    """Let no file of a node's grow any more: the disk is full for this process."""
    pid = running_pid(arena.members[index])
    if pid is not None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        arena.choked.add(index)
        arena.down.add(index)  # It will end by itself, and is right to.


async def heal(arena: Arena) -> None:
    """Undo what is wrong with links, processes and disks; nobody who still runs is restarted."""
    mend(arena.links)
    for index in tuple(arena.stopped):
        resume(arena, index)
    for index in tuple(arena.choked):
        await end_choked(arena, index)
    for index in sorted(arena.down):
        start_node(arena, index)
    for member in arena.members:  # The liar too: a dead one torments nobody.
        if running_pid(member) is None:
            raise Violation(f"{member.org} ended by itself:\n{log_tail(member)}")


async def end_choked(arena: Arena, index: int) -> None:
    """A node on a full disk ends by itself as soon as it has to write; give it a moment."""
    arena.choked.discard(index)
    member = arena.members[index]
    with contextlib.suppress(AssertionError):
        await wait_until_async(lambda: running_pid(member) is None, "it ends", timeout_s=10)
    if running_pid(member) is not None:  # It had nothing to write yet: there is room again.
        pid = running_pid(member)
        assert pid is not None
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        arena.down.discard(index)


async def measure_recovery(arena: Arena) -> None:
    """Wait until commits have resumed and everybody has them; remember how long both took."""
    began = time.monotonic()
    stood_at = max(heights(arena))
    limit_s = arena.resume_limit_s() + START_S
    resumed_s = await wait_until_async(
        lambda: max(heights(arena)) > stood_at,
        lambda: told(arena, f"commits resume within {limit_s:.0f} s of healing"),
        timeout_s=limit_s,
    )
    await wait_heights(arena, stood_at + 1, timeout_s=2 * limit_s)
    arena.report.late_healings += resumed_s > arena.resume_limit_s()
    arena.report.stalls_ms.append(int(resumed_s * 1000))
    arena.report.levels_ms.append(int((time.monotonic() - began) * 1000))
    for index in tuple(arena.faulty):
        if fence_of(arena, index) is None:
            arena.faulty.discard(index)


def heights(arena: Arena) -> list[int]:
    return [height_of(arena.members[index]) for index in arena.correct]


def fence_of(arena: Arena, index: int) -> str | None:
    """Return why a node is fenced, "unknown" if it does not say, None if it votes."""
    try:
        reason = ask(arena.members[index], "/v1/consensus")["fenced"]
    except OSError:
        return "unknown"
    return None if reason is None else str(reason)


async def wait_heights(arena: Arena, height: int, *, timeout_s: float) -> None:
    await wait_until_async(
        lambda: min(heights(arena)) >= height,
        lambda: told(arena, f"every correct node decides block {height}"),
        timeout_s=timeout_s,
    )


def told(arena: Arena, what: str) -> str:
    """Say what was waited for and where everybody stands."""
    rows = []
    for index, member in enumerate(arena.members):
        try:
            seen = ask(member, "/v1/consensus")
            place = {key: seen[key] for key in ("height", "view", "fenced", "connected_members")}
        except OSError:
            place = {"down": running_pid(member) is None}
        rows.append(f"  {member.org} {'(liar) ' if index == arena.liar else ''}{place}")
        rows.append(log_tail(member, 3))
    return what + "\n" + "\n".join(rows)


def wipe_directory(member: Member) -> None:
    """Empty everything but keys, settings and founding document."""
    for name in ("ledger", "journal", "blobs", "sidecars"):
        folder = member.directory / name
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
