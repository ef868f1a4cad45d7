"""What a snapshot and a pruning cost: both done for real, with a copy of a stopped node's ledger.

The snapshot is served and taken in one process, by the code that peers run, without what the way
between them costs: chunks are made, encoded, decoded, checked against the root, put into an empty
database. Processor seconds are those of this process, LevelDB's own threads included.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import LedgerTooShort
from crypto.hashing import Digest
from crypto.schema import decode, encode
from genesis.document import chain_id_of
from genesis.files import load_genesis
from ledger.tree.cache import NodeCache
from ledger.tree.chunks import StateChunk, check_chunk, make_chunk
from ledger.tree.inner import node_hash
from shell.snapshots import CHUNK_BYTES_MAX, LEAVES_MAX, NODES_MAX, SNAPSHOT_HEIGHT_MIN
from storage.arrivals import (
    RANGE_DONE,
    RANGES,
    Arriving,
    close_arrival,
    first_ranges,
    open_arrival,
    put_chunk,
)
from storage.blocks import get_header
from storage.chain import Chain, open_chain
from storage.database import open_database
from storage.layout import NodeLayout
from storage.lease import release_lease, take_lease
from storage.pruning import Keep, plan_prune, prune, prune_horizon
from storage.slices import run_to_end
from storage.world import StoredNodes, WorldLimits

DECIMALS: Final = 4


@dataclass(slots=True)
class Watch:
    """Processor and wall seconds, added up by step."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Add what the block takes to a step."""
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        yield
        self.cpu_s[step] = self.cpu_s.get(step, 0.0) + time.process_time() - cpu_s
        self.wall_s[step] = self.wall_s.get(step, 0.0) + time.perf_counter() - wall_s

    def told(self, *steps: str) -> dict[str, float]:
        """Return both of each step, as a row holds them."""
        kinds = (("cpu_s", self.cpu_s), ("wall_s", self.wall_s))
        return {
            f"{step}_{unit}": round(seconds.get(step, 0.0), DECIMALS)
            for step in steps
            for unit, seconds in kinds
        }


def measure_upkeep(
    directory: Path, scratch: Path, limits: WorldLimits, keep: Keep, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for a snapshot and one for a pruning of the ledger of a stopped node.

    Both work with a copy in `scratch`, an empty directory. Raises `LeaseTaken` for a node that
    runs, `LedgerTooShort` for a chain of which nothing can be served yet, and what storage raises.
    """
    source, copy = NodeLayout(directory), NodeLayout(scratch)
    chain_id = chain_id_of(load_genesis(source.genesis))
    lease = take_lease(source.lease)
    try:
        shutil.copytree(source.ledger, copy.ledger)
    finally:
        release_lease(lease)
    with open_database(copy.ledger) as database:
        chain = open_chain(database, chain_id, limits=limits)
        tell(f"a snapshot of block {chain.tip.height - 1:,}")
        snapshot = measure_snapshot(chain, copy)
        tell("pruning")
        return [snapshot, measure_pruning(chain, keep)]


def measure_snapshot(chain: Chain, layout: NodeLayout) -> dict[str, Any]:
    """Serve the state below the tip and take it into an empty database beside the ledger."""
    height, watch = int(chain.tip.height) - 1, Watch()
    above = get_header(chain, height + 1)
    if height < SNAPSHOT_HEIGHT_MIN or above is None:
        raise LedgerTooShort(
            f"a snapshot needs {SNAPSHOT_HEIGHT_MIN + 1} blocks: let the chain grow"
        )
    wanted = Arriving(
        height=height, head=chain.tip.digest, state_root=above.state_root, nexts=first_ranges()
    )
    served = NodeCache(StoredNodes(chain.database), nodes_max=NODES_MAX)
    chunks = bytes_count = 0
    arrival = open_arrival(layout, wanted)
    try:
        for number in range(RANGES):
            while (start := arrival.arriving.nexts[number]) != RANGE_DONE:
                with watch.timing("serve"):
                    encoded = _serve(served, height, Digest(start))
                with watch.timing("take"):
                    chunk = decode(StateChunk, encoded)
                    following = check_chunk(wanted.state_root, Digest(start), chunk)
                    put_chunk(arrival, number, chunk, following)
                chunks, bytes_count = chunks + 1, bytes_count + len(encoded)
        with watch.timing("take"):
            arrival.database.write((), sync=True)
        assert node_hash(arrival.nodes.get_root(height)) == wanted.state_root, "every chunk fits"
    finally:
        close_arrival(arrival)
    return {
        "what": "snapshot",
        "height": height,
        "leaves_taken": arrival.leaves,
        "chunks": chunks,
        "sent_bytes": bytes_count,
        "disk_bytes": bytes_in(layout.arriving),
        **watch.told("serve", "take"),
    }


def measure_pruning(chain: Chain, keep: Keep) -> dict[str, Any]:
    """Prune as far as `keep` allows, and give the room back; the chain is open again afterwards."""
    database, watch = chain.database, Watch()
    before_bytes, horizon = bytes_in(database.path), prune_horizon(chain, keep)
    with watch.timing("plan"):
        run_to_end(plan_prune(chain, horizon))
    with watch.timing("prune"):
        pruned = run_to_end(prune(chain, horizon))
        database.reopen()  # Views of the state before would keep what they show.
    with watch.timing("compact"):
        database.compact_range()
        database.reopen()
    return {
        "what": "prune",
        "height": int(chain.tip.height),
        "whole_from": int(horizon),
        "blocks": pruned.blocks,
        "transactions": pruned.transactions,
        "tree_nodes": pruned.tree_nodes,
        "rows_bytes": pruned.bytes_count,
        "before_bytes": before_bytes,
        "after_bytes": bytes_in(database.path),
        **watch.told("plan", "prune", "compact"),
    }


def bytes_in(directory: Path) -> int:
    """Return the sum of the sizes of all files in a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _serve(nodes: NodeCache, height: int, start: Digest) -> bytes:
    chunk = make_chunk(nodes, height, start, leaves_max=LEAVES_MAX, bytes_max=CHUNK_BYTES_MAX)
    return encode(chunk)
