"""Moving sealed bytes to and from a node: blobs with resume and progress, sidecars.

A broken connection is resumed where it broke, a limited number of times without any progress in
between. What comes back is checked against digests and addresses from proven state; blobs are
checked when they are opened, because only then every byte has been seen.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from client.epochs import learn_epochs
from client.errors import AnswerRejected, BytesRejected, ClientError, NotReachable, ReceiptRejected
from client.http import Node, get_bytes, get_stream, pause_before, put_stream
from client.trust import Trust
from crypto.cid import Cid, encode_cid_text
from crypto.envelopes import check_sidecar, sidecar_payload
from crypto.errors import SidecarMismatch
from crypto.hashing import Digest
from crypto.validators import ReplicaId
from ledger.errors import Refused as LedgerRefused
from ledger.parameters import SIDECAR_BYTES_LIMIT
from ledger.records_payloads import StorageReceipt
from ledger.storage_receipts import check_storage_receipts

Progress: TypeAlias = Callable[[int, int], None]
"""Told (bytes done, bytes in all) as a transfer goes on."""

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Who has promised to keep a blob; `is_safe` if they are at least f + 1."""

    receipts: tuple[StorageReceipt, ...]
    is_safe: bool


async def upload_blob(
    node: Node,
    trust: Trust,
    path: Path,
    cid: Cid,
    size_bytes: int,
    *,
    progress: Progress | None = None,
) -> Stored:
    """Store a sealed file; raise `ReceiptRejected` for a promise its validator did not give."""

    def open_chunks() -> AsyncIterator[bytes]:
        return _read_chunks(path, size_bytes, progress)

    answer = await put_stream(node, f"/v1/blobs/{encode_cid_text(cid)}", size_bytes, open_chunks)
    receipts = _receipts(answer)
    try:
        is_safe = _are_enough(trust, receipts, cid, size_bytes)
    except LedgerRefused as problem:
        if not await _has_learned(node, trust):
            raise ReceiptRejected(str(problem)) from problem
        is_safe = _are_enough(trust, receipts, cid, size_bytes)
    return Stored(receipts=receipts, is_safe=is_safe)


def _are_enough(
    trust: Trust, receipts: Sequence[StorageReceipt], cid: Cid, size_bytes: int
) -> bool:
    """Return whether the promises make the blob safe; raise `Refused` for a wrong one."""
    return check_storage_receipts(
        receipts,
        cid=cid,
        size_bytes=size_bytes,
        validators=trust.validators,
        former=trust.former_validators,
        chain_id=trust.chain_id,
    )


async def _has_learned(node: Node, trust: Trust) -> bool:
    """Whether there are validators that were not known yet: one of them may have promised."""
    known = trust.epoch
    try:
        await learn_epochs(node, trust)
    except ClientError:  # Then the promise stays one of nobody we know.
        return False
    return trust.epoch > known


async def download_blob(
    node: Node,
    cid: Cid,
    size_bytes: int,
    sink: BinaryIO,
    *,
    read: Digest,
    progress: Progress | None = None,
) -> None:
    """Write a blob to `sink` under a committed read entry, going on where a connection broke.

    Only the length is checked here; opening checks every byte.
    """
    inflow = _Inflow(sink=sink, size_bytes=size_bytes, progress=progress)
    failures = 0
    while inflow.done_bytes < size_bytes:
        before = inflow.done_bytes
        try:
            await _receive(node, cid, read, inflow)
        except NotReachable:
            failures = 1 if inflow.done_bytes > before else failures + 1
            if failures >= node.patience.attempts:
                raise
            await pause_before(node, failures)


async def fetch_sidecar(node: Node, digest: Digest, *, read: Digest | None = None) -> bytes:
    """Return the payload behind a digest that proven state names; raise `BytesRejected`."""
    params = {} if read is None else {"read": read.hex()}
    path = f"/v1/sidecars/{digest.hex()}"
    content = await get_bytes(node, path, params, bytes_max=SIDECAR_BYTES_LIMIT)
    try:
        check_sidecar(digest, content)
    except SidecarMismatch as problem:
        raise BytesRejected(
            f"the node serves other bytes: {problem}; ask another node"
        ) from problem
    return sidecar_payload(content)


@dataclass(slots=True, kw_only=True)
class _Inflow:
    """A download under way: where it goes and how far it is."""

    sink: BinaryIO
    size_bytes: int
    progress: Progress | None
    done_bytes: int = 0


async def _receive(node: Node, cid: Cid, read: Digest, inflow: _Inflow) -> None:
    """Take what one connection brings; raise `NotReachable` if it ends too early."""
    path, params = f"/v1/blobs/{encode_cid_text(cid)}", {"read": read.hex()}
    size_bytes = inflow.size_bytes
    async with get_stream(node, path, params, start=inflow.done_bytes) as chunks:
        async for chunk in chunks:
            if inflow.done_bytes + len(chunk) > size_bytes:
                raise BytesRejected(f"the node sends more than the {size_bytes} bytes of the seal")
            inflow.sink.write(chunk)
            inflow.done_bytes += len(chunk)
            if inflow.progress is not None:
                inflow.progress(inflow.done_bytes, size_bytes)
    if inflow.done_bytes < size_bytes:
        raise NotReachable(f"{node.url} ended after {inflow.done_bytes} of {size_bytes} bytes")


async def _read_chunks(
    path: Path, size_bytes: int, progress: Progress | None
) -> AsyncIterator[bytes]:
    done = 0
    stream = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if progress is not None:
                progress(done, size_bytes)
    finally:
        stream.close()


def _receipts(answer: Any) -> tuple[StorageReceipt, ...]:
    try:
        pairs = sorted(
            (int(index), bytes.fromhex(signature)) for index, signature in answer["receipts"]
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise AnswerRejected(f"the node's storage receipts are malformed: {problem}") from problem
    if len({index for index, _ in pairs}) < len(pairs) or any(len(one) != 64 for _, one in pairs):
        raise ReceiptRejected("the node's storage receipts repeat a validator, or are cut")
    return tuple(
        StorageReceipt(validator=ReplicaId(index), signature=signature)
        for index, signature in pairs
    )
