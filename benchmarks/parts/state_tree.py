"""What the state tree costs on LevelDB with a bounded node cache: time, proofs, rows, disk, memory.

Run `python -m benchmarks.parts.state_tree --keys 10000 --keys 1000000`. Every size runs in a
process of its own, so that its memory is its own. A round is what a block does: one batch of
changes, nine tenths to keys that exist and one tenth new keys, then one synced LevelDB batch with
the new nodes, the stale list of the version and the deletion of what the oldest kept version made
stale. Updates and proofs are given in processor time of their thread, writes in time on the wall;
memory is what the process holds itself, without the database files that LevelDB maps.
"""

import dataclasses
import json
import multiprocessing
import platform
import random
import statistics
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import click

from crypto.hashing import Digest
from crypto.schema import encode
from ledger.tree.cache import NodeCache
from ledger.tree.proofs import check_many, check_proof, prove, prove_many
from ledger.tree.update import update
from storage.database import Database, create_database
from storage.keys import NODES, node_key, stale_key

LOAD_BATCH = 4_000
PROOFS = 1_000
TOGETHER = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One run: how many keys, how they are changed, what is kept."""

    keys: int
    batch: int
    rounds: int
    cache_nodes: int
    value_bytes: int
    versions_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofMeasurement:
    """What proofs of single keys and of groups of keys took, in bytes and microseconds."""

    proof_bytes: tuple[int, int, int]
    prove_us: float
    check_us: float
    together_bytes_per_key: float
    together_check_us_per_key: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run took; times in microseconds per key or proof, as (min, median, max).

    `hash_us` is one SHA-256 of an inner node's 88 bytes, the median of samples taken between the
    rounds: other times are to be read beside it, since it suffers as they do from a busy machine.
    """

    keys: int
    hash_us: float
    load_us: float
    update_us: tuple[float, float, float]
    write_us: tuple[float, float, float]
    nodes_per_key: float
    bytes_per_key: float
    cache_hits_percent: float
    proofs: ProofMeasurement
    rows: int
    memory_bytes: int
    disk_bytes: int
    compacted_bytes: int


class TreeOnDisk:
    """A state tree in a LevelDB directory, changed block by block and pruned."""

    def __init__(self, database: Database, setting: Setting) -> None:
        self._database = database
        self._kept: deque[tuple[bytes, ...]] = deque()
        self._setting = setting
        self.nodes = NodeCache(self, nodes_max=setting.cache_nodes)
        self.version: int | None = None
        self.root = Digest(bytes(32))
        self.new_nodes: tuple[tuple[bytes, bytes], ...] = ()

    def get_node(self, key: bytes) -> bytes | None:
        return self._database.get(node_key(key))

    def change(self, changes: dict[bytes, bytes | None]) -> tuple[float, float]:
        """Apply one block; return the processor seconds of the update, the seconds of the write."""
        version = 1 if self.version is None else self.version + 1
        start = time.thread_time()
        done = update(self.nodes, self.version, changes, version)
        update_seconds = time.thread_time() - start
        start = time.perf_counter()
        rows: list[tuple[bytes, bytes | None]] = [
            (node_key(key), encoded) for key, encoded in done.new_nodes
        ]
        page = b"".join(bytes((len(key),)) + key for key in done.stale_nodes)
        rows.append((stale_key(version, 0), page))
        self._kept.append(done.stale_nodes)
        if len(self._kept) > self._setting.versions_kept:
            rows += [(node_key(key), None) for key in self._kept.popleft()]
            rows.append((stale_key(version - self._setting.versions_kept, 0), None))
        self._database.write(rows, sync=True)
        self.nodes.admit(done)
        write_seconds = time.perf_counter() - start
        self.version, self.root, self.new_nodes = version, done.root, done.new_nodes
        return update_seconds, write_seconds


def measure(setting: Setting) -> Measurement:
    """Load a tree of the wanted size into a fresh directory and measure blocks and proofs."""
    source = random.Random(setting.keys)
    with (
        tempfile.TemporaryDirectory() as folder,
        create_database(Path(folder) / "tree") as database,
    ):
        return _measure(TreeOnDisk(database, setting), database, setting, source)


def _measure(
    tree: TreeOnDisk, database: Database, setting: Setting, source: random.Random
) -> Measurement:
    load_seconds = 0.0
    for first in range(0, setting.keys, LOAD_BATCH):
        numbers = range(first, min(first + LOAD_BATCH, setting.keys))
        load_seconds += sum(tree.change(_changes(numbers, setting, source)))
    tree.nodes.hits = tree.nodes.misses = 0
    times, hashes, nodes, written = [], [], 0, 0
    count = setting.keys
    for _ in range(setting.rounds):
        new = setting.batch // 10
        changed = [*source.sample(range(count), setting.batch - new), *range(count, count + new)]
        count += new
        times.append(tree.change(_changes(changed, setting, source)))
        hashes.append(_hash_us())
        nodes += len(tree.new_nodes)
        written += sum(len(key) + len(encoded) for key, encoded in tree.new_nodes)
    asked = tree.nodes.hits + tree.nodes.misses
    hits = 100 * tree.nodes.hits / asked
    total = setting.rounds * setting.batch
    return Measurement(
        keys=setting.keys,
        hash_us=statistics.median(hashes),
        load_us=1e6 * load_seconds / setting.keys,
        update_us=_spread([seconds for seconds, _ in times], setting.batch),
        write_us=_spread([seconds for _, seconds in times], setting.batch),
        nodes_per_key=nodes / total,
        bytes_per_key=written / total,
        cache_hits_percent=hits,
        proofs=_measure_proofs(tree, count, source),
        rows=sum(1 for _ in database.scan(NODES)),
        memory_bytes=_memory_bytes(),
        disk_bytes=database.size_bytes(),
        compacted_bytes=_compacted_bytes(database),
    )


def _hash_us() -> float:
    preimage = bytes(88)
    start = time.thread_time()
    for _ in range(500):
        sha256(preimage).digest()
    return 1e6 * (time.thread_time() - start) / 500


def _memory_bytes() -> int:
    """Return the memory of the process that is no mapped file (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("RssAnon:"))
    return 1024 * int(line.split()[1])


def _compacted_bytes(database: Database) -> int:
    database.compact_range(b"", b"\xff" * 16)
    return database.size_bytes()


def _changes(
    numbers: range | list[int], setting: Setting, source: random.Random
) -> dict[bytes, bytes | None]:
    return {_key(number): source.randbytes(setting.value_bytes) for number in numbers}


def _key(number: int) -> bytes:
    """A state key as contracts have them: a table's name and a 32-byte identifier."""
    return b"records/record/" + number.to_bytes(32, "big")


def _spread(seconds: list[float], keys: int) -> tuple[float, float, float]:
    each = [1e6 * one / keys for one in seconds]
    return min(each), statistics.median(each), max(each)


def _measure_proofs(tree: TreeOnDisk, count: int, source: random.Random) -> ProofMeasurement:
    assert tree.version is not None
    version, root = tree.version, tree.root
    present = [_key(source.randrange(count)) for _ in range(PROOFS)]
    start = time.thread_time()
    proofs = [prove(tree.nodes, version, key) for key in present]
    proven = time.thread_time()
    for key, proof in zip(present, proofs, strict=True):
        assert check_proof(root, key, proof) is not None
    checked = time.thread_time()
    sizes = [len(encode(proof)) - len(proof.value or b"") for proof in proofs]
    groups = [present[first : first + TOGETHER] for first in range(0, PROOFS, TOGETHER)]
    together = [prove_many(tree.nodes, version, group) for group in groups]
    values = sum(len(one.value or b"") for many in together for one in many.proofs)
    begun = time.thread_time()
    for group, many in zip(groups, together, strict=True):
        check_many(root, group, many)
    ended = time.thread_time()
    return ProofMeasurement(
        proof_bytes=(min(sizes), int(statistics.median(sizes)), max(sizes)),
        prove_us=1e6 * (proven - start) / PROOFS,
        check_us=1e6 * (checked - proven) / PROOFS,
        together_bytes_per_key=(sum(len(encode(many)) for many in together) - values) / PROOFS,
        together_check_us_per_key=1e6 * (ended - begun) / PROOFS,
    )


def make_table(measurements: list[Measurement]) -> str:
    """Return the measurements as a Markdown table, one column per size."""
    rows: list[tuple[str, list[str]]] = [
        ("one SHA-256 of 88 bytes, us", [f"{one.hash_us:.2f}" for one in measurements]),
        ("update, us per key", [_three(one.update_us) for one in measurements]),
        ("write and sync, us per key", [_three(one.write_us) for one in measurements]),
        ("loading, us per key", [f"{one.load_us:.1f}" for one in measurements]),
        ("nodes written per key", [f"{one.nodes_per_key:.2f}" for one in measurements]),
        ("bytes written per key", [f"{one.bytes_per_key:,.0f}" for one in measurements]),
        ("cache hits", [f"{one.cache_hits_percent:.1f} %" for one in measurements]),
        (
            "proof bytes without the value",
            [" / ".join(map(str, one.proofs.proof_bytes)) for one in measurements],
        ),
        (
            "prove / check, us",
            [f"{one.proofs.prove_us:.0f} / {one.proofs.check_us:.0f}" for one in measurements],
        ),
        (
            f"the same, {TOGETHER} keys together: bytes per key",
            [f"{one.proofs.together_bytes_per_key:.0f}" for one in measurements],
        ),
        (
            f"check {TOGETHER} keys together, us per key",
            [f"{one.proofs.together_check_us_per_key:.0f}" for one in measurements],
        ),
        ("stored nodes", [f"{one.rows:,}" for one in measurements]),
        ("memory, MiB", [f"{one.memory_bytes / 2**20:,.0f}" for one in measurements]),
        (
            "disk as left / after compaction, MiB",
            [
                f"{one.disk_bytes / 2**20:,.0f} / {one.compacted_bytes / 2**20:,.0f}"
                for one in measurements
            ],
        ),
    ]
    head = "| | " + " | ".join(f"{one.keys:,} keys" for one in measurements) + " |"
    rule = "|---|" + "---|" * len(measurements)
    return "\n".join([head, rule, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


def _three(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


@click.command(help=__doc__)
@click.option("--keys", multiple=True, type=click.IntRange(1), default=(10_000, 100_000, 1_000_000))
@click.option("--batch", type=click.IntRange(10), default=1_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=60, show_default=True)
@click.option("--cache-nodes", type=click.IntRange(0), default=65_536, show_default=True)
@click.option("--value-bytes", type=click.IntRange(0), default=120, show_default=True)
@click.option("--versions-kept", type=click.IntRange(1), default=20, show_default=True)
@click.option("--json-file", type=click.Path(path_type=Path))
def main(keys: tuple[int, ...], json_file: Path | None, **fields: int) -> None:
    """Measure each size in a fresh process and print one table."""
    measurements = []
    for count in keys:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            measurements.append(process.submit(measure, Setting(keys=count, **fields)).result())
    click.echo(f"Python {platform.python_version()}, {platform.machine()}, {fields}\n")
    click.echo(make_table(measurements))
    if json_file is not None:
        json_file.write_text(json.dumps([dataclasses.asdict(one) for one in measurements]))


if __name__ == "__main__":
    main()
