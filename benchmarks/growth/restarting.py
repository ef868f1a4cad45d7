"""How long a stopped member of a running consortium takes until it is ready again.

The nodes go on with the ledger they were made with, so a directory may be measured again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.errors import NodeEnded, NotReady
from benchmarks.scene.local import (
    Member,
    last_line,
    load_members,
    member_height,
    running_pid,
    start_member,
    start_members,
    stop_members,
)
from client.plain_http import get_json

READY_MAX_S: Final = 120.0
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One restart: seconds from the start of the process until it answers, and until it is ready.

    Ready means that it has heard from f + 1 members that it is as far as they are.
    """

    height: int
    answers_s: float
    ready_s: float


def measure_restarts(directory: Path, repetitions: int) -> list[Restart]:
    """Start the consortium, and stop and start its last member again and again."""
    members = load_members(directory)
    try:
        start_members(directory, members)
        for member in members:
            wait_until_ready(member)
        return [_restart(directory, members[-1]) for _ in range(repetitions)]
    finally:
        stop_members(members)


def wait_until_ready(member: Member, *, limit_s: float = READY_MAX_S) -> None:
    """Wait until a node says that it is ready; raise `NodeEnded` or `NotReady`."""
    deadline = time.monotonic() + limit_s
    while not _is_ready(member):
        if running_pid(member) is None:
            raise NodeEnded(f"{member.org} ended: {last_line(member)}; see {member.log_file}")
        if time.monotonic() > deadline:
            raise NotReady(f"{member.org} is not ready after {limit_s:g} s: see {member.log_file}")
        time.sleep(POLL_S)


def _restart(directory: Path, member: Member) -> Restart:
    stop_members([member])
    began = time.monotonic()
    start_member(directory, member)
    while member_height(member) < 0 and running_pid(member) is not None:
        time.sleep(POLL_S)
    answers = time.monotonic()
    wait_until_ready(member)
    return Restart(
        height=member_height(member),
        answers_s=round(answers - began, 2),
        ready_s=round(time.monotonic() - began, 2),
    )


def _is_ready(member: Member) -> bool:
    try:
        return bool(get_json(member.url, "/v1/health/ready", timeout_s=2)["ready"])
    except (OSError, ValueError, KeyError):
        return False
