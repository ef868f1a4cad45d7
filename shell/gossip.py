"""Passing transactions on: each once to every peer, many in one frame, soon but not one by one.

What a peer misses (its link was down, its queue full) it finds again by asking for it when a
proposal names it, and a transaction that nobody decides for a while is sent once more.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from api.ports import NotTaken, Submitted
from crypto.errors import DecodeError
from crypto.schema import decode, encode
from ledger.errors import NotSigned
from ledger.exchange import SUBMIT_ITEMS_MAX, SubmitBatch, SubmitItem
from ledger.pool import Entry, Pool
from p2p.errors import P2pError, RequestRefused
from p2p.frames import SHARED_BYTES_MAX
from p2p.network import Network
from shell.allowance import Allowance, spend, take_frame
from shell.clock import Clock
from shell.kinds import Kind
from shell.resting import rest_if_spent

log = logging.getLogger("medledger.gossip")

FLUSH_MS = 4
"""How long transactions gather before they leave: below what anybody notices, above one frame."""

ITEM_OVERHEAD_BYTES = 16
BATCH_BYTES_MAX = SHARED_BYTES_MAX - 64
REPEAT_MS = 1_000
REPEAT_ENTRIES_MAX = 1_024
LEFT_OVER_MAX = 64
"""How often it is looked what has waited for too long; how many of the oldest are sent again, and
how few are told whatever their age once blocks have stopped."""

BATCH_COST_BYTES = 8 << 10
"""What a batch in hand costs beside its bytes: many tiny ones must pause their sender, too."""

ITEM_US = 50
"""What decoding and looking up one transaction costs this node's loop, about."""

LARGE_BYTES_MAX = 5 << 20

TakeItems = Callable[
    [Sequence[tuple[bytes, tuple[bytes, ...]]]], Awaitable[Sequence[Submitted | NotTaken]]
]


@dataclass(slots=True, kw_only=True)
class Gossip:
    """Transactions on their way out, and batches of peers on their way in.

    What was gathered left last at `flushed_s` (time of the loop).
    """

    network: Network
    take: TakeItems
    outgoing: list[Entry] = field(default_factory=list)
    flush: asyncio.TimerHandle | None = None
    flushed_s: float = 0.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    malformed: dict[int, int] = field(default_factory=dict)
    allowances: dict[int, Allowance] = field(default_factory=dict)
    uploading: set[int] = field(default_factory=set)


def announce(gossip: Gossip, entries: Iterable[Entry]) -> None:
    """Send the entries to every peer: at once, or within a few milliseconds after the last ones."""
    gossip.outgoing.extend(entries)
    if gossip.flush is None:
        loop = asyncio.get_running_loop()
        due_s = max(loop.time(), gossip.flushed_s + FLUSH_MS / 1000)
        gossip.flush = loop.call_at(due_s, _flush, gossip)


async def repeat(gossip: Gossip, pool: Pool, clock: Clock) -> None:
    """Send once more what nobody has decided: the primary may never have heard of it."""
    while True:
        await asyncio.sleep(REPEAT_MS / 1000)
        announce(gossip, find_due(pool, clock.now_ms()))


def find_due(pool: Pool, now_ms: int, *, limit: int = REPEAT_ENTRIES_MAX) -> list[Entry]:
    """Return what is sent once more now, looked at once a second.

    While blocks come, whatever they have not passed over is only waiting for its turn, and sending
    it again would make everybody's longer. A few that are left when blocks have just taken what
    they could are sent at once, whatever their age: the others may never have heard of them. What
    came before its window is sent again as that begins: until then others take little of it.
    """
    before_ms = now_ms - REPEAT_MS
    is_moving = pool.decided_ms > before_ms
    passed_ms = min(before_ms, pool.reached_ms - REPEAT_MS) if is_moving else before_ms
    waiting = [one for one in pool.entries() if one.added_ms < passed_ms]
    has_stopped = before_ms - REPEAT_MS < pool.decided_ms <= before_ms
    is_left_over = has_stopped and len(waiting) <= LEFT_OVER_MAX
    chosen = (one for one in waiting if is_left_over or is_due(now_ms - one.added_ms))
    due = {one.transaction.tx_id: one for one in islice(chosen, limit)}
    for one in pool.early():
        if before_ms < one.transaction.body.valid_from_ms <= now_ms:
            due[one.transaction.tx_id] = one
    return list(due.values())


def is_due(age_ms: int) -> bool:
    """Whether a transaction of this age is sent once more: after 1, 2, 4, 8... seconds."""
    age_s = age_ms // 1000
    return age_s > 0 and age_s & (age_s - 1) == 0


def on_batch(gossip: Gossip, peer_id: int, body: bytes) -> None:
    """Take in a peer's batch within its allowance; one that does not decode counts against it."""
    allowance = gossip.allowances.setdefault(peer_id, Allowance(at_s=time.monotonic()))
    if not take_frame(allowance, time.monotonic()):
        return
    batch = _decode_batch(gossip, peer_id, body)
    spend(allowance, ITEM_US * len(batch.items) if batch else 0, is_invalid=batch is None)
    rest_if_spent(gossip.network, peer_id, allowance)
    if batch is None:
        return
    cost_bytes = len(body) + BATCH_COST_BYTES
    gossip.network.hold(peer_id, cost_bytes)
    _spawn(gossip, _take(gossip, peer_id, batch, cost_bytes))


async def on_large_batch(
    gossip: Gossip, peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]
) -> bytes:
    """Take in a batch that came as an upload, one at a time from each peer."""
    if peer_id in gossip.uploading:
        raise RequestRefused("busy")
    gossip.uploading.add(peer_id)
    try:
        received = await _received(chunks)
    finally:
        gossip.uploading.discard(peer_id)
    try:
        batch = decode(SubmitBatch, bytes(received))
    except DecodeError as problem:
        gossip.malformed[peer_id] = gossip.malformed.get(peer_id, 0) + 1
        raise RequestRefused("malformed") from problem
    if len(batch.items) > 1:  # What fits beside others travels in a frame, and is counted there.
        raise RequestRefused("malformed")
    await _take_items(gossip, peer_id, batch)
    return b""


def make_batches(entries: Iterable[Entry]) -> list[bytes]:
    """Return the encoded batches that carry the entries, each as full as one frame allows."""
    batches: list[bytes] = []
    items: list[SubmitItem] = []
    size = 0
    for entry in entries:
        weight = entry.size_bytes + ITEM_OVERHEAD_BYTES * (1 + len(entry.sidecars))
        if items and (size + weight > BATCH_BYTES_MAX or len(items) == SUBMIT_ITEMS_MAX):
            batches.append(encode(SubmitBatch(items=tuple(items))))
            items, size = [], 0
        items.append(SubmitItem(signed=entry.transaction.signed, sidecars=entry.sidecars))
        size += weight
    if items:
        batches.append(encode(SubmitBatch(items=tuple(items))))
    return batches


async def close(gossip: Gossip) -> None:
    if gossip.flush is not None:
        gossip.flush.cancel()
    for task in tuple(gossip.tasks):
        task.cancel()
    await asyncio.gather(*gossip.tasks, return_exceptions=True)


def _flush(gossip: Gossip) -> None:
    gossip.flush, gossip.flushed_s = None, asyncio.get_running_loop().time()
    entries, gossip.outgoing = gossip.outgoing, []
    if log.isEnabledFor(logging.DEBUG):
        peers = list(gossip.network.connected())
        for entry in entries:
            log.debug("gossiped", extra={"tx": entry.transaction.tx_id.hex(), "peers": peers})
    for batch in make_batches(entries):
        if len(batch) <= SHARED_BYTES_MAX:
            gossip.network.broadcast(Kind.TRANSACTIONS, batch)
        else:
            for peer_id in gossip.network.connected():
                _spawn(gossip, _push(gossip, peer_id, batch))


def _decode_batch(gossip: Gossip, peer_id: int, body: bytes) -> SubmitBatch | None:
    try:
        return decode(SubmitBatch, body)
    except DecodeError as problem:
        gossip.malformed[peer_id] = gossip.malformed.get(peer_id, 0) + 1
        log.warning("malformed batch", extra={"peer": peer_id, "reason": str(problem)})
        return None


async def _received(chunks: AsyncIterator[bytes]) -> bytearray:
    received = bytearray()
    async for chunk in chunks:
        if len(received) + len(chunk) > LARGE_BYTES_MAX:
            raise RequestRefused("too_large")
        received += chunk
    return received


async def _push(gossip: Gossip, peer_id: int, batch: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield batch

    try:
        await gossip.network.stream_push(peer_id, Kind.TRANSACTIONS_LARGE, b"", chunks())
    except P2pError as problem:  # The peer asks for it when a proposal names it.
        log.debug("large batch not delivered", extra={"peer": peer_id, "reason": str(problem)})


async def _take(gossip: Gossip, peer_id: int, batch: SubmitBatch, size_bytes: int) -> None:
    try:
        await _take_items(gossip, peer_id, batch)
    finally:
        gossip.network.release(peer_id, size_bytes)


async def _take_items(gossip: Gossip, peer_id: int, batch: SubmitBatch) -> None:
    """Hand a batch in; a peer that passes on what nobody signed has not checked it."""
    answers = await gossip.take([(item.signed, item.sidecars) for item in batch.items])
    is_unsigned = [isinstance(one, NotTaken) and one.code == NotSigned.code for one in answers]
    if any(is_unsigned):
        allowance = gossip.allowances.setdefault(peer_id, Allowance(at_s=time.monotonic()))
        for _ in range(sum(is_unsigned)):
            spend(allowance, 0, is_invalid=True)
        rest_if_spent(gossip.network, peer_id, allowance)


def _spawn(gossip: Gossip, work: "asyncio._CoroutineLike[None]") -> None:
    task = asyncio.get_running_loop().create_task(work)
    gossip.tasks.add(task)
    task.add_done_callback(gossip.tasks.discard)
