"""`make model`: search everything within the stated bounds and say how much that was.

    python -m tests.model             the stated bounds, two to ten minutes
    python -m tests.model --wide      larger ones beside them, half an hour or so
    python -m tests.model --only 3    one search of the list

Exit status 0 if every search was complete and nothing is broken. A violation prints the shortest
way to it as a script, and writes that to artifacts/model.
"""

import sys
import time
from pathlib import Path

from tests.model.bounds import Bounds
from tests.model.explore import Result, explore
from tests.model.paths import write_script

SEARCHES = (
    Bounds(byzantine=2),
    Bounds(byzantine=2, heights=1, restarts=1),
    *(Bounds(byzantine=liar, view_max=0, restarts=1, executes_apart=True) for liar in (0, 1, 2)),
    Bounds(byzantine=2, leaves=True),
)
WIDE = tuple(Bounds(byzantine=liar, heights=1, restarts=1) for liar in (0, 1))
"""The liar may be either primary, with a restart: 1.8 million states."""
SCRIPTS = Path("artifacts/model")


def main(arguments: list[str]) -> int:
    searches = [*SEARCHES, *(WIDE if "--wide" in arguments else ())]
    if "--only" in arguments:
        searches = [searches[int(arguments[arguments.index("--only") + 1])]]
    broken, states = 0, 0
    for bounds in searches:
        began = time.monotonic()
        result = explore(bounds)
        print(sentence(result, time.monotonic() - began), flush=True)
        states += result.states
        broken += not result.is_complete
        if result.violation is not None:
            path = write_script(result, SCRIPTS)
            print(path.read_text(encoding="utf-8"))
            print(f"written to {path}")
    print(f"{len(searches)} searches, {states:,} distinct states, {broken} broken")
    return 1 if broken else 0


def sentence(result: Result, seconds: float) -> str:
    ended = "complete" if result.is_complete else result.violation or "cut short"
    decided = ", ".join(f"h{height} in v{view}" for height, view in sorted(result.decided))
    return (
        f"{result.bounds}: {ended}; {result.states:,} distinct states, depth {result.depth}, "
        f"{result.transitions:,} transitions, {result.replica_states:,} replica states, "
        f"{seconds:.0f} s; decided {decided or 'nothing'}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
