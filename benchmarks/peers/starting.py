"""Starting the peers, each in a session of its own, so that it ends with all that it started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from benchmarks.errors import PeerFailed

ETCD_MEMBERS: Final = 3
START_S: Final = 120.0
STOP_S: Final = 10.0
POLL_S: Final = 0.1
QUIET: Final = {"HARDHAT_DISABLE_TELEMETRY_PROMPT": "true", "CI": "true"}


@contextmanager
def hardhat_node(directory: Path, scratch: Path) -> Iterator[str]:
    """Run Hardhat's node from the packages in `directory`; give its address."""
    port = _free_port()
    words = ["node_modules/.bin/hardhat", "node", "--hostname", "127.0.0.1", "--port", str(port)]
    with _process("hardhat", words, directory, scratch / "hardhat.log", (port,)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def ganache_node(directory: Path, scratch: Path) -> Iterator[str]:
    """Run Ganache's node from the packages in `directory`; give its address."""
    port = _free_port()
    words = ["node_modules/.bin/ganache", "--server.host", "127.0.0.1", "--server.port", str(port)]
    words += ["--chain.hardfork", "london", "--logging.quiet"]
    with _process("ganache", words, directory, scratch / "ganache.log", (port,)):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def etcd_members(program: Path, scratch: Path) -> Iterator[str]:
    """Run three members of etcd, each with a directory in `scratch`; give their addresses."""
    names = [f"member-{number}" for number in range(ETCD_MEMBERS)]
    clients, members = ([_free_port() for _ in names] for _ in range(2))
    cluster = ",".join(
        f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, members, strict=True)
    )
    with ExitStack() as stack:
        for name, client, member in zip(names, clients, members, strict=True):
            words = [str(program), "--name", name, "--data-dir", str(scratch / name)]
            for option, port in (
                ("--listen-client-urls", client),
                ("--advertise-client-urls", client),
                ("--listen-peer-urls", member),
                ("--initial-advertise-peer-urls", member),
            ):
                words += [option, f"http://127.0.0.1:{port}"]
            words += ["--initial-cluster", cluster, "--log-level", "error"]
            # The ports of the others open once they run: none waits here for a quorum.
            stack.enter_context(_process("etcd", words, scratch, scratch / f"{name}.log", ()))
        _wait_open("etcd", tuple(clients), scratch / f"{names[0]}.log", None)
        yield ",".join(f"http://127.0.0.1:{port}" for port in clients)


@contextmanager
def _process(
    name: str, words: Sequence[str], directory: Path, log: Path, ports: tuple[int, ...]
) -> Iterator[None]:
    with log.open("wb") as told:
        running = subprocess.Popen(
            words,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
            env={**os.environ, **QUIET},
        )
    try:
        _wait_open(name, ports, log, running)
        yield
    finally:
        _end(running)


def _wait_open(
    name: str, ports: tuple[int, ...], log: Path, running: subprocess.Popen[bytes] | None
) -> None:
    """Wait until every port takes connections; raise `PeerFailed` with the last line it wrote."""
    until_s = time.monotonic() + START_S
    for port in ports:
        while not _is_open(port):
            has_ended = running is not None and running.poll() is not None
            if has_ended or time.monotonic() > until_s:
                raise PeerFailed(f"{name} did not start: {_last_line(log)}")
            time.sleep(POLL_S)


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the session of a process: asked first, then without asking."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(running.pid, ending)
            running.wait(STOP_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        break
    running.wait()


def _is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it wrote nothing; see {log}"
