"""The newest certified height seen, kept in the home: no node can show the chain from before that.

A certificate may be ten minutes old. Without this, whoever ended a right could be shown, by a node
that lies, the state in which it was still in force, and would seal to the one who had it.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from crypto.hashing import ChainId

SEEN_NAME: Final = "seen.json"
SEEN_BYTES_MAX: Final = 64 << 10
HEIGHT_END: Final = 2**63


def load_seen_height(home: Path, chain_id: ChainId) -> int:
    """Return the height kept for a chain, 0 if none is; a damaged file counts as none."""
    height = _load(home).get(chain_id.hex(), 0)
    return height if type(height) is int and 0 <= height < HEIGHT_END else 0


def keep_seen_height(home: Path, chain_id: ChainId, height: int) -> None:
    """Keep a height that a certificate has proven, unless a higher one is kept already."""
    if height <= load_seen_height(home, chain_id):
        return
    text = json.dumps({**_load(home), chain_id.hex(): height})
    descriptor, name = tempfile.mkstemp(dir=home, prefix=f".{SEEN_NAME}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
        Path(name).replace(home / SEEN_NAME)
    finally:
        Path(name).unlink(missing_ok=True)


def _load(home: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError), (home / SEEN_NAME).open("rb") as stream:
        found = json.loads(stream.read(SEEN_BYTES_MAX))
        if isinstance(found, dict):
            return found
    return {}
