"""Peers get the bytes they keep or serve, no longer than that; promises are about real bytes."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from typing_extensions import override

from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.record_ids import RecordId
from crypto.schema import decode, encode
from crypto.signatures import Scheme
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from crypto.validators import ReplicaId
from ledger.access_payloads import AccessGrant, AccessRevoke
from p2p.errors import RequestRefused, RequestTimeout
from shell.blobs import (
    PASSED_ON_MAX,
    BlobOffer,
    Blobs,
    Stored,
    may_have,
    on_store,
    put_blob,
    sweep_once,
    take_in_and_pass_on,
)
from shell.clock import Clock
from shell.fetching import LeafRange, on_index, on_read
from storage.blobs import BlobLimits, has_blob, open_blobs
from storage.errors import BlobMismatch, DiskFailed
from storage.files import SystemFiles
from storage.sidecars import close_sidecars
from storage.slices import run_to_end
from storage.uploads import begin_upload
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of, seed, signing_key
from tests.unit.p2p.loopback import until
from tests.unit.shell.live_chain import LiveChain, make_live_chain

KEEPER, SERVER, STRANGER = 0, 1, 3
ENOUGH_S = 10.0


@dataclass(slots=True)
class Keeper:
    """Node 0 with one record's bytes; node 2 keeps them too, node 1 serves a reader."""

    live: LiveChain
    blobs: Blobs
    record_id: RecordId
    cid: Cid
    grant_id: Digest

    async def read_by(self, who: str) -> None:
        read = self.live.hospitals.make_read(self.record_id, serving_node=ReplicaId(SERVER))
        receipt = await self.live.submit("records.read", read, who)
        assert receipt.accepted, receipt.code

    async def revoke(self) -> None:
        payload = AccessRevoke(pseudonym=account_of(PATIENT), grant=self.grant_id)
        receipt = await self.live.submit("access.revoke", payload, PATIENT)
        assert receipt.accepted, receipt.code


@dataclass(slots=True)
class Peers:
    """A peer that keeps whatever it is given; an impatient one gives up its first upload."""

    live: LiveChain
    is_impatient: bool = False
    gave_up: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    got: bytes = b""

    def connected(self) -> tuple[int, ...]:
        return (SERVER,)

    async def stream_push(
        self, peer_id: int, _kind: int, header: bytes, chunks: AsyncIterator[bytes]
    ) -> bytes:
        self.begun += 1
        if self.is_impatient and not self.gave_up.is_set():
            await anext(chunks)
            self.gave_up.set()
            raise RequestTimeout("no progress for 30 s")
        self.got = b"".join([chunk async for chunk in chunks])
        offer = decode(BlobOffer, header)
        promise = self.live.hospitals.receipt(peer_id, offer.cid, offer.size_bytes)
        return encode(Stored(signature=promise.signature))


class HeldFiles(SystemFiles):
    """A disk that makes no file before it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    @override
    def create(self, path: Path) -> int:
        self.begun.set()
        self.may_go_on.wait(ENOUGH_S)
        return super().create(path)


async def slowly(content: bytes, may_go_on: asyncio.Event) -> AsyncIterator[bytes]:
    yield content[:LEAF_BYTES]
    await may_go_on.wait()
    yield content[LEAF_BYTES:]


def is_begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size >= LEAF_BYTES


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    live = make_live_chain(tmp_path)
    (tmp_path / "blobs").mkdir()
    limits = BlobLimits(store_bytes_max=1 << 30, blob_bytes_max=1 << 28, reserve_bytes=0)
    clock = Clock(offset_ms=live.chain.tip.time_ms - Clock().now_ms())
    blobs = Blobs(
        store=open_blobs(tmp_path / "blobs", limits=limits),
        chain=live.chain,
        network=cast("Any", None),  # Nothing here is sent.
        clock=clock,
        replica=ReplicaId(KEEPER),
        vote_key=lambda: signing_key("node 0", Scheme.ED25519),
    )
    terms = live.hospitals.terms(SOUTH_DOCTOR)
    granted = await live.submit(
        "access.grant", AccessGrant(pseudonym=account_of(PATIENT), terms=terms), PATIENT
    )
    content = seed("sealed") * (3 * LEAF_BYTES // 32)
    cid = cid_of_stream(io.BytesIO(content))
    header = encode(BlobOffer(cid=cid, size_bytes=len(content)))
    await on_store(blobs, 2, header, pieces(content))
    put = live.hospitals.make_put(DOCTOR, PATIENT)
    receipts = tuple(live.hospitals.receipt(index, cid, len(content)) for index in (KEEPER, 2))
    seal = replace(
        put.seal,
        cid=cid,
        size_bytes=len(content),
        envelopes=live.with_contents(put.seal.envelopes),
        storage_receipts=receipts,
    )
    written = await live.submit("records.put", replace(put, seal=seal), DOCTOR)
    assert written.accepted, written.code
    yield Keeper(live, blobs, put.record_id, cid, granted.tx_id)
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()


async def test_a_peer_that_neither_keeps_nor_serves_a_blob_gets_nothing(keeper: Keeper) -> None:
    query = encode(LeafRange(cid=keeper.cid, first=0, count=1))

    for asked in (on_index, on_read):
        with pytest.raises(RequestRefused):
            await asked(keeper.blobs, STRANGER, query)


async def test_a_right_that_ended_ends_the_serving_nodes_claim_on_the_bytes(
    keeper: Keeper,
) -> None:
    await keeper.read_by(SOUTH_DOCTOR)
    before = may_have(keeper.blobs, SERVER, keeper.cid)

    await keeper.revoke()

    assert before
    assert not may_have(keeper.blobs, SERVER, keeper.cid)


async def test_a_right_that_ends_cuts_a_run_of_leaves_to_a_peer(keeper: Keeper) -> None:
    await keeper.read_by(SOUTH_DOCTOR)
    leaves = await on_read(
        keeper.blobs, SERVER, encode(LeafRange(cid=keeper.cid, first=0, count=3))
    )
    first = await anext(aiter(leaves))

    await keeper.revoke()

    assert len(first) == LEAF_BYTES
    with pytest.raises(RequestRefused):
        await anext(aiter(leaves))


async def test_a_copy_held_for_a_reader_goes_when_the_right_ends(keeper: Keeper) -> None:
    await keeper.read_by(SOUTH_DOCTOR)
    serving = replace(keeper.blobs, replica=ReplicaId(SERVER))
    sweep_once(serving)
    before = has_blob(serving.store, keeper.cid)

    await keeper.revoke()
    sweep_once(serving)

    assert before
    assert not has_blob(serving.store, keeper.cid)


async def test_a_sender_slower_than_peers_wait_has_its_copies_in_the_end(keeper: Keeper) -> None:
    """A peer that hears nothing for half a minute gives up; the blob arrives all the same."""
    content = seed("slow") * (2 * LEAF_BYTES // 32)
    cid, peers = cid_of_stream(io.BytesIO(content)), Peers(keeper.live, is_impatient=True)
    keeper.blobs.network = cast("Any", peers)

    stored = await put_blob(keeper.blobs, cid, len(content), slowly(content, peers.gave_up))

    assert [node for node, _ in stored.receipts] == [KEEPER, SERVER]
    assert stored.wanted == 2
    assert peers.got == content


async def test_slow_uploads_keep_few_places_at_other_nodes(keeper: Keeper) -> None:
    """Readers are served by way of the same places."""
    blobs, peers, may_go_on = keeper.blobs, Peers(keeper.live), asyncio.Event()
    blobs.network = cast("Any", peers)
    count = PASSED_ON_MAX + 1
    contents = [seed(f"slow {number}") * (2 * LEAF_BYTES // 32) for number in range(count)]
    uploads = [
        asyncio.create_task(
            put_blob(blobs, cid_of_stream(io.BytesIO(one)), len(one), slowly(one, may_go_on))
        )
        for one in contents
    ]
    sizes = blobs.store.under_way
    await until(lambda: len(sizes) == count and all(is_begun(path) for path in tuple(sizes)))
    begun = peers.begun
    may_go_on.set()

    stored = await asyncio.gather(*uploads)

    assert begun == PASSED_ON_MAX
    assert peers.begun == count
    assert all([node for node, _ in one.receipts] == [KEEPER, SERVER] for one in stored)
    assert blobs.passed_on == 0


async def test_an_upload_that_its_peer_takes_back_at_once_keeps_no_place(keeper: Keeper) -> None:
    """Sixty-four of them would be all the places there are, until the node starts anew."""
    files, store = HeldFiles(), keeper.blobs.store
    store.files = files
    content = seed("taken back") * (2 * LEAF_BYTES // 32)
    offer = encode(BlobOffer(cid=cid_of_stream(io.BytesIO(content)), size_bytes=len(content)))
    upload = asyncio.create_task(on_store(keeper.blobs, SERVER, offer, pieces(content)))
    await asyncio.to_thread(files.begun.wait, ENOUGH_S)
    upload.cancel()
    await asyncio.wait([upload])
    was_under_way = len(store.under_way)

    files.may_go_on.set()
    await until(lambda: not store.under_way)

    assert was_under_way == 1
    assert upload.cancelled()


async def test_an_upload_that_vanishes_leaves_no_place_taken(keeper: Keeper) -> None:
    content = seed("vanished") * (2 * LEAF_BYTES // 32)
    cid, store = cid_of_stream(io.BytesIO(content)), keeper.blobs.store
    upload = run_to_end(begin_upload(store, cid, len(content)))
    assert upload is not None
    upload.path.unlink()

    with pytest.raises(DiskFailed):
        await take_in_and_pass_on(keeper.blobs, upload, pieces(content), 0)

    assert store.under_way == {}


async def test_no_promise_is_given_about_another_size_than_the_blob_has(keeper: Keeper) -> None:
    """The bytes are here already, so none are sent; the promise must not be about a lie."""
    header = encode(BlobOffer(cid=keeper.cid, size_bytes=3 * LEAF_BYTES - 7))

    with pytest.raises(RequestRefused):
        await on_store(keeper.blobs, 2, header, pieces(b""))
    with pytest.raises(BlobMismatch):
        await put_blob(keeper.blobs, keeper.cid, 9 * LEAF_BYTES, pieces(b""))
