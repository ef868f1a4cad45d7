"""A consortium on this machine: founded on disk, every node a process, started, known, stopped.

The passphrase of a test consortium lies beside it: it guards nothing.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.errors import NodeEnded, NoNetwork, NotReady
from client.plain_http import get_json
from config import Endpoint, Limits, Timeouts, load_config
from crypto.keystore import KDF_CHEAPEST, KeystoreContent, save_keystore
from crypto.passphrases import make_passphrase
from genesis.document import Invitation, chain_id_of
from ledger.parameters import Parameters
from shell.founding import Founder, found, make_founder, wallet_entry, write_node_directory

READY_TIMEOUT_S: Final = 60
READY_NODE_S: Final = 5
"""More for each node: they start beside each other, on the processors of one machine."""

STOP_TIMEOUT_S: Final = 15
POLL_S: Final = 0.05
LOOPBACK: Final = "127.0.0.1"
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
NODE: Final = ("cli", "node", "start", "--log-json")
"""The module that a node process runs, and its words before the directory."""

LIAR: Final = ("benchmarks.scene.lying_node",)
MAY_LIE: Final = (*LIAR, "--when-told")


def quiet(_text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One node of a test consortium: its directory, and where its API answers.

    `inside` is a command that becomes the one after it, such as `ip netns exec NAME`; `program` is
    the module that the process runs, and its words before the directory.
    """

    org: str
    directory: Path
    url: str
    inside: tuple[str, ...] = ()
    program: tuple[str, ...] = NODE

    @property
    def pid_file(self) -> Path:
        return self.directory / "pid"

    @property
    def log_file(self) -> Path:
        return self.directory / "node.log"


def found_devnet(
    directory: Path,
    count: int,
    *,
    parameters: Parameters | None = None,
    timeouts: Timeouts | None = None,
    hosts: Sequence[str] | None = None,
    created_ms: int | None = None,
) -> None:
    """Hold the ceremony and write a node directory for each hospital, and one wallet for all.

    It is held now, or at `created_ms`, which is before the first block of any chain made for it.
    `hosts` are the addresses of nodes that live in network namespaces; all share loopback without.
    The passphrase of a test consortium lies beside it: it guards nothing.
    """
    ports, names = free_ports(2 * count), member_names(count)
    at = hosts or [LOOPBACK] * count
    founders = [
        make_founder(
            names[index],
            "Hospital " + names[index].removeprefix("hospital-").upper(),
            index,
            Endpoint(host=at[index], port=ports[index]),
        )
        for index in range(count)
    ]
    # Where nodes share cores, a process beside each for signatures is one more to share them.
    limits = Limits(verify_workers=0) if count > (os.cpu_count() or 1) else Limits()
    now_ms = time.time_ns() // 1_000_000 if created_ms is None else created_ms
    document = found(
        founders,
        Invitation(
            chain_name=f"devnet-{secrets.token_hex(4)}",
            created_ms=now_ms,
            parameters=parameters or Parameters(),
        ),
    )
    directory.mkdir(parents=True, exist_ok=True)
    passphrase = make_passphrase()
    passphrase_path(directory).touch(mode=0o600)
    passphrase_path(directory).write_text(passphrase + "\n", encoding="utf-8")
    for founder in founders:
        write_node_directory(
            directory / "nodes" / founder.org,
            founder,
            document,
            passphrase,
            api=Endpoint(host=at[founder.index], port=ports[count + founder.index]),
            created_ms=now_ms,
            timeouts=timeouts,
            limits=limits,
            kdf=KDF_CHEAPEST,
        )
    urls = [f"http://{at[one.index]}:{ports[count + one.index]}" for one in founders]
    _write_home(directory / "home", founders, passphrase, urls, created_ms=now_ms)
    genesis = directory / "nodes" / founders[0].org / "genesis.json"
    (directory / "home" / "genesis.json").write_bytes(genesis.read_bytes())
    (directory / "chain-id").write_text(chain_id_of(document).hex() + "\n", encoding="utf-8")


def member_names(count: int) -> tuple[str, ...]:
    """Return the organisations of a test consortium, by node index."""
    ends = [LETTERS[index] if index < len(LETTERS) else str(index) for index in range(count)]
    return tuple(f"hospital-{end}" for end in ends)


def _write_home(
    home: Path, founders: Sequence[Founder], passphrase: str, urls: list[str], *, created_ms: int
) -> None:
    """Write one wallet for everybody of a test consortium, its passphrase beside it."""
    home.mkdir(mode=0o700)
    people = [one for founder in founders for one in (founder.admin, founder.agent)]
    wallet = KeystoreContent(
        accounts=tuple(wallet_entry(person, created_ms=created_ms) for person in people)
    )
    save_keystore(home / "wallet.keystore", wallet, passphrase, kdf=KDF_CHEAPEST)
    (home / "nodes").write_text("\n".join(urls) + "\n", encoding="utf-8")
    (home / "passphrase").write_text(passphrase + "\n", encoding="utf-8")


def passphrase_path(directory: Path) -> Path:
    return directory / "passphrase"


def load_members(directory: Path) -> list[Member]:
    """Return the members of the consortium in `directory`; raise `NoNetwork` if there is none.

    Their paths are absolute: a node is known again by the directory it was started with, from
    wherever it is asked for.
    """
    configs = sorted((directory.resolve() / "nodes").glob("*/node.toml"))
    if not configs:
        raise NoNetwork(
            f"there is no consortium in {directory}: make one with `medledger devnet up`"
        )
    found = []
    for path in configs:
        config = load_config(path)
        member = Member(
            org=path.parent.name,
            directory=path.parent,
            url=f"http://{config.api.host}:{config.api.port}",
        )
        found.append((config.node_index, member))
    return [member for _, member in sorted(found, key=lambda one: one[0])]


def start_members(directory: Path, members: list[Member]) -> None:
    """Start each node that does not run yet, in a process group of its own."""
    for member in members:
        if running_pid(member) is None:
            start_member(directory, member)


def start_member(directory: Path, member: Member) -> int:
    """Start one node; return its process id."""
    command = [*member.inside, sys.executable, "-m", *member.program, str(member.directory)]
    command += ["--passphrase-file", str(passphrase_path(directory).resolve())]
    with member.log_file.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal is the command's, not the nodes'.
        )
    member.pid_file.write_text(f"{process.pid}\n", encoding="ascii")
    return process.pid


def stop_members(members: list[Member], *, tell: Callable[[str], None] = quiet) -> int:
    """Stop the nodes that run, and wait until they have; return how many those were."""
    pids = {member.org: pid for member in members if (pid := running_pid(member)) is not None}
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    waiting = dict(pids)
    while waiting and time.monotonic() < deadline:
        waiting = {org: pid for org, pid in waiting.items() if is_running(pid)}
        time.sleep(POLL_S)
    for org, pid in waiting.items():
        tell(f"{org} did not stop within {STOP_TIMEOUT_S} s: ending process {pid}")
        os.kill(pid, signal.SIGKILL)
    for member in members:
        member.pid_file.unlink(missing_ok=True)
    return len(pids)


def wait_ready(members: list[Member], *, height: int = 1) -> None:
    """Wait until every node has decided `height`; raise `NodeEnded` or `NotReady` for one."""
    within_s = READY_TIMEOUT_S + READY_NODE_S * len(members)
    deadline = time.monotonic() + within_s
    for member in members:
        while member_height(member) < height:
            if running_pid(member) is None:
                raise NodeEnded(
                    f"{member.org} ended: {last_line(member)}; all of it is in {member.log_file}"
                )
            if time.monotonic() > deadline:
                raise NotReady(
                    f"{member.org} did not decide block {height} within {within_s} s: see"
                    f" {member.log_file}"
                )
            time.sleep(POLL_S)


def member_height(member: Member) -> int:
    """Return the height of a node, or -1 if it does not answer."""
    try:
        return int(get_json(member.url, "/v1/node", timeout_s=2)["tip"]["height"])
    except (OSError, ValueError, KeyError):
        return -1


def running_pid(member: Member) -> int | None:
    """Return the process id of a node that we started and that still runs."""
    try:
        pid = int(member.pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if is_running(pid) and _is_node(pid, member) else None


def pids_of(members: Sequence[Member]) -> dict[int, int]:
    """Return the process id of each node that runs, by its place among the members."""
    found = {index: running_pid(member) for index, member in enumerate(members)}
    return {index: pid for index, pid in found.items() if pid is not None}


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and waits for its parent does not."""
    with contextlib.suppress(ChildProcessError):  # Another process may have started it.
        os.waitpid(pid, os.WNOHANG)
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def last_line(member: Member) -> str:
    lines = member.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _is_node(pid: int, member: Member) -> bool:
    """Whether the process is the one we started: process ids are used again."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(member.directory).encode() in command
