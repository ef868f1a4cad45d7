"""A run of the suite: a workload offered at several loads, each several times, written down.

Whatever has been measured so far is in `results.json` at any time: an interrupted suite leaves a
valid file that says so. The form is described in `docs/benchmarks.md` and held by
`benchmarks.schema`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.errors import WorkloadInvalid
from benchmarks.load import drivers as driving
from benchmarks.load.drivers import Drivers, running_drivers
from benchmarks.load.people import make_person
from benchmarks.load.records import agents_of
from benchmarks.load.transfers import transfer
from benchmarks.measuring import (
    Run,
    commit_planned,
    live_urls,
    offer,
    push_all,
    register_people,
    town_of,
)
from benchmarks.rows import begin_results, efficiency, make_row, write_histogram
from benchmarks.saturation import Trial, find_knee, knee_of
from benchmarks.scene.happenings import restore
from benchmarks.scene.places import Scene
from benchmarks.schema import save_results
from benchmarks.unit_costs import verify_us
from benchmarks.workload import Workload
from client.connection import GENESIS_NAME
from client.trust import make_trust
from genesis.files import load_genesis
from ledger.accounts import OrgId, Role

SATURATED: Final = "saturated"
PLANNED_MAX: Final = 4_000_000
RIGHTS_PER_OPEN: Final = 2
"""So many rights per open transaction lie between giving one and taking it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is offered: fixed rates, or what the system can do (`fractions` of it, its knee)."""

    rates: tuple[float, ...] = ()
    has_knee: bool = False


@dataclass(slots=True, kw_only=True)
class Suite:
    """A suite that runs: what it measures, where its files go, what it has found so far."""

    scene: Scene
    workload: Workload
    seed: int
    out: Path
    tell: Callable[[str], None]
    results: dict[str, Any] = field(default_factory=dict)
    drivers: Drivers | None = None
    is_interrupted: bool = False
    saturated: list[float] = field(default_factory=list)


async def run_suite(suite: Suite, load: Load) -> dict[str, Any]:
    """Measure, and return the results; they are in `out/results.json` from the first run on."""
    workload = suite.workload
    town = town_of(
        suite.scene, seed=suite.seed, patients=workload.patients, doctors=workload.doctors
    )
    suite.results = begin_results(suite.scene, workload, suite.seed)
    suite.results["t_verify_us"]["before"] = verify_us()
    save_results(suite.out, suite.results)
    try:
        async with (
            _interruptible(suite),
            running_drivers(town, live_urls(suite.scene), workload.drivers) as drivers,
        ):
            suite.drivers = drivers
            await _set_up(suite, drivers)
            await _measure(suite, drivers, load)
        suite.results["t_verify_us"]["after"] = verify_us()
    finally:
        _finish(suite)
        save_results(suite.out, suite.results)
    return suite.results


async def _set_up(suite: Suite, drivers: Drivers) -> None:
    workload = suite.workload
    suite.tell(f"registering {workload.patients} patients and {workload.doctors} doctors")
    await register_people(suite.scene, drivers)
    if "revoke" in workload.shares and not suite.is_interrupted:
        rights = RIGHTS_PER_OPEN * workload.window
        await _make_room(suite, drivers, rights)
        suite.tell(f"giving {rights} rights that can be taken back")
        await driving.plan_mix(drivers, {"grant": 1}, rights)
        await commit_planned(suite.scene, drivers)
    if "read" in workload.shares and not suite.is_interrupted:
        suite.tell(f"sealing, uploading and adding {workload.records} records")
        await driving.plan_mix(
            drivers, {"put": 1}, workload.records, record_bytes=workload.record_bytes
        )
        await commit_planned(suite.scene, drivers)


async def _measure(suite: Suite, drivers: Drivers, load: Load) -> None:
    if suite.workload.blob_bytes:
        await _transfer_all(suite)
        return
    if load.rates:
        await _offer_all(suite, drivers, [(f"{one:g} per second", one) for one in load.rates])
        return
    await _saturate(suite, drivers)
    if load.has_knee:
        await _find_knee(suite, drivers)
    else:
        await _offer_fractions(suite, drivers)


async def _transfer_all(suite: Suite) -> None:
    """Put and get blobs of every size, one after the other, at each node in turn."""
    workload, scene = suite.workload, suite.scene
    founding = load_genesis(scene.home / GENESIS_NAME)
    trust, agents, urls = make_trust(founding), agents_of(founding, scene.orgs), live_urls(scene)
    orgs = tuple(OrgId(one) for one in scene.orgs)
    pair = (
        make_person(suite.seed, Role.PATIENT, 0, orgs),
        make_person(suite.seed, Role.DOCTOR, 0, orgs),
    )
    for size in workload.blob_bytes:
        for repetition in range(workload.repetitions):
            if suite.is_interrupted:
                return
            url = urls[repetition % len(urls)]
            found = await transfer(url, trust, suite.seed, pair, agents, size)
            row = {**asdict(found), "repetition": repetition}
            row |= {"put_mib_s": round(found.put_mib_s, 2), "get_mib_s": round(found.get_mib_s, 2)}
            suite.results["transfers"].append(row)
            save_results(suite.out, suite.results)
            suite.tell(
                f"{size:,} bytes: put {row['put_mib_s']:g} MiB/s, got {row['get_mib_s']:g} MiB/s"
                f" ({repetition + 1} of {workload.repetitions})"
            )


async def _saturate(suite: Suite, drivers: Drivers) -> None:
    """Keep the nodes saturated, several times over."""
    workload = suite.workload
    for repetition in range(workload.repetitions):
        if suite.is_interrupted:
            return
        tps = max(suite.saturated, default=workload.first_guess_tps)
        suite.tell(
            f"keeping {workload.window} transactions open for {workload.seconds:g} s"
            f" ({repetition + 1} of {workload.repetitions})"
        )
        await _plan(suite, drivers, int(1.5 * tps * workload.seconds), None)
        run = await push_all(
            suite.scene,
            drivers,
            window=workload.window,
            seconds=workload.seconds,
            tell=suite.tell,
        )
        row = _add_run(suite, run, SATURATED, None, repetition)
        suite.saturated.append(row["tps"])


async def _offer_fractions(suite: Suite, drivers: Drivers) -> None:
    top = median(suite.saturated) if suite.saturated else 0.0
    await _offer_all(
        suite,
        drivers,
        [
            (f"{fraction:g} of saturated", _rounded_rate(top * fraction))
            for fraction in suite.workload.fractions
        ],
    )
    found = knee_of([_trial(row) for row in suite.results["runs"] if row["offered_tps"]])
    suite.results["knee"] = None if found is None else asdict(found)


async def _find_knee(suite: Suite, drivers: Drivers) -> None:
    if suite.is_interrupted:
        return

    async def attempt(rate: float) -> Trial:
        loads = [("on the way to the knee", _rounded_rate(rate))]
        rows = await _offer_all(suite, drivers, loads, repetitions=1)
        return _trial(rows[0]) if rows else Trial(offered_tps=rate, tps=0.0, p99_ms=None)

    found = await find_knee(attempt, median(suite.saturated))
    suite.results["knee"] = None if found.best is None else asdict(found.best)


async def _offer_all(
    suite: Suite,
    drivers: Drivers,
    loads: Sequence[tuple[str, float]],
    *,
    repetitions: int | None = None,
) -> list[dict[str, Any]]:
    """Offer each rate several times, open loop, under its name; return the rows."""
    workload = suite.workload
    rows: list[dict[str, Any]] = []
    count = workload.repetitions if repetitions is None else repetitions
    for name, rate in loads:
        for repetition in range(count):
            if suite.is_interrupted:
                return rows
            suite.tell(
                f"offering {rate:g} a second for {workload.seconds:g} s"
                f" ({name}, {repetition + 1} of {count})"
            )
            await _plan(suite, drivers, int(rate * workload.seconds) + workload.drivers, rate)
            run = await offer(
                suite.scene,
                drivers,
                rate_per_s=rate,
                seconds=workload.seconds,
                batch_ms=workload.batch_ms,
                faults=workload.faults,
                tell=suite.tell,
            )
            rows.append(_add_run(suite, run, name, rate, repetition))
    return rows


async def _plan(suite: Suite, drivers: Drivers, count: int, rate: float | None) -> None:
    """Let so many be signed ahead, and whatever they build upon be committed before."""
    if count > PLANNED_MAX:
        raise WorkloadInvalid(
            f"{count:,} transactions are more than the {PLANNED_MAX:,} that can be signed ahead:"
            " lower --rate or --seconds"
        )
    workload, shares = suite.workload, suite.workload.shares
    more = shares.get("grant", 0) - shares.get("revoke", 0)
    open_max = workload.window if "grant" in shares else 0
    await _make_room(suite, drivers, open_max + count * more // sum(shares.values()))
    await driving.plan_mix(
        drivers,
        shares,
        count,
        rate_per_s=rate,
        record_bytes=workload.record_bytes,
    )


async def _make_room(suite: Suite, drivers: Drivers, rights: int) -> None:
    """Register so many patients more that all of them together can give `rights` more."""
    count = await driving.plan_givers(drivers, rights)
    if count:
        suite.tell(f"registering {count} patients more")
        await commit_planned(suite.scene, drivers)


def _add_run(
    suite: Suite, run: Run, name: str, offered: float | None, repetition: int
) -> dict[str, Any]:
    """Write a run down, undo what its faults did, and tell of it."""
    results, live = suite.results, len(suite.scene.live)
    row = make_row(
        suite.scene,
        run,
        name=name,
        offered_tps=offered,
        repetition=repetition,
        warmup_s=suite.workload.warmup_s,
        is_whole=not suite.is_interrupted,
    )
    row["efficiency"] = efficiency(results, row["tps"], live)
    row["histogram_file"] = f"latency-{len(results['runs']):02}.hgrm"
    write_histogram(suite.out / row["histogram_file"], row["histogram"])
    results["runs"].append(row)
    save_results(suite.out, results)
    if run.events:
        restore(suite.scene)
    share = "" if row["efficiency"] is None else f", efficiency {row['efficiency']}"
    suite.tell(
        f"  {row['tps']:g} committed a second, p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms"
        f"{share}"
    )
    for event in row["events"]:
        outcome = f"longest stall {event['stall_s']} s"
        suite.tell(f"  at {event['t_s']} s: {event['what']}: {event['failed'] or outcome}")
    return row


def _finish(suite: Suite) -> None:
    suite.results["interrupted"] = suite.is_interrupted
    for row in suite.results["runs"]:
        row["efficiency"] = efficiency(suite.results, row["tps"], len(suite.scene.live))


def _trial(row: dict[str, Any]) -> Trial:
    return Trial(offered_tps=row["offered_tps"], tps=row["tps"], p99_ms=row["p99_ms"])


def _rounded_rate(rate: float) -> float:
    return max(1.0, float(round(rate)))


@asynccontextmanager
async def _interruptible(suite: Suite) -> AsyncIterator[None]:
    """Ctrl-C ends the run that is going on early and skips the rest; a second one ends all now."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_interrupt() -> None:
        if suite.is_interrupted or suite.drivers is None:
            task.cancel()
        else:
            suite.tell("interrupted: ending this run and writing down what there is")
            driving.stop(suite.drivers)
        suite.is_interrupted = True

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
