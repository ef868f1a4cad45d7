"""Times as people write them: `until` a date, or in so many days, hours or minutes."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from commands.output import Exit, fail
from ledger.words import time_words

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
    return (moment - EPOCH) // timedelta(milliseconds=1)


def time_text(time_ms: int) -> str:
    """Return a time for people, of any year that the ledger can hold: UTC, to the second."""
    return time_words(time_ms).removesuffix(" UTC")
