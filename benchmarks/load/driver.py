"""One driver: a process that signs its part ahead and sends it when it is due.

It is told what to do by lines of JSON on its input and answers with lines on its output; only
`credit` and `stop` may come while it sends. Clocks are CLOCK_MONOTONIC, which all processes of a
machine share.

    {"do": "people"}                                     sign who has to be registered
    {"do": "givers", "count"}                            sign so many patients more, who give rights
    {"do": "plan", "shares", "count", "rate", "record_bytes"}   sign so many
    {"do": "send", "rate", "start_s", "seconds", "batch_ms", "rows"}   each when it is due
    {"do": "push", "window", "seconds", "batch", "rows"} as fast as at most `window` are open
    {"do": "credit", "count"}                            so many are decided: as many more may leave
    {"do": "stop"}                                       send no more
"""

import asyncio
import contextlib
import json
import math
import resource
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

from benchmarks.load.planning import (
    Planned,
    Shard,
    Town,
    add_givers,
    draw_kinds,
    forget,
    make_shard,
    next_pairs,
    plan,
    plan_people,
    room_for_rights,
)
from benchmarks.load.posting import NoAnswer, Peer, close, post
from benchmarks.load.records import agents_of, upload_records
from client.connection import GENESIS_NAME
from client.trust import Trust, make_trust
from client.wallet import find_keys, open_wallet
from crypto.keystore import KDF_CHEAPEST
from crypto.schema import encode
from genesis.document import GenesisDocument, chain_id_of
from genesis.files import load_genesis
from ledger.accounts import OrgId
from ledger.exchange import SUBMIT_ITEMS_MAX, SubmitBatch

ROW: Final = struct.Struct("<32sdd16s")
"""What the driver leaves of each transaction it handed over: id, due and sent (s), kind."""

MSGPACK: Final = {"Content-Type": "application/msgpack"}
TIMEOUT_S: Final = 30.0
STOP_POLL_S: Final = 0.1
NO_ANSWER: Final = "node.no_answer"
PLANNING: Final = frozenset({"people", "givers", "plan"})
MALFORMED: Final = "answer.malformed"
ELSEWHERE_CODES: Final = frozenset({NO_ANSWER, "node.stopping", "limit.busy"})
"""What another node may do better."""


@dataclass(slots=True, kw_only=True)
class Driver:
    """The state of one driver process."""

    nodes: tuple[Peer, ...]
    trust: Trust
    shard: Shard
    planned: list[Planned] = field(default_factory=list)
    credit: int = 0
    is_stopped: bool = False
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0
    not_taken: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[bytes, float, float, bytes]] = field(default_factory=list)
    late_s_max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Transactions that leave together, encoded; `due_s` of each, since the start."""

    body: bytes
    planned: tuple[Planned, ...]
    due_s: tuple[float, ...]
    leave_s: float


async def serve(driver: Driver, lines: asyncio.StreamReader) -> None:
    """Do what the lines say, one after the other, until they end."""
    work: asyncio.Task[None] | None = None
    while line := await lines.readline():
        order = json.loads(line)
        match order["do"]:
            case "credit":
                driver.credit += order["count"]
                driver.moved.set()
            case "stop":
                driver.is_stopped = True
                driver.moved.set()
            case _:
                if work is not None:
                    await work
                driver.is_stopped = False
                work = asyncio.create_task(_obey(driver, order))
    if work is not None:
        await work
    for node in driver.nodes:
        close(node)


async def _obey(driver: Driver, order: dict[str, Any]) -> None:
    started_s, cpu_s = time.monotonic(), _cpu_s()
    driver.sent, driver.not_taken, driver.rows, driver.late_s_max = 0, {}, [], 0.0
    if order["do"] in PLANNING:  # What is left of a former plan was signed for another time.
        forget(driver.shard, driver.planned)
        driver.planned = []
    match order["do"]:
        case "people":
            driver.planned = list(plan_people(driver.shard, _now_ms()))
        case "givers":
            driver.planned = list(add_givers(driver.shard, order["count"], _now_ms()))
        case "plan":
            await _plan(driver, order)
        case "send":
            await _send_when_due(driver, order)
        case "push":
            await _push(driver, order)
        case unknown:
            raise ValueError(f"the parent asks for {unknown!r}")
    if "rows" in order:
        _leave_rows(Path(order["rows"]), driver)
    _tell(
        {
            "done": order["do"],
            "waiting": len(driver.planned),
            "room": room_for_rights(driver.shard),
            "sent": driver.sent,
            "not_taken": driver.not_taken,
            "late_ms_max": round(1_000 * driver.late_s_max, 1),
            "seconds": round(time.monotonic() - started_s, 3),
            "cpu_s": round(_cpu_s() - cpu_s, 3),
        }
    )


async def _plan(driver: Driver, order: dict[str, Any]) -> None:
    """Sign so many; what they put is uploaded first."""
    shard = driver.shard
    kinds = draw_kinds(shard, order["shares"], order["count"])
    lacking = kinds.count("put") - len(shard.uploads)
    if lacking > 0:
        pairs, size = next_pairs(shard, lacking), order["record_bytes"]
        shard.uploads += await upload_records(
            [node.url for node in driver.nodes], driver.trust, shard.town.seed, pairs, size
        )
    driver.planned = list(plan(shard, kinds, _now_ms(), rate_per_s=order["rate"]))


async def _send_when_due(driver: Driver, order: dict[str, Any]) -> None:
    """Open loop: a batch leaves when its last is due, whatever became of those before."""
    start_s, sending = order["start_s"], set[asyncio.Task[None]]()
    for number, batch in enumerate(_due_batches(driver, order)):
        while (wait_s := start_s + batch.leave_s - time.monotonic()) > 0 and not driver.is_stopped:
            await _pause(driver, wait_s)
        if driver.is_stopped:
            break
        driver.late_s_max = max(driver.late_s_max, -wait_s)
        _leave(driver, sending, batch, number, start_s)
    driver.planned = driver.planned[driver.sent :]
    await asyncio.gather(*sending)


async def _push(driver: Driver, order: dict[str, Any]) -> None:
    """Closed loop: keep at most `window` transactions open, for so long or until all are sent."""
    sending, batches = set[asyncio.Task[None]](), list(_even_batches(driver, order["batch"]))
    end_s = math.inf if order["seconds"] is None else time.monotonic() + order["seconds"]
    driver.credit = order["window"]
    for number, batch in enumerate(batches):
        while driver.credit < len(batch.planned) and not driver.is_stopped:
            await _pause(driver, min(STOP_POLL_S, end_s - time.monotonic()))
            if time.monotonic() >= end_s:
                break
        if driver.is_stopped or time.monotonic() >= end_s:
            break
        driver.credit -= len(batch.planned)
        _leave(driver, sending, batch, number, time.monotonic())
        await asyncio.sleep(0)
    driver.planned = driver.planned[driver.sent :]
    await asyncio.gather(*sending)


async def _pause(driver: Driver, seconds: float) -> None:
    """Wait so long, or less if the parent has something to say."""
    driver.moved.clear()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(driver.moved.wait(), max(0.0, seconds))


def _leave(
    driver: Driver,
    sending: set[asyncio.Task[None]],
    batch: Batch,
    number: int,
    start_s: float,
) -> None:
    task = asyncio.create_task(_hand_over(driver, batch, number, start_s))
    driver.sent += len(batch.planned)
    sending.add(task)
    task.add_done_callback(sending.discard)


async def _hand_over(driver: Driver, batch: Batch, number: int, start_s: float) -> None:
    """Give a batch to the next node in turn; to another one where nobody answers."""
    left_s, codes = time.monotonic(), [""] * len(batch.planned)
    for attempt in range(len(driver.nodes)):
        node = driver.nodes[(driver.shard.index + number + attempt) % len(driver.nodes)]
        codes = await _post(node, batch)
        if codes[0] not in ELSEWHERE_CODES:
            break
    for one, due_s, code in zip(batch.planned, batch.due_s, codes, strict=True):
        if code:
            driver.not_taken[code] = driver.not_taken.get(code, 0) + 1
            driver.credit += 1
        else:
            kind = one.kind.encode("ascii")
            driver.rows.append((one.tx_id, start_s + due_s, left_s, kind))


async def _post(node: Peer, batch: Batch) -> list[str]:
    """Return for each transaction why it was not taken, or nothing."""
    count = len(batch.planned)
    try:
        _, body = await post(node, "/v1/transactions", batch.body, MSGPACK, timeout_s=TIMEOUT_S)
        told: Any = json.loads(body)
    except NoAnswer:
        return [NO_ANSWER] * count
    except ValueError:
        return [MALFORMED] * count
    if isinstance(told, dict):
        return [str(told.get("code", MALFORMED))] * count
    if not isinstance(told, list) or len(told) != count:
        return [MALFORMED] * count
    return ["" if "state" in one else str(one.get("code")) for one in told]


def _due_batches(driver: Driver, order: dict[str, Any]) -> list[Batch]:
    """Cut what is planned into batches of `batch_ms`; the drivers take turns within it."""
    shard, rate, every_s = driver.shard, order["rate"], order["batch_ms"] / 1_000
    offset_s = every_s * shard.index / shard.count
    due_s = [(number * shard.count + shard.index) / rate for number in range(len(driver.planned))]
    due_s = [one for one in due_s if one < order["seconds"]]
    batches, first = [], 0
    while first < len(due_s):
        leave_s = math.ceil((due_s[first] - offset_s) / every_s) * every_s + offset_s
        last = first + 1
        while last < len(due_s) and due_s[last] <= leave_s and last - first < SUBMIT_ITEMS_MAX:
            last += 1
        batches.append(_batch(driver.planned[first:last], due_s[first:last], leave_s))
        first = last
    return batches


def _even_batches(driver: Driver, size: int) -> Iterator[Batch]:
    for first in range(0, len(driver.planned), size):
        planned = driver.planned[first : first + size]
        yield _batch(planned, [0.0] * len(planned), 0.0)


def _batch(planned: Sequence[Planned], due_s: Sequence[float], leave_s: float) -> Batch:
    return Batch(
        body=encode(SubmitBatch(items=tuple(one.item for one in planned))),
        planned=tuple(planned),
        due_s=tuple(due_s),
        leave_s=leave_s,
    )


def _leave_rows(file: Path, driver: Driver) -> None:
    file.write_bytes(b"".join(ROW.pack(*row) for row in driver.rows))


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _town(told: dict[str, Any], founding: GenesisDocument) -> Town:
    passphrase = Path(told["passphrase_file"]).read_text(encoding="utf-8").strip()
    wallet = open_wallet(Path(told["home"]), passphrase, kdf=KDF_CHEAPEST)
    keys = [find_keys(wallet, label) for label in told["admins"]]
    orgs = tuple(OrgId(one) for one in told["orgs"])
    return Town(
        seed=told["seed"],
        chain_id=chain_id_of(founding),
        orgs=orgs,
        agents=agents_of(founding, orgs),
        admins=tuple((one.account, one.sign_key) for one in keys),
        patients=told["patients"],
        doctors=told["doctors"],
    )


async def main() -> None:
    """Serve the parent process; the first line says who we are."""
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    told = json.loads(await lines.readline())
    founding = load_genesis(Path(told["town"]["home"]) / GENESIS_NAME)
    shard = make_shard(_town(told["town"], founding), told["index"], told["count"])
    nodes = tuple(Peer(url=url) for url in told["urls"])
    driver = Driver(nodes=nodes, trust=make_trust(founding), shard=shard)
    _tell({"done": "start"})
    await serve(driver, lines)


if __name__ == "__main__":
    uvloop.run(main())
