"""What storage costs here: `python -m tests.unit.storage.measure_storage [directory]`.

Prints medians and the slowest of several runs; docs/storage.md quotes them.
"""

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crypto.envelopes import Sidecar, make_sidecar
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from ledger.contract import SidecarPlace
from storage.blob_reads import read_blob
from storage.blobs import BlobLimits, open_blobs
from storage.blocks import get_block, prove_state
from storage.chain import create_chain, publish_commit, stage_block, write_commit
from storage.database import create_database
from storage.journal import append, close_journal, create_journal, rotate
from storage.sidecars import close_sidecars, get_sidecar, open_sidecars, put_sidecars
from storage.slices import run_to_end
from storage.uploads import begin_upload, finish_upload, write_upload
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, sample

TRANSACTIONS = 500
WRITES = 3
BLOCKS = 40
STATE_KEYS = 100_000
BLOB_LEAVES = 256


def timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1e3


def told(what: str, runs_ms: list[float], *, per: int = 1, unit: str = "") -> None:
    middle, worst = statistics.median(runs_ms), max(runs_ms)
    each = f"  {middle * 1e3 / per:8.1f} us per {unit}" if unit else ""
    print(f"{what:44s} median {middle:8.2f} ms  max {worst:8.2f} ms{each}")


def measure_blocks(directory: Path) -> None:
    genesis = {b"table/%08d" % number: os.urandom(150) for number in range(STATE_KEYS)}
    database = create_database(directory / "ledger")
    chain = create_chain(database, CHAIN_ID, genesis, time_ms=GENESIS_MS)
    staging, writing, publishing, rows = [], [], [], 0
    number = 0
    for _ in range(BLOCKS):
        writes = {}
        for _ in range(TRANSACTIONS * WRITES):
            number += 7_919
            writes[b"table/%08d" % (number % (STATE_KEYS * 2))] = os.urandom(150)
        places = [
            SidecarPlace(make_sidecar(os.urandom(113)).digest, b"records/x/%032d" % index)
            for index in range(TRANSACTIONS)
        ]
        one = sample(
            chain,
            writes,
            subjects=[(index % 50,) for index in range(TRANSACTIONS)],
            sidecars=places,
        )
        started = time.perf_counter()
        commit = run_to_end(stage_block(chain, one.block, one.result))
        staging.append((time.perf_counter() - started) * 1e3)
        writing.append(timed(partial(write_commit, chain, commit)))
        publishing.append(timed(partial(publish_commit, chain, commit)))
        rows = len(commit.rows)
    print(f"blocks of {TRANSACTIONS} transactions, {WRITES} state writes and 1 sidecar each,"
          f" {STATE_KEYS} entries before: {rows} rows")  # fmt: skip
    told("  stage (rows, receipts, state tree)", staging, per=TRANSACTIONS, unit="transaction")
    told("  write (one synced batch)", writing, per=TRANSACTIONS, unit="transaction")
    told("  publish", publishing)
    told("  read a block back, verified", [
        timed(partial(get_block, chain, h)) for h in range(1, BLOCKS)
    ])  # fmt: skip
    view = chain.world.view
    keys = [b"table/%08d" % (n * 7_919 % STATE_KEYS) for n in range(20_000)]
    told("  20,000 state reads, first time", [timed(lambda: [view.get(key) for key in keys])],
         per=len(keys), unit="read")  # fmt: skip
    told("  20,000 state reads, again", [timed(lambda: [view.get(key) for key in keys])],
         per=len(keys), unit="read")  # fmt: skip
    told("  100 proofs at the tip", [
        timed(lambda: [prove_state(chain, chain.tip.height, key) for key in keys[:100]])
    ], per=100, unit="proof")  # fmt: skip
    database.close()


def measure_journal(directory: Path) -> None:
    directory.mkdir()
    journal = create_journal(directory)
    vote, certificate = os.urandom(250), os.urandom(600)
    told("journal: append one vote of 250 bytes", [
        timed(lambda: append(journal, (vote,))) for _ in range(1_000)
    ])  # fmt: skip
    told("journal: append a vote and a certificate", [
        timed(lambda: append(journal, (certificate, vote))) for _ in range(1_000)
    ])  # fmt: skip
    bodies = os.urandom(400_000)
    told("journal: append 400 kB of bodies", [
        timed(lambda: append(journal, (bodies,))) for _ in range(50)
    ])  # fmt: skip
    told("journal: rotate, one vote carried over", [
        timed(lambda: rotate(journal, (vote,))) for _ in range(200)
    ])  # fmt: skip
    close_journal(journal)


def measure_sidecars(directory: Path) -> None:
    directory.mkdir()
    store = open_sidecars(directory)
    batches = [[make_sidecar(os.urandom(113)) for _ in range(300)] for _ in range(30)]

    def read_all(batch: list[Sidecar]) -> None:
        for one in batch:
            get_sidecar(store, one.digest)

    told("sidecars: put 300 of 145 bytes", [
        timed(partial(put_sidecars, store, [(one.digest, one.content) for one in b]))
        for b in batches
    ], per=300, unit="sidecar")  # fmt: skip
    told("sidecars: read 300, verified", [
        timed(partial(read_all, b)) for b in batches
    ], per=300, unit="sidecar")  # fmt: skip
    close_sidecars(store)
    fan_out = directory / "files"
    fan_out.mkdir()
    for byte in range(256):
        (fan_out / f"{byte:02x}").mkdir()

    def one_file_each(batch: list[bytes], *, is_synced: bool) -> None:
        for content in batch:
            name = os.urandom(32).hex()
            descriptor = os.open(fan_out / name[:2] / name, os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(descriptor, content)
            if is_synced:
                os.fdatasync(descriptor)
            os.close(descriptor)

    contents = [[one.content for one in batch] for batch in batches[:10]]
    told("  for comparison: a file each, each flushed", [
        timed(partial(one_file_each, b, is_synced=True)) for b in contents
    ], per=300, unit="sidecar")  # fmt: skip
    told("  for comparison: a file each, none flushed", [
        timed(partial(one_file_each, b, is_synced=False)) for b in contents
    ], per=300, unit="sidecar")  # fmt: skip


def measure_blobs(directory: Path) -> None:
    directory.mkdir()
    store = open_blobs(directory, limits=BlobLimits(reserve_bytes=0))
    content = os.urandom(LEAF_BYTES) * BLOB_LEAVES
    cid = cid_of_stream(io.BytesIO(content))

    def put() -> None:
        upload = run_to_end(begin_upload(store, cid, len(content)))
        assert upload is not None
        for position in range(BLOB_LEAVES):
            write_upload(
                store, upload, content[position * LEAF_BYTES : (position + 1) * LEAF_BYTES]
            )
        finish_upload(store, upload, now_ms=GENESIS_MS)

    told(f"blobs: upload {BLOB_LEAVES} MiB, durable", [timed(put)], per=BLOB_LEAVES, unit="MiB")
    told(f"blobs: read {BLOB_LEAVES} MiB, verified", [
        timed(lambda: sum(map(len, read_blob(store, cid)))) for _ in range(3)
    ], per=BLOB_LEAVES, unit="MiB")  # fmt: skip


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        directory = Path(name)
        measure_blocks(directory)
        measure_journal(directory / "journal")
        measure_sidecars(directory / "sidecars")
        measure_blobs(directory / "blobs")


if __name__ == "__main__":
    main()
