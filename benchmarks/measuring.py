"""One measured run: offer a load, watch the nodes decide, read back what became of it, sum up.

What counts as committed is a transaction that a quorum (n - f) of nodes, asked afterwards, have in
the same block with the receipt code `ok`. Its latency ends when that quorum had announced the block
and begins when it was due to leave.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.errors import SetupFailed
from benchmarks.histograms import Histogram, record
from benchmarks.load import drivers as driving
from benchmarks.load.blocks import Watch, decided_s, watching
from benchmarks.load.drivers import Drivers, Handed, TownFiles
from benchmarks.load.outcomes import Outcome, read_outcomes
from benchmarks.scene.faults import Event, Fault
from benchmarks.scene.happenings import keep_to_schedule
from benchmarks.scene.local import quiet
from benchmarks.scene.places import Scene
from benchmarks.scene.sampling import Samples, sampling
from benchmarks.spread import percentile
from crypto.quorum import QuorumSystem
from ledger.receipts import ACCEPTED_CODE

DRAIN_S: Final = 30.0
TOLD_EVERY_S: Final = 10
POLL_S: Final = 0.02
AGAIN_S: Final = 2.0
SET_UP_WINDOW: Final = 4_000
LEAD_S: Final = 0.5
"""A load begins so long after the drivers were told of it, for they encode it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A transaction whose receipt a quorum gave back."""

    kind: str
    code: str
    due_s: float
    decided_s: float
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A load and what became of it; times in monotonic seconds, `start_s` the first due time."""

    handed: Handed
    start_s: float
    end_s: float
    decided: tuple[Decided, ...]
    lost: int
    samples: Samples
    events: tuple[Event, ...]


@dataclass(slots=True, kw_only=True)
class Observed:
    """What is seen of the nodes while a load runs."""

    scene: Scene
    faults: tuple[Fault, ...]
    watch: Watch
    samples: Samples
    start_s: float = 0.0
    events: list[Event] = field(default_factory=list)
    schedule: asyncio.Task[None] | None = None

    def begin(self, start_s: float) -> None:
        """Let the load, and the schedule of faults, begin at `start_s`."""
        self.start_s = start_s
        coming = keep_to_schedule(self.scene, self.faults, start_s, self.events)
        self.schedule = asyncio.create_task(coming)


def town_of(scene: Scene, *, seed: int, patients: int, doctors: int) -> TownFiles:
    """Return what the drivers have to know of the hospitals and of so many people."""
    return TownFiles(
        seed=seed,
        orgs=scene.orgs,
        admins=tuple(f"admin-{org}" for org in scene.orgs),
        home=scene.home,
        passphrase_file=scene.passphrase_file,
        patients=patients,
        doctors=doctors,
    )


def live_urls(scene: Scene) -> list[str]:
    """Return where the nodes answer that were started."""
    return [scene.urls[index] for index in scene.live]


def quorum_of(scene: Scene) -> int:
    """Return how many nodes have to say the same: n - f."""
    validators = len(scene.orgs)
    return validators - QuorumSystem(validators).f


async def register_people(scene: Scene, drivers: Drivers) -> int:
    """Register every patient and doctor; return how many; raise `SetupFailed`."""
    count = await driving.plan_people(drivers)
    await commit_planned(scene, drivers)
    return count


async def commit_planned(scene: Scene, drivers: Drivers) -> None:
    """Commit all that is planned before a measurement begins; raise `SetupFailed`."""
    run = await push_all(scene, drivers, window=SET_UP_WINDOW)
    refused = Counter(one.code for one in run.decided if one.code != ACCEPTED_CODE)
    refused.update(run.handed.not_taken)
    if run.lost:
        refused["lost"] = run.lost
    if "identity.exists" in refused:
        raise SetupFailed(
            "people of this seed are on this ledger already, from an earlier benchmark:"
            " give another --seed"
        )
    if refused:
        told = ", ".join(f"{count} x {code}" for code, count in refused.most_common())
        raise SetupFailed(f"what the load builds upon could not be committed: {told}")


async def push_all(
    scene: Scene,
    drivers: Drivers,
    *,
    window: int,
    seconds: float | None = None,
    faults: Sequence[Fault] = (),
    tell: Callable[[str], None] = quiet,
) -> Run:
    """Closed loop: what is planned, or as much as goes in `seconds`, at most `window` open."""
    async with _observed(scene, drivers, faults, tell) as seen:
        seen.begin(time.monotonic())
        handed = await driving.push(drivers, window=window, seconds=seconds)
        end_s = time.monotonic()
        await _drain(seen.watch, len(handed.taken))
        return await _summed(scene, seen, handed, end_s)


async def offer(
    scene: Scene,
    drivers: Drivers,
    *,
    rate_per_s: float,
    seconds: float,
    batch_ms: float,
    faults: Sequence[Fault] = (),
    tell: Callable[[str], None] = quiet,
) -> Run:
    """Open loop: what is planned, at a fixed rate."""
    async with _observed(scene, drivers, faults, tell) as seen:
        seen.begin(time.monotonic() + LEAD_S)
        handed = await driving.send(
            drivers,
            rate_per_s=rate_per_s,
            start_s=seen.start_s,
            seconds=seconds,
            batch_ms=batch_ms,
        )
        end_s = time.monotonic()
        await _drain(seen.watch, len(handed.taken))
        return await _summed(scene, seen, handed, end_s)


def interval(run: Run, *, warmup_s: float) -> tuple[float, float]:
    """Return the measured interval: from the end of the warm-up until the load ended."""
    return min(run.start_s + warmup_s, run.end_s), run.end_s


def figures(run: Run, *, warmup_s: float) -> dict[str, Any]:
    """Return rate and latencies of the measured interval: what was decided, what was due in it."""
    first_s, last_s = interval(run, warmup_s=warmup_s)
    committed = [one for one in run.decided if one.code == ACCEPTED_CODE]
    within = sum(first_s <= one.decided_s < last_s for one in committed)
    latencies = sorted(
        1_000 * (one.decided_s - one.due_s) for one in committed if first_s <= one.due_s < last_s
    )
    blocks = Counter(one.height for one in run.decided)
    return {
        "seconds": round(last_s - first_s, 3),
        "warmup_s": warmup_s,
        "tps": round(within / (last_s - first_s), 1) if last_s > first_s else 0.0,
        "committed": len(committed),
        "refused": dict(Counter(one.code for one in run.decided if one.code != ACCEPTED_CODE)),
        "not_taken": run.handed.not_taken,
        "lost": run.lost,
        "p50_ms": _rounded(percentile(latencies, 50)),
        "p95_ms": _rounded(percentile(latencies, 95)),
        "p99_ms": _rounded(percentile(latencies, 99)),
        "max_ms": _rounded(latencies[-1] if latencies else None),
        "blocks": len(blocks),
        "transactions_per_block": _of_blocks(sorted(blocks.values())),
        "driver": {"late_ms_max": run.handed.late_ms_max, "cpu_s": round(run.handed.cpu_s, 2)},
    }


def latencies_us(run: Run, *, warmup_s: float) -> Histogram:
    """Return the histogram of the latencies that `figures` sums up."""
    first_s, last_s = interval(run, warmup_s=warmup_s)
    histogram = Histogram()
    for one in run.decided:
        if one.code == ACCEPTED_CODE and first_s <= one.due_s < last_s:
            record(histogram, 1e6 * (one.decided_s - one.due_s))
    return histogram


def series(run: Run) -> list[dict[str, Any]]:
    """Return second by second, warm-up included, what was decided then and how long it had taken.

    Seconds without a decision are there, too: that is what an outage looks like.
    """
    by_second: dict[int, list[float]] = {}
    for one in run.decided:
        if one.code == ACCEPTED_CODE:
            second = int(one.decided_s - run.start_s)
            by_second.setdefault(second, []).append(1_000 * (one.decided_s - one.due_s))
    rows = []
    for second in range(max(by_second, default=-1) + 1):
        latencies = sorted(by_second.get(second, []))
        rows.append(
            {
                "t_s": second,
                "committed": len(latencies),
                "p50_ms": _rounded(percentile(latencies, 50)),
                "p99_ms": _rounded(percentile(latencies, 99)),
                "max_ms": _rounded(latencies[-1] if latencies else None),
            }
        )
    return rows


def _of_blocks(counts: Sequence[int]) -> dict[str, float]:
    if not counts:
        return {}
    return {
        "median": counts[len(counts) // 2],
        "max": counts[-1],
        "mean": sum(counts) / len(counts),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


@asynccontextmanager
async def _observed(
    scene: Scene, drivers: Drivers, faults: Sequence[Fault], tell: Callable[[str], None]
) -> AsyncIterator[Observed]:
    """Watch the nodes decide, sample them, and do the faults that are due once it has begun.

    What is decided so far is told now and then.
    """
    urls = live_urls(scene)
    async with (
        watching(urls, quorum_of(scene), lambda count: driving.credit(drivers, count)) as watch,
        sampling(urls) as samples,
    ):
        seen = Observed(scene=scene, faults=tuple(faults), watch=watch, samples=samples)
        telling = asyncio.create_task(_keep_telling(watch, tell))
        try:
            yield seen
        finally:
            beside = [one for one in (telling, seen.schedule) if one is not None]
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _keep_telling(watch: Watch, tell: Callable[[str], None]) -> None:
    seconds = 0
    while True:
        await asyncio.sleep(TOLD_EVERY_S)
        seconds += TOLD_EVERY_S
        tell(f"  {watch.decided:,} decided in {seconds} s")


async def _drain(watch: Watch, count: int) -> None:
    """Wait until as much was decided as was taken, or nothing more comes."""
    seen, moved_s = watch.decided, time.monotonic()
    while watch.decided < count and time.monotonic() - moved_s < DRAIN_S:
        if watch.decided != seen:
            seen, moved_s = watch.decided, time.monotonic()
        await asyncio.sleep(POLL_S)


async def _summed(scene: Scene, seen: Observed, handed: Handed, end_s: float) -> Run:
    decided = await _read_back(scene, seen.watch, handed)
    return Run(
        handed=handed,
        start_s=seen.start_s,
        end_s=end_s,
        decided=decided,
        lost=len(handed.taken) - len(decided),
        samples=seen.samples,
        events=tuple(seen.events),
    )


async def _read_back(scene: Scene, watch: Watch, handed: Handed) -> tuple[Decided, ...]:
    """Return what became of all that was taken, once it is all there or nothing more comes.

    Blocks also hold what nodes submit themselves (evidence), so that a count of transactions does
    not tell whether ours are among them.
    """
    count, moved_s = watch.decided, time.monotonic()
    while True:
        blocks = watch.blocks.items()
        heights = sorted(height for height, one in blocks if any(one.tx_count.values()))
        outcomes = await read_outcomes(live_urls(scene), heights, quorum_of(scene))
        decided = tuple(_decided(watch, handed, outcomes))
        is_over = time.monotonic() - moved_s > DRAIN_S
        if len(decided) == len(handed.taken) or is_over:
            return decided
        if watch.decided != count:
            count, moved_s = watch.decided, time.monotonic()
        await asyncio.sleep(AGAIN_S)


def _decided(watch: Watch, handed: Handed, outcomes: dict[bytes, Outcome]) -> Iterator[Decided]:
    for one in handed.taken:
        outcome = outcomes.get(one.tx_id)
        at_s = None if outcome is None else decided_s(watch, outcome.height, outcome.digest)
        if outcome is not None and at_s is not None:
            yield Decided(
                kind=one.kind,
                code=outcome.code,
                due_s=one.due_s,
                decided_s=at_s,
                height=outcome.height,
            )
