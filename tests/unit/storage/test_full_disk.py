"""A disk that fills up: one clear error each, nothing lost, and with room the node goes on."""

import io
import os
from pathlib import Path

import pytest

from crypto.envelopes import make_sidecar
from crypto.unixfs import make_leaf_index
from storage.blobs import BlobLimits, has_blob, open_blobs
from storage.blocks import get_block
from storage.chain import Chain, commit_block, create_chain, open_chain, reopen_chain
from storage.check import check_everything, findings
from storage.database import create_database, open_database
from storage.errors import DiskFull
from storage.fetches import begin_fetch
from storage.journal import append, close_journal, create_journal, read_journal, rotate
from storage.layout import make_layout
from storage.sidecars import close_sidecars, has_sidecar, open_sidecars, put_sidecars
from storage.slices import run_to_end
from storage.uploads import begin_upload, write_upload
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, Sample, grow, sample

RESERVE_BYTES = 1 << 20


def grow_until_full(chain: Chain) -> tuple[list[Sample], Sample]:
    """Commit large blocks; return those that were committed and the one that was not."""
    done: list[Sample] = []
    while True:
        one = sample(chain, {b"large/%d" % chain.tip.height: os.urandom(150_000)})
        try:
            commit_block(chain, one.block, one.result)
        except DiskFull:
            return done, one
        done.append(one)


def test_a_chain_stops_at_its_reserve_and_goes_on(small_disk: Path) -> None:
    database = create_database(small_disk / "ledger", reserve_bytes=RESERVE_BYTES)
    chain = create_chain(database, CHAIN_ID, {b"a": b"1"}, time_ms=GENESIS_MS)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    done, refused = grow_until_full(chain)

    ballast.unlink()
    reopen_chain(chain)
    commit_block(chain, refused.block, refused.result)
    database.close()

    with open_database(small_disk / "ledger", reserve_bytes=0) as reopened:
        again = open_chain(reopened, CHAIN_ID)
        assert again.tip.height == len(done) + 1
        for one in (*done, refused):
            assert get_block(again, one.height) == one.stored


def test_a_chain_without_a_reserve_loses_no_block_either(small_disk: Path) -> None:
    database = create_database(small_disk / "ledger", reserve_bytes=0)
    chain = create_chain(database, CHAIN_ID, {b"a": b"1"}, time_ms=GENESIS_MS)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    done, refused = grow_until_full(chain)

    with pytest.raises(DiskFull):
        commit_block(chain, refused.block, refused.result)
    ballast.unlink()
    reopen_chain(chain)
    assert chain.tip.height in (len(done), len(done) + 1)
    commit_block(chain, refused.block, refused.result)

    for one in (*done, refused):
        assert get_block(chain, one.height) == one.stored
    assert chain.tip.height == len(done) + 1
    database.close()


def test_everything_else_refuses_and_stays_whole(small_disk: Path) -> None:
    layout = make_layout(small_disk / "node")
    chain = create_chain(
        create_database(layout.ledger, reserve_bytes=0), CHAIN_ID, {}, time_ms=GENESIS_MS
    )
    grow(chain, 2)
    journal = create_journal(layout.journal)
    append(journal, (b"vote",))
    blobs = open_blobs(layout.blobs, limits=BlobLimits(reserve_bytes=0))
    sidecars = open_sidecars(layout.sidecars, reserve_bytes=0)
    large = os.urandom(1 << 20)
    index = make_leaf_index(io.BytesIO(large * 2))
    upload = run_to_end(begin_upload(blobs, index.cid, index.size_bytes))
    assert upload is not None
    free = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize))

    with pytest.raises(DiskFull):
        write_upload(blobs, upload, large)
    with pytest.raises(DiskFull):
        run_to_end(begin_fetch(blobs, index))
    one = make_sidecar(b"x" * 10_000, salt=bytes(32))
    with pytest.raises(DiskFull):
        put_sidecars(sidecars, [(one.digest, one.content)])
    with pytest.raises(DiskFull):
        append(journal, (os.urandom(100_000),))
    with pytest.raises(DiskFull):
        rotate(journal, (os.urandom(100_000),))

    (small_disk / "ballast").unlink()
    append(journal, (b"another vote",))
    put_sidecars(sidecars, [(one.digest, one.content)])
    close_journal(journal)
    assert read_journal(layout.journal) == (b"vote", b"another vote")
    assert has_sidecar(sidecars, one.digest)
    assert not has_blob(blobs, index.cid)
    assert findings(check_everything(chain, layout.journal, blobs, sidecars)) == []
    close_sidecars(sidecars)
    chain.database.close()
