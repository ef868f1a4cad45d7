"""Coming from far behind: the state of one height from several peers, instead of every block since.

Trust comes from what this node has: the replica set of its own tip. From there certificates lead
over the ends of epochs to the header above the snapshot, which carries the state root; everything
else is checked against headers. The old ledger serves on meanwhile; the new one takes its place
when the node starts again, and catches up from there block by block.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.blocks import CertifiedBlock
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import Height
from genesis.invite import Invite
from ledger.blocks import BlockBodies, header_digest
from ledger.transactions import decode_transaction
from ledger.tree.chunks import StateChunk, check_chunk
from p2p.errors import P2pError
from p2p.network import Network
from shell.chain import Chain
from shell.kinds import Kind
from shell.mending import CERTIFIED_BYTES_MAX, BlockCopy
from shell.pins import release_pin
from shell.proposals import decode_header
from shell.snapshots import (
    SNAPSHOT_HEIGHT_MIN,
    ChunkQuery,
    FoundReceipts,
    ReceiptsQuery,
    SnapshotOffer,
    Snapshots,
    make_snapshots,
)
from shell.sources import NoSource, Sources, ask_one, share_out
from shell.targets import (
    ASK_TIMEOUT_MS,
    Target,
    entries_before,
    find_heads,
    find_window,
)
from storage.arrivals import (
    RANGE_DONE,
    Arrival,
    Arriving,
    PastBlock,
    close_arrival,
    finish_arrival,
    first_ranges,
    has_past_block,
    interrupted_arrival,
    open_arrival,
    put_chunk,
    put_header,
    put_past_block,
)
from storage.chain import DecidedBlock, Tip
from storage.errors import BlockNotOurs, StorageError
from storage.history import History
from storage.layout import NodeLayout
from storage.receipts import root_of_receipts

log = logging.getLogger("medledger.joining")

CHECK_S: Final = 5.0
LOOKS_BETWEEN: Final = 12
"""A node that moves asks at every so many looks only whether it is far behind all the same."""

CHUNK_TIMEOUT_MS: Final = 5_000


@dataclass(slots=True, kw_only=True)
class Joining:
    """Watches whether this node can still catch up block by block, and fetches a snapshot if not.

    `gap_blocks` behind, a snapshot is the shorter way even if all blocks are there. `is_wanted` is
    set when the state here is damaged beyond mending. No snapshot is older than the block of the
    `invite`, or of a chain that does not hold it. `on_arrived` is called once a snapshot waits
    to take the ledger's place. `sources` are those of the last attempt.
    """

    chain: Chain
    network: Network
    layout: NodeLayout
    snapshots: Snapshots
    gap_blocks: int
    invite: Invite | None = None
    on_arrived: Callable[[], None] = lambda: None
    is_wanted: bool = False
    is_under_way: bool = False
    height: int = 0
    leaves: int = 0
    sources: Sources | None = None


def make_joining(
    chain: Chain,
    network: Network,
    layout: NodeLayout,
    gap_blocks: int,
    *,
    invite: Invite | None = None,
) -> Joining:
    return Joining(
        chain=chain,
        network=network,
        layout=layout,
        snapshots=make_snapshots(chain),
        gap_blocks=gap_blocks,
        invite=invite,
    )


async def keep_joining(joining: Joining, *, check_s: float = CHECK_S) -> None:
    """Look every few seconds; end when a snapshot is ready to be taken at the next start."""
    height_before = -1
    for look in itertools.count():
        await asyncio.sleep(check_s)
        release_pin(joining.snapshots.pins)
        height = int(joining.chain.tip.height)
        is_stuck, height_before = height == height_before, height
        if not (is_stuck or joining.is_wanted or look % LOOKS_BETWEEN == 0):
            continue
        if await needs_snapshot(joining) and await take_snapshot(joining):
            joining.on_arrived()
            return


async def needs_snapshot(joining: Joining) -> bool:
    """Whether f + 1 peers say that the next block is pruned, or very far below where they are.

    One of f + 1 voters is honest, so nobody can talk this node out of its history; who is answered
    by fewer goes on asking for blocks.
    """
    chain = joining.chain
    offers = _of_voters(joining, await ask_offers(joining.network))
    following = chain.tip.height + 1
    if joining.is_wanted:
        beyond = list(offers)
    else:
        beyond = [
            one
            for one in offers
            if one.oldest_block > following or one.newest_state > following + joining.gap_blocks
        ]
    quorum = voters_of(joining).quorum
    return len(beyond) >= min(quorum.weak, max(1, quorum.n - 1))


def voters_of(joining: Joining) -> ValidatorSet:
    """Return the newest set that is known: of f + 1 in it one is correct.

    Learners are peers too, and no bound is set to how many of them lie.
    """
    chain, invite = joining.chain, joining.invite
    if invite is not None and chain.tip.height < invite.header().header.height:
        return invite.validators
    return chain.next_set


def _of_voters(joining: Joining, offers: dict[int, SnapshotOffer]) -> list[SnapshotOffer]:
    voters = voters_of(joining)
    return [one for peer_id, one in offers.items() if voters.member(ReplicaId(peer_id)) is not None]


async def ask_offers(network: Network) -> dict[int, SnapshotOffer]:
    """Return what each peer that answers could serve."""
    found: dict[int, SnapshotOffer] = {}

    async def ask(peer_id: int) -> None:
        try:
            reply = await network.request(peer_id, Kind.OFFER_SNAPSHOT, b"", ASK_TIMEOUT_MS)
            found[peer_id] = decode(SnapshotOffer, reply)
        except (P2pError, DecodeError) as problem:
            log.info("no offer", extra={"peer": peer_id, "reason": str(problem)})

    await asyncio.gather(*(ask(peer_id) for peer_id in network.connected()))
    return found


async def take_snapshot(joining: Joining) -> bool:
    """Fetch a snapshot; return whether it is whole and waits to take the ledger's place.

    What was fetched before a failure stays for the next attempt.
    """
    joining.is_under_way = True
    try:
        offers = await ask_offers(joining.network)
        height = choose_height(joining, offers)
        if height is None:
            return False
        await _fetch(joining, height, offers)
    except (NoSource, P2pError, StorageError) as problem:
        log.warning("snapshot not fetched", extra={"reason": str(problem)})
        return False
    finally:
        joining.is_under_way = False
    log.warning("snapshot fetched", extra={"height": height, "leaves": joining.leaves})
    return True


def choose_height(joining: Joining, offers: dict[int, SnapshotOffer]) -> int | None:
    """Return the height to fetch: that of an interrupted attempt, if f + 1 voters still serve it.

    Otherwise the newest that f + 1 voters claim to have. One of them is honest, so it exists, and
    no single one can send us to a height that nobody else serves, or keep us at one.
    """
    heard = _of_voters(joining, offers)
    if not heard:
        return None
    weak = min(voters_of(joining).quorum.weak, len(heard))
    before = interrupted_arrival(joining.layout)
    if before is not None:
        serving = sum(_serves(one, before.height) for one in heard)
        if serving >= weak:
            return before.height
    newest = sorted((one.newest_state for one in heard), reverse=True)
    return newest[weak - 1] if newest[weak - 1] >= SNAPSHOT_HEIGHT_MIN else None


def _serves(offer: SnapshotOffer, height: int) -> bool:
    return offer.oldest_state <= height <= offer.newest_state


async def _fetch(joining: Joining, height: int, offers: dict[int, SnapshotOffer]) -> None:
    peers = [peer_id for peer_id, one in sorted(offers.items()) if _serves(one, height)]
    sources = joining.sources = Sources(asks=joining.network, peers=peers)
    joining.height, joining.leaves = height, 0
    chain_id = joining.chain.chain_id
    target = await find_heads(joining.chain, sources, height, voters_of(joining), joining.invite)
    before = await ask_one(sources, lambda peer_id: entries_before(sources, target, peer_id))
    first = await ask_one(sources, lambda peer_id: find_window(chain_id, sources, target, peer_id))
    head = target.header(height + 1)
    arrival = open_arrival(
        joining.layout,
        Arriving(
            height=height,
            head=header_digest(head),
            state_root=head.state_root,
            nexts=first_ranges(),
        ),
    )
    try:
        # The state comes first: its root is provable for less long than blocks are kept.
        await _fetch_state(joining, sources, target, arrival)
        await _fetch_blocks(joining, sources, target, arrival, first)
        _put_headers(target, arrival, first)
        finish_arrival(
            arrival,
            joining.layout,
            chain_id,
            _tip(target),
            History(headers_from=max(1, first - 1), whole_from=first, indexed_from=first),
            before,
        )
    finally:
        close_arrival(arrival)


async def _fetch_blocks(
    joining: Joining, sources: Sources, target: Target, arrival: Arrival, first: int
) -> None:
    heights = [
        height
        for height in range(target.height, first - 1, -1)
        if not has_past_block(arrival, height)
    ]

    async def fetch(peer_id: int, height: int) -> None:
        put_past_block(
            arrival, Height(height), await _past_block(joining, sources, target, peer_id, height)
        )

    await share_out(sources, heights, fetch)


async def _past_block(
    joining: Joining, sources: Sources, target: Target, peer_id: int, height: int
) -> PastBlock:
    reply = await sources.asks.request(
        peer_id,
        Kind.FIND_BLOCK,
        encode(BlockCopy(height=height)),
        ASK_TIMEOUT_MS,
        reply_bytes_max=CERTIFIED_BYTES_MAX,
    )
    copy = decode(CertifiedBlock, reply, bytes_max=CERTIFIED_BYTES_MAX)
    header, stored = decode_header(copy.block), target.headers[height]
    if copy.block.header != stored.header:
        raise BlockNotOurs(f"another block than the one decided at height {height}")
    transactions = tuple(
        decode_transaction(signed, joining.chain.chain_id)
        for signed in decode(BlockBodies, copy.bodies).transactions
    )
    if b"".join(one.signed_hash for one in transactions) != copy.block.payload:
        raise BlockNotOurs(f"other transactions than those of block {height}")
    receipts = await _receipts(joining, sources, target, peer_id, height)
    if len(receipts) != header.tx_count:
        raise BlockNotOurs(f"{len(receipts)} receipts for {header.tx_count} transactions")
    return PastBlock(
        block=DecidedBlock(
            header=stored.header, certificate=stored.certificate, transactions=transactions
        ),
        receipts=receipts,
    )


async def _receipts(
    joining: Joining, sources: Sources, target: Target, peer_id: int, height: int
) -> tuple[bytes, ...]:
    reply = await sources.asks.request(
        peer_id,
        Kind.FIND_RECEIPTS,
        encode(ReceiptsQuery(height=height)),
        ASK_TIMEOUT_MS,
        reply_bytes_max=FoundReceipts.WIRE_BYTES_MAX,
    )
    receipts = decode(FoundReceipts, reply).receipts
    if root_of_receipts(joining.chain.stored, receipts) != target.header(height + 1).receipts_root:
        raise BlockNotOurs(f"other receipts than those of block {height}")
    return receipts


async def _fetch_state(
    joining: Joining, sources: Sources, target: Target, arrival: Arrival
) -> None:
    root = target.header(target.height + 1).state_root

    async def fetch(peer_id: int, number: int) -> None:
        while (start := arrival.arriving.nexts[number]) != RANGE_DONE:
            reply = await sources.asks.request(
                peer_id,
                Kind.STATE_CHUNK,
                encode(ChunkQuery(height=target.height, start=Digest(start))),
                CHUNK_TIMEOUT_MS,
                reply_bytes_max=StateChunk.WIRE_BYTES_MAX,
            )
            chunk = decode(StateChunk, reply)
            put_chunk(arrival, number, chunk, check_chunk(root, Digest(start), chunk))
            joining.leaves = arrival.leaves
            await asyncio.sleep(0)

    missing = [number for number, start in enumerate(arrival.arriving.nexts) if start != RANGE_DONE]
    await share_out(sources, missing, fetch)


def _put_headers(target: Target, arrival: Arrival, first: int) -> None:
    """Keep the headers that end an epoch, for others to walk on, and the one before the window."""
    alone = {height: stored for height, stored in target.ends.items() if height < first}
    if first > 1:
        alone[first - 1] = target.headers[first - 1]
    for height, stored in alone.items():
        put_header(arrival, Height(height), stored)


def _tip(target: Target) -> Tip:
    header, above = target.header(target.height), target.header(target.height + 1)
    return Tip(
        height=header.height,
        digest=header_digest(header),
        time_ms=header.time_ms,
        epoch=header.epoch,
        state_root=above.state_root,
        receipts_root=above.receipts_root,
    )
