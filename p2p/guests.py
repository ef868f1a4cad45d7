"""Guests: what a caller is told that it is here, and how many strangers are served at once."""

import asyncio
from typing import Final

from p2p.config import NetworkConfig
from p2p.peers import REASON_REPLACED, REASON_TOO_MANY_GUESTS, PeerTable

WELCOME_MEMBER: Final = b"\x01"
WELCOME_GUEST: Final = b"\x00"
SAME_KEY_MAX: Final = 2


def make_room(table: PeerTable, config: NetworkConfig, pin: bytes) -> bool:
    """Whether one more guest may come; the one that has stayed longest may have to go for it.

    Strangers who never leave would otherwise keep out the one who needs to catch up. A key is a
    guest twice at the most: a node whose new key is not known here yet dials, and visits.
    """
    guests = list(table.guests.values())
    same = [guest.link for guest in guests if guest.link.pin == pin and not guest.link.is_closing]
    for link in same[: len(same) - (SAME_KEY_MAX - 1)]:
        link.close(REASON_REPLACED)
    present = [guest.link for guest in guests if not guest.link.is_closing]
    if len(present) < config.guests_max:
        return True
    oldest = min(present, key=lambda link: link.opened_at)
    stayed_s = asyncio.get_running_loop().time() - oldest.opened_at
    if stayed_s * 1000 < config.guest_stay_ms:
        return False
    oldest.close(REASON_TOO_MANY_GUESTS)
    return True
