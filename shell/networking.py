"""The node's network: its key, the peers that the ledger names, and guests who take proofs."""

import logging
from functools import partial

from p2p.channel import OnFrame
from p2p.config import NetworkConfig
from p2p.network import Network
from p2p.registry import OnLink
from shell.chain import Chain
from shell.keys import identity_of
from shell.kinds import KIND_RULES
from shell.membership import Invited, own_id, peers_for
from shell.own_keys import OwnKeys
from shell.welcome import Welcome, answer_guest

log = logging.getLogger("medledger.network")


def make_network(
    host: str,
    port: int,
    chain: Chain,
    keys: OwnKeys,
    invited: Invited | None,
    *,
    on_frame: OnFrame,
    on_link: OnLink,
    is_open: bool,
) -> Network:
    """Return the network of this node: its keys, and the peers that the ledger names.

    `is_open` lets everybody who reaches it read certified blocks.
    """
    return Network(
        NetworkConfig(host=host, port=port, kinds=KIND_RULES),
        identity_of(keys.present),
        self_id=own_id(chain, keys.replica),
        peers=peers_for(chain, keys.replica, invited),
        on_frame=on_frame,
        on_link=on_link,
        on_fault=log_fault,
        guest_policy=partial(answer_guest, Welcome(chain=chain, is_open=is_open)),
    )


def log_fault(fault: Exception) -> None:
    """Say what a handler did wrong; its peer has heard `internal`, and the node goes on.

    A mistake that a peer's bytes can reach must not be a way to stop the node.
    """
    log.error("a handler of the network failed", exc_info=fault)
