"""Sidecars: erasable bytes that travel with transactions, found by their salted digests.

Each batch becomes one pack (`storage.packs`), flushed once, because a replica stores hundreds
before it votes. An index in LevelDB leads from a digest to its pack; it holds no content, lags
behind by at most `UNSYNCED_PACKS_MAX` packs after a power cut, and is made up from the packs.
To erase a sidecar its pack is written again without it, so that nothing of it stays behind.

    packs/<id>>10>/<id>.pack     ids ascend; a directory holds 1,024 of them
    index/                       digest -> pack id
"""

import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crypto.envelopes import check_sidecar
from crypto.hashing import Digest
from storage.blob_layout import arrived_ms
from storage.cache import RecentCache
from storage.database import Database, create_database, open_database
from storage.errors import (
    DatabaseCorrupt,
    DatabaseMissing,
    SidecarCorrupt,
    SidecarMissing,
    SidecarsFull,
)
from storage.files import SYSTEM_FILES, Files, check_free, replace_file
from storage.keys import PACK_WATERMARK_KEY, pack_index_key
from storage.packs import (
    PACK_SIDECARS_MAX,
    PackDamaged,
    PackTable,
    encode_pack,
    read_content,
    read_contents,
    read_table,
)

UNSYNCED_PACKS_MAX: Final = 256
TABLES_KEPT: Final = 128
DAMAGED_KEPT: Final = 100
INDEX_CACHE_BYTES: Final = 8 << 20
SIDECARS_BYTES_MAX: Final = 1 << 40
SIDECARS_RESERVE_BYTES: Final = 64 << 20

_PACKS: Final = "packs"
_INDEX: Final = "index"
_PACK_SUFFIX: Final = ".pack"


@dataclass(slots=True, kw_only=True)
class SidecarStore:
    """An open store; one writer.

    `size_bytes` is what all packs take; `damaged` says what was found damaged and dropped lately.
    """

    directory: Path
    index: Database
    files: Files
    bytes_max: int
    reserve_bytes: int
    next_pack: int = 0
    watermark: int = 0
    size_bytes: int = 0
    damaged: deque[str] = field(default_factory=lambda: deque(maxlen=DAMAGED_KEPT))
    tables: RecentCache[int, PackTable] = field(
        default_factory=lambda: RecentCache(count_max=TABLES_KEPT)
    )


def open_sidecars(
    directory: Path,
    *,
    files: Files = SYSTEM_FILES,
    bytes_max: int = SIDECARS_BYTES_MAX,
    reserve_bytes: int = SIDECARS_RESERVE_BYTES,
) -> SidecarStore:
    """Open the store in an existing directory, bringing the index up to the packs.

    A damaged index is made anew from the packs. Raises `DiskFull` or `DiskFailed`.
    """
    files.make_directory(directory / _PACKS)
    files.sync_directory(directory)
    store = SidecarStore(
        directory=directory,
        index=_open_index(directory / _INDEX),
        files=files,
        bytes_max=bytes_max,
        reserve_bytes=reserve_bytes,
    )
    for leftover in (directory / _PACKS).glob("*/*.new"):
        files.unlink(leftover)  # A crash came before it was renamed.
    stored = store.index.get(PACK_WATERMARK_KEY)
    store.watermark = 0 if stored is None else int.from_bytes(stored, "big")
    store.next_pack = store.watermark
    for pack, path in list(_packs(store)):
        store.size_bytes += path.stat().st_size
        store.next_pack = max(store.next_pack, pack + 1)
        if pack >= store.watermark:
            _index_pack(store, pack)
    _raise_watermark(store)
    return store


def close_sidecars(store: SidecarStore) -> None:
    """Let go of the index; everything acknowledged is durable already."""
    store.index.close()


def put_sidecars(store: SidecarStore, contents: Iterable[tuple[Digest, bytes]]) -> None:
    """Make sidecars durable, all in one flush; those that are here already are left alone.

    Raises `SidecarMismatch` (crypto) for a content that is not its digest's, `SidecarsFull` or
    `DiskFull`; nothing is stored then.
    """
    fresh: dict[Digest, bytes] = {}
    for digest, content in contents:
        check_sidecar(digest, content)
        if digest not in fresh and not has_sidecar(store, digest):
            fresh[digest] = content
    items = list(fresh.items())
    for first in range(0, len(items), PACK_SIDECARS_MAX):
        _write_pack(store, dict(items[first : first + PACK_SIDECARS_MAX]))


def has_sidecar(store: SidecarStore, digest: Digest) -> bool:
    """Whether the sidecar is here; its content is verified when it is read."""
    try:
        return _find(store, digest) is not None
    except SidecarCorrupt:
        return False


def get_sidecar(store: SidecarStore, digest: Digest) -> bytes:
    """Return a verified sidecar.

    Raises `SidecarMissing`, or `SidecarCorrupt` for a damaged one, which is dropped: from then on
    it is missing, and a peer may be asked.
    """
    found = _find(store, digest)
    if found is None:
        raise SidecarMissing(f"the sidecar {digest.hex()} is not on this node")
    pack, table = found
    path = _pack_path(store, pack)
    try:
        return read_content(path, table, digest)
    except PackDamaged as problem:
        drop_sidecars(store, (digest,))
        raise _reported(store, path, problem) from problem


def get_sidecar_or_none(store: SidecarStore, digest: Digest) -> bytes | None:
    """Return a verified sidecar, or None if it is missing or damaged."""
    try:
        return get_sidecar(store, digest)
    except (SidecarMissing, SidecarCorrupt):
        return None


def missing_sidecars(store: SidecarStore, digests: Iterable[Digest]) -> list[Digest]:
    """Return those of `digests` that are not here, in their order."""
    return [digest for digest in digests if not has_sidecar(store, digest)]


def drop_sidecars(store: SidecarStore, digests: Iterable[Digest]) -> None:
    """Erase sidecars; durable on return, nothing of them stays in the directory, repeatable."""
    by_pack: dict[int, list[Digest]] = {}
    for digest in digests:
        pack = _pack_of(store, digest)
        if pack is not None:
            by_pack.setdefault(pack, []).append(digest)
    for pack, dropped in by_pack.items():
        _rewrite_pack(store, pack, without=dropped)
        store.index.write([(pack_index_key(digest), None) for digest in dropped], sync=False)


def sweep_sidecars(
    store: SidecarStore, is_live: Callable[[Digest], bool], *, before_ms: int
) -> Generator[None, None, int]:
    """Erase what came before `before_ms` and is not live; return how many; pause after each pack.

    `is_live` also has to say yes to what undecided proposals still need.
    """
    count = 0
    for pack, path in list(_packs(store)):
        if arrived_ms(path) < before_ms:
            dead = [digest for digest in _digests_in(store, pack) if not is_live(digest)]
            if dead:
                drop_sidecars(store, dead)
                count += len(dead)
        yield
    return count


def iterate_sidecars(store: SidecarStore) -> Iterator[Digest]:
    """Yield the digests of all sidecars, in the order in which their batches came."""
    for pack, _ in list(_packs(store)):
        yield from _digests_in(store, pack)


def check_sidecars(store: SidecarStore) -> Generator[None, None, tuple[str, ...]]:
    """Verify every sidecar, dropping what is damaged, and return what was wrong.

    Pauses after each pack.
    """
    before = store.damaged
    store.damaged = deque()
    for pack, _ in list(_packs(store)):
        for digest in _digests_in(store, pack):
            get_sidecar_or_none(store, digest)
        yield
    problems = tuple(store.damaged)
    before.extend(problems)
    store.damaged = before
    return problems


def _open_index(path: Path) -> Database:
    """Open the index, or begin a new one: whatever it says can be made up from the packs."""
    try:
        return open_database(path, reserve_bytes=0, cache_bytes=INDEX_CACHE_BYTES)
    except (DatabaseMissing, DatabaseCorrupt):
        shutil.rmtree(path, ignore_errors=True)
        return create_database(path, reserve_bytes=0, cache_bytes=INDEX_CACHE_BYTES)


def _packs(store: SidecarStore) -> Iterator[tuple[int, Path]]:
    """Yield (id, path) of the packs, ascending."""
    for directory in sorted((store.directory / _PACKS).iterdir()):
        for path in sorted(directory.glob("*" + _PACK_SUFFIX)):
            yield int(path.stem, 16), path


def _pack_path(store: SidecarStore, pack: int) -> Path:
    return store.directory / _PACKS / f"{pack >> 10:08x}" / f"{pack:016x}{_PACK_SUFFIX}"


def _write_pack(store: SidecarStore, contents: dict[Digest, bytes]) -> None:
    encoded = encode_pack(contents)
    if store.size_bytes + len(encoded) > store.bytes_max:
        raise SidecarsFull(
            f"the sidecars in {store.directory} take {store.size_bytes} of {store.bytes_max} bytes"
        )
    check_free(store.directory, wanted_bytes=len(encoded), reserve_bytes=store.reserve_bytes)
    path = _pack_path(store, store.next_pack)
    if not path.parent.exists():
        store.files.make_directory(path.parent)
        store.files.sync_directory(path.parent.parent)
    replace_file(store.files, path, encoded)
    pack, store.next_pack = store.next_pack, store.next_pack + 1
    store.size_bytes += len(encoded)
    _index_pack(store, pack)
    if store.next_pack - store.watermark >= UNSYNCED_PACKS_MAX:
        _raise_watermark(store)


def _index_pack(store: SidecarStore, pack: int) -> None:
    value = pack.to_bytes(8, "big")
    rows = [(pack_index_key(digest), value) for digest in _digests_in(store, pack)]
    store.index.write(rows, sync=False)


def _raise_watermark(store: SidecarStore) -> None:
    """Make the index durable up to here, so that a start has to read only later packs."""
    if store.next_pack != store.watermark:
        store.index.put(PACK_WATERMARK_KEY, store.next_pack.to_bytes(8, "big"), sync=True)
        store.watermark = store.next_pack


def _rewrite_pack(store: SidecarStore, pack: int, *, without: list[Digest]) -> None:
    """Put a pack without some sidecars in its own place."""
    path = _pack_path(store, pack)
    table = _table(store, pack)
    if table is None:
        return
    kept = read_contents(path, table, without=without)
    if kept:
        encoded = encode_pack(kept)
        replace_file(store.files, path, encoded)
        store.size_bytes += len(encoded) - table.size_bytes
        store.tables.drop(pack)
    else:
        _remove_pack(store, pack, table.size_bytes)


def _remove_pack(store: SidecarStore, pack: int, size_bytes: int) -> None:
    path = _pack_path(store, pack)
    store.files.unlink(path)
    store.files.sync_directory(path.parent)
    store.size_bytes -= size_bytes
    store.tables.drop(pack)


def _find(store: SidecarStore, digest: Digest) -> tuple[int, PackTable] | None:
    """Return the pack of a sidecar; raise `SidecarCorrupt` if that pack had to be dropped."""
    pack = _indexed_pack(store, digest)
    if pack is None:
        return None
    table = _table(store, pack)
    return (pack, table) if table is not None and digest in table.places else None


def _pack_of(store: SidecarStore, digest: Digest) -> int | None:
    try:
        found = _find(store, digest)
    except SidecarCorrupt:
        return None  # Dropped with its whole pack.
    return None if found is None else found[0]


def _indexed_pack(store: SidecarStore, digest: Digest) -> int | None:
    stored = store.index.get(pack_index_key(digest))
    return None if stored is None else int.from_bytes(stored, "big")


def _digests_in(store: SidecarStore, pack: int) -> tuple[Digest, ...]:
    """Return what a pack holds; nothing, if it turns out to be damaged and is dropped."""
    try:
        table = _table(store, pack)
    except SidecarCorrupt:
        return ()
    return () if table is None else tuple(table.places)


def _table(store: SidecarStore, pack: int) -> PackTable | None:
    """Return a pack's table, None if there is no such pack.

    Raises `SidecarCorrupt` after dropping a pack that does not say any more what it holds.
    """
    table = store.tables.get(pack)
    if table is None:
        path = _pack_path(store, pack)
        try:
            table = read_table(path)
        except FileNotFoundError:
            return None
        except PackDamaged as problem:
            _remove_pack(store, pack, path.stat().st_size)
            raise _reported(store, path, problem) from problem
        store.tables.put(pack, table)
    return table


def _reported(store: SidecarStore, path: Path, problem: PackDamaged) -> SidecarCorrupt:
    error = SidecarCorrupt(
        f"{path} is damaged ({problem}): what is damaged was dropped, and the node asks a peer for"
        " it when it is needed"
    )
    store.damaged.append(str(error))
    return error
