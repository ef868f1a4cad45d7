"""`medledger sim`: run seeds, or replay one of them to the event.

    python -m tests.simulation run --seeds 100 --first-seed 0 --workers 2
    python -m tests.simulation replay 4821
    python -m tests.simulation replay artifacts/simulation/seed-4821.json

The last line of `run` is exactly `N passed, M failed`. Exit status 0 if nothing failed, 1 if
something did, 2 for wrong usage.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from tests.simulation.byzantine import BEHAVIOURS, DIRECTED
from tests.simulation.histories import HAPPENINGS, draw_history
from tests.simulation.members import KINDS
from tests.simulation.report import ARTIFACTS, write_events
from tests.simulation.run import (
    Outcome,
    load_history,
    run_seeds,
    run_watched,
    save_history,
)
from tests.simulation.shrink import shrink

PROGRESS_EVERY = 50


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sim", description="Whole replicas on virtual time.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="run a range of seeds")
    running.add_argument("--seeds", type=int, default=100, help="how many (100)")
    running.add_argument("--first-seed", type=int, default=0, help="the first one (0)")
    running.add_argument("--workers", type=int, default=1, help="processes side by side (1)")
    again = verbs.add_parser("replay", help="run one seed, or a saved history, again")
    again.add_argument("what", help="a seed, or the file that a failing run named")
    told = parser.parse_args(arguments)
    if told.verb == "replay":
        return replay(told.what)
    if told.seeds < 1 or told.workers < 1:
        parser.error("--seeds and --workers: at least 1, or nothing is tested")
    return run(range(told.first_seed, told.first_seed + told.seeds), told.workers)


def run(seeds: range, workers: int) -> int:
    """Run the seeds; report every failure as it comes, and the whole at the end."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in run_seeds(seeds, workers):
        outcomes.append(outcome)
        if outcome.violation:
            report_failure(outcome)
        if len(outcomes) % PROGRESS_EVERY == 0:
            print(f"{len(outcomes)} of {len(seeds)} seeds", flush=True)
    failed = sum(bool(one.violation) for one in outcomes)
    print_table(outcomes, time.monotonic() - began)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed else 0


def report_failure(outcome: Outcome) -> None:
    """Say which seed failed and how; leave its events and the smallest history that fails so."""
    history = draw_history(outcome.seed)
    print(f"seed {outcome.seed} ({outcome.replicas} replicas): {outcome.violation}", flush=True)
    smallest = shrink(history, outcome)
    smaller_outcome, cluster = run_watched(smallest)
    path = ARTIFACTS / f"seed-{outcome.seed}.json"
    save_history(smallest, smaller_outcome, path)
    write_events(cluster, path.with_suffix(".events.jsonl"))
    kept = f"{len(smallest.faults)} of {len(history.faults)} faults"
    print(f"  smallest: {kept}, {smaller_outcome.events} of {outcome.events} events: {path}")
    print(f"  replay:   medledger sim replay {outcome.seed}   or   {path}", flush=True)


def replay(what: str) -> int:
    """Run a seed or a saved history; say whether it came to the same, to the event."""
    if what.isdigit():
        history, saved = draw_history(int(what)), None
    elif Path(what).is_file():
        history, saved = load_history(Path(what))
    else:
        print(f"{what} is neither a seed nor a file that a failing run left", file=sys.stderr)
        return 2
    outcome, cluster = run_watched(history)
    path = ARTIFACTS / f"replay-{history.seed}.events.jsonl"
    write_events(cluster, path)
    print_table([outcome], outcome.cpu_s)
    print(f"events written to {path}; fingerprint {outcome.fingerprint[:16]}")
    print(outcome.violation or "every invariant was kept")
    if saved is not None:
        same = saved["fingerprint"] == outcome.fingerprint
        print("the same to the event" if same else "NOT the same events as when it was saved")
        return 0 if same else 1
    return 1 if outcome.violation else 0


def print_table(outcomes: list[Outcome], wall_s: float) -> None:
    """Print what was injected and what came of it."""
    cpu_s = sum(one.cpu_s for one in outcomes)
    events = [one.events for one in outcomes]
    heights = [one.heights for one in outcomes]
    classes = [*HAPPENINGS, *BEHAVIOURS, *DIRECTED, *KINDS]
    faults = _total(one.faults for one in outcomes)
    for title, counted in (
        ("faults and liars", {**dict.fromkeys(classes, 0), **faults}),
        ("clients", _total(one.clients for one in outcomes)),
        ("violations", Counter(one.name for one in outcomes if one.violation)),
    ):
        print(f"{title}:")
        for name, count in sorted(counted.items(), key=lambda one: (-one[1], one[0])):
            print(f"  {count:>7}  {name}")
    complained = sum(one.faults["left for complaints"] > 0 for one in outcomes)
    print(f"histories in which complaints replaced a primary: {complained}")
    print("histories by replicas:", dict(sorted(Counter(one.replicas for one in outcomes).items())))
    print(f"events:       {sum(events):>9}, median {median(events):.0f} a history")
    print(f"heights:      {sum(heights):>9}, median {median(heights):.0f} a history")
    print(f"acknowledged: {sum(one.acknowledged for one in outcomes):>9} transactions")
    print(f"wall time:    {wall_s:>9.1f} s; {sum(events) / max(cpu_s, 0.001):.0f} events/s a core")


def _total(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counters:
        total.update(one)
    return total


if __name__ == "__main__":
    logging.disable()  # Nodes that are killed, wiped and torn have much to say.
    sys.exit(main(sys.argv[1:]))
