"""Sampling every node while a load runs: what `/metrics` says, here or on another machine.

All of it comes from the nodes themselves, so a remote network is sampled like a local one. A scrape
costs a node one to two milliseconds. A node that does not answer leaves a gap; counters of one that
was started anew begin again at nothing.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import aiohttp

from api.metrics import DELAY_BOUNDS_S

EVERY_S: Final = 1.0
TIMEOUT_S: Final = 2.0
MIB: Final = 1 << 20
LINE: Final = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One node at one moment (monotonic seconds); counts are since its start.

    `delays[i]` counts how often its loop was late by at most the i-th of `DELAY_BOUNDS_S`, the last
    by more; `held` the same without the time in which the system ran others. `cpu_s` and
    `resident_bytes` are None where the system does not tell.
    """

    at_s: float
    cpu_s: float | None
    resident_bytes: int | None
    disk_bytes: int
    sent_bytes: dict[str, int]
    received_bytes: dict[str, int]
    delays: tuple[int, ...]
    held: tuple[int, ...]
    height: int
    view: int
    view_changes: int
    pool: int


Samples = list[list[Sample]]
"""For each node what was seen of it, in order of time."""


@asynccontextmanager
async def sampling(urls: Sequence[str], *, every_s: float = EVERY_S) -> AsyncIterator[Samples]:
    """Sample all nodes at once at a fixed pace, and once more when the block ends."""
    samples: Samples = [[] for _ in urls]
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        await _sample_all(http, urls, samples)
        running = asyncio.create_task(_keep_sampling(http, urls, samples, every_s))
        try:
            yield samples
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await _sample_all(http, urls, samples)


def parse_sample(text: str, at_s: float) -> Sample:
    """Return what the text of `/metrics` says; raise `ValueError`, `KeyError` for another text."""
    numbers: dict[str, float] = {}
    lanes: dict[str, dict[str, int]] = {"sent": {}, "received": {}, "disk": {}}
    upward: dict[str, list[int]] = {f"loop_{one}_seconds_bucket": [] for one in ("delay", "held")}
    view_changes = 0
    for line in LINE.finditer(text):
        name, value = line["name"].removeprefix("medledger_"), float(line["value"])
        labels = dict(LABEL.findall(line["labels"] or ""))
        match name:
            case "sent_bytes_total" | "received_bytes_total":
                lanes[name.split("_")[0]][labels["lane"]] = int(value)
            case "view_changes_total":
                view_changes += int(value)
            case "disk_bytes":
                lanes["disk"][labels["kind"]] = int(value)
            case "loop_delay_seconds_bucket" | "loop_held_seconds_bucket":
                upward[name].append(int(value))
            case _ if not labels:
                numbers[name] = value
            case _:
                pass  # What a benchmark does not ask for.
    if {len(one) for one in upward.values()} != {len(DELAY_BOUNDS_S) + 1}:
        raise ValueError("these are not the delays of a node of this version")
    delays, held = [
        tuple(now - before for before, now in pairwise((0, *one))) for one in upward.values()
    ]
    resident = numbers.get("process_resident_memory_bytes")
    return Sample(
        at_s=at_s,
        cpu_s=numbers.get("process_cpu_seconds_total"),
        resident_bytes=None if resident is None else int(resident),
        disk_bytes=sum(lanes["disk"].values()),
        sent_bytes=lanes["sent"],
        received_bytes=lanes["received"],
        delays=delays,
        held=held,
        height=int(numbers["height"]),
        view=int(numbers["view"]),
        view_changes=view_changes,
        pool=int(numbers["pool_transactions"]),
    )


def node_rows(
    names: Sequence[str], samples: Samples, first_s: float, last_s: float
) -> list[dict[str, Any]]:
    """Return for each node what it came to between two moments, as results hold it."""
    return [
        _node_row(name, _between(of_node, first_s, last_s))
        for name, of_node in zip(names, samples, strict=True)
    ]


def series_rows(names: Sequence[str], samples: Samples, start_s: float) -> list[dict[str, Any]]:
    """Return every node's state sample by sample; `t_s` counts from `start_s`."""
    rows = []
    for name, of_node in zip(names, samples, strict=True):
        for before, now in pairwise(of_node):
            delays = _grown(before.delays, now.delays)
            spent_s, span_s = _rise(before.cpu_s, now.cpu_s), now.at_s - before.at_s
            rows.append(
                {
                    "t_s": round(now.at_s - start_s, 3),
                    "name": name,
                    "cpu": None if spent_s is None else round(spent_s / span_s, 3),
                    "rss_mb": _mebibytes(now.resident_bytes),
                    "disk_mb": _mebibytes(now.disk_bytes),
                    "lag_p99_ms": delay_ms(delays, 0.99),
                    "lag_max_ms": delay_ms(delays, 1.0),
                    "height": now.height,
                    "view": now.view,
                    "view_changes": _grown((before.view_changes,), (now.view_changes,))[0],
                    "pool": now.pool,
                }
            )
    return sorted(rows, key=lambda row: (row["t_s"], row["name"]))


def delay_ms(delays: Sequence[int], share: float) -> float | None:
    """Return a delay of the loop that this share of all moments did not exceed: a bucket's edge.

    None without any moment; the last edge for whatever is above it.
    """
    wanted, below = share * sum(delays), 0
    if not wanted:
        return None
    for bound_s, count in zip((*DELAY_BOUNDS_S, DELAY_BOUNDS_S[-1]), delays, strict=True):
        below += count
        if below >= wanted:
            return 1_000 * bound_s
    raise AssertionError("a share is at most all of them")


async def _keep_sampling(
    http: aiohttp.ClientSession, urls: Sequence[str], samples: Samples, every_s: float
) -> None:
    due_s = time.monotonic()
    while True:
        due_s = max(due_s + every_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
        await _sample_all(http, urls, samples)


async def _sample_all(http: aiohttp.ClientSession, urls: Sequence[str], samples: Samples) -> None:
    await asyncio.gather(*[_sample(http, url, one) for url, one in zip(urls, samples, strict=True)])


async def _sample(http: aiohttp.ClientSession, url: str, of_node: list[Sample]) -> None:
    try:
        async with http.get(url + "/metrics") as answer:
            text = await answer.text()
        of_node.append(parse_sample(text, time.monotonic()))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
        return  # Dead, stopped or unreachable: a gap says so.


def _between(of_node: Sequence[Sample], first_s: float, last_s: float) -> list[Sample]:
    """Return the samples of an interval with the one before and the one after it."""
    before = [one for one in of_node if one.at_s <= first_s][-1:]
    within = [one for one in of_node if first_s < one.at_s < last_s]
    after = [one for one in of_node if one.at_s >= last_s][:1]
    return [*before, *within, *after]


def _node_row(name: str, found: Sequence[Sample]) -> dict[str, Any]:
    if not found:
        return {"name": name, "samples": 0}
    delays, held = _total(found, lambda one: one.delays), _total(found, lambda one: one.held)
    sent = _by_lane(found, lambda one: one.sent_bytes)
    received = _by_lane(found, lambda one: one.received_bytes)
    residents = [one.resident_bytes for one in found if one.resident_bytes is not None]
    cpu_s = [_rise(before.cpu_s, now.cpu_s) for before, now in pairwise(found)]
    span_s, known_s = found[-1].at_s - found[0].at_s, [one for one in cpu_s if one is not None]
    return {
        "name": name,
        "samples": len(found),
        "seconds": round(span_s, 3),
        "cpu_s": round(sum(known_s), 3) if known_s else None,
        "cpu_share": round(sum(known_s) / span_s, 3) if known_s and span_s else None,
        "rss_mb_max": _mebibytes(max(residents, default=None)),
        "disk_mb": _mebibytes(found[-1].disk_bytes),
        "disk_mb_grown": _mebibytes(found[-1].disk_bytes - found[0].disk_bytes),
        "bytes_sent": sum(sent.values()),
        "bytes_received": sum(received.values()),
        "bytes_sent_by_lane": sent,
        "bytes_received_by_lane": received,
        "lag_p50_ms": delay_ms(delays, 0.5),
        "lag_p99_ms": delay_ms(delays, 0.99),
        "lag_max_ms": delay_ms(delays, 1.0),
        "held_p99_ms": delay_ms(held, 0.99),
        "held_max_ms": delay_ms(held, 1.0),
        "view_changes": sum(_total(found, lambda one: (one.view_changes,))),
        "pool_max": max(one.pool for one in found),
    }


def _total(
    found: Sequence[Sample], counts_of: Callable[[Sample], tuple[int, ...]]
) -> tuple[int, ...]:
    """Return what counters grew by over all samples, through restarts."""
    grown = [_grown(counts_of(before), counts_of(now)) for before, now in pairwise(found)]
    return tuple(map(sum, zip(*grown, strict=True)))


def _by_lane(
    found: Sequence[Sample], counts_of: Callable[[Sample], dict[str, int]]
) -> dict[str, int]:
    lanes = list(counts_of(found[-1]))
    return dict(
        zip(
            lanes,
            _total(found, lambda one: tuple(counts_of(one).get(lane, 0) for lane in lanes)),
            strict=False,
        )
    )


def _grown(before: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
    """Return the increase of counters; after a restart they have begun again at nothing."""
    if sum(now) < sum(before):
        return now
    return tuple(max(0, two - one) for one, two in zip(before, now, strict=True))


def _rise(before: float | None, now: float | None) -> float | None:
    if before is None or now is None:
        return None
    return now if now < before else now - before


def _mebibytes(count: int | None) -> float | None:
    return None if count is None else round(count / MIB, 2)
