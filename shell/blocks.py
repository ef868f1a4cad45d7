"""Blocks for peers that fell behind, and from peers that are ahead: uploads, off the fast lane."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from consensus.blocks import CertifiedBlock
from consensus.effects import SendBlocks, SendProposal
from consensus.messages import Blocks, Message, Proposal, decode_message, encode_message
from crypto.errors import DecodeError
from crypto.hashing import ChainId, Domain, digest
from crypto.schema import decode
from ledger.blocks import BlockBodies
from ledger.errors import InvalidBlock
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


async def push_blocks(network: Network, mending: Mending, effect: SendBlocks) -> None:
    """Upload decided blocks from storage; none, if this node does not have the first whole."""
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
    await _push(network, effect.to, Blocks(blocks=tuple(found)))


async def push_proposal(network: Network, proposals: Proposals, effect: SendProposal) -> None:
    """Upload an undecided block; its transactions are asked for by hash."""
    checked = proposals.checked.get(effect.digest)
    if checked is not None:
        await _push(network, effect.to, Proposal(block=checked.block, bodies=b""))


async def on_upload(
    receive: Callable[[int, Message], object],
    is_asked: Callable[[int], bool],
    chain_id: ChainId,
    peer_id: int,
    _header: bytes,
    chunks: AsyncIterator[bytes],
) -> bytes:
    """Take an upload of blocks that was asked for, check it, and hand it to the replica.

    An upload may be 24 MiB: from a peer that was not asked nothing of it is kept.
    """
    if not is_asked(peer_id):
        raise RequestRefused("not_asked")
    received = bytearray()
    async for chunk in chunks:
        if len(received) + len(chunk) > Blocks.WIRE_BYTES_MAX:
            raise RequestRefused("too_large")
        received += chunk
    try:
        message = decode_message(bytes(received))
        check_consistent(message, chain_id)
    except (DecodeError, InvalidBlock) as problem:
        log.warning("malformed blocks", extra={"peer": peer_id, "reason": str(problem)})
        raise RequestRefused("malformed") from problem
    receive(peer_id, message)
    return b""


def check_consistent(message: Message, chain_id: ChainId) -> None:
    """Raise `InvalidBlock` unless headers, payloads and bodies belong together."""
    match message:
        case Blocks(blocks=blocks):
            for one in blocks:
                decode_header(one.block)
                hashes = tuple(
                    digest(Domain.SIGNED_TRANSACTION, chain_id, signed)
                    for signed in decode(BlockBodies, one.bodies).transactions
                )
                if hashes != payload_hashes(one.block.payload):
                    raise InvalidBlock("block.bodies", "bodies are not those of the payload")
        case Proposal(block=block, bodies=bodies):
            decode_header(block)
            if bodies:
                raise InvalidBlock("block.bodies", "a proposal travels without bodies")
        case _:
            raise InvalidBlock("block.upload", "uploads carry blocks only")


async def _push(network: Network, peer_id: int, message: Message) -> None:
    encoded = encode_message(message)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(encoded), CHUNK_BYTES):
            yield encoded[start : start + CHUNK_BYTES]

    try:
        await network.stream_push(peer_id, Kind.BLOCKS, b"", chunks())
    except P2pError as problem:  # The peer asks again, or asks somebody else.
        log.info("blocks not delivered", extra={"peer": peer_id, "reason": str(problem)})
