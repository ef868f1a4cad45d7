"""Whom a node answers who is none of its peers: guests, who take certified blocks, nothing else.

Certified blocks prove themselves, so giving them to everybody would harm no node. But they hold
pseudonyms and rights: unless `node.toml` says otherwise they are for known keys only, those that
the ledger has ever named for a node that was not removed since: a learner's, and those of a member
whose keys changed while it slept.
"""

from dataclasses import dataclass, field
from typing import Final

from crypto.validators import ReplicaId
from ledger.contracts.governance import get_epoch, get_latest_epoch
from ledger.nodes import NodeStanding, get_nodes
from ledger.state import StateView
from shell.chain import Chain
from shell.kinds import Kind

GUEST_KINDS: Final = frozenset({int(Kind.FIND_BLOCK)})
"""What a guest may ask: certified data alone."""


@dataclass(slots=True, kw_only=True)
class Former:
    """The TLS pins of every node in the sets of the first `epochs` epochs: what was, stays."""

    epochs: int = 0
    pins: dict[ReplicaId, set[bytes]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Welcome:
    """Which keys are guests: `pins` are those that the ledger named at the tip of `height`."""

    chain: Chain
    is_open: bool = False
    height: int = -1
    pins: frozenset[bytes] = frozenset()
    former: Former = field(default_factory=Former)


def answer_guest(welcome: Welcome, pin: bytes) -> frozenset[int] | None:
    """Return what the holder of an unexpected key may ask; None: nothing (`GuestPolicy`)."""
    if welcome.is_open:
        return GUEST_KINDS
    if welcome.height != welcome.chain.tip.height:
        welcome.height = welcome.chain.tip.height
        welcome.pins = known_pins(welcome.chain.view(), welcome.former)
    return GUEST_KINDS if pin in welcome.pins else None


def known_pins(view: StateView, former: Former) -> frozenset[bytes]:
    """Return every TLS pin that the ledger names, or named, for a node that is not removed.

    Only epochs that `former` does not know yet are read: whoever calls makes this node look again
    with every block.
    """
    _read_epochs(view, former)
    pins: set[bytes] = set()
    for node in get_nodes(view):
        if node.standing is not NodeStanding.REMOVED:
            pins |= {node.tls_pin, *former.pins.get(node.index, ())}
            if node.former_tls_pin is not None:
                pins.add(node.former_tls_pin)
    return frozenset(pins)


def _read_epochs(view: StateView, former: Former) -> None:
    for number in range(former.epochs, get_latest_epoch(view).epoch + 1):
        entry = get_epoch(view, number)
        assert entry is not None, "every epoch has an entry"
        for member in entry.validators.members:
            former.pins.setdefault(member.index, set()).add(member.tls_pin)
        former.epochs = number + 1
