"""The collector of a node: what is there at the start is left alone, the rest rarely disturbed."""

import subprocess
import sys

SCRIPT = """
import gc
from shell.garbage import THRESHOLDS, calm_collector
kept = [[] for _ in range(1_000)]
calm_collector()
assert gc.get_freeze_count() > 1_000
assert gc.get_threshold() == THRESHOLDS
assert gc.isenabled()
"""


def test_a_calm_collector_leaves_out_what_is_there_and_looks_through_the_rest_less_often() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True)

    assert done.returncode == 0, done.stderr.decode()
