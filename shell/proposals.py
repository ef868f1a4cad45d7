"""Proposals under way: made from the pool, or checked for the core, and remembered until decided.

A proposal that was checked keeps its bodies here, so that the decision can be executed and peers
that lack something can be helped. Only blocks of the next height are kept, and few of them.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from consensus.blocks import TRANSACTION_HASH_BYTES, Block
from consensus.effects import CheckProposal, RequestProposal
from consensus.messages import Message, NewView, PrePrepare
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.validators import ReplicaId
from crypto.votes import NO_DIGEST, certificate_digest
from ledger.blocks import BlockBodies, Header, header_digest, tx_root
from ledger.errors import InvalidBlock, InvalidTransaction
from ledger.parameters import Parameters
from ledger.pool import Pool
from ledger.proposal import make_block
from ledger.validation import ParentFacts, check_header, check_proposal, check_time
from shell.bodies import Bodies, BodiesMissing, Body, find_bodies
from shell.chain import Chain
from shell.clock import Clock

log = logging.getLogger("medledger.proposals")

HEARD_MAX = 64
"""Proposals whose arrival is remembered: a few for each height that is agreed on."""

FUTURE_MS_MAX = 60_000
"""A block due later than this is refused: whoever made it has no clock, or means harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A block whose bodies are at hand and which may follow the executed tip."""

    block: Block
    header: Header
    bodies: tuple[Body, ...]


@dataclass(slots=True, kw_only=True)
class Proposals:
    """Blocks of the next height by digest, and their bodies by the hash of the transaction.

    `heard` is when the headers of the latest proposals arrived (local time, ms).
    """

    chain: Chain
    pool: Pool
    clock: Clock
    replica: ReplicaId
    checked: dict[Digest, Checked] = field(default_factory=dict)
    by_hash: dict[Digest, Body] = field(default_factory=dict)
    heard: dict[Digest, int] = field(default_factory=dict)


def make_proposal(proposals: Proposals, request: RequestProposal) -> Block | None:
    """Return the block that the core asks for; None when the tip has moved on meanwhile."""
    chain = proposals.chain
    if chain.tip.height + 1 != request.height or chain.tip.digest != request.parent:
        return None
    certificate = request.parent_certificate
    header, entries = make_block(
        proposals.pool,
        parent=chain.parent_facts(
            NO_DIGEST if certificate is None else certificate_digest(certificate)
        ),
        state=chain.view(),
        replay=chain.replay,
        parameters=chain.parameters(),
        proposer=proposals.replica,
        view=request.view,
        now_ms=proposals.clock.now_ms(),
    )
    block = Block(
        height=header.height,
        view=header.view,
        proposer=header.proposer,
        parent=header.parent,
        digest=header_digest(header),
        header=encode(header),
        parent_certificate=certificate,
        payload=b"".join(entry.transaction.signed_hash for entry in entries),
    )
    bodies = tuple(
        Body(transaction=entry.transaction, sidecars=entry.sidecars) for entry in entries
    )
    remember(proposals, Checked(block=block, header=header, bodies=bodies))
    return block


async def check(proposals: Proposals, source: Bodies, request: CheckProposal) -> str | None:
    """Return why the block is refused, or None once it is valid, due, and at hand."""
    block = request.block
    if block.digest in proposals.checked:
        return None
    try:
        header = decode_header(block)
        parameters = proposals.chain.parameters()
        check_header(header, _parent_of(proposals.chain, block))
        _check_count(header, parameters)
        wait_ms = 0
        if request.is_fresh:
            heard_ms = proposals.heard.get(block.digest)
            now_ms = proposals.clock.now_ms()
            wait_ms = _wait_ms(header, now_ms, parameters, heard_ms=heard_ms)
        bodies = await _bodies_of(source, request)
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)
        _check_block(proposals.chain, block, header, bodies)
    except (InvalidBlock, InvalidTransaction) as problem:
        return f"{problem.code}: {problem}"
    except BodiesMissing as problem:
        return f"bodies.missing: {problem}"
    remember(proposals, Checked(block=block, header=header, bodies=bodies))
    return None


def remember(proposals: Proposals, checked: Checked) -> None:
    """Keep a block until its height is decided, or the core has lost interest (`retain`)."""
    if checked.block.digest not in proposals.checked and log.isEnabledFor(logging.DEBUG):
        block = checked.block
        place = {"height": block.height, "view": block.view, "digest8": block.digest.hex()[:8]}
        for body in checked.bodies:
            log.debug("in proposal", extra={"tx": body.transaction.tx_id.hex(), **place})
    proposals.checked[checked.block.digest] = checked
    for body in checked.bodies:
        proposals.by_hash[body.transaction.signed_hash] = body


def retain(proposals: Proposals, height: int, digests: Collection[Digest]) -> None:
    """Of the blocks under agreement at `height`, drop all but these.

    A block of another height is decided and waits to be executed: it goes with `forget`.
    """
    _keep(
        proposals,
        [
            one
            for digest, one in proposals.checked.items()
            if one.block.height != height or digest in digests
        ],
    )


def forget(proposals: Proposals, executed_height: int) -> None:
    """Drop the blocks of executed heights."""
    _keep(
        proposals, [one for one in proposals.checked.values() if one.block.height > executed_height]
    )


def _keep(proposals: Proposals, kept: Sequence[Checked]) -> None:
    if len(kept) == len(proposals.checked):
        return
    proposals.checked.clear()
    proposals.by_hash.clear()
    for one in kept:
        remember(proposals, one)


def recall(proposals: Proposals, signed_hash: Digest) -> Body | None:
    return proposals.by_hash.get(signed_hash)


def decode_header(block: Block) -> Header:
    """Return a block's header; raise `InvalidBlock` unless the block's fields repeat it."""
    try:
        header = decode(Header, block.header)
    except DecodeError as problem:
        raise InvalidBlock("block.header", f"the header does not decode: {problem}") from problem
    claimed = (block.height, block.view, block.proposer, block.parent, block.digest)
    stated = (header.height, header.view, header.proposer, header.parent, header_digest(header))
    if claimed != stated:
        raise InvalidBlock("block.fields", "the block's fields are not those of its header")
    if header.tx_root != tx_root(payload_hashes(block.payload)):
        raise InvalidBlock("block.tx_root", "the tx root is not that of the payload")
    return header


def check_proposed(message: Message) -> None:
    """Raise `InvalidBlock` unless a proposed block repeats its header and leads to its tx root."""
    if isinstance(message, NewView):
        message = message.pre_prepare
    if isinstance(message, PrePrepare):
        decode_header(message.block)


def payload_hashes(payload: bytes) -> tuple[Digest, ...]:
    size = TRANSACTION_HASH_BYTES
    return tuple(Digest(payload[start : start + size]) for start in range(0, len(payload), size))


def encode_bodies(bodies: Sequence[Body]) -> bytes:
    """Return what travels with a decided block: its signed transactions, without sidecars."""
    return encode(BlockBodies(transactions=tuple(one.transaction.signed for one in bodies)))


async def _bodies_of(source: Bodies, request: CheckProposal) -> tuple[Body, ...]:
    hashes = payload_hashes(request.block.payload)
    if len(set(hashes)) != len(hashes):
        raise InvalidBlock("transaction.duplicate", "a transaction is listed twice")
    return await find_bodies(source, hashes, request.holders)


def _check_count(header: Header, parameters: Parameters) -> None:
    """Raise `InvalidBlock` before anybody is asked for more bodies than a block may have."""
    if header.tx_count > parameters.block_transactions_max:
        raise InvalidBlock("block.too_many", f"{header.tx_count} transactions in one block")


def note_heard(proposals: Proposals, digest: Digest) -> None:
    """Remember when a proposed header arrived first: that is when its time is compared (rule 12).

    A block that waits here for the execution of its parent must not be refused for our slowness.
    """
    if digest in proposals.heard:
        return
    proposals.heard[digest] = proposals.clock.now_ms()
    if len(proposals.heard) > HEARD_MAX:
        del proposals.heard[next(iter(proposals.heard))]


def _wait_ms(
    header: Header, now_ms: int, parameters: Parameters, *, heard_ms: int | None = None
) -> int:
    """Return how long a fresh block is kept until it is due; raise for one that hardly ever is.

    `heard_ms` is when its header arrived, if that was noted.
    """
    check_time(header, now_ms if heard_ms is None else heard_ms, parameters)
    wait_ms = max(0, header.time_ms - now_ms - parameters.time_delta_ms)
    if wait_ms > FUTURE_MS_MAX:
        raise InvalidBlock("block.time_future", f"due in {wait_ms} ms")
    return wait_ms


def _check_block(chain: Chain, block: Block, header: Header, bodies: Sequence[Body]) -> None:
    check_proposal(
        header,
        [one.transaction for one in bodies],
        [[len(part) for part in one.sidecars] for one in bodies],
        parent=_parent_of(chain, block),
        view=chain.view(),
        replay=chain.replay,
        parameters=chain.parameters(),
    )


def _parent_of(chain: Chain, block: Block) -> ParentFacts:
    certificate = block.parent_certificate
    return chain.parent_facts(NO_DIGEST if certificate is None else certificate_digest(certificate))
