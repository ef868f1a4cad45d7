"""The state for peers that come from far behind: chunks of one fixed height, and what goes with it.

Any height whose root is provable can be served; the one that a peer works on is pinned, so that it
outlives the pruning of roots for a while. Nothing here has to be believed: headers carry
certificates, chunks and entries are checked against the roots in headers, receipts and transactions
against theirs.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Final, TypeVar

from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.schema import U64, Count, Range, Size, decode, encode
from crypto.validators import ValidatorSet
from crypto.votes import Height
from ledger.contracts.governance import get_epoch, get_latest_epoch
from ledger.exchange import StateKey
from ledger.tree.cache import NodeCache
from ledger.tree.chunks import make_chunk
from ledger.tree.errors import TreeError
from ledger.tree.proofs import prove_many
from p2p.errors import RequestRefused
from p2p.network import Network
from shell.chain import Chain
from shell.kinds import Kind
from shell.pins import Pins, pin
from shell.turns import STRANGERS, Turns, in_turn
from storage.blocks import get_stored_header
from storage.chain import StoredHeader
from storage.errors import StorageError
from storage.receipts import get_encoded_receipts
from storage.world import StoredNodes

T = TypeVar("T")

SNAPSHOT_HEIGHT_MIN: Final = 3
"""A start looks two heights back from its tip."""

LEAVES_MAX: Final = 512
CHUNK_BYTES_MAX: Final = 256 << 10
HEADERS_MAX: Final = 256
RECEIPTS_MAX: Final = 100_000
ENTRY_KEYS_MAX: Final = 16
NODES_MAX: Final = 2_000

NOT_HERE: Final = "not_here"

GONE: Final = "state.gone"
"""Told when the height asked for is not provable here, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffer:
    """What a node can serve: whole blocks from `oldest_block`, states of a range of heights."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    oldest_block: U64
    oldest_state: U64
    newest_state: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderQuery:
    """Asks for `count` headers with their certificates from `first` on."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32

    first: U64
    count: Annotated[int, Range(1, HEADERS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHeaders:
    """Headers of consecutive heights, as many as are here from the first on."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 20

    headers: Annotated[tuple[StoredHeader, ...], Count(0, HEADERS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochQuery:
    """Asks how an epoch ended."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32

    epoch: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnd:
    """The last header of an epoch, and the set that it names for the next."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128 << 10

    header: StoredHeader
    next_validators: ValidatorSet


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery:
    """Asks for entries of the state after `height`, with their proofs."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 10

    height: U64
    keys: Annotated[tuple[StateKey, ...], Count(1, ENTRY_KEYS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkQuery:
    """Asks for the chunk of the state after `height` that begins at key hash `start`."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    height: U64
    start: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsQuery:
    """Asks for the receipts of a block."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32

    height: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReceipts:
    """The receipts of a block, as the bytes that their root is made of."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 24 << 20

    receipts: Annotated[tuple[Annotated[bytes, Size(1, 1 << 20)], ...], Count(0, RECEIPTS_MAX)]


@dataclass(slots=True, kw_only=True)
class Snapshots:
    """What serves them: a small memory of tree nodes of its own, and who has the pin."""

    chain: Chain
    nodes: NodeCache
    pins: Pins
    served: Counter[str] = field(default_factory=Counter)


def make_snapshots(chain: Chain) -> Snapshots:
    nodes = NodeCache(StoredNodes(chain.stored.database), nodes_max=NODES_MAX)
    return Snapshots(chain=chain, nodes=nodes, pins=Pins(world=chain.stored.world))


async def answer_offer(snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
    """Say what this node could serve; header S + 1 has to be there, which carries the root of S."""
    chain = snapshots.chain
    world = chain.stored.world
    return encode(
        SnapshotOffer(
            oldest_block=chain.stored.history.whole_from,
            oldest_state=max(SNAPSHOT_HEIGHT_MIN, world.oldest_provable + 2),
            newest_state=max(0, chain.tip.height - 1),
        )
    )


async def answer_headers(snapshots: Snapshots, _peer_id: int, body: bytes) -> bytes:
    query = _decoded(HeaderQuery, body)
    found: list[StoredHeader] = []
    for height in range(query.first, query.first + query.count):
        try:
            stored = get_stored_header(snapshots.chain.stored, height)
        except StorageError as problem:
            raise RequestRefused(problem.code) from problem
        if stored is None:
            break
        found.append(stored)
    return encode(FoundHeaders(headers=tuple(found)))


async def answer_epoch(snapshots: Snapshots, _peer_id: int, body: bytes) -> bytes:
    query = _decoded(EpochQuery, body)
    chain = snapshots.chain
    if query.epoch >= get_latest_epoch(chain.view()).epoch:
        raise RequestRefused(NOT_HERE)
    following = get_epoch(chain.view(), query.epoch + 1)
    if following is None or following.first_height > chain.tip.height:
        raise RequestRefused(NOT_HERE)
    try:
        stored = get_stored_header(chain.stored, following.first_height - 1)
    except StorageError as problem:
        raise RequestRefused(problem.code) from problem
    if stored is None:
        raise RequestRefused(NOT_HERE)
    return encode(EpochEnd(header=stored, next_validators=following.validators))


async def answer_entries(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
    query = _decoded(EntryQuery, body)
    _check_provable(snapshots, query.height)
    pin(snapshots.pins, max(STRANGERS, peer_id), query.height, None)
    try:
        return encode(prove_many(snapshots.nodes, query.height, query.keys))
    except (TreeError, StorageError) as problem:
        raise RequestRefused(GONE) from problem


async def answer_chunk(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
    query = _decoded(ChunkQuery, body)
    _check_provable(snapshots, query.height)
    pin(snapshots.pins, max(STRANGERS, peer_id), query.height, query.start)
    try:
        chunk = make_chunk(
            snapshots.nodes,
            query.height,
            query.start,
            leaves_max=LEAVES_MAX,
            bytes_max=CHUNK_BYTES_MAX,
        )
    except (TreeError, StorageError) as problem:
        raise RequestRefused(GONE) from problem
    snapshots.served["chunks"] += 1
    return encode(chunk)


async def answer_receipts(snapshots: Snapshots, _peer_id: int, body: bytes) -> bytes:
    query = _decoded(ReceiptsQuery, body)
    try:
        receipts = get_encoded_receipts(snapshots.chain.stored, Height(query.height))
    except StorageError as problem:
        raise RequestRefused(problem.code) from problem
    if receipts is None:
        raise RequestRefused(NOT_HERE)
    return encode(FoundReceipts(receipts=receipts))


def serve_snapshots(network: Network, snapshots: Snapshots, turns: Turns) -> None:
    """Answer peers that come from far behind, each in its turn."""
    for kind, answer in (
        (Kind.OFFER_SNAPSHOT, answer_offer),
        (Kind.FIND_EPOCH, answer_epoch),
        (Kind.FIND_HEADERS, answer_headers),
        (Kind.FIND_ENTRIES, answer_entries),
        (Kind.STATE_CHUNK, answer_chunk),
        (Kind.FIND_RECEIPTS, answer_receipts),
    ):
        network.serve(kind, in_turn(turns, partial(answer, snapshots)))


def _check_provable(snapshots: Snapshots, height: int) -> None:
    """Raise `RequestRefused` unless the state after `height` has a root that a header carries."""
    world = snapshots.chain.stored.world
    if not world.oldest_provable <= height < snapshots.chain.tip.height:
        raise RequestRefused(GONE)


def _decoded(kind: type[T], body: bytes) -> T:
    try:
        return decode(kind, body)
    except DecodeError as problem:
        raise RequestRefused("malformed") from problem
