"""Why a node does not answer, found out from its directory and its process alone.

What can be looked at is looked at before anybody's last words are believed: the lease and who
holds it, the disks, the vote journal, the ledger. Nothing is mended; the ledger is opened only
where no process runs on the directory.
"""

import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from api.diagnosis import Diagnosis, Finding
from api.phrases import mebibytes, span
from commands.last_words import read_words
from config import InvalidConfig, NodeConfig, load_config
from genesis.document import chain_id_of
from genesis.errors import GenesisError
from genesis.files import load_genesis
from storage.chain import open_chain
from storage.check import check_start, findings
from storage.database import DATABASE_RESERVE_BYTES, open_database
from storage.errors import DatabaseMissing, LayoutInvalid, StorageError
from storage.files import free_bytes
from storage.layout import NodeLayout, check_layout
from storage.lease import find_holder
from storage.sidecars import SIDECARS_RESERVE_BYTES

CONNECT_S: Final = 2.0
TAIL_BYTES: Final = 64 << 10

SILENT: Final = {
    "node_directory": "the directory is not a whole node directory, or others may enter it",
    "config_invalid": "node.toml cannot be read, or says what cannot be",
    "process_stopped": "the process was stopped (SIGSTOP, Ctrl-Z, a debugger) and holds the lease",
    "not_answering": "the process runs and takes connections, and answers nothing: it is stuck",
    "api_unreachable": "the process runs, and nobody listens where node.toml says",
    "other_node": "another node than that of the directory answers there",
    "disk_full": "a disk has less than its reserve left",
    "journal_missing": "the vote journal is gone: the node will start fenced",
    "journal_damaged": "the vote journal changed on disk in a way that no crash explains",
    "ledger_damaged": "the ledger database does not open, or what it holds is damaged",
    "ended": "no process runs, and the last one ended for the reason it gave",
    "killed": "no process runs, and the last one ended without a word",
    "not_running": "no process runs: the last one was told to stop, or none was ever started",
}


def examine_directory(directory: Path, url: str | None = None) -> Diagnosis:
    """Return why the node of a directory does not answer at its address."""
    try:
        layout = check_layout(directory)
        config = load_config(layout.config)
    except LayoutInvalid as problem:
        return _wrong("node_directory", str(problem))
    except InvalidConfig as problem:
        return _wrong("config_invalid", str(problem))
    holder = find_holder(layout.lease)
    if holder is not None:
        return _of_process(holder, directory, url or address_of(config))
    return next(_of_directory(layout, config))


def address_of(config: NodeConfig) -> str:
    """Return where a node's own machine reaches its API."""
    host = "127.0.0.1" if config.api.host in ("", "0.0.0.0", "::") else config.api.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.api.port}"


def _of_process(pid: int, directory: Path, url: str) -> Diagnosis:
    state = _state_of(pid)
    if state in ("T", "t"):
        return _wrong(
            "process_stopped",
            f"Process {pid} runs on {directory} and was stopped by a signal: let it go on with"
            f" `kill -CONT {pid}`.",
        )
    if not _takes_connections(url):
        return _wrong(
            "api_unreachable",
            f"Process {pid} runs on {directory}, and nobody listens at {url}, where node.toml puts"
            " its API: it is still starting, or node.toml was changed since; then restart it.",
        )
    waits = " and waits for its disk" if state == "D" else ""
    return _wrong(
        "not_answering",
        f"Process {pid} runs on {directory}{waits} and takes connections at {url}, but answers"
        " nothing: its event loop is held by one piece of work, or its machine is overloaded.",
    )


def _of_directory(layout: NodeLayout, config: NodeConfig) -> Iterator[Diagnosis]:
    """Yield every cause why no process runs; the first is the one that has to be mended first."""
    yield from _full_disks(layout, config)
    damage = next(_ledger_damage(layout), None)
    holder = find_holder(layout.lease)
    if holder is not None:  # A node has started meanwhile: what was seen may be half of its work.
        yield _of_process(holder, layout.root, address_of(config))
    if damage is not None:
        yield damage
    words = read_words(layout.root)
    if words is None:
        if not layout.lease.exists():
            yield _wrong("not_running", f"No node was ever started on {layout.root}.")
        yield _wrong(
            "killed",
            f"No process runs on {layout.root}, and the last one ended without a word: it was"
            " killed, or its machine went down. Start it again.",
        )
        return
    ago = span(max(0, time.time_ns() // 1_000_000 - words.at_ms))
    if words.is_clean:
        told = f"No process runs on {layout.root}: the node was told to stop {ago} ago."
        yield _wrong("not_running", told)
    text = " ".join(words.text.split())
    told = f"No process runs on {layout.root}: it ended {ago} ago. {text} [{words.code}]"
    yield _wrong("ended", told)


def _full_disks(layout: NodeLayout, config: NodeConfig) -> Iterator[Diagnosis]:
    for path, reserve_bytes in (
        (layout.journal, 0),
        (layout.ledger, DATABASE_RESERVE_BYTES),
        (layout.sidecars, SIDECARS_RESERVE_BYTES),
        (layout.blobs, config.limits.disk_reserve_bytes),
    ):
        free = free_bytes(path)
        if free <= reserve_bytes:
            yield _wrong(
                "disk_full",
                f"The disk of {path} has {mebibytes(free)} left, and {mebibytes(reserve_bytes)} are"
                " kept free: make room, then start the node.",
            )


def _ledger_damage(layout: NodeLayout) -> Iterator[Diagnosis]:
    try:
        chain_id = chain_id_of(load_genesis(layout.genesis))
    except GenesisError as problem:
        yield _wrong("node_directory", str(problem))
        return
    with _standing_in_for(layout.ledger) as ledger:
        try:
            with open_database(ledger) as database:
                found = findings(check_start(open_chain(database, chain_id), layout.journal))
        except DatabaseMissing:
            return  # The node begins from genesis, and fetches the rest.
        except StorageError as problem:
            text = str(problem).replace(str(ledger), str(layout.ledger))
            yield _wrong("ledger_damaged", f"{text} [{problem.code}]")
            return
    for one in found:
        if one.code == "journal.missing":
            yield _wrong("journal_missing", f"{one.text}. The node will start fenced.")
        elif one.code.startswith("journal."):
            yield _wrong("journal_damaged", f"{one.text} [{one.code}]")
        elif one.code not in ("block.corrupt", "receipts.corrupt"):  # Those a peer's copy mends.
            text = one.text.replace(str(ledger), str(layout.ledger))
            yield _wrong("ledger_damaged", f"{text} [{one.code}]")


@contextmanager
def _standing_in_for(ledger: Path) -> Iterator[Path]:
    """Give a directory in which the ledger can be opened without touching it or keeping a node out.

    LevelDB never changes its tables, so links to them do; what it writes to is copied.
    """
    with tempfile.TemporaryDirectory(prefix="medledger-doctor-") as name:
        copy = Path(name)
        for path in ledger.iterdir():
            if path.suffix in (".ldb", ".sst"):
                (copy / path.name).symlink_to(path.resolve())
            elif path.name != "LOCK":
                shutil.copy2(path, copy / path.name)
        yield copy


def last_lines(directory: Path, count: int) -> tuple[Finding, ...]:
    """Return the last lines of a log that lies in the directory, for whoever reads on."""
    path = directory / "node.log"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(Finding(code="log", sentence=line) for line in text.splitlines()[-count:])


def _takes_connections(url: str) -> bool:
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
            return True
    except OSError:
        return False


def _state_of(pid: int) -> str:
    """Return the letter of a process's state; empty if the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def _wrong(code: str, sentence: str) -> Diagnosis:
    assert code in SILENT, "every code is in the table"
    return Diagnosis(code=code, sentence=sentence, is_well=False)
