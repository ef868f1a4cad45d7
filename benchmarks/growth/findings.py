"""What a measurement of growth has found, as a file: rows of one kind, and where they come from."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import origin

SCHEMA: Final = 1
FILE: Final = "growth.json"


def save_findings(
    out: Path, what: str, asked: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write `growth.json`, whole or not at all; `asked` are the parameters of the measurement."""
    commit, is_dirty = origin.commit()
    findings = {
        "schema": SCHEMA,
        "what": what,
        "asked": dict(asked),
        "commit": commit,
        "dirty": is_dirty,
        "written_ms": time.time_ns() // 1_000_000,
        "machine": origin.machine(),
        "versions": origin.versions(),
        "rows": [dict(row) for row in rows],
    }
    partial = out / f"{FILE}.partial"
    partial.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out / FILE)
