"""`bench quick`: one honest line about this machine in less than a minute.

Four nodes, `access.grant`: a short burst that keeps the nodes saturated, then half of what that
came to, open loop. Throughput is the burst's, latencies are those at half of it.
"""

from collections.abc import Callable
from typing import Any, Final

from benchmarks import origin
from benchmarks.load import drivers as driving
from benchmarks.load.drivers import running_drivers
from benchmarks.measuring import (
    figures,
    interval,
    live_urls,
    offer,
    push_all,
    register_people,
    town_of,
)
from benchmarks.scene.places import Scene
from benchmarks.scene.sampling import node_rows
from benchmarks.unit_costs import verify_us

KIND: Final = "access.grant"
SHARES: Final = {"grant": 1}
SEED: Final = 1
PATIENTS: Final = 4_000
DOCTORS: Final = 32
DRIVERS: Final = 2
WINDOW: Final = 2_000
BURST_S: Final = 8.0
BURST_MAX: Final = 36_000
HALF_S: Final = 12.0
WARMUP_S: Final = 2.0
BATCH_MS: Final = 20.0


async def measure(scene: Scene, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the line: every figure of the quick benchmark."""
    before_us, urls = verify_us(), live_urls(scene)
    town = town_of(scene, seed=SEED, patients=PATIENTS, doctors=DOCTORS)
    async with running_drivers(town, urls, DRIVERS) as drivers:
        tell(f"registering {PATIENTS} patients and {DOCTORS} doctors")
        await register_people(scene, drivers)
        tell(f"keeping {WINDOW} grants open for {BURST_S:g} s")
        await driving.plan_mix(drivers, SHARES, BURST_MAX)
        burst = figures(
            await push_all(scene, drivers, window=WINDOW, seconds=BURST_S), warmup_s=WARMUP_S
        )
        rate = max(10.0, round(burst["tps"] / 2))
        tell(f"committed {burst['tps']:g} grants a second; offering {rate:g} for {HALF_S:g} s")
        await driving.plan_mix(drivers, SHARES, int(rate * HALF_S) + DRIVERS)
        run = await offer(scene, drivers, rate_per_s=rate, seconds=HALF_S, batch_ms=BATCH_MS)
        half = figures(run, warmup_s=WARMUP_S)
    t_verify_us = min(before_us, verify_us())
    nodes = node_rows(scene.orgs, run.samples, *interval(run, warmup_s=WARMUP_S))
    validators, cores = len(urls), origin.cores()
    return {
        "kind": KIND,
        "validators": validators,
        "cores": cores,
        "t_verify_us": t_verify_us,
        "tps": burst["tps"],
        "efficiency": round(burst["tps"] * validators * t_verify_us / 1e6 / cores, 3),
        "offered_tps": rate,
        "offered_tps_committed": half["tps"],
        "p50_ms": half["p50_ms"],
        "p95_ms": half["p95_ms"],
        "p99_ms": half["p99_ms"],
        "saturated_p50_ms": burst["p50_ms"],
        "transactions_per_block": burst["transactions_per_block"],
        "loop_lag_ms_p99": _worst(nodes, "lag_p99_ms"),
        "loop_lag_ms_max": _worst(nodes, "lag_max_ms"),
        "loop_held_ms_p99": _worst(nodes, "held_p99_ms"),
        "loop_held_ms_max": _worst(nodes, "held_max_ms"),
        "rss_mb_max": _worst(nodes, "rss_mb_max"),
        "node_cpu_share": sum(one.get("cpu_share") or 0.0 for one in nodes),
        "driver": {"saturated": burst["driver"], "half": half["driver"]},
        "refused": burst["refused"] | half["refused"],
        "not_taken": burst["not_taken"] | half["not_taken"],
        "lost": burst["lost"] + half["lost"],
    }


def _worst(nodes: list[dict[str, Any]], figure: str) -> float | None:
    return max((one[figure] for one in nodes if one.get(figure) is not None), default=None)
