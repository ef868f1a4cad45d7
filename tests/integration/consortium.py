"""A consortium of real node processes for a test: founded, started, broken, watched, stopped.

Nodes are ended by the ids of the processes that were started here, never by name.
"""

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scene.local import (
    Member,
    found_devnet,
    is_running,
    load_members,
    passphrase_path,
    running_pid,
    start_member,
    start_members,
    stop_members,
    wait_ready,
)
from client.connection import GENESIS_NAME, Client, open_client
from client.enrolment import make_enrolment, register_person
from client.plain_http import get_json
from client.wallet import Wallet, find_account, open_wallet
from config import Timeouts
from crypto.keystore import KDF_CHEAPEST
from crypto.record_ids import AccountId
from ledger.accounts import OrgId, Role
from ledger.parameters import Parameters

IDLE_BLOCK_MS = 500
BASE_TIMEOUT_MS = 1_000
TIMEOUT_CAP_MS = 8_000
POLL_S = 0.05
WAIT_S = 60.0

HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


@dataclass(slots=True, kw_only=True)
class Consortium:
    """Node processes with one wallet for everybody.

    `registered_height` is the newest block that registered somebody.
    """

    directory: Path
    members: list[Member]
    wallet: Wallet
    registered_height: int = 0

    def member(self, org: str) -> Member:
        return next(member for member in self.members if member.org == org)

    def account(self, label: str) -> AccountId:
        return find_account(self.wallet, label)

    @property
    def genesis(self) -> Path:
        return self.directory / "home" / GENESIS_NAME


def found_consortium(
    directory: Path,
    count: int,
    *,
    parameters: Parameters | None = None,
    hosts: Sequence[str] | None = None,
) -> Consortium:
    """Make the directories of `count` hospitals with quick parameters; nothing runs yet."""
    found_devnet(
        directory,
        count,
        parameters=parameters or Parameters(idle_block_ms=IDLE_BLOCK_MS),
        timeouts=Timeouts(
            base_timeout_ms=BASE_TIMEOUT_MS, timeout_cap_ms=TIMEOUT_CAP_MS, status_ms=200
        ),
        hosts=hosts,
    )
    passphrase = passphrase_path(directory).read_text(encoding="utf-8").strip()
    return Consortium(
        directory=directory,
        members=load_members(directory),
        wallet=open_wallet(directory / "home", passphrase, kdf=KDF_CHEAPEST),
    )


def start_all(consortium: Consortium) -> None:
    """Start every node that does not run, and wait until each has decided a block."""
    try:
        start_members(consortium.directory, consortium.members)
        wait_ready(consortium.members)
    except SystemExit as problem:  # How a command ends: here it would end the tests with it.
        tails = "\n".join(log_tail(member, 3) for member in consortium.members)
        raise AssertionError(f"the consortium does not start:\n{tails}") from problem


def start_one(consortium: Consortium, member: Member) -> int:
    return start_member(consortium.directory, member)


def stop_all(consortium: Consortium) -> None:
    stop_members(consortium.members)


def kill(*members: Member) -> None:
    """End nodes with SIGKILL, all of them before any is waited for."""
    pids = [pid_of(member) for member in members]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_until(partial(_has_ended, pid), f"process {pid} has ended")


def stop_one(member: Member) -> None:
    """End a node as an operator does."""
    pid = pid_of(member)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_running(pid), f"{member.org} has stopped")


def pid_of(member: Member) -> int:
    pid = running_pid(member)
    assert pid is not None, f"{member.org} does not run: {log_tail(member)}"
    return pid


def is_up(member: Member) -> bool:
    return running_pid(member) is not None


def log_tail(member: Member, lines: int = 8) -> str:
    return "\n".join(log_of(member).splitlines()[-lines:])


def log_of(member: Member) -> str:
    return member.log_file.read_text(encoding="utf-8", errors="replace")


def ask(member: Member, path: str) -> Any:
    """Return the JSON that a node answers at `path`; raise `OSError` if it does not."""
    return get_json(member.url, path, timeout_s=5)


def status_of(member: Member, path: str) -> int:
    """Return the HTTP status of `path`, or 0 if nobody answers."""
    try:
        with urllib.request.urlopen(member.url + path, timeout=5) as answer:  # noqa: S310 - http
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return 0


def height_of(member: Member) -> int:
    """Return the height of a node, or -1 if it does not answer."""
    try:
        return int(ask(member, "/v1/node")["tip"]["height"])
    except (OSError, ValueError, KeyError):
        return -1


def wait_height(members: Iterable[Member], height: int, *, timeout_s: float = WAIT_S) -> None:
    """Wait until every one of `members` has decided `height`."""
    for member in members:
        wait_until(
            partial(_has_decided, member, height),
            partial(_told_by, member, f"{member.org} decides block {height}"),
            timeout_s=timeout_s,
        )


def wait_until(
    is_so: Callable[[], bool],
    what: str | Callable[[], str],
    *,
    timeout_s: float = WAIT_S,
    poll_s: float = POLL_S,
) -> float:
    """Poll until something is so; return the seconds that took, or fail saying `what` is not."""
    started = time.monotonic()
    while not is_so():
        told = what if isinstance(what, str) else what()
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {told}"
        time.sleep(poll_s)
    return time.monotonic() - started


async def wait_until_async(
    is_so: Callable[[], bool], what: str | Callable[[], str], *, timeout_s: float = WAIT_S
) -> float:
    """The same, beside other tasks of the test."""
    return await asyncio.to_thread(wait_until, is_so, what, timeout_s=timeout_s)


def block_at(member: Member, height: int) -> dict[str, Any]:
    found = ask(member, f"/v1/blocks/{height}")
    assert isinstance(found, dict)
    return found


def check_one_history(members: list[Member]) -> int:
    """Assert that nodes have the same block, so the same past, at their common height; return it.

    A block's header carries the state root of the block before it, so equal digests are equal
    states.
    """
    height = min(height_of(member) for member in members)
    assert height >= 1
    for at in {height, max(1, height - 1)}:
        blocks = [block_at(member, at) for member in members]
        assert len({block["digest"] for block in blocks}) == 1, f"a fork at {at}: {blocks}"
        assert len({block["header"]["state_root"] for block in blocks}) == 1
    return height


def _has_ended(pid: int) -> bool:
    return not is_running(pid)


def _has_decided(member: Member, height: int) -> bool:
    return height_of(member) >= height


def _told_by(member: Member, what: str) -> str:
    return f"{what}; its log ends with\n{log_tail(member)}"


def acting(
    consortium: Consortium, label: str | None, org: str
) -> AbstractAsyncContextManager[Client]:
    """Connect to a hospital's node as somebody, or as nobody yet."""
    url = consortium.member(org).url
    return open_client(url, consortium.genesis, consortium.wallet, actor=label)


async def register(
    consortium: Consortium, label: str, org: str, role: Role, *, writers: Iterable[str] = ()
) -> AccountId:
    """Enrol somebody at the hospital's desk and register them there."""
    async with acting(consortium, f"admin-{org}", org) as desk:
        desk.height = consortium.registered_height
        enrolment = await make_enrolment(
            desk,
            label,
            org=OrgId(org),
            role=role,
            writers=[consortium.account(one) for one in writers],
        )
        outcome = await register_person(desk, enrolment, org=OrgId(org))
    consortium.registered_height = max(consortium.registered_height, outcome.height)
    return enrolment.account


@asynccontextmanager
async def acting_after(
    consortium: Consortium, label: str, org: str, height: int
) -> AsyncIterator[Client]:
    """Connect as somebody who has heard of the block at `height`, and sees at least that far."""
    wait_height([consortium.member(org)], height)
    async with acting(consortium, label, org) as client:
        client.height = height
        yield client
