"""Following the replica set: who is connected under which keys, and as whom this node takes part.

After every block the set of the height after the next is known. Whoever is in the set of the tip,
of the next height or of the one after is a peer, and so is a learner: a new member has long been
dialled when it votes, and a removed one is served until the first block of the epoch without it is
decided. A member whose TLS key changes is expected under both keys for as long as the ledger says.
A node that is none of these has no peers: it visits (`shell.visits`). One that has joined knows
those that its invite names until the chain here has come as far, and then those of its ledger: they
take it for a peer as soon as the ledger names it to them, and it needs them for a snapshot.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crypto.signatures import public_key
from crypto.validators import ReplicaId, ValidatorSet
from genesis.invite import Invite
from ledger.nodes import NodeEntry, NodeStanding, get_node, get_nodes
from p2p.config import PeerAddress
from p2p.network import Network
from shell.chain import Chain
from shell.keys import identity_of
from shell.own_keys import OwnKeys, holds, learn_under, put_in_force

log = logging.getLogger("medledger.membership")


class MembershipError(Exception):
    """Starting this node on this chain can only be a mistake."""

    code = "node.membership"


class ForeignKeys(MembershipError):
    """The keys in the node directory are not those that the ledger names for its index."""

    code = "node.foreign_keys"


class NotAMember(MembershipError):
    """The ledger knows no node of this index."""

    code = "node.not_a_member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """The nodes of an invite, good until the chain here has the block of `height`."""

    height: int
    peers: tuple[PeerAddress, ...]


@dataclass(slots=True, kw_only=True)
class Following:
    """What this node last did about the set; `peers` and `self_id` are what the network has.

    They follow from `basis`, and stay as they are while that does; None while the height alone may
    still change them.
    """

    chain: Chain
    network: Network
    keys: OwnKeys
    invited: Invited | None
    peers: tuple[PeerAddress, ...]
    self_id: int | None
    basis: tuple[object, ...] | None = None


def make_following(
    chain: Chain, network: Network, keys: OwnKeys, invited: Invited | None
) -> Following:
    """Return what follows the set; the network has the peers of this moment."""
    return Following(
        chain=chain,
        network=network,
        keys=keys,
        invited=invited,
        peers=peers_for(chain, keys.replica, invited),
        self_id=own_id(chain, keys.replica),
    )


def make_invited(invite: Invite) -> Invited:
    """Return the nodes that an invite names, under the keys and at the addresses it names."""
    height, _ = invite.anchor()
    return Invited(
        height=height,
        peers=tuple(_peer(node.index, node.p2p_address, (node.tls_pin,)) for node in invite.nodes),
    )


def follow_set(following: Following) -> None:
    """Move keys and links to the executed tip; called before the core is told of it."""
    chain, keys = following.chain, following.keys
    before = identity_of(keys.present).pin
    if _use_keys(chain, keys):
        identity = identity_of(keys.present)
        if identity.pin != before:
            following.network.set_identity(identity)
    basis = (chain.nodes_height, chain.tip_set, chain.next_set, chain.later_set)
    if basis == following.basis:
        return
    following.basis = basis if _is_settled(chain, following.invited) else None
    self_id = own_id(chain, keys.replica)
    peers = peers_for(chain, keys.replica, following.invited)
    if (peers, self_id) != (following.peers, following.self_id):
        following.peers, following.self_id = peers, self_id
        following.network.set_peers(peers, self_id=self_id)
        details = {"height": chain.tip.height, "peers": [one.peer_id for one in peers]}
        log.info("peers changed", extra=details)


def _is_settled(chain: Chain, invited: Invited | None) -> bool:
    """Whether no term runs here: of a former key, or of the nodes that an invite names."""
    ends = [entry.former_until_height or 0 for entry in get_nodes(chain.view())]
    return chain.tip.height >= max(ends, default=0) and (
        invited is None or chain.tip.height >= invited.height
    )


def is_mute(chain: Chain, keys: OwnKeys, validators: ValidatorSet) -> bool:
    """Whether a set names this node with a key that is not here."""
    was_missing, keys.is_missing = keys.is_missing, not holds(keys, validators)
    if keys.is_missing and not was_missing:
        log.error(
            "the ledger names a vote key for this node that is not in keys/: it follows and does"
            " not vote; restore that keystore, or have the node re-keyed (`medledger validators"
            " rekey`)",
            extra={"node": keys.replica, "height": chain.tip.height},
        )
    return keys.is_missing


def check_own_keys(chain: Chain, keys: OwnKeys, *, is_new: bool) -> None:
    """Raise `NotAMember` or `ForeignKeys` where starting the node can only be a mistake.

    Only of a founder that never ran (`is_new`) the chain here must know the keys. A node that
    joined may be nobody yet; one whose ledger was moved aside, or put back from a backup, is back
    at a height at which its present keys were not in force.
    """
    _use_keys(chain, keys)
    if not is_new:
        return
    replica = keys.replica
    entry = get_node(chain.view(), replica)
    if entry is None:
        raise NotAMember(
            f"node_index = {replica}: the ledger knows no such node; correct node_index in"
            " node.toml, or join with `medledger join`"
        )
    if entry.standing is NodeStanding.REMOVED:
        log.warning("this node was removed: it serves what it has, and does not vote")
        return
    member = chain.next_set.member(replica)
    expected = entry.vote_key if member is None else member.vote_key
    if public_key(keys.present.vote).data != expected:
        raise ForeignKeys(
            f"the keys in keys/ are not those the ledger has for node {replica}: use the node"
            " directory they belong to, or correct node_index in node.toml"
        )


def _use_keys(chain: Chain, keys: OwnKeys) -> bool:
    """Use the keys that the ledger names for this node; return whether they are others."""
    entry = get_node(chain.view(), keys.replica)
    if entry is not None and entry.standing is NodeStanding.LEARNER:
        return learn_under(keys, entry.vote_key)
    return put_in_force(keys, chain.tip_set, chain.next_set)


def own_id(chain: Chain, replica: ReplicaId) -> int | None:
    """Return this node's index if others expect it under that, None if they do not know it."""
    entry = get_node(chain.view(), replica)
    return replica if entry is not None and _is_expected(chain, entry) else None


def peers_for(chain: Chain, replica: ReplicaId, invited: Invited | None) -> tuple[PeerAddress, ...]:
    """Return whom a node links with: nobody that does not expect it, as far as it can know."""
    is_named = own_id(chain, replica) is not None
    if invited is None:
        return peers_of(chain) if is_named else ()
    entry = get_node(chain.view(), replica)
    is_removed = entry is not None and entry.standing is NodeStanding.REMOVED
    if chain.tip.height >= invited.height:  # The ledger here is the newer of the two.
        return peers_of(chain) if is_named or not is_removed else ()
    if is_removed:
        return ()
    return _with_invited(peers_of(chain) if is_named else (), invited, replica)


def _with_invited(
    named: tuple[PeerAddress, ...], invited: Invited, replica: ReplicaId
) -> tuple[PeerAddress, ...]:
    """Return all, the invite's first: it is newer than the chain here, whose keys count too."""
    found = {one.peer_id: one for one in named}
    for node in invited.peers:
        before = found.get(node.peer_id)
        if before is not None:
            other_pin = next((pin for pin in before.pins if pin != node.pin), None)
            found[node.peer_id] = replace(node, other_pin=other_pin)
        elif node.peer_id != replica:
            found[node.peer_id] = node
    return tuple(found[index] for index in sorted(found))


def peers_of(chain: Chain) -> tuple[PeerAddress, ...]:
    """Return where the nodes listen and the keys they show, as the ledger says."""
    found = []
    for entry in get_nodes(chain.view()):
        if not _is_expected(chain, entry):
            continue
        pins = pins_of(entry, chain.tip.height, _sets(chain))
        found.append(_peer(entry.index, entry.p2p_address, pins))
    return tuple(found)


def _peer(index: ReplicaId, address: str, pins: Sequence[bytes]) -> PeerAddress:
    host, port = split_address(address)
    return PeerAddress(
        peer_id=index,
        host=host,
        port=port,
        pin=pins[0],
        other_pin=pins[1] if len(pins) > 1 else None,
    )


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a checked `host:port`, an IPv6 host without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_expected(chain: Chain, entry: NodeEntry) -> bool:
    """Whether a node votes around the tip, or learns."""
    if entry.standing is NodeStanding.LEARNER:
        return True
    return any(one.member(entry.index) is not None for one in _sets(chain))


def pins_of(entry: NodeEntry, height: int, sets: Sequence[ValidatorSet]) -> list[bytes]:
    """Return the keys under which a node may connect after block `height`, the newest first."""
    pins = [entry.tls_pin]
    until = entry.former_until_height
    if entry.former_tls_pin is not None and until is not None and height < until:
        pins.append(entry.former_tls_pin)
    for validators in sets:
        member = validators.member(entry.index)
        if member is not None:
            pins.append(member.tls_pin)
    return list(dict.fromkeys(pins))


def _sets(chain: Chain) -> tuple[ValidatorSet, ...]:
    return (chain.later_set, chain.next_set, chain.tip_set)
