"""`bench quick`: one honest line about this machine in less than a minute.

Four nodes, `access.grant`: a short burst that keeps the nodes saturated, then half of what that
came to, open loop. Throughput is the burst's, latencies are those at half of it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from benchmarks.load import drivers as driving
from benchmarks.load.drivers import TownFiles, running_drivers
from benchmarks.measuring import Site, figures, offer, push_all, register_people
from benchmarks.processes import usage_of
from benchmarks.spread import percentile
from benchmarks.unit_costs import verify_us

KIND: Final = "access.grant"
SHARES: Final = {"grant": 1}
SEED: Final = 1
PATIENTS: Final = 1_200
DOCTORS: Final = 32
DRIVERS: Final = 2
WINDOW: Final = 2_000
BURST_S: Final = 8.0
BURST_MAX: Final = 36_000
HALF_S: Final = 12.0
WARMUP_S: Final = 2.0
BATCH_MS: Final = 10.0
SAMPLE_S: Final = 0.5


async def measure(site: Site, town: TownFiles, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the line: every figure of the quick benchmark."""
    before_us = verify_us()
    async with running_drivers(town, site.urls, DRIVERS) as drivers:
        tell(f"registering {town.patients} patients and {town.doctors} doctors")
        await register_people(site, drivers)
        tell(f"keeping {WINDOW} grants open for {BURST_S:g} s")
        await driving.plan_mix(drivers, SHARES, BURST_MAX)
        burst = figures(
            await push_all(site, drivers, window=WINDOW, seconds=BURST_S), warmup_s=WARMUP_S
        )
        rate = max(10.0, round(burst["tps"] / 2))
        tell(f"committed {burst['tps']:g} grants a second; offering {rate:g} for {HALF_S:g} s")
        await driving.plan_mix(drivers, SHARES, int(rate * HALF_S) + DRIVERS)
        async with _sampled_lags(site) as lags_ms:
            run = await offer(site, drivers, rate_per_s=rate, seconds=HALF_S, batch_ms=BATCH_MS)
        half = figures(run, warmup_s=WARMUP_S)
    verify = round((before_us + verify_us()) / 2, 2)
    validators, cores = len(site.urls), os.cpu_count() or 1
    rss_mb = [usage_of(pid).rss_mb for pid in site.pids.values()]
    return {
        "kind": KIND,
        "validators": validators,
        "cores": cores,
        "t_verify_us": verify,
        "tps": burst["tps"],
        "efficiency": round(burst["tps"] * validators * verify / 1e6 / cores, 3),
        "offered_tps": rate,
        "offered_tps_committed": half["tps"],
        "p50_ms": half["p50_ms"],
        "p95_ms": half["p95_ms"],
        "p99_ms": half["p99_ms"],
        "saturated_p50_ms": burst["p50_ms"],
        "transactions_per_block": burst["transactions_per_block"],
        "loop_lag_ms_p99": percentile(sorted(lags_ms), 99),
        "rss_mb_max": round(max(rss_mb, default=0.0), 1),
        "refused": burst["refused"] | half["refused"],
        "not_taken": burst["not_taken"] | half["not_taken"],
        "lost": burst["lost"] + half["lost"],
    }


@asynccontextmanager
async def _sampled_lags(site: Site) -> AsyncIterator[list[float]]:
    """Ask every node for its loop's lag while the block runs; milliseconds."""
    found: list[float] = []

    async def sample(http: aiohttp.ClientSession) -> None:
        while True:
            for url in site.urls:
                async with http.get(url + "/metrics") as answer:
                    text = await answer.text()
                found.extend(
                    1_000 * float(line.split()[1])
                    for line in text.splitlines()
                    if line.startswith("medledger_loop_lag_seconds ")
                )
            await asyncio.sleep(SAMPLE_S)

    async with aiohttp.ClientSession() as http:
        running = asyncio.create_task(sample(http))
        try:
            yield found
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
