"""The nemesis: real nodes under load, tormented for a while, and a checker that forgets nothing.

    python -m tests.integration.soak --minutes 30 [--seed 7] [--rounds 4+,5,7+,6] [--out FILE]

Each round is a consortium of its own size and gets its share of the time; in those marked `+` the
last node is a liar. Ends with a table; the exit status is 0 if every promise was kept.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

from tests.integration.load import register_lanes, running_load
from tests.integration.soak.arena import (
    BASE_TIMEOUT_MS,
    TIMEOUT_CAP_MS,
    Arena,
    Report,
    heal,
    measure_recovery,
    open_arena,
    wait_heights,
)
from tests.integration.soak.checker import check_round
from tests.integration.soak.faults import FAULTS, storm
from tests.integration.soak.rights_watch import prepare, watch

LANES = 6
STORM_S_MAX = 8.0
CALM_S = 2.0
"""Between two storms, for the load to show that all is well again."""

ROUND_S_MIN = 45.0


async def soak(
    report: Report, minutes: float, rounds: list[str], seed: int, directory: Path
) -> None:
    """Give every round its share of the time, as many as fit with a useful share each."""
    fitting = max(1, int(minutes * 60 // ROUND_S_MIN))
    chosen = rounds[:fitting]
    for number, one in enumerate(chosen):
        count, has_liar = int(one.rstrip("+")), one.endswith("+")
        print(f"round {number + 1}: {count} nodes{', one lies' if has_liar else ''}", flush=True)
        async with open_arena(
            directory / f"round-{number}",
            count,
            seed=seed,
            report=report,
            has_liar=has_liar,
        ) as arena:
            await round_of(arena, seconds=minutes * 60 / len(chosen))


async def round_of(arena: Arena, *, seconds: float) -> None:
    consortium = arena.consortium
    orgs = [arena.members[index].org for index in arena.correct]
    await register_lanes(consortium, orgs[0], lanes=LANES)
    shared = await prepare(arena, consortium.directory)
    await wait_heights(arena, consortium.registered_height + 1, timeout_s=60)
    ending = asyncio.Event()
    began = time.monotonic()
    async with running_load(consortium, orgs, lanes=LANES) as load:
        watching = asyncio.create_task(watch(arena, shared, ending))
        while time.monotonic() - began < seconds:
            await storm(arena, seconds_max=STORM_S_MAX)
            await heal(arena)
            await measure_recovery(arena)
            await asyncio.sleep(CALM_S)
            if watching.done():
                await watching  # It ends early for a violation only.
            print(f"  {len(load.acknowledged)} acknowledged, {summary(arena.report)}", flush=True)
        ending.set()
        await watching
    await wait_heights(
        arena, max(place[0] for place in load.acknowledged.values()) + 1, timeout_s=60
    )
    await check_round(arena, load)


def summary(report: Report) -> str:
    return f"{sum(report.faults.values())} faults, {report.reads} reads"


def table(report: Report, *, minutes: float) -> str:
    rows = [f"{'fault':<22}{'injected':>10}"]
    rows += [f"{fault.name:<22}{report.faults[fault.name]:>10}" for fault in FAULTS]
    rows += [
        "",
        f"minutes                         {minutes:g}",
        f"blocks                          {report.blocks}",
        f"transactions acknowledged       {report.acknowledged}",
        f"looked up at the end            {report.checked}: {report.lost} lost or elsewhere,"
        f" {report.doubled} there twice",
        f"reads                           {report.reads}",
        f"asked past max_staleness        {report.late_tries}, served {report.served_late}",
        f"evidence against the liar       {report.evidence}",
        f"healings                        {len(report.stalls_ms)},"
        f" {report.late_healings} with more than (f + 2) capped timeouts to the first block",
        f"longest stall after healing     {max(report.stalls_ms, default=0)} ms to the first block,"
        f" {max(report.levels_ms, default=0)} ms until all have it",
        f"timeouts                        base {BASE_TIMEOUT_MS} ms, cap {TIMEOUT_CAP_MS} ms",
    ]
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Torment real nodes and check what they promised.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=time.time_ns() // 1_000_000_000)
    parser.add_argument("--rounds", default="4+,5,7+,6", help="nodes of each round; + has a liar")
    parser.add_argument("--out", type=Path, help="keep the numbers as JSON")
    wanted = parser.parse_args()
    rounds = wanted.rounds.split(",")
    print(f"seed {wanted.seed}", flush=True)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        try:
            asyncio.run(soak(report, wanted.minutes, rounds, wanted.seed, Path(folder)))
        except AssertionError as problem:
            print(f"FAILED, seed {wanted.seed}: {problem}", flush=True)
            report.broken.append(str(problem))
    print(table(report, minutes=wanted.minutes))
    if wanted.out is not None:
        wanted.out.parent.mkdir(parents=True, exist_ok=True)
        numbers = {one.name: getattr(report, one.name) for one in fields(report)}
        wanted.out.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    faults = sum(report.faults.values())
    print(
        f"{faults} faults injected, {report.acknowledged} acknowledged, {len(report.broken)} broken"
    )
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
