"""What waits in a pool, since when, and what of it a primary owes.

A pool that holds what another one holds is near its bounds where the other is at them. So what an
account or a lane near its bound has here may have been turned away there, and no primary owes it
before that has passed.
"""

from collections.abc import Callable
from typing import Final

from ledger.crowding import WHOLE_LANE
from ledger.pool import SHARES_PERCENT, Entry, Pool, is_admissible

ROOM_PARTS: Final = 8
"""A lane is near its bound with less room than the whole pool's divided by this."""


def note_crowded(pool: Pool, now_ms: int) -> None:
    """Remember which accounts and lanes are near their bounds now; called often."""
    seen_ms, limits = pool.crowding.seen_ms, pool.limits
    seen_ms.update(dict.fromkeys(pool.crowding.near, now_ms))
    for lane in SHARES_PERCENT:
        count, size_bytes = pool.room(lane)
        is_short = count < limits.transactions_max // ROOM_PARTS
        if is_short or size_bytes < limits.bytes_max // ROOM_PARTS:
            seen_ms[lane, WHOLE_LANE] = now_ms


def waiting_since_ms(pool: Pool, time_ms: int) -> int | None:
    """Return since when the oldest transaction valid at `time_ms` could have been in a block.

    One that was offered early waits only from the beginning of its window on.
    """
    return _oldest_ms(pool, time_ms, _waits_since_ms)


def owed_since_ms(pool: Pool, time_ms: int) -> int | None:
    """Return since when the oldest waits that every correct primary must have had room for."""
    return _oldest_ms(pool, time_ms, lambda entry: _owed_since_ms(pool, entry))


def owed_between(pool: Pool, since_ms: int, before_ms: int, *, limit: int) -> tuple[Entry, ...]:
    """Return up to `limit` entries that are owed since a time in this range, oldest first."""
    found: list[Entry] = []
    for entry in pool.entries():
        if entry.added_ms >= before_ms or len(found) == limit:
            break
        if since_ms <= _owed_since_ms(pool, entry) < before_ms:
            found.append(entry)
    return tuple(found)


def count_admissible(pool: Pool, time_ms: int, *, limit: int) -> int:
    """Return how many entries are valid at `time_ms`, at most `limit`."""
    count = 0
    for entry in pool.entries():
        if count == limit:
            break
        count += is_admissible(entry.transaction, time_ms)
    return count


def _oldest_ms(pool: Pool, time_ms: int, since: Callable[[Entry], int]) -> int | None:
    oldest_ms: int | None = None
    for lane in SHARES_PERCENT:
        for entry in pool.entries(lane):
            if oldest_ms is not None and entry.added_ms >= oldest_ms:
                break  # Those behind came later still.
            if is_admissible(entry.transaction, time_ms):
                since_ms = since(entry)
                oldest_ms = since_ms if oldest_ms is None else min(oldest_ms, since_ms)
    return oldest_ms


def _waits_since_ms(entry: Entry) -> int:
    return max(entry.added_ms, entry.transaction.body.valid_from_ms)


def _owed_since_ms(pool: Pool, entry: Entry) -> int:
    seen_ms, sender = pool.crowding.seen_ms, entry.transaction.body.sender
    places = (entry.lane, sender), (entry.lane, WHOLE_LANE)
    return max(_waits_since_ms(entry), *(seen_ms.get(place, 0) for place in places))
