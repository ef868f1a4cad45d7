"""Scrubbing finds what a disk has changed before anybody asks for it, and has it mended."""

import asyncio
import io
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.schema import encode
from crypto.unixfs import LEAF_BYTES, cid_of_stream
from crypto.validators import ReplicaId
from genesis.document import chain_id_of
from genesis.files import dump_genesis
from ledger.named_sidecars import named_sidecars
from ledger.pool import Pool, PoolLimits
from p2p.errors import PeerRefused, RequestRefused
from shell.blobs import Blobs
from shell.bodies import Bodies, FoundSidecars, decode_wanted
from shell.chain import Chain, open_live_chain
from shell.clock import Clock
from shell.joining import make_joining
from shell.kinds import Kind
from shell.mending import Mending, answer_copy, keep_mending
from shell.scrubbing import Scrubbing, scrub_once
from shell.sidecars import Sidecars
from shell.snapshots import answer_receipts, make_snapshots
from storage.blob_layout import blob_path
from storage.blobs import (
    BlobLimits,
    BlobStore,
    has_blob,
    iterate_blobs,
    open_blobs,
    remove_blob,
)
from storage.blocks import get_block
from storage.chain import open_chain
from storage.database import open_database
from storage.errors import BlobMissing
from storage.keys import NODES, receipt_key, state_key, transaction_key
from storage.layout import make_layout
from storage.receipts import get_encoded_receipts
from storage.sidecars import close_sidecars, drop_sidecars, has_sidecar
from storage.slices import run_to_end
from storage.uploads import begin_upload, finish_upload, write_upload
from tests.unit.ledger.record_samples import DOCTOR, PATIENT
from tests.unit.ledger.small_consortium import genesis
from tests.unit.p2p.loopback import until
from tests.unit.shell.live_chain import LiveChain, make_live_chain

KEEPER, OTHER = 1, 2
LIMITS = BlobLimits(store_bytes_max=1 << 30, blob_bytes_max=1 << 28, reserve_bytes=0)


@dataclass(slots=True)
class OnePeer:
    """A network with one peer, which has everything whole and answers through its own handlers."""

    chain: Chain
    contents: dict[Digest, bytes]

    def connected(self) -> tuple[int, ...]:
        return (OTHER,)

    async def request(self, peer_id: int, kind: int, body: bytes, *_: Any, **__: Any) -> bytes:
        try:
            match kind:
                case Kind.FIND_BLOCK:
                    return await answer_copy(self.chain, peer_id, body)
                case Kind.FIND_RECEIPTS:
                    return await answer_receipts(make_snapshots(self.chain), peer_id, body)
                case Kind.FIND_SIDECARS:
                    wanted = decode_wanted(body)
                    found = [self.contents[one] for one in wanted if one in self.contents]
                    return encode(FoundSidecars(contents=tuple(found)))
                case _:
                    raise PeerRefused("no_handler")
        except RequestRefused as refused:
            raise PeerRefused(refused.refusal) from refused


@dataclass(slots=True, kw_only=True)
class Scrubbed:
    """A node with a record of two leaves, its stores, and what scrubs them."""

    live: LiveChain
    scrubbing: Scrubbing
    blobs: BlobStore
    content: bytes
    height: int

    @property
    def damaged(self) -> Chain:
        return self.live.chain

    def overwrite(self, key: bytes, value: bytes) -> None:
        self.damaged.stored.database.put(key, value)

    def flip_row(self, key: bytes) -> None:
        stored = self.damaged.stored.database.get(key)
        assert stored is not None
        self.overwrite(key, stored[:-1] + bytes([stored[-1] ^ 1]))

    async def mend(self) -> None:
        """Let what was reported be mended."""
        mending = self.scrubbing.mending
        work = asyncio.create_task(keep_mending(mending, pause_s=0.01))
        await until(lambda: not mending.damaged and not mending.damaged_receipts)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@pytest.fixture
async def scrubbed(tmp_path: Path) -> AsyncIterator[Scrubbed]:
    (tmp_path / "node").mkdir(mode=0o700)
    live = make_live_chain(tmp_path / "node")
    layout = make_layout(tmp_path / "node")
    blobs = open_blobs(layout.blobs, limits=LIMITS)
    content = bytes(range(256)) * (2 * LEAF_BYTES // 256)
    cid = cid_of_stream(io.BytesIO(content))
    upload = run_to_end(begin_upload(blobs, cid, len(content)))
    assert upload is not None
    for start in range(0, len(content), LEAF_BYTES):
        write_upload(blobs, upload, content[start : start + LEAF_BYTES])
    finish_upload(blobs, upload, now_ms=1)
    put = live.hospitals.make_put(DOCTOR, PATIENT)
    seal = replace(
        put.seal,
        cid=cid,
        size_bytes=len(content),
        envelopes=live.with_contents(put.seal.envelopes),
        storage_receipts=tuple(
            live.hospitals.receipt(index, cid, len(content)) for index in (KEEPER, OTHER)
        ),
    )
    written = await live.submit("records.put", replace(put, seal=seal), DOCTOR)
    assert written.accepted, written.code
    await live.decide()
    copy = Path(shutil.copytree(layout.ledger, tmp_path / "peer"))
    peer = opened(copy)
    network = cast("Any", OnePeer(peer, dict(live.contents)))
    mending = Mending(chain=live.chain, network=network)
    bodies = Bodies(
        chain=live.chain,
        pool=live.chain.pool,
        verifier=cast("Any", None),  # No transactions are asked for.
        network=network,
        recall=lambda _one: None,
        get_sidecar=lambda _one: None,
    )
    scrubbing = Scrubbing(
        chain=live.chain,
        mending=mending,
        blobs=Blobs(
            store=blobs,
            chain=live.chain,
            network=network,
            clock=Clock(),
            replica=ReplicaId(KEEPER),
            vote_key=cast("Any", None),  # Nothing is promised.
        ),
        sidecars=Sidecars(
            store=live.sidecars, chain=live.chain, bodies=bodies, checked_blocks=lambda: ()
        ),
        joining=make_joining(live.chain, network, layout, 1_000),
        percent=100,
    )
    yield Scrubbed(
        live=live,
        scrubbing=scrubbing,
        blobs=blobs,
        content=content,
        height=int(live.chain.tip.height) - 1,
    )
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()
    peer.stored.database.close()


def opened(directory: Path) -> Chain:
    document = genesis()
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    return open_live_chain(
        open_chain(open_database(directory), chain_id_of(document)), dump_genesis(document), pool
    )


async def test_where_all_is_whole_nothing_is_found(scrubbed: Scrubbed) -> None:
    scrubbing = scrubbed.scrubbing

    await scrub_once(scrubbing)

    assert scrubbing.passes == 1
    assert (dict(scrubbing.found), dict(scrubbing.mended)) == ({}, {})
    assert scrubbing.checked["blocks"] == scrubbed.height + 1
    assert scrubbing.checked["blobs"] == 2
    assert scrubbing.checked["state"] >= 1
    assert scrubbing.checked["rows"] == 5


async def test_a_damaged_transaction_is_found_and_mended_by_a_peers_copy(
    scrubbed: Scrubbed,
) -> None:
    stored = scrubbed.damaged.stored
    before = get_block(stored, scrubbed.height)
    scrubbed.flip_row(transaction_key(scrubbed.height, 0))

    await scrub_once(scrubbed.scrubbing)
    await scrubbed.mend()

    assert scrubbed.scrubbing.found == {"block.corrupt": 1}
    assert scrubbed.scrubbing.mending.mended == {"block.corrupt": 1}
    assert get_block(stored, scrubbed.height) == before


async def test_damaged_receipts_are_found_and_mended_by_a_peers(scrubbed: Scrubbed) -> None:
    stored = scrubbed.damaged.stored
    before = get_encoded_receipts(stored, scrubbed.height)
    scrubbed.flip_row(receipt_key(scrubbed.height, 0))

    await scrub_once(scrubbed.scrubbing)
    await scrubbed.mend()

    assert scrubbed.scrubbing.found == {"receipts.corrupt": 1}
    assert scrubbed.scrubbing.mending.mended == {"receipts.corrupt": 1}
    assert get_encoded_receipts(stored, scrubbed.height) == before


async def test_a_state_entry_that_is_not_its_leaf_is_put_right_by_it(scrubbed: Scrubbed) -> None:
    key, value = next(scrubbed.damaged.view().scan(b"records/", limit=1))
    scrubbed.flip_row(state_key(key))

    await scrub_once(scrubbed.scrubbing)

    assert scrubbed.scrubbing.found == {"state.corrupt": 1}
    assert scrubbed.scrubbing.mended == {"state.corrupt": 1}
    assert scrubbed.damaged.stored.database.get(state_key(key)) == value
    assert not scrubbed.scrubbing.joining.is_wanted


async def test_a_damaged_tree_asks_for_a_snapshot(scrubbed: Scrubbed) -> None:
    keys = [key for key, _ in scrubbed.damaged.stored.database.scan(NODES)]
    scrubbed.flip_row(max(keys, key=len))

    await scrub_once(scrubbed.scrubbing)

    assert scrubbed.scrubbing.found["state.corrupt"] == 1
    assert scrubbed.scrubbing.joining.is_wanted


async def test_sidecars_that_live_entries_name_are_fetched_where_they_are_missing(
    scrubbed: Scrubbed,
) -> None:
    store = scrubbed.live.sidecars
    named = {
        digest
        for key, value in scrubbed.damaged.view().scan(b"", limit=10_000)
        for digest in named_sidecars(key, value)
    }
    lost = [digest for digest in scrubbed.live.contents if digest in named]
    drop_sidecars(store, lost)
    assert not any(has_sidecar(store, digest) for digest in lost)

    await scrub_once(scrubbed.scrubbing)

    assert lost
    assert all(has_sidecar(store, digest) for digest in lost)
    assert scrubbed.scrubbing.mended == {"sidecar.missing": len(lost)}


async def test_a_damaged_blob_is_found_without_a_reader_and_mended(
    scrubbed: Scrubbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((cid, _),) = iterate_blobs(scrubbed.blobs)
    asked = []

    async def ensure(blobs: Blobs, wanted: Cid) -> None:
        assert not has_blob(blobs.store, wanted), "it is out of service while it is damaged"
        asked.append(wanted)

    monkeypatch.setattr("shell.scrubbing.ensure_here", ensure)
    path = blob_path(scrubbed.blobs.directory, cid)
    content = bytearray(path.read_bytes())
    content[LEAF_BYTES + 5] ^= 1
    path.write_bytes(content)

    await scrub_once(scrubbed.scrubbing)

    assert scrubbed.scrubbing.found == {"blob.corrupt": 1}
    assert asked == [cid]


async def test_a_blob_that_was_promised_and_is_not_here_is_fetched(
    scrubbed: Scrubbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((cid, _),) = iterate_blobs(scrubbed.blobs)
    remove_blob(scrubbed.blobs, cid)
    asked = []

    async def nobody_has_it(_blobs: Blobs, wanted: Cid) -> None:
        asked.append(wanted)
        raise BlobMissing("nobody who keeps it can be asked")

    monkeypatch.setattr("shell.scrubbing.ensure_here", nobody_has_it)

    await scrub_once(scrubbed.scrubbing)
    await scrub_once(scrubbed.scrubbing)

    assert asked == [cid, cid]
    assert scrubbed.scrubbing.passes == 2
    assert scrubbed.scrubbing.lacking_blobs == {cid: 1}


async def test_what_nobody_gave_is_told_until_it_is_here(scrubbed: Scrubbed) -> None:
    scrubbing, store = scrubbed.scrubbing, scrubbed.live.sidecars
    peer = cast("OnePeer", scrubbing.sidecars.bodies.network)
    lost = [digest for digest in scrubbed.live.contents if has_sidecar(store, digest)]
    drop_sidecars(store, lost)
    whole, peer.contents = peer.contents, {}

    await scrub_once(scrubbing)
    lacking_at_first = dict(scrubbing.lacking_sidecars)
    await scrub_once(scrubbing)
    peer.contents = whole
    await scrub_once(scrubbing)

    assert lost
    assert lacking_at_first == dict.fromkeys(lost, 0)
    assert scrubbing.lacking_sidecars == {}
    assert scrubbing.found == {"sidecar.missing": len(lost)}, "each was found once"
    assert scrubbing.mended == {"sidecar.missing": len(lost)}


async def test_what_need_not_be_kept_any_more_is_lacking_no_longer(scrubbed: Scrubbed) -> None:
    scrubbed.scrubbing.lacking_blobs[Cid(b"another")] = 0
    scrubbed.scrubbing.passes = 1

    await scrub_once(scrubbed.scrubbing)

    assert scrubbed.scrubbing.lacking_blobs == {}


async def test_scrubbing_takes_no_more_than_its_share(scrubbed: Scrubbed) -> None:
    scrubbing = scrubbed.scrubbing
    scrubbing.percent = 20
    loop = asyncio.get_running_loop()

    started_s, used_s = loop.time(), time.thread_time()
    await scrub_once(scrubbing)
    took_s, used_s = loop.time() - started_s, time.thread_time() - used_s

    assert used_s <= 0.4 * took_s
