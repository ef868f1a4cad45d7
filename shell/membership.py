"""Following the replica set: who is connected under which keys, and as whom this node takes part.

After every block the set of the height after the next is known. Whoever is in the set of the tip,
of the next height or of the one after is a peer: a new member is dialled two blocks before it
votes, and a removed one is served until the first block of the epoch without it is decided. A
member whose key changes is expected under both keys meanwhile.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from crypto.signatures import public_key
from crypto.validators import ReplicaId, ValidatorSet
from ledger.nodes import get_nodes
from p2p.config import PeerAddress
from p2p.network import Network
from shell.chain import Chain
from shell.keys import identity_of
from shell.own_keys import OwnKeys, holds, put_in_force

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


@dataclass(slots=True, kw_only=True)
class Following:
    """What this node last did about the set; `peers` and `self_id` are what the network has."""

    chain: Chain
    network: Network
    keys: OwnKeys
    peers: tuple[PeerAddress, ...]
    self_id: int | None


def make_following(chain: Chain, network: Network, keys: OwnKeys) -> Following:
    """Return what follows the set; the network has the peers of this moment."""
    return Following(
        chain=chain,
        network=network,
        keys=keys,
        peers=peers_of(chain),
        self_id=own_id(chain, keys.replica),
    )


def follow_set(following: Following) -> None:
    """Move keys and links to the executed tip; called before the core is told of it."""
    chain, keys = following.chain, following.keys
    if put_in_force(keys, chain.tip_set, chain.next_set):
        identity = identity_of(keys.present)
        if keys.former is None or identity.pin != identity_of(keys.former).pin:
            following.network.set_identity(identity)
    peers, self_id = peers_of(chain), own_id(chain, keys.replica)
    if (peers, self_id) != (following.peers, following.self_id):
        following.peers, following.self_id = peers, self_id
        following.network.set_peers(peers, self_id=self_id)
        details = {"height": chain.tip.height, "peers": [one.peer_id for one in peers]}
        log.info("peers changed", extra=details)


def is_mute(chain: Chain, keys: OwnKeys, validators: ValidatorSet) -> bool:
    """Whether a set names this node with a key that is not here."""
    if holds(keys, validators):
        return False
    log.error(
        "the ledger names a vote key for this node that is not in keys/: it follows and does not"
        " vote; restore that keystore, or have the node re-keyed (`medledger validators rekey`)",
        extra={"node": keys.replica, "height": chain.tip.height},
    )
    return True


def check_own_keys(chain: Chain, keys: OwnKeys) -> None:
    """Raise `NotAMember` or `ForeignKeys` where starting the node can only be a mistake.

    A node that joined is allowed to be nobody yet, or to hold keys that are not voted in yet.
    """
    put_in_force(keys, chain.tip_set, chain.next_set)
    replica = keys.replica
    member = chain.next_set.member(replica) or chain.later_set.member(replica)
    if member is None:
        raise NotAMember(f"node_index = {replica} is not a member; see `medledger peers`")
    if public_key(keys.present.vote).data != member.vote_key:
        raise ForeignKeys(
            f"the keys in keys/ are not those the ledger has for node {replica}: use the node"
            " directory they belong to, or correct node_index in node.toml"
        )


def own_id(chain: Chain, replica: ReplicaId) -> int | None:
    """Return this node's index if others expect it under that, None if they do not know it."""
    is_expected = any(one.member(replica) is not None for one in _sets(chain))
    return replica if is_expected else None


def peers_of(chain: Chain) -> tuple[PeerAddress, ...]:
    """Return where the nodes listen and the keys they show, as the ledger says."""
    found = []
    for entry in get_nodes(chain.view()):
        pins = list(dict.fromkeys(_pins(chain, entry.index)))
        if pins:
            host, _, port = entry.p2p_address.rpartition(":")
            found.append(
                PeerAddress(
                    peer_id=entry.index,
                    host=host.strip("[]"),
                    port=int(port),
                    pin=pins[0],
                    other_pin=pins[1] if len(pins) > 1 else None,
                )
            )
    return tuple(found)


def _pins(chain: Chain, replica: ReplicaId) -> Iterator[bytes]:
    """Yield the keys under which a node may connect, the newest first."""
    for validators in _sets(chain):
        member = validators.member(replica)
        if member is not None:
            yield member.tls_pin


def _sets(chain: Chain) -> tuple[ValidatorSet, ...]:
    return (chain.later_set, chain.next_set, chain.tip_set)
