"""The peers as this node sees them, and the reasons for which connections end."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from p2p.channel import GOODBYE_PREFIX, Channel
from p2p.config import PeerAddress
from p2p.errors import PeerUnreachable
from p2p.lanes import CONVERSATIONAL, Lane
from p2p.statistics import PeerState, Traffic

REASON_WRONG_PIN: Final = "wrong_pin"
REASON_UNKNOWN_PIN: Final = "unknown_pin"
REASON_SHARED_PIN: Final = "shared_pin"
REASON_OTHER_PROTOCOL: Final = "other_protocol"
REASON_UNREADABLE_KEY: Final = "unreadable_key"
REASON_OWN_KEY: Final = "own_key"
REASON_PENALTY: Final = "penalty"
REASON_TOO_MANY_GUESTS: Final = "too_many_guests"
REASON_REMOVED: Final = "removed"
REASON_REPLACED: Final = "replaced"
REASON_DUPLICATE: Final = "duplicate"
REASON_MEMBER_NOW: Final = "member_now"
REASON_OTHER_KEY: Final = "other_key"
REASON_CLOSING: Final = "closing"

_REFUSALS: Final = frozenset(
    {
        REASON_WRONG_PIN,
        REASON_UNKNOWN_PIN,
        REASON_SHARED_PIN,
        REASON_OTHER_PROTOCOL,
        REASON_UNREADABLE_KEY,
        REASON_OWN_KEY,
        REASON_PENALTY,
        REASON_TOO_MANY_GUESTS,
        REASON_REMOVED,
    }
)
"""Ends that will repeat themselves until somebody changes something."""


@dataclass(slots=True, kw_only=True)
class Peer:
    """A member as this node sees it.

    `slots` bound what is asked of it at once, `held_bytes` is what the node keeps of its input,
    `source` where it last came from, `barred_until` (monotonic) the end of a penalty.
    """

    address: PeerAddress
    slots: dict[Lane, asyncio.Semaphore]
    traffic: Traffic = field(default_factory=Traffic)
    channel: Channel | None = None
    state: PeerState = PeerState.CONNECTING
    reason: str = ""
    since_ms: int = 0
    held_bytes: int = 0
    source: str | None = None
    barred_until: float = 0.0


@dataclass(slots=True, kw_only=True)
class PeerTable:
    """Peers by id and by pin, guests by their negative ids, and connections refused by reason."""

    by_id: dict[int, Peer] = field(default_factory=dict)
    by_pin: dict[bytes, Peer] = field(default_factory=dict)
    guests: dict[int, Channel] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)


def replace_addresses(
    table: PeerTable, addresses: Iterable[PeerAddress], *, own_pin: bytes, slots: int
) -> list[Peer]:
    """Take another set of members and return those that are no longer in it.

    Of two members that claim one key the lower keeps it; the ledger should not let it happen.
    """
    wanted = {address.peer_id: address for address in addresses}
    gone = [table.by_id.pop(peer_id) for peer_id in sorted(table.by_id.keys() - wanted.keys())]
    table.by_pin = {}
    for peer_id in sorted(wanted):
        peer = table.by_id.get(peer_id)
        if peer is None:
            peer = table.by_id[peer_id] = _make_peer(wanted[peer_id], slots)
        peer.address = wanted[peer_id]
        for pin in peer.address.pins:
            if pin == own_pin or pin in table.by_pin:
                note_end(peer, REASON_SHARED_PIN)
            else:
                table.by_pin[pin] = peer
    return gone


def channel_to(table: PeerTable, peer_id: int) -> Channel:
    """Return the open channel to a member; raise `PeerUnreachable` if there is none."""
    peer = table.by_id.get(peer_id)
    if peer is None:
        raise PeerUnreachable(f"no member {peer_id}")
    if peer.channel is None:
        raise PeerUnreachable(f"member {peer_id}: {peer.reason or 'not connected'}")
    return peer.channel


def slot_of(table: PeerTable, peer_id: int, lane: Lane) -> asyncio.Semaphore:
    """Return what bounds the conversations begun with a member; raise `PeerUnreachable`."""
    peer = table.by_id.get(peer_id)
    if peer is None:
        raise PeerUnreachable(f"no member {peer_id}")
    assert lane in peer.slots, "messages are not requests"
    return peer.slots[lane]


def note_end(peer: Peer, reason: str) -> None:
    """Record why there is no connection to a peer, unless there is another."""
    if peer.channel is None:
        is_refusal = reason.removeprefix(GOODBYE_PREFIX) in _REFUSALS
        _set_state(peer, PeerState.REFUSED if is_refusal else PeerState.CONNECTING, reason)


def note_connected(peer: Peer) -> None:
    peer.traffic.connections += 1
    _set_state(peer, PeerState.CONNECTED, "")


def _make_peer(address: PeerAddress, slots: int) -> Peer:
    return Peer(
        address=address,
        slots={lane: asyncio.Semaphore(slots) for lane in CONVERSATIONAL},
        since_ms=_now_ms(),
    )


def _set_state(peer: Peer, state: PeerState, reason: str) -> None:
    if peer.state is not state:
        peer.since_ms = _now_ms()
    peer.state, peer.reason = state, reason


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
