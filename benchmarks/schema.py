"""The form of `results.json`, which everything that reads results relies on.

`FIELDS` name what has to be there and of which type; more may be. `docs/benchmarks.md` explains
every field; a test holds the page and real results to this table.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import ResultsInvalid

SCHEMA: Final = 1
FILE: Final = "results.json"

NUMBER: Final = (int, float)
MAYBE_NUMBER: Final = (int, float, type(None))

FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "schema": (int,),
    "title": (str,),
    "workload": (dict,),
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
    "started_ms": (int,),
    "machine": (dict,),
    "versions": (dict,),
    "seed": (int,),
    "network": (dict,),
    "t_verify_us": (dict,),
    "interrupted": (bool,),
    "knee": (dict, type(None)),
    "crypto_us": (dict,),
    "transfers": (list,),
    "runs": (list,),
}
RUN_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "name": (str,),
    "offered_tps": MAYBE_NUMBER,
    "repetition": (int,),
    "seconds": NUMBER,
    "warmup_s": NUMBER,
    "is_whole": (bool,),
    "tps": NUMBER,
    "efficiency": MAYBE_NUMBER,
    "committed": (int,),
    "refused": (dict,),
    "not_taken": (dict,),
    "lost": (int,),
    "p50_ms": MAYBE_NUMBER,
    "p95_ms": MAYBE_NUMBER,
    "p99_ms": MAYBE_NUMBER,
    "max_ms": MAYBE_NUMBER,
    "histogram": (str,),
    "histogram_file": (str,),
    "blocks": (int,),
    "transactions_per_block": (dict,),
    "driver": (dict,),
    "per_transaction": (dict,),
    "nodes": (list,),
    "series": (list,),
    "node_series": (list,),
    "events": (list,),
}


def check_results(results: Any, source: str) -> None:
    """Raise `ResultsInvalid` with the first field that is not as the table says."""
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise ResultsInvalid(f"{source} is no results file of schema {SCHEMA}")
    _check_fields(results, FIELDS, source)
    for number, row in enumerate(results["runs"]):
        if not isinstance(row, dict):
            raise ResultsInvalid(f"{source}: runs[{number}] is no table")
        _check_fields(row, RUN_FIELDS, f"{source}: runs[{number}]")


def load_results(path: Path) -> dict[str, Any]:
    """Return the results in a file or a run's directory; raise `ResultsInvalid`."""
    file = path / FILE if path.is_dir() else path
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ResultsInvalid(f"{file} cannot be read as results: {problem}") from problem
    check_results(results, str(file))
    return dict(results)


def save_results(out: Path, results: dict[str, Any]) -> None:
    """Write `results.json`, whole or not at all."""
    check_results(results, FILE)
    partial = out / f"{FILE}.partial"
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out / FILE)


def _check_fields(
    table: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], source: str
) -> None:
    for name, kinds in fields.items():
        if name not in table:
            raise ResultsInvalid(f"{source}: `{name}` is missing")
        value = table[name]
        is_kind = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
        if not is_kind:
            raise ResultsInvalid(f"{source}: `{name}` is {value!r}, of no type it may have")
