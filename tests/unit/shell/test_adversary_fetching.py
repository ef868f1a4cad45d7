"""A keeper that lies about a blob costs one attempt: the next one is asked, and nothing is kept."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from crypto.cid import RAW, Cid
from crypto.schema import decode, encode
from crypto.unixfs import LEAF_BYTES, LeafIndex
from crypto.validators import ReplicaId
from shell.blobs import Blobs
from shell.fetching import ensure_here, on_index, on_read
from shell.kinds import Kind
from storage.blobs import BlobLimits, has_blob, iterate_blobs, open_blobs
from storage.errors import BlobMissing
from tests.unit.ledger.record_samples import SOUTH_DOCTOR
from tests.unit.shell.test_adversary_blobs import KEEPER, SERVER, Keeper
from tests.unit.shell.test_adversary_blobs import keeper as keeper

JUNK = b"not what was asked for"
JUNK_CID = Cid(bytes([1, RAW, 0x12, 32]) + hashlib.sha256(JUNK).digest())
JUNK_INDEX = LeafIndex(
    cid=JUNK_CID, size_bytes=len(JUNK), leaf_digests=(hashlib.sha256(JUNK).digest(),)
)


def told_the_truth(index: LeafIndex) -> LeafIndex:
    return index


async def sent_truly(leaves: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for leaf in leaves:
        yield leaf


async def sent_without_end(leaves: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for leaf in leaves:
        yield leaf
    for _ in range(64):
        yield bytes(LEAF_BYTES)
    raise AssertionError("the fetch should have hung up")


@dataclass(slots=True)
class Peers:
    """What our node sees of its peers: those in `up` answer from the keeper's real store."""

    keeper: Blobs
    up: tuple[int, ...] = (KEEPER, 2)
    lies: Callable[[LeafIndex], LeafIndex] = told_the_truth
    sends: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]] = sent_truly

    def connected(self) -> tuple[int, ...]:
        return self.up

    async def request(self, peer_id: int, kind: Kind, body: bytes, _timeout_ms: int) -> bytes:
        index = decode(LeafIndex, await on_index(self.keeper, SERVER, body))
        return encode(self.lies(index) if peer_id == KEEPER else index)

    async def stream_request(self, peer_id: int, kind: Kind, body: bytes) -> AsyncIterator[bytes]:
        if peer_id == KEEPER and self.lies is junk:
            yield JUNK
            return
        leaves = await on_read(self.keeper, SERVER, body)
        async for leaf in self.sends(leaves) if peer_id == KEEPER else leaves:
            yield leaf


def junk(_: LeafIndex) -> LeafIndex:
    return JUNK_INDEX


def cut(index: LeafIndex) -> LeafIndex:
    return replace(index, leaf_digests=index.leaf_digests[:-1])


def longer(index: LeafIndex) -> LeafIndex:
    return replace(index, size_bytes=index.size_bytes + 1)


@pytest.fixture
async def peers(keeper: Keeper) -> Peers:
    await keeper.read_by(SOUTH_DOCTOR)
    return Peers(keeper.blobs)


@pytest.fixture
def reader(keeper: Keeper, peers: Peers, tmp_path: Path) -> Blobs:
    """The node that serves the reader; it has nothing yet."""
    (tmp_path / "reader").mkdir()
    limits = BlobLimits(store_bytes_max=1 << 30, blob_bytes_max=1 << 28, reserve_bytes=0)
    return replace(
        keeper.blobs,
        store=open_blobs(tmp_path / "reader", limits=limits),
        network=cast("Any", peers),
        replica=ReplicaId(SERVER),
    )


@pytest.mark.parametrize("lie", [junk, cut, longer])
async def test_a_false_index_sends_the_node_to_the_next_keeper(
    keeper: Keeper, peers: Peers, reader: Blobs, lie: Callable[[LeafIndex], LeafIndex]
) -> None:
    peers.lies = lie

    await ensure_here(reader, keeper.cid)

    assert [cid for cid, _ in iterate_blobs(reader.store)] == [keeper.cid]


async def test_another_blob_in_its_place_is_not_kept(
    keeper: Keeper, peers: Peers, reader: Blobs
) -> None:
    peers.lies, peers.up = junk, (KEEPER,)

    with pytest.raises(BlobMissing):
        await ensure_here(reader, keeper.cid)

    assert not has_blob(reader.store, JUNK_CID)


async def test_a_keeper_that_never_ends_is_hung_up_on(
    keeper: Keeper, peers: Peers, reader: Blobs
) -> None:
    peers.sends, peers.up = sent_without_end, (KEEPER,)

    await ensure_here(reader, keeper.cid)

    assert has_blob(reader.store, keeper.cid)


async def test_nobody_there_is_said_so(keeper: Keeper, peers: Peers, reader: Blobs) -> None:
    peers.up = ()

    with pytest.raises(BlobMissing):
        await ensure_here(reader, keeper.cid)
