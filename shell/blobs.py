"""Sealed records between hospitals: take them in, keep copies at f others, hand them to readers.

A blob is kept for good by the node its author used and by f others, each of which signs a storage
receipt. Any other node gets it only for a committed read entry that names it, and drops its copy
when the entry expires. Bytes are verified against their content address before they are a blob.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Final, TypeAlias

from api.ports import StorageReceipts
from crypto.cid import Cid
from crypto.errors import CryptoError, DecodeError
from crypto.hashing import Domain
from crypto.schema import Bytes64, Range, decode, encode
from crypto.signatures import SigningKey, check_job, sign
from crypto.validators import ReplicaId
from ledger.records_payloads import SEALED_BYTES_MAX, StorageReceipt
from ledger.records_state import Seal, get_record, get_seal, is_blob_live, seal_reads
from ledger.serving import decide_serving
from ledger.storage_receipts import storage_receipt_job, storage_receipt_payload
from p2p.errors import P2pError, RequestRefused
from p2p.network import Network
from shell.chain import Chain
from shell.clock import Clock
from shell.kinds import Kind
from shell.leaves import (
    Course,
    end_course,
    follow,
    local_leaves,
    note_written,
    open_in_thread,
    write_leaves,
)
from storage.blobs import (
    BlobStore,
    blob_size,
    collect_unreferenced,
    expire_partials,
    iterate_blobs,
    remove_blob,
)
from storage.errors import BlobMismatch, StorageError
from storage.files import disk_error
from storage.uploads import Upload, begin_upload, finish_upload, suspend_upload, write_upload

log = logging.getLogger("medledger.blobs")

UNREFERENCED_MS: Final = 24 * 3600 * 1000
ENTRIES_SCANNED_MAX: Final = 1_024
WORKERS: Final = 4
"""Threads that hash and write what comes in bulk: their own, so that no block waits for one."""

PASSED_ON_MAX: Final = 4
"""Uploads passed on while they arrive: a slow sender keeps a place at other nodes for as long."""

OpenLeaves: TypeAlias = Callable[[], AsyncGenerator[bytes]]
"""Opens the leaves of a blob anew, from the first one on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobOffer:
    """Announces a blob that its sender asks the receiver to keep."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    cid: Cid
    size_bytes: Annotated[int, Range(0, SEALED_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A validator's promise to keep a blob, as the answer to its upload."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    signature: Bytes64


@dataclass(slots=True, kw_only=True)
class Blobs:
    """The blob store with what carries its contents between nodes.

    `vote_key` returns the key in force; `arriving` holds one lock per blob under way, so that two
    readers fetch it once. `passed_on` counts the uploads that others get while they arrive.
    """

    store: BlobStore
    chain: Chain
    network: Network
    clock: Clock
    replica: ReplicaId
    vote_key: Callable[[], SigningKey]
    arriving: dict[Cid, asyncio.Lock] = field(default_factory=dict)
    passed_on: int = 0
    workers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(WORKERS, thread_name_prefix="bulk")
    )


async def put_blob(
    blobs: Blobs, cid: Cid, size_bytes: int, chunks: AsyncIterator[bytes]
) -> StorageReceipts:
    """Store a blob here and at f other hospitals; return who has promised to keep it.

    The others get each leaf as soon as it is here; where they cannot wait for it, or too much is on
    its way, the copies are made once the blob is whole. Fewer than f + 1 receipts mean that others
    could not be reached: the caller decides whether to go on. Raises a `StorageError` for bytes
    that are not the blob, or that find no room.
    """
    wanted = blobs.chain.quorum().weak
    upload = await _begin(blobs, cid, size_bytes)
    receipts: dict[int, bytes] = {}
    if upload is not None:
        receipts = await take_in_and_pass_on(blobs, upload, chunks, wanted - 1)
    missing = wanted - 1 - len(receipts)
    if missing > 0:
        leaves = partial(local_leaves, blobs.workers, blobs.store, cid)
        receipts |= await _copies(blobs, cid, size_bytes, missing, leaves, besides=receipts)
    receipts[int(blobs.replica)] = _promise(blobs, cid, size_bytes)
    return StorageReceipts(
        cid=cid,
        size_bytes=size_bytes,
        receipts=tuple(sorted(receipts.items())),
        wanted=wanted,
    )


def may_have(blobs: Blobs, peer_id: int, cid: Cid) -> bool:
    """Whether a peer may have this blob: it keeps it, or serves a reader right now."""
    view = blobs.chain.view()
    seal = get_seal(view, cid)
    if seal is None or not is_blob_live(view, cid):
        return False
    return peer_id in seal.stored_by or _is_serving(blobs, seal, peer_id)


async def on_store(
    blobs: Blobs, peer_id: int, header: bytes, chunks: AsyncIterator[bytes]
) -> bytes:
    """Keep a copy for a peer and promise it."""
    offer = _decoded(header)
    try:
        upload = await _begin(blobs, offer.cid, offer.size_bytes)
        if upload is not None:
            await _write(blobs, upload, chunks)
    except StorageError as problem:
        log.warning("copy not kept", extra={"peer": peer_id, "reason": str(problem)})
        raise RequestRefused(problem.code) from problem
    return encode(Stored(signature=_promise(blobs, offer.cid, offer.size_bytes)))


def sweep_once(blobs: Blobs) -> int:
    """Drop copies that no reader may have any more, and uploads that no record ever named."""
    before_ms = blobs.clock.now_ms() - UNREFERENCED_MS
    expire_partials(blobs.store, before_ms=before_ms)
    view = blobs.chain.view()
    unused = [
        cid
        for cid, _ in iterate_blobs(blobs.store)
        if (seal := get_seal(view, cid)) is not None
        and blobs.replica not in seal.stored_by
        and not _is_serving(blobs, seal, blobs.replica)
    ]
    for cid in unused:
        remove_blob(blobs.store, cid)
    unnamed = list(
        collect_unreferenced(
            blobs.store, lambda cid: get_seal(view, cid) is not None, before_ms=before_ms
        )
    )
    return len(unused) + len(unnamed)


def _is_serving(blobs: Blobs, seal: Seal, replica: int) -> bool:
    """Whether a read entry names this node for the seal, and its reader may still be served."""
    view = blobs.chain.view()
    record = get_record(view, seal.record_id)
    assert record is not None, "a seal's record stands in state"
    entries = seal_reads(
        view,
        pseudonym=record.facts.pseudonym,
        record_id=seal.record_id,
        version_id=seal.version_id,
        seal_id=seal.seal_id,
        limit=ENTRIES_SCANNED_MAX,
    )
    time_ms = max(blobs.chain.tip.time_ms, blobs.clock.now_ms())
    return any(
        decide_serving(view, one, serving_node=replica, time_ms=time_ms).permitted
        for one in entries
        if one.serving_node == replica
    )


async def _begin(blobs: Blobs, cid: Cid, size_bytes: int) -> Upload | None:
    """Open an upload, going on where an earlier one broke off; None if the blob is here."""
    steps = begin_upload(blobs.store, cid, size_bytes)
    upload = await open_in_thread(steps, partial(suspend_upload, blobs.store))
    if upload is None and blob_size(blobs.store, cid) != size_bytes:
        raise BlobMismatch(f"{size_bytes} bytes are announced; the blob has another size")
    return upload


async def take_in_and_pass_on(
    blobs: Blobs, upload: Upload, chunks: AsyncIterator[bytes], count: int
) -> dict[int, bytes]:
    """Store a stream that claims to be a blob, and `count` copies elsewhere meanwhile.

    Of many uploads only a few are passed on as they come.
    """
    early = count if blobs.passed_on < PASSED_ON_MAX else 0
    course = Course(
        descriptor=_opened(blobs, upload),
        written_bytes=upload.offset_bytes,
        size_bytes=upload.size_bytes,
    )
    copies = asyncio.create_task(
        _copies(blobs, upload.cid, upload.size_bytes, early, partial(follow, course))
    )
    blobs.passed_on += early > 0
    try:
        await _write(blobs, upload, chunks, course)
        return await copies
    except BlobMismatch:
        end_course(course)
        await asyncio.wait([copies])  # The others find out as well, and keep nothing of it.
        raise
    finally:
        blobs.passed_on -= early > 0
        copies.cancel()
        await asyncio.wait([copies])
        os.close(course.descriptor)


def _opened(blobs: Blobs, upload: Upload) -> int:
    """Open what an upload writes for reading; an upload that has vanished is given up."""
    try:
        return os.open(upload.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        suspend_upload(blobs.store, upload)
        raise disk_error(problem, upload.path) from problem


async def _write(
    blobs: Blobs, upload: Upload, chunks: AsyncIterator[bytes], course: Course | None = None
) -> None:
    """Write the rest of an upload and make it a blob; keep what came if the stream breaks."""
    loop = asyncio.get_running_loop()

    def write(leaf: memoryview) -> None:
        write_upload(blobs.store, upload, leaf)
        if course is not None:
            loop.call_soon_threadsafe(note_written, course, bytes(leaf))

    is_broken = True
    rest_bytes = upload.size_bytes - upload.offset_bytes
    try:
        rest = _skipping(chunks, upload.offset_bytes)
        await write_leaves(blobs.workers, rest, write, size_bytes=rest_bytes)
        is_broken = False
    except StorageError:
        is_broken = False  # The store has dropped the upload.
        raise
    finally:
        if is_broken:
            suspend_upload(blobs.store, upload)
    now_ms = blobs.clock.now_ms()
    await asyncio.to_thread(finish_upload, blobs.store, upload, now_ms=now_ms)


async def _copies(
    blobs: Blobs,
    cid: Cid,
    size_bytes: int,
    count: int,
    open_leaves: OpenLeaves,
    *,
    besides: Collection[int] = (),
) -> dict[int, bytes]:
    """Have up to `count` peers keep a copy, all at once; return their promises.

    Peers in `besides` have one already.
    """
    peers = iter([one for one in _keepers(blobs, cid) if one not in besides])
    promises: dict[int, bytes] = {}

    async def place_one() -> None:
        for peer_id in peers:  # One iterator for all: no peer is asked twice.
            signature = await _push(blobs, peer_id, cid, size_bytes, open_leaves())
            if signature is not None:
                promises[peer_id] = signature
                return

    await asyncio.gather(*(place_one() for _ in range(count)))
    return promises


async def _push(
    blobs: Blobs, peer_id: int, cid: Cid, size_bytes: int, leaves: AsyncIterator[bytes]
) -> bytes | None:
    """Upload a blob to a peer; return its promise, or None if it does not give a valid one."""
    offer = BlobOffer(cid=cid, size_bytes=size_bytes)
    try:
        reply = await blobs.network.stream_push(peer_id, Kind.BLOB_STORE, encode(offer), leaves)
        stored = decode(Stored, reply)
        job = storage_receipt_job(
            StorageReceipt(validator=ReplicaId(peer_id), signature=stored.signature),
            cid=cid,
            size_bytes=size_bytes,
            validators=blobs.chain.next_set,
            chain_id=blobs.chain.chain_id,
        )
        if job is None:
            return None
        check_job(job)
    except (P2pError, DecodeError, CryptoError, StorageError, OSError) as problem:
        log.warning("copy not placed", extra={"peer": peer_id, "reason": str(problem)})
        return None
    return stored.signature


def _keepers(blobs: Blobs, cid: Cid) -> list[int]:
    """Return the peers to ask for a copy: all connected ones, starting at a place that varies."""
    connected = list(blobs.network.connected())
    if not connected:
        return []
    first = int.from_bytes(cid[-4:], "big") % len(connected)
    return connected[first:] + connected[:first]


def _promise(blobs: Blobs, cid: Cid, size_bytes: int) -> bytes:
    payload = storage_receipt_payload(cid, size_bytes, blobs.replica)
    return sign(blobs.vote_key(), Domain.STORAGE_RECEIPT, blobs.chain.chain_id, payload)


async def _skipping(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """Leave out the first `count` bytes, which are here from an earlier attempt."""
    async for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:]
        count = 0


def _decoded(body: bytes) -> BlobOffer:
    try:
        return decode(BlobOffer, body)
    except DecodeError as problem:
        raise RequestRefused("malformed") from problem
