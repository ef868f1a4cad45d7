"""Blocks for peers that fell behind, and from peers that are ahead: uploads, off the fast lane."""

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from consensus.blocks import CertifiedBlock
from consensus.effects import SendBlocks, SendProposal
from consensus.messages import Blocks, Message, Proposal, decode_message, encode_message
from crypto.errors import DecodeError
from crypto.hashing import ChainId
from crypto.schema import decode
from ledger.blocks import BlockBodies
from ledger.errors import InvalidBlock
from ledger.transactions import hash_signed
from p2p.errors import P2pError, RequestRefused
from p2p.network import Network
from shell.kinds import Kind
from shell.mending import Mending, report_damage
from shell.proposals import Proposals, decode_header, payload_hashes
from storage.errors import BlockCorrupt

log = logging.getLogger("medledger.blocks")

UPLOAD_BYTES_TARGET: Final = 4 << 20
"""Blocks go out until one upload holds so much; the peer asks for the next ones."""

CHUNK_BYTES: Final = 64 << 10

TO_ONE_MAX: Final = 2
"""Uploads to one peer: the next question may overtake the word that the last answer has come."""


@dataclass(slots=True, kw_only=True)
class Uploads:
    """How many uploads of blocks go to each peer now, and come from it.

    What waits for its turn would wait in our memory, for as long as a peer likes to be slow.
    """

    to: Counter[int] = field(default_factory=Counter)
    coming: Counter[int] = field(default_factory=Counter)
    refused: int = 0


async def push_blocks(
    network: Network, uploads: Uploads, mending: Mending, effect: SendBlocks
) -> None:
    """Upload decided blocks from storage; none, if this node does not have the first whole."""
    with _turn(uploads, uploads.to, effect.to, TO_ONE_MAX) as may_go:
        if may_go:
            await _push(network, effect.to, Blocks(blocks=_stored_blocks(mending, effect)))


def _stored_blocks(mending: Mending, effect: SendBlocks) -> tuple[CertifiedBlock, ...]:
    """Return as many of the blocks that were asked for as one upload holds."""
    chain = mending.chain
    found: list[CertifiedBlock] = []
    size = 0
    for height in range(effect.from_height, effect.from_height + effect.count):
        try:
            one = chain.certified_block(height)
        except BlockCorrupt as problem:  # The peer asks somebody else; this copy is mended.
            log.warning("block not served", extra={"height": height, "reason": str(problem)})
            report_damage(mending, problem.height)
            break
        if one is None or size > UPLOAD_BYTES_TARGET:
            break
        size += len(one.bodies) + len(one.block.payload)
        found.append(one)
    return tuple(found)


async def push_proposal(
    network: Network, uploads: Uploads, proposals: Proposals, effect: SendProposal
) -> None:
    """Upload an undecided block; its transactions are asked for by hash."""
    checked = proposals.checked.get(effect.digest)
    with _turn(uploads, uploads.to, effect.to, TO_ONE_MAX) as may_go:
        if may_go and checked is not None:
            await _push(network, effect.to, Proposal(block=checked.block, bodies=b""))


async def on_upload(
    receive: Callable[[int, Message], bool],
    is_asked: Callable[[int], bool],
    uploads: Uploads,
    peer_id: int,
    _header: bytes,
    chunks: AsyncIterator[bytes],
) -> bytes:
    """Take an upload of blocks that was asked for, and hand it to the replica, which checks it.

    An upload may be 88 MiB: from a peer that was not asked nothing of it is kept. One that is of
    no use counts as the answer "I cannot help", so that the peer is not asked again at once.
    """
    if not is_asked(peer_id):
        raise RequestRefused("not_asked")
    with _turn(uploads, uploads.coming, peer_id, 1) as may_come:
        if not may_come:
            raise RequestRefused("one_at_a_time")
        received = await _received(chunks)
        try:
            is_sound = receive(peer_id, _uploaded(received))
        except DecodeError as problem:
            log.warning("malformed blocks", extra={"peer": peer_id, "reason": str(problem)})
            is_sound = False
        if not is_sound:
            receive(peer_id, Blocks(blocks=()))
            raise RequestRefused("malformed")
    return b""


async def _received(chunks: AsyncIterator[bytes]) -> bytes:
    received = bytearray()
    async for chunk in chunks:
        if len(received) + len(chunk) > Blocks.WIRE_BYTES_MAX:
            raise RequestRefused("too_large")
        received += chunk
    return bytes(received)


def _uploaded(received: bytes) -> Blocks | Proposal:
    message = decode_message(received)
    if not isinstance(message, Blocks | Proposal):
        raise DecodeError("uploads carry blocks only")
    return message


def check_consistent(message: Message, chain_id: ChainId) -> None:
    """Raise `InvalidBlock` unless headers, payloads and bodies belong together.

    Hashing everything takes seconds for what an upload may hold, so the certificates come first.
    """
    match message:
        case Blocks(blocks=blocks):
            for one in blocks:
                decode_header(one.block)
                _check_bodies(one, chain_id)
        case Proposal(block=block, bodies=bodies):
            decode_header(block)
            if bodies:
                raise InvalidBlock("block.bodies", "a proposal travels without bodies")
        case _:
            raise InvalidBlock("block.upload", "uploads carry blocks only")


def _check_bodies(one: CertifiedBlock, chain_id: ChainId) -> None:
    try:
        transactions = decode(BlockBodies, one.bodies).transactions
    except DecodeError as problem:
        raise InvalidBlock("block.bodies", f"the bodies do not decode: {problem}") from problem
    wanted = payload_hashes(one.block.payload)
    if len(transactions) != len(wanted) or any(
        hash_signed(signed, chain_id) != hash_
        for signed, hash_ in zip(transactions, wanted, strict=True)
    ):
        raise InvalidBlock("block.bodies", "bodies are not those of the payload")


@contextlib.contextmanager
def _turn(uploads: Uploads, busy: Counter[int], peer_id: int, most: int) -> Iterator[bool]:
    """Say whether one more upload may go on for this peer, and count it until it ends."""
    if busy[peer_id] >= most:
        uploads.refused += 1
        yield False
        return
    busy[peer_id] += 1
    try:
        yield True
    finally:
        busy[peer_id] -= 1


async def _push(network: Network, peer_id: int, message: Message) -> None:
    encoded = encode_message(message)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(encoded), CHUNK_BYTES):
            yield encoded[start : start + CHUNK_BYTES]

    try:
        await network.stream_push(peer_id, Kind.BLOCKS, b"", chunks())
    except P2pError as problem:  # The peer asks again, or asks somebody else.
        log.info("blocks not delivered", extra={"peer": peer_id, "reason": str(problem)})
