"""Finding what a proposal names and this node lacks: transactions by hash, sidecars by digest."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from crypto.envelopes import check_sidecar, sidecar_digest
from crypto.errors import CryptoError, DecodeError
from crypto.hashing import Digest
from crypto.schema import Count, Size, decode, encode
from ledger.errors import InvalidTransaction
from ledger.exchange import SUBMIT_BYTES_MAX, SUBMIT_ITEMS_MAX, SubmitBatch, SubmitItem
from ledger.pool import Pool
from ledger.transactions import Transaction, decode_transaction, hash_signed, signature_job
from p2p.errors import P2pError, RequestRefused
from p2p.network import Network
from shell.chain import Chain
from shell.kinds import Kind
from shell.verifier import Verifier

log = logging.getLogger("medledger.bodies")

ASK_TIMEOUT_MS = 3_000
HASHES_MAX = 1_024
REPLY_BYTES_MAX = SUBMIT_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class FindByDigest:
    """Asks for what has these digests: signed transactions, or sidecars."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = HASHES_MAX * 34 + 16

    digests: Annotated[tuple[Digest, ...], Count(1, HASHES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSidecars:
    """Sidecar contents that were asked for, in any order; the asker checks the digests."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 20

    contents: Annotated[tuple[Annotated[bytes, Size(32, 1 << 20)], ...], Count(0, HASHES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A transaction whose signature was checked here, with its sidecar contents."""

    transaction: Transaction
    sidecars: tuple[bytes, ...]


class BodiesMissing(Exception):
    """Nobody who was asked had what the proposal names."""


async def no_wait(_wanted: Iterable[Digest]) -> None:
    """Wait for nothing: until the node is connected."""


@dataclass(slots=True, kw_only=True)
class Bodies:
    """Where bodies come from: the pool first, then whoever promised to have them.

    `recall` returns the body of a proposal that was made durable here, `get_sidecar` the content
    of a stored sidecar, and `wait_taken` waits a little for what has come in and is being checked,
    if what is wanted may be among it.
    """

    chain: Chain
    pool: Pool
    verifier: Verifier
    network: Network
    recall: Callable[[Digest], Body | None]
    get_sidecar: Callable[[Digest], bytes | None]
    wait_taken: Callable[[Iterable[Digest]], Awaitable[None]] = no_wait


async def find_bodies(
    bodies: Bodies, hashes: Sequence[Digest], holders: Sequence[int]
) -> tuple[Body, ...]:
    """Return the bodies in order, asking the holders and then everybody for what is missing.

    Raises `BodiesMissing`.
    """
    found = _find_here(bodies, hashes)
    if len(found) < len(hashes):  # What is missing may be here, and only not checked yet.
        await bodies.wait_taken([one for one in hashes if one not in found])
        found = _find_here(bodies, hashes)
    for peer_id in _in_turn(holders, bodies.network.connected()):
        await _ask_while_it_helps(bodies, peer_id, hashes, found)
    missing = [one for one in hashes if one not in found]
    if missing:
        raise BodiesMissing(f"{len(missing)} transactions, first {missing[0].hex()[:16]}")
    return tuple(found[one] for one in hashes)


async def _ask_while_it_helps(
    bodies: Bodies, peer_id: int, hashes: Sequence[Digest], found: dict[Digest, Body]
) -> None:
    """Ask one peer for what is missing, in parts, until it brings nothing new.

    An answer may be cut by number or by bytes, so a peer is asked again as long as it helps.
    """
    while missing := [one for one in hashes if one not in found]:
        answered = await _ask_transactions(bodies, peer_id, missing[:SUBMIT_ITEMS_MAX])
        for body in answered:
            found[body.transaction.signed_hash] = body
        if not answered:
            return


async def answer_transactions(bodies: Bodies, _peer_id: int, body: bytes) -> bytes:
    """Answer a peer with what is here of the transactions it asks for."""
    wanted = decode_wanted(body)
    items: list[SubmitItem] = []
    size = 0
    for one in wanted:
        local = _local(bodies, one)
        if local is None:
            continue
        size += local.transaction.size_bytes + sum(len(part) + 16 for part in local.sidecars) + 64
        if size > REPLY_BYTES_MAX - 1024 or len(items) == SUBMIT_ITEMS_MAX:
            break
        items.append(SubmitItem(signed=local.transaction.signed, sidecars=local.sidecars))
    return encode(SubmitBatch(items=tuple(items))) if items else b""


async def find_sidecars(
    bodies: Bodies, digests: Sequence[Digest], holders: Iterable[int]
) -> dict[Digest, bytes]:
    """Ask peers for sidecars; return those that somebody had, checked against their digests."""
    found: dict[Digest, bytes] = {}
    for peer_id in _in_turn(tuple(holders), bodies.network.connected()):
        missing = tuple(one for one in digests if one not in found)[:HASHES_MAX]
        if not missing:
            break
        try:
            reply = await bodies.network.request(
                peer_id, Kind.FIND_SIDECARS, encode(FindByDigest(digests=missing)), ASK_TIMEOUT_MS
            )
            answer = decode(FoundSidecars, reply)
        except (P2pError, DecodeError) as problem:
            log.info("no sidecars", extra={"peer": peer_id, "reason": str(problem)})
            continue
        wanted = set(missing)
        for content in answer.contents:
            content_digest = sidecar_digest(content)  # Once: a peer may send a thousand of them.
            if content_digest in wanted:
                found[content_digest] = content
    return found


def _find_here(bodies: Bodies, hashes: Sequence[Digest]) -> dict[Digest, Body]:
    return {one: body for one in hashes if (body := _local(bodies, one)) is not None}


def _local(bodies: Bodies, signed_hash: Digest) -> Body | None:
    entry = bodies.pool.get(signed_hash)
    if entry is not None:
        return Body(transaction=entry.transaction, sidecars=entry.sidecars)
    return bodies.recall(signed_hash)


async def _ask_transactions(bodies: Bodies, peer_id: int, hashes: Sequence[Digest]) -> list[Body]:
    try:
        reply = await bodies.network.request(
            peer_id,
            Kind.FIND_TRANSACTIONS,
            encode(FindByDigest(digests=tuple(hashes))),
            ASK_TIMEOUT_MS,
        )
        items = decode(SubmitBatch, reply).items if reply else ()
    except (P2pError, DecodeError) as problem:
        log.info("no bodies", extra={"peer": peer_id, "reason": str(problem)})
        return []
    wanted = dict.fromkeys(hashes)
    fresh: list[Body] = []
    found: list[Body] = []
    for item in items:
        signed_hash = hash_signed(item.signed, bodies.chain.chain_id)
        if signed_hash not in wanted:
            continue
        if (local := _local(bodies, signed_hash)) is not None:  # It came by itself meanwhile.
            found.append(local)
            continue
        try:
            transaction = decode_transaction(item.signed, bodies.chain.chain_id, signed_hash)
        except InvalidTransaction:
            continue
        fresh.append(Body(transaction=transaction, sidecars=item.sidecars))
    valid = await bodies.verifier.is_valid([signature_job(one.transaction) for one in fresh])
    good = [one for one, ok in zip(fresh, valid, strict=True) if ok and _has_its_sidecars(one)]
    return [*found, *good]


def _has_its_sidecars(body: Body) -> bool:
    digests = body.transaction.body.sidecars
    return len(digests) == len(body.sidecars) and all(
        _is_sidecar(digest, content) for digest, content in zip(digests, body.sidecars, strict=True)
    )


def _is_sidecar(digest: Digest, content: bytes) -> bool:
    try:
        check_sidecar(digest, content)
    except CryptoError:
        return False
    return True


def _in_turn(first: Sequence[int], connected: Sequence[int]) -> list[int]:
    """The holders that can be asked, then everybody else, each once."""
    online = dict.fromkeys(connected)
    return [one for one in dict.fromkeys((*first, *connected)) if one in online]


def decode_wanted(body: bytes) -> tuple[Digest, ...]:
    """Return the digests that a peer asks for; raise `RequestRefused` for anything else."""
    try:
        return decode(FindByDigest, body).digests
    except DecodeError as problem:
        raise RequestRefused("malformed") from problem
