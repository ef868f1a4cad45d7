"""Fetches: a blob whose leaf index is known, taken leaf by leaf in any order, from anybody.

A fetch that was broken off keeps the leaves it has. A blob that was put aside as damaged is mended
the same way: its good leaves count as fetched, so only the bad ones are asked of a peer.
"""

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from crypto.cid import Cid, encode_cid_text
from crypto.errors import LeafMismatch
from crypto.unixfs import (
    LEAF_BYTES,
    DagBuilder,
    LeafHasher,
    LeafIndex,
    check_leaf,
    check_leaf_index,
)
from storage.blob_layout import aside_path, fetch_path, partial_files
from storage.blobs import BlobStore, admit, claim, has_blob, is_erased, unclaim
from storage.errors import BlobErased, StorageError
from storage.files import disk_error
from storage.uploads import EMPTY_LEAF_DIGEST, SYNC_EVERY_BYTES, make_durable


@dataclass(slots=True, kw_only=True)
class Fetch:
    """A blob on its way in; `missing` are the positions of the leaves still wanted."""

    index: LeafIndex
    path: Path
    descriptor: int
    missing: set[int]
    unsynced_bytes: int = 0


def begin_fetch(store: BlobStore, index: LeafIndex) -> Generator[None, None, Fetch | None]:
    """Open a fetch, or go on with one, checking leaf by leaf what is here; pause after each.

    Returns None if the blob is here already. Raises `InvalidLeafIndex` (crypto) for an index that
    does not lead to its content address, `BlobErased`, `BlobTooLarge`, `BlobStoreFull`, `DiskFull`
    or `TooManyUploads`, which a second fetch of one blob is, too.
    """
    cid = index.cid
    check_leaf_index(cid, index)
    _check_not_erased(store, cid)
    if has_blob(store, cid):
        return None
    path = fetch_path(store.directory, cid)
    claim(store, path, index.size_bytes)
    try:
        fetch = _open(store, index, path)
    except StorageError:
        unclaim(store, path)
        raise
    try:
        for position in range(len(index.leaf_digests)):
            if position not in fetch.missing and not _is_good(fetch, position):
                fetch.missing.add(position)
            yield
    except GeneratorExit:  # The caller lost interest half way.
        suspend_fetch(store, fetch)
        raise
    return fetch


def put_leaf(store: BlobStore, fetch: Fetch, position: int, leaf: bytes | memoryview) -> None:
    """Take one leaf; raise `LeafMismatch` (crypto) if it is not the one, or `DiskFull`.

    After `DiskFull` nothing of the fetch is left.
    """
    check_leaf(fetch.index, position, leaf)
    try:
        store.files.write_bulk(fetch.descriptor, leaf, position * LEAF_BYTES)
        fetch.unsynced_bytes += len(leaf)
        if fetch.unsynced_bytes >= SYNC_EVERY_BYTES:
            store.files.sync(fetch.descriptor)
            fetch.unsynced_bytes = 0
    except OSError as problem:
        drop_fetch(store, fetch)
        raise disk_error(problem, fetch.path) from problem
    fetch.missing.discard(position)


def finish_fetch(store: BlobStore, fetch: Fetch, *, now_ms: int) -> None:
    """Make a blob durable and visible that has all its leaves.

    Raises `BlobErased` or `DiskFull`; nothing of the fetch is left then.
    """
    assert not fetch.missing, "a fetch ends with its last leaf"
    try:
        _check_not_erased(store, fetch.index.cid)
        make_durable(store, fetch.path, fetch.descriptor, fetch.index, now_ms=now_ms)
        admit(store, fetch.index.cid, fetch.path)
    except StorageError:
        drop_fetch(store, fetch)
        raise
    suspend_fetch(store, fetch)


def suspend_fetch(store: BlobStore, fetch: Fetch) -> None:
    """Leave a fetch to be gone on with until it expires."""
    store.files.close(fetch.descriptor)
    unclaim(store, fetch.path)


def drop_fetch(store: BlobStore, fetch: Fetch) -> None:
    """Give a fetch up, leaving nothing of it."""
    suspend_fetch(store, fetch)
    for file in partial_files(fetch.path):
        store.files.unlink(file)


def recover_aside(store: BlobStore, cid: Cid, *, now_ms: int) -> Generator[None, None, bool]:
    """Put a blob back that was put aside, if its content is whole; pause after each leaf.

    That is so when only the leaf index was damaged; then no peer is needed. Returns whether it is
    in its place again. Raises `DiskFull` or `DiskFailed`.
    """
    aside = aside_path(store.directory, cid)
    if not aside.exists():
        return has_blob(store, cid)
    _check_not_erased(store, cid)
    descriptor = store.files.open_for_writing(aside)
    try:
        index = yield from _index_of(descriptor)
        if index.cid != cid:
            return False
        make_durable(store, aside, descriptor, index, now_ms=now_ms)
    finally:
        store.files.close(descriptor)
    admit(store, cid, aside)
    return True


def _open(store: BlobStore, index: LeafIndex, path: Path) -> Fetch:
    aside = aside_path(store.directory, index.cid)
    if aside.exists() and not path.exists():
        store.files.rename(aside, path)
    is_new = not path.exists()
    descriptor = store.files.create(path) if is_new else store.files.open_for_writing(path)
    try:
        store.files.truncate(descriptor, index.size_bytes)
    except OSError as problem:
        store.files.close(descriptor)
        raise disk_error(problem, path) from problem
    missing = set(range(len(index.leaf_digests))) if is_new else set()
    return Fetch(index=index, path=path, descriptor=descriptor, missing=missing)


def _is_good(fetch: Fetch, position: int) -> bool:
    try:
        leaf = os.pread(fetch.descriptor, LEAF_BYTES, position * LEAF_BYTES)
        check_leaf(fetch.index, position, leaf)
    except (LeafMismatch, OSError):  # A sector that cannot be read is a leaf to be fetched.
        return False
    return True


def _index_of(descriptor: int) -> Generator[None, None, LeafIndex]:
    """Work out the leaf index of a content."""
    digests: list[bytes] = []
    dag = DagBuilder()

    def on_leaf(sha256: bytes, size_bytes: int) -> None:
        digests.append(sha256)
        dag.add_leaf(sha256, size_bytes)

    leaves = LeafHasher(on_leaf)
    while leaf := os.pread(descriptor, LEAF_BYTES, leaves.size_bytes):
        leaves.update(leaf)
        yield
    leaves.finish()
    return LeafIndex(
        cid=dag.finish(),
        size_bytes=leaves.size_bytes,
        leaf_digests=tuple(digests) or (EMPTY_LEAF_DIGEST,),
    )


def _check_not_erased(store: BlobStore, cid: Cid) -> None:
    if is_erased(store, cid):
        raise BlobErased(f"the blob {encode_cid_text(cid)} was erased and is not taken again")
