"""Reading blobs: every leaf is verified before a byte of it is served.

What a disk has changed is put aside at once, so that nobody is served from it again; the error
names the file, and a fetch mends it from a peer (`storage.fetches`).
"""

import errno
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from crypto.cid import RAW, Cid, cid_digest, encode_cid_text
from crypto.errors import DecodeError, InvalidLeafIndex, LeafMismatch
from crypto.schema import decode
from crypto.unixfs import LEAF_BYTES, LeafIndex, check_leaf, check_leaf_index, leaf_count
from storage.blob_layout import blob_path, leaves_path
from storage.blobs import BlobStore, has_blob, put_aside
from storage.errors import BlobCorrupt, BlobMissing, StorageError
from storage.files import aligned_buffer, set_direct


@dataclass(slots=True, kw_only=True)
class BlobReader:
    """An open blob; `index` says how many leaves it has and how long it is.

    One thread at a time reads from it, by way of `buffer`.
    """

    cid: Cid
    index: LeafIndex
    path: Path
    descriptor: int
    buffer: memoryview


def open_blob(store: BlobStore, cid: Cid) -> BlobReader:
    """Open a blob for reading; whoever does so closes it.

    Raises `BlobMissing`, or `BlobCorrupt` for a damaged leaf index or a content of another length.
    """
    path = blob_path(store.directory, cid)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as problem:
        raise _missing(cid) from problem
    try:
        index = _read_index(store, cid, os.fstat(descriptor).st_size)
    except StorageError:
        os.close(descriptor)
        raise
    if len(index.leaf_digests) > 1:
        set_direct(descriptor)
    buffer = aligned_buffer(max(1, min(LEAF_BYTES, index.size_bytes)))
    return BlobReader(cid=cid, index=index, path=path, descriptor=descriptor, buffer=buffer)


def read_leaf(store: BlobStore, reader: BlobReader, position: int) -> bytes:
    """Return a verified leaf: 1 MiB, or the rest at the end.

    Raises `BlobCorrupt`; the blob is out of service then, and the reader of no more use.
    """
    try:
        leaf = _read_at(reader, position * LEAF_BYTES)
        check_leaf(reader.index, position, leaf)
    except (LeafMismatch, OSError) as problem:
        raise _damaged(store, reader.cid, reader.path, str(problem)) from problem
    return leaf


def read_blob(store: BlobStore, cid: Cid, *, start: int = 0) -> Generator[bytes, None, None]:
    """Yield the verified bytes of a blob from `start` on, at most a leaf at a time.

    Raises what `open_blob` and `read_leaf` raise.
    """
    reader = open_blob(store, cid)
    try:
        first, skipped = divmod(start, LEAF_BYTES)
        for position in range(first, len(reader.index.leaf_digests)):
            leaf = read_leaf(store, reader, position)
            yield leaf[skipped:] if position == first else leaf
    finally:
        close_blob(reader)


def close_blob(reader: BlobReader) -> None:
    os.close(reader.descriptor)


def check_blob(store: BlobStore, cid: Cid) -> Generator[None, None, None]:
    """Verify a whole blob, pausing after each leaf; raises as reading does."""
    reader = open_blob(store, cid)
    try:
        for position in range(len(reader.index.leaf_digests)):
            read_leaf(store, reader, position)
            yield
    finally:
        close_blob(reader)


def _read_at(reader: BlobReader, offset: int) -> bytes:
    try:
        count = os.preadv(reader.descriptor, [reader.buffer], offset)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
        set_direct(reader.descriptor, is_direct=False)  # This disk wants it aligned otherwise.
        count = os.preadv(reader.descriptor, [reader.buffer], offset)
    return bytes(reader.buffer[:count])


def _read_index(store: BlobStore, cid: Cid, size_bytes: int) -> LeafIndex:
    """Return the index of a blob, or raise `BlobCorrupt` if it has none that leads to `cid`."""
    if cid[1] == RAW:
        if leaf_count(size_bytes) > 1:
            problem = f"{size_bytes} bytes where one leaf belongs"
            raise _damaged(store, cid, blob_path(store.directory, cid), problem)
        return LeafIndex(cid=cid, size_bytes=size_bytes, leaf_digests=(cid_digest(cid),))
    index = store.indexes.get(cid)
    path = leaves_path(store.directory, cid)
    if index is None:
        try:
            index = decode(LeafIndex, path.read_bytes())
            check_leaf_index(cid, index)
        except (DecodeError, InvalidLeafIndex, OSError) as problem:
            if not has_blob(store, cid):
                raise _missing(cid) from problem  # Removed since it was opened.
            raise _damaged(store, cid, path, str(problem)) from problem
        store.indexes.put(cid, index)
    if index.size_bytes != size_bytes:
        problem_text = f"{size_bytes} bytes, not {index.size_bytes}"
        raise _damaged(store, cid, blob_path(store.directory, cid), problem_text)
    return index


def _missing(cid: Cid) -> BlobMissing:
    return BlobMissing(f"the blob {encode_cid_text(cid)} is not on this node")


def _damaged(store: BlobStore, cid: Cid, path: Path, problem: str) -> BlobCorrupt:
    aside = put_aside(store, cid)
    return BlobCorrupt(
        f"{path} is damaged ({problem}): the blob was put aside as {aside} and is not served; the"
        " node mends it from a peer"
    )
