"""Sealed records come in verified, stay what they are, and go for good when erased."""

import errno
import hashlib
import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.fetches
import storage.uploads
from crypto.cid import RAW, Cid, encode_cid_text, make_cid
from crypto.errors import InvalidLeafIndex, LeafMismatch
from crypto.unixfs import LEAF_BYTES, LeafIndex, cid_of_stream, make_leaf_index
from storage.blob_layout import aside_path, blob_path, fetch_path, leaves_path
from storage.blob_reads import check_blob, close_blob, open_blob, read_blob, read_leaf
from storage.blobs import (
    BlobLimits,
    BlobStore,
    blob_size,
    collect_unreferenced,
    erase_blob,
    expire_partials,
    has_blob,
    is_erased,
    iterate_blobs,
    list_partials,
    open_blobs,
    remove_blob,
)
from storage.errors import (
    BlobCorrupt,
    BlobErased,
    BlobMismatch,
    BlobMissing,
    BlobStoreFull,
    BlobTooLarge,
    DiskFailed,
    DiskFull,
    StorageError,
    TooManyUploads,
)
from storage.fetches import (
    Fetch,
    begin_fetch,
    drop_fetch,
    finish_fetch,
    put_leaf,
    recover_aside,
    suspend_fetch,
)
from storage.files import aligned_buffer
from storage.slices import run_to_end
from storage.uploads import (
    Upload,
    begin_upload,
    drop_upload,
    finish_upload,
    suspend_upload,
    write_upload,
)
from tests.unit.storage.faulty_files import DISK_FULL, Crash, FaultyFiles

LIMITS = BlobLimits(reserve_bytes=0)
NOW_MS = 1_700_000_000_000
SMALL = b"a sealed record"
LARGE = bytes(range(256)) * (LEAF_BYTES // 256) * 2 + b"the last leaf is short"


def cid_of(content: bytes) -> Cid:
    return cid_of_stream(io.BytesIO(content))


def index_of(content: bytes) -> LeafIndex:
    return make_leaf_index(io.BytesIO(content))


def leaf_of(content: bytes, position: int) -> bytes:
    return content[position * LEAF_BYTES : (position + 1) * LEAF_BYTES]


def pieces_of(content: bytes, piece_bytes: int = LEAF_BYTES) -> Iterator[bytes]:
    for start in range(0, len(content), piece_bytes):
        yield content[start : start + piece_bytes]


def begun(store: BlobStore, content: bytes) -> Upload:
    upload = run_to_end(begin_upload(store, cid_of(content), len(content)))
    assert upload is not None
    return upload


def put(store: BlobStore, content: bytes, *, piece_bytes: int = LEAF_BYTES) -> Cid:
    upload = run_to_end(begin_upload(store, cid_of(content), len(content)))
    if upload is not None:
        for piece in pieces_of(content[upload.offset_bytes :], piece_bytes):
            write_upload(store, upload, piece)
        finish_upload(store, upload, now_ms=NOW_MS)
    return cid_of(content)


def fetching(store: BlobStore, content: bytes) -> Fetch:
    fetch = run_to_end(begin_fetch(store, index_of(content)))
    assert fetch is not None
    return fetch


def read(store: BlobStore, cid: Cid) -> bytes:
    reader = open_blob(store, cid)
    try:
        return b"".join(
            read_leaf(store, reader, position) for position in range(len(reader.index.leaf_digests))
        )
    finally:
        close_blob(reader)


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_blobs(tmp_path, limits=LIMITS)


@pytest.mark.parametrize("content", [b"", SMALL, b"x" * LEAF_BYTES, LARGE])
def test_a_blob_comes_out_as_it_went_in(store: BlobStore, content: bytes) -> None:
    cid = put(store, content)

    assert read(store, cid) == content
    assert blob_size(store, cid) == len(content)
    assert list(iterate_blobs(store)) == [(cid, len(content))]
    assert (store.stored_count, store.stored_bytes) == (1, len(content))
    assert store.under_way == {}


@settings(max_examples=10)
@given(piece_bytes=st.integers(1 << 12, LEAF_BYTES))
def test_pieces_may_have_any_size(
    tmp_path_factory: pytest.TempPathFactory, piece_bytes: int
) -> None:
    store = open_blobs(tmp_path_factory.mktemp("blobs"), limits=LIMITS)

    cid = put(store, LARGE, piece_bytes=piece_bytes)

    assert read(store, cid) == LARGE


def test_a_blob_that_is_here_needs_no_upload(store: BlobStore) -> None:
    cid = put(store, SMALL)

    assert run_to_end(begin_upload(store, cid, len(SMALL))) is None
    assert run_to_end(begin_fetch(store, index_of(SMALL))) is None


def test_the_store_knows_its_blobs_after_a_restart(store: BlobStore) -> None:
    cids = {put(store, SMALL), put(store, LARGE)}

    again = open_blobs(store.directory, limits=LIMITS)

    assert {cid for cid, _ in iterate_blobs(again)} == cids
    assert again.stored_bytes == len(SMALL) + len(LARGE)
    assert again.stored_count == 2


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_bytes_that_are_not_the_address_leave_nothing(store: BlobStore, content: bytes) -> None:
    other = bytes([content[0] ^ 1]) + content[1:]
    upload = begun(store, content)
    for piece in pieces_of(other):
        write_upload(store, upload, piece)

    with pytest.raises(BlobMismatch, match="send the file again"):
        finish_upload(store, upload, now_ms=NOW_MS)

    assert files_of(store.directory) == []
    assert not has_blob(store, upload.cid)
    assert store.under_way == {}


def test_fewer_or_more_bytes_than_announced_leave_nothing(store: BlobStore) -> None:
    short, long = begun(store, SMALL), begun(store, LARGE)
    write_upload(store, short, SMALL[:-1])
    for piece in pieces_of(LARGE):
        write_upload(store, long, piece)

    with pytest.raises(BlobMismatch):
        finish_upload(store, short, now_ms=NOW_MS)
    with pytest.raises(BlobMismatch, match="more than"):
        write_upload(store, long, b"+")

    assert files_of(store.directory) == []


def test_an_address_that_cannot_have_this_size_is_refused_at_once(store: BlobStore) -> None:
    raw = make_cid(RAW, hashlib.sha256().digest())

    with pytest.raises(BlobMismatch):
        run_to_end(begin_upload(store, raw, LEAF_BYTES + 1))
    with pytest.raises(BlobMismatch):
        run_to_end(begin_upload(store, cid_of(LARGE), LEAF_BYTES))


def test_a_broken_upload_goes_on_where_its_whole_leaves_end(store: BlobStore) -> None:
    upload = begun(store, LARGE)
    write_upload(store, upload, leaf_of(LARGE, 0))
    write_upload(store, upload, leaf_of(LARGE, 1)[:1_000])
    suspend_upload(store, upload)
    again = open_blobs(store.directory, limits=LIMITS)
    assert [(cid, size) for cid, size, _ in list_partials(again)] == [
        (upload.cid, LEAF_BYTES + 1_000)
    ]

    resumed = begun(again, LARGE)

    assert resumed.offset_bytes == LEAF_BYTES
    assert resumed.path == upload.path
    for piece in pieces_of(LARGE[LEAF_BYTES:]):
        write_upload(again, resumed, piece)
    finish_upload(again, resumed, now_ms=NOW_MS)
    assert read(again, upload.cid) == LARGE
    assert list(list_partials(again)) == []


def test_a_resumed_upload_cuts_what_changed_on_disk(store: BlobStore) -> None:
    upload = begun(store, LARGE)
    write_upload(store, upload, leaf_of(LARGE, 0))
    write_upload(store, upload, leaf_of(LARGE, 1))
    suspend_upload(store, upload)
    flip(upload.path, LEAF_BYTES + 5)

    resumed = begun(store, LARGE)

    assert resumed.offset_bytes == LEAF_BYTES
    assert resumed.path.stat().st_size == LEAF_BYTES
    drop_upload(store, resumed)


def test_losing_interest_while_resuming_keeps_the_upload(store: BlobStore) -> None:
    upload = begun(store, LARGE)
    write_upload(store, upload, leaf_of(LARGE, 0))
    suspend_upload(store, upload)
    steps = begin_upload(store, upload.cid, len(LARGE))
    next(steps)

    steps.close()

    assert store.under_way == {}
    assert begun(store, LARGE).offset_bytes == LEAF_BYTES


def test_two_uploads_of_one_blob_do_not_disturb_each_other(store: BlobStore) -> None:
    first, second = begun(store, LARGE), begun(store, LARGE)
    for piece in pieces_of(LARGE):
        write_upload(store, first, piece)
        write_upload(store, second, piece)

    finish_upload(store, first, now_ms=NOW_MS)
    finish_upload(store, second, now_ms=NOW_MS)

    assert read(store, first.cid) == LARGE
    assert (store.stored_count, store.stored_bytes) == (1, len(LARGE))
    assert files_of(store.directory) == sorted(
        [blob_path(store.directory, first.cid), leaves_path(store.directory, first.cid)]
    )


def test_uploads_that_nobody_resumes_expire(store: BlobStore) -> None:
    idle, busy = begun(store, LARGE), begun(store, SMALL)
    write_upload(store, idle, leaf_of(LARGE, 0))
    suspend_upload(store, idle)
    ((_, _, changed_ms),) = list_partials(store)

    assert expire_partials(store, before_ms=changed_ms) == 0
    assert expire_partials(store, before_ms=changed_ms + 1) == 1

    assert list(list_partials(store)) == []
    drop_upload(store, busy)
    assert files_of(store.directory) == []


def test_limits_are_said_with_their_numbers(tmp_path: Path) -> None:
    store = open_blobs(
        tmp_path,
        limits=BlobLimits(
            reserve_bytes=0, store_bytes_max=5_000, blob_bytes_max=4_000, uploads_max=1
        ),
    )
    put(store, b"a" * 3_000)

    with pytest.raises(BlobTooLarge, match="4001 bytes"):
        begun(store, b"b" * 4_001)
    with pytest.raises(BlobStoreFull, match="3000 of 5000"):
        begun(store, b"c" * 2_001)
    upload = begun(store, b"d" * 1_000)
    with pytest.raises(TooManyUploads):
        begun(store, b"e" * 10)
    drop_upload(store, upload)
    put(store, b"f" * 2_000)
    assert store.stored_bytes == 5_000


def test_what_is_announced_counts_before_it_comes(tmp_path: Path) -> None:
    store = open_blobs(tmp_path, limits=BlobLimits(reserve_bytes=0, store_bytes_max=5_000))
    upload = begun(store, b"a" * 3_000)

    with pytest.raises(BlobStoreFull):
        begun(store, b"b" * 2_001)

    drop_upload(store, upload)
    put(store, b"b" * 2_001)


def test_the_reserve_keeps_the_node_alive(tmp_path: Path) -> None:
    store = open_blobs(tmp_path, limits=BlobLimits(reserve_bytes=1 << 60))

    with pytest.raises(DiskFull, match="make room"):
        begun(store, SMALL)

    assert store.under_way == {}


def test_a_disk_that_fills_up_drops_the_upload_and_nothing_else(tmp_path: Path) -> None:
    files = FaultyFiles()
    store = open_blobs(tmp_path, limits=LIMITS, files=files)
    put(store, SMALL)
    upload = begun(store, LARGE)
    files.write_error = DISK_FULL

    with pytest.raises(DiskFull):
        write_upload(store, upload, leaf_of(LARGE, 0))

    files.write_error = None
    assert read(store, cid_of(SMALL)) == SMALL
    assert len(files_of(tmp_path)) == 1
    put(store, LARGE)


def test_a_flush_that_fails_leaves_no_blob(tmp_path: Path) -> None:
    files = FaultyFiles()
    store = open_blobs(tmp_path, limits=LIMITS, files=files)
    upload = begun(store, SMALL)
    write_upload(store, upload, SMALL)
    files.sync_error = errno.EIO

    with pytest.raises(StorageError):
        finish_upload(store, upload, now_ms=NOW_MS)

    assert not has_blob(store, upload.cid)
    assert files_of(tmp_path) == []


def test_a_disk_that_fills_up_drops_the_fetch_and_nothing_else(tmp_path: Path) -> None:
    files = FaultyFiles()
    store = open_blobs(tmp_path, limits=LIMITS, files=files)
    fetch = fetching(store, LARGE)
    files.write_error = DISK_FULL

    with pytest.raises(DiskFull):
        put_leaf(store, fetch, 0, leaf_of(LARGE, 0))

    files.write_error = None
    assert files_of(tmp_path) == []
    fetch = fetching(store, SMALL)
    put_leaf(store, fetch, 0, SMALL)
    files.sync_error = errno.EIO
    with pytest.raises(StorageError):
        finish_fetch(store, fetch, now_ms=NOW_MS)
    assert files_of(tmp_path) == []
    assert store.under_way == {}


def test_large_contents_are_flushed_as_they_come(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (storage.uploads, storage.fetches):
        monkeypatch.setattr(module, "SYNC_EVERY_BYTES", LEAF_BYTES)

    cid = put(store, LARGE)
    assert read(store, cid) == LARGE
    remove_blob(store, cid)
    fetch = fetching(store, LARGE)
    for position in (2, 0, 1):
        put_leaf(store, fetch, position, leaf_of(LARGE, position))
    finish_fetch(store, fetch, now_ms=NOW_MS)

    assert read(store, cid) == LARGE


def test_a_place_that_cannot_be_written_frees_what_was_set_aside(store: BlobStore) -> None:
    upload = begun(store, SMALL)
    suspend_upload(store, upload)
    digests = upload.path.with_name(upload.path.name + ".digests")
    digests.unlink()
    digests.mkdir()

    with pytest.raises(DiskFailed, match="digests"):
        begun(store, SMALL)

    assert store.under_way == {}
    digests.rmdir()
    fetch_path(store.directory, cid_of(LARGE)).mkdir()
    with pytest.raises(DiskFailed, match="fetch"):
        fetching(store, LARGE)
    assert store.under_way == {}


@pytest.mark.parametrize("start", [0, 1, LEAF_BYTES - 1, LEAF_BYTES, len(LARGE) - 1, len(LARGE)])
def test_a_blob_may_be_read_from_any_byte_on(store: BlobStore, start: int) -> None:
    cid = put(store, LARGE)

    assert b"".join(read_blob(store, cid, start=start)) == LARGE[start:]


def test_a_single_leaf_that_grew_is_damaged(store: BlobStore) -> None:
    cid = put(store, SMALL)
    with blob_path(store.directory, cid).open("ab") as file:
        file.write(bytes(LEAF_BYTES))

    with pytest.raises(BlobCorrupt, match="one leaf"):
        open_blob(store, cid)


def test_a_blob_that_grew_is_damaged(store: BlobStore) -> None:
    cid = put(store, LARGE)
    with blob_path(store.directory, cid).open("ab") as file:
        file.write(b"+")

    with pytest.raises(BlobCorrupt, match="not"):
        open_blob(store, cid)


def test_a_missing_blob_is_said(store: BlobStore) -> None:
    with pytest.raises(BlobMissing, match=encode_cid_text(cid_of(SMALL))):
        open_blob(store, cid_of(SMALL))


@pytest.mark.parametrize("offset", [0, LEAF_BYTES + 7, len(LARGE) - 1])
def test_a_flipped_byte_is_never_served_and_the_file_is_put_aside(
    store: BlobStore, offset: int
) -> None:
    cid = put(store, LARGE)
    path = blob_path(store.directory, cid)
    flip(path, offset)

    with pytest.raises(BlobCorrupt, match=str(path)):
        read(store, cid)

    assert not has_blob(store, cid)
    assert aside_path(store.directory, cid).exists()
    assert store.stored_bytes == 0
    with pytest.raises(BlobMissing):
        open_blob(store, cid)


def test_good_leaves_before_a_bad_one_are_served(store: BlobStore) -> None:
    cid = put(store, LARGE)
    flip(blob_path(store.directory, cid), LEAF_BYTES)
    reader = open_blob(store, cid)

    assert read_leaf(store, reader, 0) == leaf_of(LARGE, 0)
    with pytest.raises(BlobCorrupt):
        read_leaf(store, reader, 1)
    close_blob(reader)


def test_a_disk_that_wants_memory_aligned_otherwise_does_not_damage_a_blob(
    store: BlobStore,
) -> None:
    cid = put(store, LARGE)
    reader = open_blob(store, cid)
    reader.buffer = aligned_buffer(LEAF_BYTES + 1)[1:]

    leaf = read_leaf(store, reader, 1)
    close_blob(reader)

    assert leaf == leaf_of(LARGE, 1)
    assert has_blob(store, cid)


def test_a_bad_leaf_is_mended_from_a_peer_and_only_that_one(store: BlobStore) -> None:
    cid = put(store, LARGE)
    flip(blob_path(store.directory, cid), LEAF_BYTES)
    with pytest.raises(BlobCorrupt):
        run_to_end(check_blob(store, cid))

    fetch = fetching(store, LARGE)
    assert fetch.missing == {1}
    put_leaf(store, fetch, 1, leaf_of(LARGE, 1))
    finish_fetch(store, fetch, now_ms=NOW_MS)

    assert read(store, cid) == LARGE
    assert not aside_path(store.directory, cid).exists()
    assert store.stored_bytes == len(LARGE)


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_shortened_blob_is_mended_too(store: BlobStore, content: bytes) -> None:
    cid = put(store, content)
    os.truncate(blob_path(store.directory, cid), len(content) - 5)
    with pytest.raises(BlobCorrupt):
        read(store, cid)

    fetch = fetching(store, content)
    for position in sorted(fetch.missing):
        put_leaf(store, fetch, position, leaf_of(content, position))
    finish_fetch(store, fetch, now_ms=NOW_MS)

    assert read(store, cid) == content


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_leaf_index_needs_no_peer(store: BlobStore, damage: str) -> None:
    cid = put(store, LARGE)
    path = leaves_path(store.directory, cid)
    if damage == "flip":
        flip(path, 60)
    else:
        path.unlink()

    with pytest.raises(BlobCorrupt, match="leaves"):
        open_blob(store, cid)
    is_back = run_to_end(recover_aside(store, cid, now_ms=NOW_MS))

    assert is_back
    assert read(store, cid) == LARGE


def test_what_is_really_damaged_does_not_come_back_by_itself(store: BlobStore) -> None:
    cid = put(store, LARGE)
    flip(blob_path(store.directory, cid), 3)
    with pytest.raises(BlobCorrupt):
        read(store, cid)

    assert not run_to_end(recover_aside(store, cid, now_ms=NOW_MS))
    assert not has_blob(store, cid)
    assert not run_to_end(recover_aside(store, cid_of(SMALL), now_ms=NOW_MS))


def test_leaves_come_in_any_order_and_a_wrong_one_is_refused(store: BlobStore) -> None:
    fetch = fetching(store, LARGE)

    put_leaf(store, fetch, 2, leaf_of(LARGE, 2))
    with pytest.raises(LeafMismatch):
        put_leaf(store, fetch, 0, leaf_of(LARGE, 1)[::-1])
    put_leaf(store, fetch, 1, leaf_of(LARGE, 1))
    suspend_fetch(store, fetch)
    fetch = fetching(open_blobs(store.directory, limits=LIMITS), LARGE)
    assert fetch.missing == {0}
    put_leaf(store, fetch, 0, leaf_of(LARGE, 0))
    finish_fetch(store, fetch, now_ms=NOW_MS)

    assert read(store, fetch.index.cid) == LARGE


def test_a_false_leaf_index_is_refused(store: BlobStore) -> None:
    index = index_of(LARGE)
    forged = LeafIndex(
        cid=index.cid, size_bytes=index.size_bytes, leaf_digests=index.leaf_digests[::-1]
    )

    with pytest.raises(InvalidLeafIndex):
        run_to_end(begin_fetch(store, forged))

    assert files_of(store.directory) == []


def test_one_fetch_of_a_blob_at_a_time(store: BlobStore) -> None:
    fetch = fetching(store, LARGE)

    with pytest.raises(TooManyUploads):
        fetching(store, LARGE)

    drop_fetch(store, fetch)
    assert files_of(store.directory) == []


def test_a_fetch_given_up_while_checking_may_be_gone_on_with(store: BlobStore) -> None:
    steps = begin_fetch(store, index_of(LARGE))
    next(steps)

    steps.close()

    assert store.under_way == {}
    assert fetching(store, LARGE).missing == {0, 1, 2}


def test_an_erased_blob_leaves_nothing_and_never_comes_again(store: BlobStore) -> None:
    cid = put(store, LARGE)
    waiting = run_to_end(begin_upload(store, cid_of(SMALL), len(SMALL)))
    assert waiting is not None
    write_upload(store, waiting, SMALL)

    erase_blob(store, cid)
    erase_blob(store, cid)
    erase_blob(store, cid_of(SMALL))

    assert is_erased(store, cid)
    assert [path for path in files_of(store.directory) if path.stat().st_size] == []
    with pytest.raises(BlobErased):
        begun(store, LARGE)
    with pytest.raises(BlobErased):
        fetching(store, LARGE)
    with pytest.raises(BlobErased):
        finish_upload(store, waiting, now_ms=NOW_MS)
    assert store.stored_bytes == 0
    assert is_erased(open_blobs(store.directory, limits=LIMITS), cid)


def test_a_blob_set_aside_is_erased_too(store: BlobStore) -> None:
    cid = put(store, LARGE)
    flip(blob_path(store.directory, cid), 0)
    with pytest.raises(BlobCorrupt):
        read(store, cid)

    erase_blob(store, cid)

    assert [path for path in files_of(store.directory) if path.stat().st_size] == []
    assert not run_to_end(recover_aside(store, cid, now_ms=NOW_MS))


def test_a_start_sweeps_what_a_tombstone_forbids(store: BlobStore) -> None:
    cid = put(store, LARGE)
    whole = {path: path.read_bytes() for path in files_of(store.directory)}
    erase_blob(store, cid)
    for path, content in whole.items():
        path.write_bytes(content)  # A restored backup, say.

    again = open_blobs(store.directory, limits=LIMITS)

    assert not has_blob(again, cid)
    assert again.stored_bytes == 0


def test_a_removed_blob_may_come_again(store: BlobStore) -> None:
    cid = put(store, LARGE)

    remove_blob(store, cid)
    remove_blob(store, cid)

    assert files_of(store.directory) == []
    assert store.stored_bytes == 0
    assert put(store, LARGE) == cid


def test_blobs_that_nothing_refers_to_are_collected_after_their_time(store: BlobStore) -> None:
    kept, dropped = put(store, SMALL), put(store, LARGE)

    assert list(collect_unreferenced(store, {kept}.__contains__, before_ms=NOW_MS)) == []
    collected = list(collect_unreferenced(store, {kept}.__contains__, before_ms=NOW_MS + 1))

    assert collected == [dropped]
    assert has_blob(store, kept)
    assert put(store, LARGE) == dropped


def run_some_blobs(directory: Path, files: FaultyFiles, done: dict[Cid, bytes]) -> None:
    """Put, replace and erase blobs; `done` holds what was acknowledged."""
    store = open_blobs(directory, limits=LIMITS, files=files)
    done[put(store, SMALL)] = SMALL
    fetch = fetching(store, LARGE)
    for position in range(3):
        put_leaf(store, fetch, position, leaf_of(LARGE, position))
    finish_fetch(store, fetch, now_ms=NOW_MS)
    done[fetch.index.cid] = LARGE
    del done[cid_of(SMALL)]
    erase_blob(store, cid_of(SMALL))
    done[cid_of(SMALL)] = b""
    put(store, b"one more")  # So that a crash can come after the erasure.


@pytest.mark.parametrize("ending", ["killed", "power cut", "power cut after removals"])
def test_no_crash_leaves_half_a_blob_or_half_an_erasure(tmp_path: Path, ending: str) -> None:
    crashes = 0
    for crash_at in range(1_000):
        directory = tmp_path / str(crash_at)
        directory.mkdir()
        files, done = FaultyFiles(crash_at=crash_at), dict[Cid, bytes]()
        try:
            run_some_blobs(directory, files, done)
        except Crash:
            crashes += 1
        else:
            break
        if ending != "killed":
            files.lose_unsynced(keeps_removals=ending == "power cut after removals")

        store = open_blobs(directory, limits=LIMITS)

        where = f"crash at {files.calls[-1]} ({crash_at})"
        for cid, _ in iterate_blobs(store):
            run_to_end(check_blob(store, cid))
        for cid, content in done.items():
            assert has_blob(store, cid) == bool(content), where
            assert is_erased(store, cid) == (not content), where
        if not is_erased(store, cid_of(SMALL)):
            put(store, SMALL)
        put(store, LARGE)
        assert read(store, cid_of(LARGE)) == LARGE, where
    assert crashes > 25, "every call was a crash once"


def test_64_mib_stream_through_with_a_few_leaves_in_memory(store: BlobStore) -> None:
    leaf_count = 64
    leaves = [hashlib.sha256(b"%d" % n).digest() * (LEAF_BYTES // 32) for n in range(3)]
    content = (leaves[n % 3] for n in range(leaf_count))
    hasher = io.BytesIO(b"".join(leaves[n % 3] for n in range(leaf_count)))
    cid = cid_of_stream(hasher)
    del hasher

    tracemalloc.start()
    upload = run_to_end(begin_upload(store, cid, leaf_count * LEAF_BYTES))
    assert upload is not None
    for leaf in content:
        write_upload(store, upload, leaf)
    finish_upload(store, upload, now_ms=NOW_MS)
    run_to_end(check_blob(store, cid))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert blob_size(store, cid) == leaf_count * LEAF_BYTES
    assert peak_bytes < 4 * LEAF_BYTES
