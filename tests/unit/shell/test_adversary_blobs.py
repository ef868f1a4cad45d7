"""Peers get the bytes they keep or serve, no longer than that; promises are about real bytes."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.record_ids import RecordId
from crypto.schema import encode
from crypto.signatures import Scheme
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from crypto.validators import ReplicaId
from ledger.access_payloads import AccessGrant, AccessRevoke
from p2p.errors import RequestRefused
from shell.blobs import BlobOffer, Blobs, may_have, on_store, put_blob, sweep_once
from shell.clock import Clock
from shell.fetching import LeafRange, on_index, on_read
from storage.blobs import BlobLimits, has_blob, open_blobs
from storage.errors import BlobMismatch
from storage.sidecars import close_sidecars
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of, seed, signing_key
from tests.unit.shell.live_chain import LiveChain, make_live_chain

KEEPER, SERVER, STRANGER = 0, 1, 3


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


async def test_no_promise_is_given_about_another_size_than_the_blob_has(keeper: Keeper) -> None:
    """The bytes are here already, so none are sent; the promise must not be about a lie."""
    header = encode(BlobOffer(cid=keeper.cid, size_bytes=3 * LEAF_BYTES - 7))

    with pytest.raises(RequestRefused):
        await on_store(keeper.blobs, 2, header, pieces(b""))
    with pytest.raises(BlobMismatch):
        await put_blob(keeper.blobs, keeper.cid, 9 * LEAF_BYTES, pieces(b""))
