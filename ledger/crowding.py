"""Which accounts and lanes of a pool are, or lately were, near their bounds."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ledger.contract import Lane

CROWDED_PARTS: Final = 2
"""An account is near its bound with more than its places in a lane divided by this."""

WHOLE_LANE: Final = b""

Place: TypeAlias = tuple[Lane, bytes]
"""An account in a lane, or a whole lane."""


@dataclass(slots=True)
class Crowding:
    """The accounts that are `near` their bound, and when each place was last seen to be.

    `ledger.owed` looks, and judges by it.
    """

    near: dict[Place, None] = field(default_factory=dict)
    seen_ms: dict[Place, int] = field(default_factory=dict)


def count_places(crowding: Crowding, place: Place, count: int, *, count_max: int) -> None:
    """Take in how many places an account holds now; one without any is forgotten."""
    if count > count_max // CROWDED_PARTS:
        crowding.near[place] = None
    else:
        crowding.near.pop(place, None)
    if not count:
        crowding.seen_ms.pop(place, None)
