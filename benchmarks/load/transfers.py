"""Blobs in and out: sealed bytes put into a node until f + 1 promise to keep them, and got again.

Each blob is a record of its own: its put and its read entry are committed through the ledger, for
without them no node gives out the bytes; only moving the bytes is timed.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.load.people import Person
from benchmarks.load.records import Agent, keys_of, put_payload, read_payload, seal_record
from client.http import open_node
from client.session import find_node_index, open_session
from client.transactions import submit
from client.transfers import download_blob, upload_blob
from client.trust import Trust

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What moving one blob took; `sealed_bytes` are those that moved."""

    content_bytes: int
    sealed_bytes: int
    put_s: float
    get_s: float

    @property
    def put_mib_s(self) -> float:
        return self.sealed_bytes / MIB / self.put_s

    @property
    def get_mib_s(self) -> float:
        return self.sealed_bytes / MIB / self.get_s


async def transfer(
    url: str,
    trust: Trust,
    seed: int,
    pair: tuple[Person, Person],
    agents: Sequence[Agent],
    size: int,
) -> Transfer:
    """Seal `size` random bytes, put them into the node at `url`, and get them back from it.

    `agents` are the key agents by number of hospital. Raises what the client raises.
    """
    author = pair[1]
    keys = keys_of(seed, author)
    with tempfile.TemporaryDirectory(prefix="medledger-blobs-") as folder:
        sealed_file, received = Path(folder) / "sealed", Path(folder) / "received"
        record = seal_record(trust.chain_id, pair, size, sealed_file)
        sealed = record.sealed
        async with open_node(url) as node:
            index = await find_node_index(node, trust)
            await open_session(node, trust, keys, node_index=index)
            started_s = time.perf_counter()
            stored = await upload_blob(node, trust, sealed_file, sealed.cid, sealed.size_bytes)
            put_s = time.perf_counter() - started_s
            record = replace(record, receipts=stored.receipts)
            agent = agents[author.number % len(agents)]
            payload, sidecars = put_payload(record, trust.chain_id, seed, agent)
            await submit(node, trust, keys, "records.put", payload, sidecars=sidecars)
            read = read_payload(record, index)
            entered = await submit(node, trust, keys, "records.read", read)
            started_s = time.perf_counter()
            with received.open("wb") as sink:
                await download_blob(node, sealed.cid, sealed.size_bytes, sink, read=entered.tx_id)
            get_s = time.perf_counter() - started_s
        assert sealed_file.stat().st_size == received.stat().st_size, "the client checked it"
    return Transfer(
        content_bytes=size,
        sealed_bytes=sealed.size_bytes,
        put_s=put_s,
        get_s=get_s,
    )
