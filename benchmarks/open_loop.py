"""An open-loop driver: transactions leave when they are due, whatever became of those before.

Latency is counted from the time a transaction was due to leave until the driver reads it back from
a decided block of the node it was sent to; so a stalled system cannot hide behind a driver that
waits for it (coordinated omission). The outcome of each is read from its receipt afterwards.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from crypto.schema import encode
from ledger.exchange import SubmitBatch, SubmitItem

TICK_S: Final = 0.01
BLOCK_PAGE: Final = 1_024
DRAIN_S: Final = 30.0
RECEIPTS_CHECKED: Final = 200
MSGPACK: Final = {"Content-Type": "application/msgpack"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A signed transaction that waits for its turn."""

    tx_id: bytes
    item: SubmitItem


@dataclass(slots=True, kw_only=True)
class Run:
    """What the driver saw: when each was due and when read back, in seconds since the start."""

    due_s: dict[bytes, float] = field(default_factory=dict)
    seen_s: dict[bytes, float] = field(default_factory=dict)
    sent_to: dict[bytes, int] = field(default_factory=dict)
    not_taken: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    block_transactions: list[int] = field(default_factory=list)


async def drive(urls: Sequence[str], planned: Sequence[Planned], *, rate_per_s: float) -> Run:
    """Send everything at `rate_per_s`, round robin over the nodes, and wait until it is decided."""
    run = Run()
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        heights = [await _tip(http, url) for url in urls]
        started = time.perf_counter()
        watchers = [
            asyncio.create_task(_watch(http, url, node, heights[node], run, started))
            for node, url in enumerate(urls)
        ]
        try:
            await _send_all(http, urls, planned, run, rate_per_s, started)
            await _wait_decided(run, len(planned))
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        await _check_receipts(http, urls, run)
    return run


async def _send_all(
    http: aiohttp.ClientSession,
    urls: Sequence[str],
    planned: Sequence[Planned],
    run: Run,
    rate_per_s: float,
    started: float,
) -> None:
    sending: set[asyncio.Task[None]] = set()
    position, turn = 0, 0
    while position < len(planned):
        due = min(len(planned), int((time.perf_counter() - started) * rate_per_s) + 1)
        batch = planned[position:due]
        for offset, one in enumerate(batch):
            run.due_s[one.tx_id] = (position + offset) / rate_per_s
            run.sent_to[one.tx_id] = turn % len(urls)
        if batch:
            task = asyncio.create_task(_send(http, urls[turn % len(urls)], batch, run))
            sending.add(task)
            task.add_done_callback(sending.discard)
            position, turn = due, turn + 1
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*sending)


async def _send(http: aiohttp.ClientSession, url: str, batch: Sequence[Planned], run: Run) -> None:
    body = encode(SubmitBatch(items=tuple(one.item for one in batch)))
    async with http.post(url + "/v1/transactions", data=body, headers=MSGPACK) as response:
        answers: Any = await response.json(content_type=None)
    if not isinstance(answers, list):
        answers = [answers] * len(batch)
    for one, answer in zip(batch, answers, strict=True):
        if "state" not in answer:
            code = str(answer.get("code", response.status))
            run.not_taken[code] = run.not_taken.get(code, 0) + 1
            run.due_s.pop(one.tx_id)


async def _watch(
    http: aiohttp.ClientSession, url: str, node: int, height: int, run: Run, started: float
) -> None:
    """Read every new block of one node as soon as it is announced."""
    params = {"after": str(height)}
    async with http.get(url + "/v1/events", params=params) as events:
        async for line in events.content:
            if line.startswith(b"id:"):
                await _read_block(http, url, node, int(line[3:]), run, started)


async def _read_block(
    http: aiohttp.ClientSession, url: str, node: int, height: int, run: Run, started: float
) -> None:
    first = 0
    while True:
        params = {"first": str(first), "limit": str(BLOCK_PAGE)}
        async with http.get(f"{url}/v1/blocks/{height}", params=params) as response:
            block: Any = await response.json()
        now_s = time.perf_counter() - started
        found = [bytes.fromhex(one) for one in block["transactions"]]
        for tx_id in found:
            if run.sent_to.get(tx_id) == node:
                run.seen_s.setdefault(tx_id, now_s)
        first += len(found)
        if len(found) < BLOCK_PAGE:
            break
    if node == 0 and first:
        run.block_transactions.append(first)


async def _wait_decided(run: Run, count: int) -> None:
    deadline = time.perf_counter() + DRAIN_S
    while len(run.seen_s) < count - sum(run.not_taken.values()):
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(TICK_S)


async def _check_receipts(http: aiohttp.ClientSession, urls: Sequence[str], run: Run) -> None:
    """Read receipts back from every node in turn: a decided transaction may have been refused."""
    seen = sorted(run.seen_s)
    step = max(1, len(seen) // RECEIPTS_CHECKED)
    for number, tx_id in enumerate(seen[::step]):
        url = urls[number % len(urls)]
        async with http.get(f"{url}/v1/transactions/{tx_id.hex()}") as response:
            status: Any = await response.json()
        if status["state"] != "COMMITTED":
            code = str((status.get("receipt") or {}).get("code", status["state"]))
            run.refused[code] = run.refused.get(code, 0) + 1


async def _tip(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url + "/v1/node") as response:
        answer: Any = await response.json()
    return int(answer["tip"]["height"])
