"""Times as people write them: `until` a date, or in so many days, hours or minutes."""

import re
from datetime import UTC, datetime
from typing import Final

from commands.output import Exit, fail

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_time_ms(text: str | None, *, now_ms: int, option: str) -> int | None:
    """Return Unix milliseconds for `7d`, `12h`, `2026-12-24` or `2026-12-24T18:00`; None for None.

    Dates without a zone are UTC. Anything else ends the command.
    """
    if text is None:
        return None
    relative = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if relative:
        return now_ms + int(relative[1]) * _UNITS_MS[relative[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(
            Exit.USAGE,
            "time.form",
            f"{option} {text!r} is no time: write 7d, 12h, 2026-12-24 or 2026-12-24T18:00",
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def time_text(time_ms: int) -> str:
    """Return a time for people: UTC, to the second."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
