"""What a node does about its own storage while it runs: join, prune, scrub, and tell of it."""

from dataclasses import dataclass
from functools import partial

from config import NodeConfig
from genesis.invite import Invite
from p2p.network import Network
from shell.blobs import Blobs
from shell.chain import Chain
from shell.chores import Chore
from shell.joining import Joining, keep_joining, make_joining
from shell.kinds import Kind
from shell.limits import blocks_kept
from shell.mending import Mending, answer_copy
from shell.pruning import Pruning, keep_pruning
from shell.scrubbing import Scrubbing, keep_scrubbing
from shell.sidecars import Sidecars
from shell.snapshots import serve_snapshots
from shell.turns import Turns, in_turn
from storage.layout import NodeLayout


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """The three kinds of work, and the mending that two of them ask for."""

    chain: Chain
    mending: Mending
    joining: Joining
    pruning: Pruning
    scrubbing: Scrubbing


def make_upkeep(
    config: NodeConfig,
    layout: NodeLayout,
    invite: Invite | None,
    *,
    chain: Chain,
    network: Network,
    mending: Mending,
    blobs: Blobs,
    sidecars: Sidecars,
) -> Upkeep:
    """Return what keeps the storage, and begin to serve copies of blocks, and snapshots."""
    gap_blocks = config.limits.snapshot_gap_blocks
    joining = make_joining(chain, network, layout, gap_blocks, invite=invite)
    turns = Turns()
    network.serve(Kind.FIND_BLOCK, in_turn(turns, partial(answer_copy, chain)))
    serve_snapshots(network, joining.snapshots, turns)
    return Upkeep(
        chain=chain,
        mending=mending,
        joining=joining,
        pruning=Pruning(chain=chain, keep=blocks_kept(config.pruning)),
        scrubbing=Scrubbing(
            chain=chain,
            mending=mending,
            blobs=blobs,
            sidecars=sidecars,
            joining=joining,
            percent=config.limits.scrub_percent,
        ),
    )


def upkeep_chores(upkeep: Upkeep) -> dict[str, Chore]:
    """Return what runs for as long as the node does."""
    return {
        "joining": lambda: keep_joining(upkeep.joining),
        "pruning": lambda: keep_pruning(upkeep.pruning),
        "scrubbing": lambda: keep_scrubbing(upkeep.scrubbing),
    }


def storage_overview(upkeep: Upkeep) -> dict[str, object]:
    """Return how far back this node goes, what it has pruned, found and mended since it started."""
    stored, scrubbing, joining = upkeep.chain.stored, upkeep.scrubbing, upkeep.joining
    pruned = upkeep.pruning.last
    return {
        "whole_blocks_from": int(stored.history.whole_from),
        "headers_from": int(stored.history.headers_from),
        "provable_from": int(stored.world.oldest_provable),
        "pruned_blocks": 0 if pruned is None else pruned.blocks,
        "scrub_passes": scrubbing.passes,
        "scrub_doing": scrubbing.doing or None,
        "scrub_found": dict(scrubbing.found),
        "mended": dict(upkeep.mending.mended + scrubbing.mended),
        "waits_to_be_mended": len(upkeep.mending.damaged) + len(upkeep.mending.damaged_receipts),
        "snapshot_under_way": joining.height if joining.is_under_way else None,
        "snapshot_leaves": joining.leaves if joining.is_under_way else None,
        "snapshot_pinned": stored.world.pinned,
        "snapshot_chunks_served": joining.snapshots.served["chunks"],
    }
