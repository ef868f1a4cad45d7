"""Letting a peer rest that has used up its allowance: its connection is not read for a while.

The peer's bytes stay in its own buffers and in the kernel's, so what it floods with costs it, not
us; its link is not broken, and what it has to say in earnest arrives a little later.
"""

import asyncio
from typing import Final

from p2p.network import Network
from shell.allowance import Allowance, pause_s

UNREAD_BYTES: Final = 1 << 40
"""Held against the peer while it rests: more than any limit on what is kept of its input."""


def rest_if_spent(network: Network, peer_id: int, allowance: Allowance) -> None:
    """Stop reading a peer whose allowance is spent, until some of it is there again."""
    rest_s = pause_s(allowance)
    if not rest_s:
        return
    allowance.pauses += 1
    network.hold(peer_id, UNREAD_BYTES)
    loop = asyncio.get_running_loop()
    loop.call_later(rest_s, network.release, peer_id, UNREAD_BYTES)
