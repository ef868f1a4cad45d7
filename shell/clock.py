"""The node's clock: the one place of the shell that asks the operating system what time it is."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Unix time in milliseconds; `offset_ms` lets a test node run ahead or behind."""

    offset_ms: int = 0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms
