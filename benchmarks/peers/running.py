"""Running the peers, one after the other, each alone on the machine, each warm before it counts."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import origin
from benchmarks.errors import PeerFailed, PeerMissing
from benchmarks.peers.installing import NODE_MISSING, copy_drivers, find_program, install
from benchmarks.peers.starting import etcd_members, ganache_node, hardhat_node
from benchmarks.schema import SCHEMA

MIXED: Final = "mixed"
"""The six transactions of a patient and a doctor, as they come."""

WARM_SHARE: Final = 4
"""Before the first repetition so many-th a part of one is driven, and not counted."""

DRIVE_S: Final = 600
ETCD_MISSING: Final = "etcd is needed; on Debian: apt install etcd-server, or name it by --etcd"
SINGLE: Final = "single process, no consensus, in memory: not like for like"
CRASH_ONLY: Final = "three members, fsync; crash faults only, no signatures: not like for like"
FIGURES: Final = ("clients", "seconds", "tps", "p50_ms", "p95_ms", "p99_ms", "max_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A system, what drives it, and how much: patients of a repetition, clients at once."""

    name: str
    note: str
    driver: str
    clients: int
    patients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the packages are, and etcd's program if the user has named it."""

    packages: Path
    etcd: Path | None = None


HARDHAT: Final = Peer(name="Hardhat", note=SINGLE, driver="drive.js", clients=16, patients=200)
GANACHE: Final = Peer(name="Ganache", note=SINGLE, driver="drive.js", clients=16, patients=40)
ETCD: Final = Peer(
    name="etcd", note=CRASH_ONLY, driver="drive_etcd.js", clients=256, patients=6_000
)
PEERS: Final = (HARDHAT, GANACHE, ETCD)


def begin_peers() -> dict[str, Any]:
    """Return results of peers without runs."""
    return {
        "schema": SCHEMA,
        "machine": origin.machine(),
        "versions": origin.versions(),
        "runs": [],
        "missing": [],
    }


def our_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the saturated runs of our own suite in the form of a peer's."""
    network = results["network"]
    name = f"medledger, {network['validators']} nodes"
    return [
        {
            "system": name,
            "kind": MIXED,
            "repetition": row["repetition"],
            "clients": results["workload"]["window"],
            **{key: row.get(key) for key in FIGURES if key != "clients"},
            "committed": row["committed"],
            "failed": sum(row["refused"].values()) + sum(row["not_taken"].values()) + row["lost"],
            "note": "consensus in spite of one that lies, fsync on each, signatures; clients: open",
        }
        for row in results["runs"]
        if row["offered_tps"] is None
    ]


def peer_row(peer: Peer, repetition: int, told: str) -> dict[str, Any]:
    """Return the row of what a driver has printed; raise `PeerFailed` if that is no figure."""
    try:
        found = json.loads(told)
        figures = {key: round(float(found[key]), 3) for key in FIGURES}
        committed = sum(int(count) for count in found["committed"].values())
        failed = int(found["refused"])
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise PeerFailed(
            f"the driver of {peer.name} printed no figures: {told[:200]!r}"
        ) from problem
    return {
        "system": peer.name,
        "kind": MIXED,
        "repetition": repetition,
        **figures,
        "clients": peer.clients,
        "committed": committed,
        "failed": failed,
        "note": peer.note,
    }


def run_peers(
    results: dict[str, Any],
    places: Places,
    repetitions: int,
    tell: Callable[[str], None],
    peers: Sequence[Peer] = PEERS,
) -> None:
    """Measure every peer that can be run, into `results`; the others are named there with why."""
    for peer in peers:
        tell(f"{peer.name}: {peer.note}")
        try:
            rows = _measure(peer, places, repetitions, tell)
        except (PeerMissing, PeerFailed) as problem:
            results["missing"].append({"system": peer.name, "why": str(problem)})
            tell(f"  not measured: {problem}")
        else:
            results["runs"] += rows


def _measure(
    peer: Peer, places: Places, repetitions: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    start = _starting(peer, places)
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="medledger-peer-") as scratch,
        start(Path(scratch)) as address,
    ):
        _drive(peer, places.packages, address, max(peer.patients // WARM_SHARE, 1))
        for repetition in range(repetitions):
            told = _drive(peer, places.packages, address, peer.patients)
            rows.append(peer_row(peer, repetition, told))
            tell(f"  {rows[-1]['tps']:.0f} a second ({repetition + 1} of {repetitions})")
    return rows


def _starting(peer: Peer, places: Places) -> Callable[[Path], AbstractContextManager[str]]:
    """Return what starts a peer, once all that it needs is there; raise `PeerMissing`."""
    if peer.name == ETCD.name:
        program = places.etcd or find_program("etcd", ETCD_MISSING)
        find_program("node", NODE_MISSING)
        copy_drivers(places.packages)
        return partial(etcd_members, program.absolute())
    install(places.packages)
    node = hardhat_node if peer.name == HARDHAT.name else ganache_node
    return partial(node, places.packages)


def _drive(peer: Peer, directory: Path, address: str, patients: int) -> str:
    """Offer so many patients' transactions; return what the driver prints; raise `PeerFailed`."""
    node = find_program("node", NODE_MISSING)
    words = [str(node), peer.driver, address, str(peer.clients), str(patients)]
    try:
        ended = subprocess.run(
            words, cwd=directory, capture_output=True, text=True, timeout=DRIVE_S, check=False
        )
    except subprocess.TimeoutExpired as problem:
        raise PeerFailed(f"the driver of {peer.name} did not end in {DRIVE_S} s") from problem
    if ended.returncode != 0:
        last = (ended.stderr.strip() or "no message").splitlines()[-1]
        raise PeerFailed(f"the driver of {peer.name} failed: {last}")
    return ended.stdout
