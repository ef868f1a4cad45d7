"""Uploads: a stream of bytes that claims a content address, verified as it comes, resumable.

Beside the content lies a list of the leaf digests so far. After a crash or a broken connection the
leaves that still match it count as there, and the stream goes on behind them.
"""

import hashlib
import os
import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crypto.cid import RAW, Cid, encode_cid_text
from crypto.schema import encode
from crypto.unixfs import LEAF_BYTES, DagBuilder, LeafHasher, LeafIndex
from storage.blob_layout import (
    DIGESTS_SUFFIX,
    LEAVES_SUFFIX,
    UPLOAD_SUFFIX,
    partial_contents,
    partial_files,
    upload_path,
    with_suffix,
)
from storage.blobs import BlobStore, admit, claim, has_blob, is_erased, unclaim
from storage.errors import BlobErased, BlobMismatch, StorageError
from storage.files import disk_error, write_new_file

SYNC_EVERY_BYTES: Final = 64 << 20
"""Contents are flushed as they grow, so that the flush at the end of a large one is short."""

EMPTY_LEAF_DIGEST: Final = hashlib.sha256().digest()

_DIGEST_BYTES: Final = 32


@dataclass(slots=True, kw_only=True)
class Upload:
    """A blob on its way in; the next byte belongs at `offset_bytes`."""

    cid: Cid
    size_bytes: int
    path: Path
    descriptor: int
    digests_descriptor: int
    offset_bytes: int = 0
    synced_bytes: int = 0
    leaf_digests: list[bytes] = field(default_factory=list)
    dag: DagBuilder = field(default_factory=DagBuilder)
    leaves: LeafHasher = field(init=False)

    def __post_init__(self) -> None:
        self.leaves = LeafHasher(self.add_leaf)

    def add_leaf(self, sha256: bytes, size_bytes: int) -> None:
        self.leaf_digests.append(sha256)
        self.dag.add_leaf(sha256, size_bytes)


def begin_upload(
    store: BlobStore, cid: Cid, size_bytes: int
) -> Generator[None, None, Upload | None]:
    """Open an upload of `size_bytes`, resuming one that was broken off; pause after each leaf.

    Returns None if the blob is here already. Raises `BlobErased`, `BlobMismatch`, `BlobTooLarge`,
    `BlobStoreFull`, `DiskFull` or `TooManyUploads`.
    """
    _check_admissible(store, cid, size_bytes)
    if has_blob(store, cid):
        return None
    path = _resumable(store, cid, size_bytes)
    if path is None:
        path = upload_path(store.directory, cid, secrets.token_hex(8))
    claim(store, path, size_bytes)
    try:
        upload = _open(store, cid, size_bytes, path)
    except StorageError:
        unclaim(store, path)
        raise
    try:
        yield from _resume(store, upload)
    except OSError as problem:
        drop_upload(store, upload)
        raise disk_error(problem, path) from problem
    except GeneratorExit:  # The caller lost interest half way.
        suspend_upload(store, upload)
        raise
    return upload


def write_upload(store: BlobStore, upload: Upload, piece: bytes | memoryview) -> None:
    """Take the next bytes, at most a leaf at a time.

    Raises `BlobMismatch` for more than was announced and `DiskFull`; both drop the upload.
    """
    assert len(piece) <= LEAF_BYTES, "a slice of work is one leaf"
    if upload.offset_bytes + len(piece) > upload.size_bytes:
        drop_upload(store, upload)
        raise BlobMismatch(
            f"more than the {upload.size_bytes} bytes announced for {encode_cid_text(upload.cid)}"
        )
    listed = len(upload.leaf_digests)
    upload.leaves.update(piece)
    try:
        store.files.write_bulk(upload.descriptor, piece, upload.offset_bytes)
        fresh = b"".join(upload.leaf_digests[listed:])
        store.files.write(upload.digests_descriptor, fresh, listed * _DIGEST_BYTES)
        upload.offset_bytes += len(piece)
        if upload.offset_bytes - upload.synced_bytes >= SYNC_EVERY_BYTES:
            store.files.sync(upload.descriptor)
            upload.synced_bytes = upload.offset_bytes
    except OSError as problem:
        drop_upload(store, upload)
        raise disk_error(problem, upload.path) from problem


def finish_upload(store: BlobStore, upload: Upload, *, now_ms: int) -> None:
    """Make the blob durable and visible, if it is what its content address stands for.

    Raises `BlobMismatch`, `BlobErased` or `DiskFull`; nothing of the upload is left then.
    """
    upload.leaves.finish()
    if upload.offset_bytes != upload.size_bytes or upload.dag.finish() != upload.cid:
        drop_upload(store, upload)
        raise BlobMismatch(
            f"the {upload.offset_bytes} bytes are not the {upload.size_bytes} bytes of"
            f" {encode_cid_text(upload.cid)}: send the file again"
        )
    try:
        _check_admissible(store, upload.cid, upload.size_bytes)
        index = LeafIndex(
            cid=upload.cid,
            size_bytes=upload.size_bytes,
            leaf_digests=tuple(upload.leaf_digests) or (EMPTY_LEAF_DIGEST,),
        )
        make_durable(store, upload.path, upload.descriptor, index, now_ms=now_ms)
        admit(store, upload.cid, upload.path)
    except StorageError:
        drop_upload(store, upload)
        raise
    drop_upload(store, upload)  # What is left of it: the list of digests.


def suspend_upload(store: BlobStore, upload: Upload) -> None:
    """Leave an upload to be resumed until it expires."""
    store.files.close(upload.descriptor)
    store.files.close(upload.digests_descriptor)
    unclaim(store, upload.path)


def drop_upload(store: BlobStore, upload: Upload) -> None:
    """Give an upload up, leaving nothing of it."""
    suspend_upload(store, upload)
    for file in partial_files(upload.path):
        store.files.unlink(file)


def make_durable(
    store: BlobStore, content: Path, descriptor: int, index: LeafIndex, *, now_ms: int
) -> None:
    """Flush a verified content, dated `now_ms`, and beside it its leaf index if it has several.

    Raises `DiskFull` or `DiskFailed`.
    """
    try:
        if index.cid[1] != RAW:
            leaves = with_suffix(content, LEAVES_SUFFIX)
            store.files.unlink(leaves)
            write_new_file(store.files, leaves, encode(index))
        os.utime(descriptor, ns=(now_ms * 1_000_000, now_ms * 1_000_000))
        store.files.sync(descriptor)
    except OSError as problem:
        raise disk_error(problem, content) from problem


def _check_admissible(store: BlobStore, cid: Cid, size_bytes: int) -> None:
    if is_erased(store, cid):
        raise BlobErased(f"the blob {encode_cid_text(cid)} was erased and is not taken again")
    if (cid[1] == RAW) != (size_bytes <= LEAF_BYTES):
        raise BlobMismatch(f"{encode_cid_text(cid)} is no address of {size_bytes} bytes")


def _resumable(store: BlobStore, cid: Cid, size_bytes: int) -> Path | None:
    """Return the longest broken-off upload of a blob, if there is one."""
    found = [
        path
        for path in partial_contents(store.directory, cid)
        if path.name.endswith(UPLOAD_SUFFIX)
        and path not in store.under_way
        and path.stat().st_size <= size_bytes
    ]
    return max(found, key=lambda path: path.stat().st_size, default=None)


def _open(store: BlobStore, cid: Cid, size_bytes: int, path: Path) -> Upload:
    digests = with_suffix(path, DIGESTS_SUFFIX)
    descriptor = _open_or_create(store, path)
    try:
        digests_descriptor = _open_or_create(store, digests)
    except StorageError:
        store.files.close(descriptor)
        raise
    return Upload(
        cid=cid,
        size_bytes=size_bytes,
        path=path,
        descriptor=descriptor,
        digests_descriptor=digests_descriptor,
    )


def _open_or_create(store: BlobStore, path: Path) -> int:
    return store.files.open_for_writing(path) if path.exists() else store.files.create(path)


def _resume(store: BlobStore, upload: Upload) -> Generator[None, None, None]:
    """Keep the leaves that are what the list of digests says; cut everything behind them."""
    while leaf := os.pread(upload.descriptor, LEAF_BYTES, upload.offset_bytes):
        position = len(upload.leaf_digests)
        sha256 = hashlib.sha256(leaf).digest()
        listed = os.pread(upload.digests_descriptor, _DIGEST_BYTES, position * _DIGEST_BYTES)
        if len(leaf) < LEAF_BYTES or sha256 != listed:
            break
        upload.add_leaf(sha256, LEAF_BYTES)
        upload.offset_bytes += LEAF_BYTES
        yield
    store.files.truncate(upload.descriptor, upload.offset_bytes)
    store.files.truncate(upload.digests_descriptor, len(upload.leaf_digests) * _DIGEST_BYTES)
