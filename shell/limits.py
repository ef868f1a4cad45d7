"""What the rooms may cost, from what `node.toml` says under [limits] and [pruning]."""

from config import Limits, Pruning
from ledger.pool import PoolLimits
from storage.blobs import BlobLimits
from storage.pruning import Keep
from storage.world import WorldLimits


def pool_limits(limits: Limits) -> PoolLimits:
    """No account may fill more than a quarter of the pool."""
    return PoolLimits(
        transactions_max=limits.pool_transactions_max,
        bytes_max=limits.pool_bytes_max,
        account_transactions_max=limits.pool_transactions_max // 4,
    )


def world_limits(limits: Limits) -> WorldLimits:
    return WorldLimits(proof_heights=limits.proof_heights, nodes_max=limits.state_cache_nodes_max)


def blob_limits(limits: Limits) -> BlobLimits:
    return BlobLimits(
        store_bytes_max=limits.blob_store_bytes_max,
        blob_bytes_max=limits.blob_bytes_max,
        reserve_bytes=limits.disk_reserve_bytes,
    )


def blocks_kept(pruning: Pruning) -> Keep:
    return Keep(blocks=pruning.keep_blocks, days=pruning.keep_days)
