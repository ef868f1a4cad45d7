"""Who is connected with whom where members change, and visits of those whom nobody expects.

A node's network knows what `shell.membership` tells it: whom to expect under which TLS keys, and
what to show. Two nodes are linked while each expects the other under the key that it shows.
Whoever is cut off visits: it takes decided blocks from anybody at any address that it has heard of.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consensus.messages import FETCH_COUNT_MAX, Blocks, Status, decode_message
from crypto.errors import DecodeError
from crypto.validators import ReplicaId
from ledger.nodes import get_nodes
from p2p.config import PeerAddress
from p2p.identity import Identity
from shell.visits import STALE_S
from tests.simulation.host import Host, Raw, blocks_from, take_visited
from tests.simulation.ledger_application import ledger_of

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

VISIT_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Visit:
    """Asks whoever listens at an address for decided blocks from a height on."""

    from_height: int


@dataclass(frozen=True, slots=True)
class Visited:
    """What a visitor is given."""

    answer: Blocks | Raw


@dataclass(slots=True, kw_only=True)
class Links:
    """What stands for the network of one node, as `shell.membership` uses it.

    `shown` is the pin of its TLS key, `expected` the pins of each peer; `self_id` is None while
    nobody expects it. `statuses` are the last that came, with when. `seen_height` and `moved_ms`
    say when the tip was last seen to move; `asked` counts visits.
    """

    host: Host
    shown: bytes
    self_id: int | None = None
    expected: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    statuses: dict[int, tuple[Status, int]] = field(default_factory=dict)
    seen_height: int = -1
    moved_ms: int = 0
    asked: int = 0

    def set_identity(self, identity: Identity) -> None:
        self.shown = identity.pin

    def set_peers(self, peers: tuple[PeerAddress, ...], *, self_id: int | None) -> None:
        self.self_id = self_id
        self.expected = {
            one.peer_id: (one.pin,) if one.other_pin is None else (one.pin, one.other_pin)
            for one in peers
            if one.peer_id != self.host.replica
        }
        self.host.peers = tuple(ReplicaId(one) for one in self.expected)


def are_linked(one: Links, other: Links) -> bool:
    return one.shown in other.expected.get(one.host.replica, ()) and (
        other.shown in one.expected.get(other.host.replica, ())
    )


def keep_visiting(cluster: "Cluster", links: Links) -> None:
    """Look now and then whether a node is cut off, and let it visit the next address if so."""
    host = links.host

    def look() -> None:
        keep_visiting(cluster, links)
        if host.state is None or not _is_cut_off(cluster, links):
            return
        known = [one.index for one in get_nodes(ledger_of(host).running.chain.view())]
        known = sorted({*known, *range(cluster.founders)} - {host.replica})
        if known:
            links.asked += 1
            to = known[links.asked % len(known)]
            cluster.carry(host.replica, to, Visit(host.application.height + 1))

    cluster.at(VISIT_MS, "look for links", look, moves=host.seat)


def _is_cut_off(cluster: "Cluster", links: Links) -> bool:
    """Whether the links may not bring the next block (`shell.visits.is_cut_off`)."""
    chain = ledger_of(links.host).running.chain
    if chain.tip.height != links.seen_height:
        links.seen_height, links.moved_ms = chain.tip.height, cluster.now
    if links.self_id is None:
        return True
    members = [one.index for one in chain.next_set.members if one.index != links.host.replica]
    if not members:
        return False
    linked = sum(
        cluster.hosts[one].state is not None and are_linked(links, cluster.links[one])
        for one in members
    )
    stale_ms = STALE_S * 1_000 + 3 * chain.next_pace.idle_block_ms
    is_stale = cluster.now - links.moved_ms > stale_ms
    return linked < min(chain.quorum().weak, len(members)) or is_stale


def take_visit(cluster: "Cluster", host: Host, visitor: int, parcel: Visit | Visited) -> None:
    """Answer a visit, or take its answer."""
    if host.state is None:
        return
    if isinstance(parcel, Visit):
        answer = blocks_from(host, parcel.from_height, FETCH_COUNT_MAX)
        behaviour = cluster.behaviours.get(host.replica)
        told = (
            [answer] if behaviour is None else behaviour.rewrite(host, ReplicaId(visitor), answer)
        )
        for one in told:
            if isinstance(one, Blocks | Raw):
                cluster.carry(host.replica, visitor, Visited(one))
        return
    try:
        message = (
            decode_message(parcel.answer.encoded)
            if isinstance(parcel.answer, Raw)
            else parcel.answer
        )
    except DecodeError:
        host.invalid += 1
        return
    if isinstance(message, Blocks) and message.blocks:
        take_visited(host, message)
