"""Sweeping: every minute, what nothing names any more leaves the disk.

Blobs fetched for a reader go when the read entry has expired, blobs that no record ever named after
a day, sidecars when no state entry names them and no undecided proposal needs them.
"""

import asyncio
from typing import Final

from shell.blobs import Blobs, sweep_once
from shell.sidecars import Sidecars, sweep_sidecars_once

SWEEP_S: Final = 60
SIDECARS_KEPT_MS: Final = 3_600_000
"""Sidecars younger than this may belong to transactions that no block holds yet."""


async def keep_sweeping(blobs: Blobs, sidecars: Sidecars) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await asyncio.to_thread(sweep_once, blobs)
        before_ms = blobs.clock.now_ms() - SIDECARS_KEPT_MS
        await sweep_sidecars_once(sidecars, before_ms=before_ms)
