"""Getting blobs from the nodes that keep them: for a reader of ours, or to mend a damaged copy.

A peer first sends the leaf index, which its content address proves; then every leaf is verified
as it arrives, so a fetch goes on where it broke off, with another peer if need be, and a lying
peer costs one leaf.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Final

from crypto.cid import Cid, encode_cid_text
from crypto.errors import CryptoError, DecodeError, InvalidLeafIndex
from crypto.schema import U32, Range, decode, encode
from crypto.unixfs import LEAF_BYTES, LeafIndex
from ledger.records_state import get_seal
from p2p.errors import P2pError, PeerUnreachable, RequestRefused
from shell.blobs import Blobs, may_have
from shell.kinds import Kind
from shell.leaves import local_leaves, open_in_thread, write_leaves
from storage.blob_reads import close_blob, open_blob
from storage.blobs import has_blob, is_erased
from storage.errors import BlobCorrupt, BlobErased, BlobMissing, StorageError
from storage.fetches import (
    Fetch,
    begin_fetch,
    finish_fetch,
    put_leaf,
    recover_aside,
    suspend_fetch,
)
from storage.slices import run_to_end

log = logging.getLogger("medledger.fetching")

INDEX_TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRange:
    """Asks for `count` leaves of a blob from position `first` on."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    cid: Cid
    first: U32
    count: Annotated[int, Range(1, 2**32 - 1)]


async def stream_blob(blobs: Blobs, cid: Cid, *, start: int) -> AsyncGenerator[bytes]:
    """Yield the blob's bytes from `start` on, each leaf verified; fetch or mend it if need be.

    Raises `BlobMissing` when nobody who keeps it can be asked, `BlobErased`, or `DiskFull`.
    """
    position, skip = divmod(start, LEAF_BYTES)
    while True:
        await ensure_here(blobs, cid)
        leaves = local_leaves(blobs.workers, blobs.store, cid, first=position)
        try:
            async with aclosing(leaves):
                async for leaf in leaves:
                    yield leaf[skip:]
                    position, skip = position + 1, 0
        except BlobCorrupt as problem:
            log.warning("damaged blob", extra={"reason": str(problem)})
            continue  # It is out of service now: mend it, and go on behind what was sent.
        return


async def ensure_here(blobs: Blobs, cid: Cid) -> None:
    """Have the whole blob in the store; one fetch at a time for each blob."""
    if has_blob(blobs.store, cid):
        return
    lock = blobs.arriving.setdefault(cid, asyncio.Lock())
    try:
        async with lock:
            if not has_blob(blobs.store, cid):
                await _fetch_from_somebody(blobs, cid)
    finally:
        if not lock.locked():
            blobs.arriving.pop(cid, None)


async def on_index(blobs: Blobs, peer_id: int, body: bytes) -> bytes:
    """Answer a peer that may have a blob with its leaf index."""
    cid = _decoded(body).cid
    _check_entitled(blobs, peer_id, cid)
    try:
        reader = open_blob(blobs.store, cid)
    except StorageError as problem:
        raise RequestRefused(problem.code) from problem
    close_blob(reader)
    return encode(reader.index)


async def on_read(blobs: Blobs, peer_id: int, body: bytes) -> AsyncGenerator[bytes]:
    """Answer a peer that may have a blob with a run of its leaves."""
    wanted = _decoded(body)
    _check_entitled(blobs, peer_id, wanted.cid)
    return _leaves_for_peer(blobs, peer_id, wanted)


async def _leaves_for_peer(blobs: Blobs, peer_id: int, wanted: LeafRange) -> AsyncGenerator[bytes]:
    """Yield the run; whether the peer may have it is asked before each leaf: rights end."""
    leaves = local_leaves(
        blobs.workers, blobs.store, wanted.cid, first=wanted.first, count=wanted.count
    )
    try:
        async with aclosing(leaves):
            async for leaf in leaves:
                _check_entitled(blobs, peer_id, wanted.cid)
                yield leaf
    except StorageError as problem:
        log.warning("blob not served", extra={"reason": str(problem)})
        raise RequestRefused(problem.code) from problem


async def _fetch_from_somebody(blobs: Blobs, cid: Cid) -> None:
    text = encode_cid_text(cid)
    if is_erased(blobs.store, cid):
        raise BlobErased(f"the blob {text} was erased")
    now_ms = blobs.clock.now_ms()
    if await asyncio.to_thread(run_to_end, recover_aside(blobs.store, cid, now_ms=now_ms)):
        return
    seal = get_seal(blobs.chain.view(), cid)
    if seal is None:
        raise BlobMissing(f"no record names the blob {text}")
    connected = blobs.network.connected()
    reasons: list[str] = []
    for peer_id in [one for one in seal.stored_by if one in connected]:
        try:
            await _fetch_from(blobs, peer_id, cid)
        except (P2pError, CryptoError) as problem:
            reasons.append(f"node {peer_id}: {problem}")
            log.warning("fetch failed", extra={"peer": peer_id, "reason": str(problem)})
            continue
        return
    told = "; ".join(reasons) or f"nodes {list(seal.stored_by)} keep it, none is connected"
    raise BlobMissing(f"the blob {text} cannot be had now ({told}); try again later")


async def _fetch_from(blobs: Blobs, peer_id: int, cid: Cid) -> None:
    """Fetch what is missing of a blob from one peer; what came stays if the peer fails."""
    query = encode(LeafRange(cid=cid, first=0, count=1))
    reply = await blobs.network.request(peer_id, Kind.BLOB_INDEX, query, INDEX_TIMEOUT_MS)
    index = decode(LeafIndex, reply)
    if index.cid != cid:
        raise InvalidLeafIndex(f"node {peer_id} answers with the index of another blob")
    fetch: Fetch | None = await open_in_thread(
        begin_fetch(blobs.store, index), partial(suspend_fetch, blobs.store)
    )
    if fetch is None:
        return
    try:
        for first, count in _runs(fetch.missing):
            await _fetch_run(blobs, peer_id, fetch, first, count)
    finally:
        if fetch.missing:
            suspend_fetch(blobs.store, fetch)
    if fetch.missing:
        raise PeerUnreachable(f"node {peer_id} ended before the last leaf")
    now_ms = blobs.clock.now_ms()
    await asyncio.to_thread(finish_fetch, blobs.store, fetch, now_ms=now_ms)


async def _fetch_run(blobs: Blobs, peer_id: int, fetch: Fetch, first: int, count: int) -> None:
    query = encode(LeafRange(cid=fetch.index.cid, first=first, count=count))
    chunks = blobs.network.stream_request(peer_id, Kind.BLOB_READ, query)
    size_bytes = min(fetch.index.size_bytes - first * LEAF_BYTES, count * LEAF_BYTES)
    positions = iter(range(first, first + count))

    def write(leaf: memoryview) -> None:
        put_leaf(blobs.store, fetch, next(positions), leaf)

    async with aclosing(chunks):
        wanted = _at_most(chunks, size_bytes)
        await write_leaves(blobs.workers, wanted, write, size_bytes=size_bytes)


async def _at_most(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    """Yield the first `count` bytes; whatever else a peer sends is not gathered."""
    left_bytes = count
    async for chunk in chunks:
        yield chunk[:left_bytes]
        left_bytes -= len(chunk)
        if left_bytes <= 0:
            return


def _runs(missing: set[int]) -> list[tuple[int, int]]:
    """Return the missing positions as (first, count) of consecutive ones."""
    runs: list[tuple[int, int]] = []
    for position in sorted(missing):
        if runs and sum(runs[-1]) == position:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((position, 1))
    return runs


def _check_entitled(blobs: Blobs, peer_id: int, cid: Cid) -> None:
    if not may_have(blobs, peer_id, cid):
        raise RequestRefused("not_entitled")


def _decoded(body: bytes) -> LeafRange:
    try:
        return decode(LeafRange, body)
    except DecodeError as problem:
        raise RequestRefused("malformed") from problem
