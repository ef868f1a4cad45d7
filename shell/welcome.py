"""Whom a node answers who is none of its peers: guests, who take certified blocks, nothing else.

Certified blocks prove themselves, so giving them to everybody would harm no node. But they hold
pseudonyms and rights: unless `node.toml` says otherwise they are for known keys only, those that
the ledger has ever named for a node that was not removed since: a learner's, and those of a member
whose keys changed while it slept.
"""

from dataclasses import dataclass
from typing import Final

from crypto.schema import decode
from ledger.contracts.governance import EPOCH_PREFIX, EpochEntry, get_latest_epoch
from ledger.nodes import NodeStanding, get_nodes
from ledger.state import StateView
from shell.chain import Chain
from shell.kinds import Kind

GUEST_KINDS: Final = frozenset({int(Kind.FIND_BLOCK)})
"""What a guest may ask: certified data alone."""

EPOCHS_MAX: Final = 4_096


@dataclass(slots=True, kw_only=True)
class Welcome:
    """Which keys are guests: `pins` are those that the ledger named at the tip of `height`."""

    chain: Chain
    is_open: bool = False
    height: int = -1
    pins: frozenset[bytes] = frozenset()


def answer_guest(welcome: Welcome, pin: bytes) -> frozenset[int] | None:
    """Return what the holder of an unexpected key may ask; None: nothing (`GuestPolicy`)."""
    if welcome.is_open:
        return GUEST_KINDS
    if welcome.height != welcome.chain.tip.height:
        welcome.height = welcome.chain.tip.height
        welcome.pins = known_pins(welcome.chain.view())
    return GUEST_KINDS if pin in welcome.pins else None


def known_pins(view: StateView) -> frozenset[bytes]:
    """Return every TLS pin that the ledger names, or named, for a node that is not removed."""
    staying = {node.index: node for node in get_nodes(view) if not _is_removed(node.standing)}
    pins = {node.tls_pin for node in staying.values()}
    pins |= {node.former_tls_pin for node in staying.values() if node.former_tls_pin is not None}
    if get_latest_epoch(view).epoch:  # Without a change, the nodes say it all.
        for _, encoded in view.scan(EPOCH_PREFIX, limit=EPOCHS_MAX):
            members = decode(EpochEntry, encoded).validators.members
            pins |= {member.tls_pin for member in members if member.index in staying}
    return frozenset(pins)


def _is_removed(standing: NodeStanding) -> bool:
    return standing is NodeStanding.REMOVED
