"""The blob store: sealed records as files under their content addresses.

A file under its final name is whole: its content was verified, flushed and only then renamed. All
functions of the store are synchronous and do a bounded slice of work (a leaf of 1 MiB), or are
generators that pause after each, so that a caller may run them in worker threads.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crypto.cid import Cid
from crypto.unixfs import LeafIndex
from storage.blob_layout import (
    ASIDE,
    ERASED,
    LEAVES_SUFFIX,
    PARTIAL,
    arrived_ms,
    aside_path,
    blob_path,
    cid_of,
    leaves_path,
    partial_contents,
    partial_files,
    tombstone_path,
    whole_paths,
    with_suffix,
)
from storage.cache import RecentCache
from storage.errors import BlobStoreFull, BlobTooLarge, TooManyUploads
from storage.files import SYSTEM_FILES, Files, check_free, write_new_file

INDEXES_KEPT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobLimits:
    """What the store may take: its quota, its largest blob, and the disk it leaves to the node."""

    store_bytes_max: int = 1 << 40
    blob_bytes_max: int = 8 << 30
    reserve_bytes: int = 256 << 20
    uploads_max: int = 64


@dataclass(slots=True, kw_only=True)
class BlobStore:
    """An open store.

    `stored_count` and `stored_bytes` are of whole blobs; `under_way` holds the partial contents
    in use with the sizes announced for them.
    """

    directory: Path
    limits: BlobLimits
    files: Files = SYSTEM_FILES
    stored_count: int = 0
    stored_bytes: int = 0
    under_way: dict[Path, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    indexes: RecentCache[Cid, LeafIndex] = field(
        default_factory=lambda: RecentCache(count_max=INDEXES_KEPT)
    )


def open_blobs(
    directory: Path, *, limits: BlobLimits | None = None, files: Files = SYSTEM_FILES
) -> BlobStore:
    """Open the store in an existing directory, tidying up what a crash left.

    A blob with a tombstone is removed, an index without its content too.
    """
    store = BlobStore(directory=directory, limits=limits or BlobLimits(), files=files)
    for name in (PARTIAL, ASIDE, ERASED):
        files.make_directory(directory / name)
    files.sync_directory(directory)
    for path in whole_paths(directory):
        if path.name.endswith(LEAVES_SUFFIX):
            if not path.with_name(path.name.removesuffix(LEAVES_SUFFIX)).exists():
                files.unlink(path)
        elif is_erased(store, cid_of(path)):
            _unlink_whole(store, path)
        else:
            store.stored_count += 1
            store.stored_bytes += path.stat().st_size
    contents = partial_contents(directory)
    known = {file for content in contents for file in partial_files(content)}
    for stray in (directory / PARTIAL).iterdir():
        if stray not in known:
            files.unlink(stray)
    return store


def has_blob(store: BlobStore, cid: Cid) -> bool:
    """Whether the whole blob is here."""
    return blob_path(store.directory, cid).exists()


def blob_size(store: BlobStore, cid: Cid) -> int | None:
    """Return the blob's size in bytes, or None if it is not here."""
    try:
        return blob_path(store.directory, cid).stat().st_size
    except FileNotFoundError:
        return None


def is_erased(store: BlobStore, cid: Cid) -> bool:
    """Whether the blob was erased for good."""
    return tombstone_path(store.directory, cid).exists()


def iterate_blobs(store: BlobStore) -> Iterator[tuple[Cid, int]]:
    """Yield (cid, size in bytes) of every whole blob, in the order of their digests' first byte."""
    for path in whole_paths(store.directory):
        if not path.name.endswith(LEAVES_SUFFIX):
            yield cid_of(path), path.stat().st_size


def erase_blob(store: BlobStore, cid: Cid) -> None:
    """Destroy a blob with everything left of it, for good; durable on return, repeatable.

    The tombstone comes first: a crash in between leaves a blob that the next start removes.
    """
    tombstone = tombstone_path(store.directory, cid)
    if not tombstone.exists():
        _make_fan_out(store, tombstone.parent)
        write_new_file(store.files, tombstone, b"")
    store.files.sync_directory(tombstone.parent)
    remove_blob(store, cid)
    for content in partial_contents(store.directory, cid):
        for file in partial_files(content):
            store.files.unlink(file)
    store.files.unlink(aside_path(store.directory, cid))
    store.files.sync_directory(store.directory / PARTIAL)
    store.files.sync_directory(store.directory / ASIDE)


def remove_blob(store: BlobStore, cid: Cid) -> None:
    """Drop a blob that may come again, such as a copy whose read entry has expired."""
    path = blob_path(store.directory, cid)
    with store.lock:
        size_bytes = blob_size(store, cid)
        if size_bytes is None:
            return
        _unlink_whole(store, path)
        store.stored_count -= 1
        store.stored_bytes -= size_bytes
    store.files.sync_directory(path.parent)


def collect_unreferenced(
    store: BlobStore, is_referenced: Callable[[Cid], bool], *, before_ms: int
) -> Iterator[Cid]:
    """Remove the blobs that came before `before_ms` and that nothing refers to; yield each."""
    for cid, _ in iterate_blobs(store):
        if arrived_ms(blob_path(store.directory, cid)) < before_ms and not is_referenced(cid):
            remove_blob(store, cid)
            yield cid


def list_partials(store: BlobStore) -> Iterator[tuple[Cid, int, int]]:
    """Yield (cid, bytes so far, last change in ms) of what waits to be resumed."""
    for path in partial_contents(store.directory):
        if path not in store.under_way:
            yield cid_of(path), _taken_bytes(path), arrived_ms(path)


def expire_partials(store: BlobStore, *, before_ms: int) -> int:
    """Drop what was not resumed since `before_ms`; return how many contents that were."""
    dropped = 0
    for path in partial_contents(store.directory):
        with store.lock:
            if path in store.under_way or arrived_ms(path) >= before_ms:
                continue
            for file in partial_files(path):
                store.files.unlink(file)
        dropped += 1
    return dropped


def claim(store: BlobStore, path: Path, size_bytes: int) -> None:
    """Set room aside for a content that goes to `path`, of which some may be there already.

    Raises `BlobTooLarge`, `BlobStoreFull`, `DiskFull` or `TooManyUploads`.
    """
    limits = store.limits
    if size_bytes > limits.blob_bytes_max:
        raise BlobTooLarge(f"{size_bytes} bytes, where a blob has at most {limits.blob_bytes_max}")
    with store.lock:
        if path in store.under_way or len(store.under_way) >= limits.uploads_max:
            raise TooManyUploads(
                f"{len(store.under_way)} blobs are on their way already: try again later"
            )
        used_bytes = _used_bytes(store, besides=path)
        if used_bytes + size_bytes > limits.store_bytes_max:
            raise BlobStoreFull(
                f"the blob store uses {used_bytes} of {limits.store_bytes_max} bytes, and"
                f" {size_bytes} more do not fit: raise blob_store_bytes_max, or erase records"
            )
        announced = [*store.under_way.items(), (path, size_bytes)]
        outstanding = sum(max(0, size - _taken_bytes(file)) for file, size in announced)
        check_free(store.directory, wanted_bytes=outstanding, reserve_bytes=limits.reserve_bytes)
        store.under_way[path] = size_bytes


def unclaim(store: BlobStore, path: Path) -> None:
    """Give back the room set aside for a content that came, was dropped or has to wait."""
    with store.lock:
        store.under_way.pop(path, None)


def admit(store: BlobStore, cid: Cid, content: Path) -> None:
    """Give a verified, flushed content and its leaf index their final names.

    The content comes last, for it means the blob.
    """
    path = blob_path(store.directory, cid)
    _make_fan_out(store, path.parent)
    leaves = with_suffix(content, LEAVES_SUFFIX)
    if leaves.exists():
        store.files.rename(leaves, leaves_path(store.directory, cid))
    with store.lock:
        if not path.exists():
            store.stored_count += 1
            store.stored_bytes += content.stat().st_size
        store.files.rename(content, path)
    store.files.sync_directory(path.parent)


def put_aside(store: BlobStore, cid: Cid) -> Path:
    """Take a damaged blob out of service, keeping its content to be mended; return where it is."""
    path, aside = blob_path(store.directory, cid), aside_path(store.directory, cid)
    with store.lock:
        size_bytes = blob_size(store, cid)
        if size_bytes is not None:
            store.files.rename(path, aside)
            store.files.unlink(leaves_path(store.directory, cid))
            store.stored_count -= 1
            store.stored_bytes -= size_bytes
    store.indexes.drop(cid)
    store.files.sync_directory(aside.parent)
    return aside


def _used_bytes(store: BlobStore, *, besides: Path) -> int:
    """Return what blobs, contents under way (as announced), waiting and set aside take."""
    waiting = [*partial_contents(store.directory), *(store.directory / ASIDE).iterdir()]
    return (
        store.stored_bytes
        + sum(store.under_way.values())
        + sum(
            _taken_bytes(path)
            for path in waiting
            if path not in store.under_way and path != besides
        )
    )


def _taken_bytes(path: Path) -> int:
    """Return how much of the disk a content takes, holes not counted."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return min(found.st_size, found.st_blocks * 512)


def _make_fan_out(store: BlobStore, directory: Path) -> None:
    if not directory.exists():
        store.files.make_directory(directory)
        store.files.sync_directory(directory.parent)


def _unlink_whole(store: BlobStore, path: Path) -> None:
    """Remove a blob, the content first: without it the rest means nothing."""
    store.files.unlink(path)
    store.files.unlink(with_suffix(path, LEAVES_SUFFIX))
