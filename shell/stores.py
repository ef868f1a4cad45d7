"""The stores beside the ledger, each joined with what carries its contents between nodes."""

from config import NodeConfig
from crypto.validators import ReplicaId
from shell.blobs import Blobs
from shell.limits import blob_limits
from shell.replica import Replica
from shell.sidecars import Sidecars
from storage.blobs import open_blobs
from storage.layout import NodeLayout


def make_stores(config: NodeConfig, layout: NodeLayout, replica: Replica) -> tuple[Blobs, Sidecars]:
    """Open the blob store; join it and the sidecars with what carries them between nodes."""
    keys = replica.keys
    blobs = Blobs(
        store=open_blobs(layout.blobs, limits=blob_limits(config.limits)),
        chain=replica.chain,
        network=replica.network,
        clock=replica.clock,
        replica=ReplicaId(config.node_index),
        vote_key=lambda: keys.present.vote,
    )
    sidecars = Sidecars(
        store=replica.sidecars,
        chain=replica.chain,
        bodies=replica.bodies,
        checked_blocks=replica.proposals.checked.values,
    )
    return blobs, sidecars
