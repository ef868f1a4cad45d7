"""`make planted`: switch on every planted bug in turn, and show that it is found.

    python -m tests.planted                   all of them
    python -m tests.planted "quorum 2f" ...   these only
    python -m tests.planted --list

Exit status 0 if every one is found and nothing is found without it.
"""

import logging
import sys
import time

from tests.planted.registry import Planted, all_planted, find_planted, is_right


def main(arguments: list[str]) -> int:
    planted = all_planted()
    if arguments == ["--list"]:
        for one in planted:
            print(f"{one.where:<11} {one.within:<14} {one.name}")
        return 0
    unknown = sorted(set(arguments) - {one.name for one in planted})
    if unknown:
        print(f"no planted bug is called {unknown[0]!r}; --list names them", file=sys.stderr)
        return 2
    chosen = [one for one in planted if not arguments or one.name in arguments]
    found = sum(show(one) for one in chosen)
    print(f"{len(chosen)} planted, {found} found")
    return 0 if found == len(chosen) else 1


def show(planted: Planted) -> bool:
    """Search with the bug, then without it; say how it went."""
    began = time.monotonic()
    found = find_planted(planted)
    clean = (planted.search_clean or planted.search)()
    right = is_right(planted, found) and clean is None
    spent = time.monotonic() - began
    print(f"{'found' if right else 'MISSED':<7} {planted.where:<11} {planted.name} ({spent:.1f} s)")
    if found is None:
        print(f"        not found within {planted.within}")
    else:
        print(f"        {found.at} of {planted.within}: {found.violation}")
    if clean is not None:
        print(f"        and without the bug, {clean.at}: {clean.violation}")
    sys.stdout.flush()
    return right


if __name__ == "__main__":
    logging.disable()  # Nodes that are killed, wiped and torn have much to say.
    sys.exit(main(sys.argv[1:]))
