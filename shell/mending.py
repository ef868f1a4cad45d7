"""Mending what the disk changed: a block found damaged is replaced by a copy from a peer.

Nobody has to be trusted for it: the next header, or the tip, says which block belongs to a height,
and a quorum of that height's replica set signed it. Until it is mended nothing of it is served.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from consensus.blocks import CertifiedBlock
from crypto.errors import DecodeError, InvalidCertificate
from crypto.schema import U64, decode, encode
from crypto.validators import set_number
from crypto.votes import Height, check_commit_certificate
from ledger.blocks import BlockBodies
from ledger.contracts.governance import get_epoch
from ledger.errors import InvalidBlock
from p2p.errors import P2pError, RequestRefused
from p2p.network import Network
from shell.chain import Chain
from shell.kinds import Kind
from shell.proposals import decode_header
from shell.snapshots import NOT_HERE, FoundReceipts, ReceiptsQuery
from storage.blocks import StoredBlock
from storage.check import check_start, findings
from storage.errors import (
    BlockCorrupt,
    BlockNotOurs,
    HistoryPruned,
    ReceiptsCorrupt,
    StorageError,
)
from storage.mending import replace_block, replace_receipts

log = logging.getLogger("medledger.mending")

ASK_TIMEOUT_MS: Final = 10_000
CERTIFIED_BYTES_MAX: Final = 24 << 20


class StorageDamaged(StorageError):
    """The start-up check found damage that the node must not run on."""

    code = "storage.damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCopy:
    """Asks for a copy of one decided block."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 32

    height: U64


@dataclass(slots=True, kw_only=True)
class Mending:
    """Heights whose block, or whose receipts, wait to be mended; `wake` is set when there are some.

    `mended` counts what was put right since the start, by code.
    """

    chain: Chain
    network: Network
    damaged: dict[int, None] = field(default_factory=dict)
    damaged_receipts: dict[int, None] = field(default_factory=dict)
    mended: Counter[str] = field(default_factory=Counter)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


def report_damage(mending: Mending, height: int) -> None:
    """Have a damaged block replaced as soon as a peer can be asked."""
    mending.damaged[height] = None
    mending.wake.set()


def report_damaged_receipts(mending: Mending, height: int) -> None:
    """Have the receipts of a block replaced as soon as a peer can be asked."""
    mending.damaged_receipts[height] = None
    mending.wake.set()


def check_storage(mending: Mending, journal_directory: Path) -> None:
    """Look at what the node is about to rely on; raise for what no peer's copy can mend.

    Damaged blocks and receipts are reported to be mended once peers can be asked.
    """
    for finding in findings(check_start(mending.chain.stored, journal_directory)):
        if finding.code not in _MENDABLE or finding.height is None:
            raise StorageDamaged(f"{finding.text} [{finding.code}]")
        log.warning("damaged block", extra={"height": finding.height, "reason": finding.text})
        _MENDABLE[finding.code](mending, finding.height)


async def keep_mending(mending: Mending, *, pause_s: float) -> None:
    """Mend what is reported, from the tip downwards; try again later what nobody could give."""
    while True:
        await mending.wake.wait()
        mending.wake.clear()
        for height in sorted(mending.damaged, reverse=True):
            if await mend_block(mending.chain, mending.network, height):
                del mending.damaged[height]
                mending.mended[BlockCorrupt.code] += 1
        for height in sorted(mending.damaged_receipts, reverse=True):
            if await mend_receipts(mending.chain, mending.network, height):
                del mending.damaged_receipts[height]
                mending.mended[ReceiptsCorrupt.code] += 1
        if mending.damaged or mending.damaged_receipts:
            await asyncio.sleep(pause_s)
            mending.wake.set()


async def mend_block(chain: Chain, network: Network, height: int) -> bool:
    """Replace one block by a peer's copy; return whether it is whole again."""
    for peer_id in network.connected():
        try:
            copy = await _ask(network, peer_id, height)
            _check_certificate(chain, copy)
            replace_block(chain.stored, Height(height), _stored(copy))
        except (P2pError, DecodeError, InvalidBlock, InvalidCertificate, BlockNotOurs) as problem:
            details = {"height": height, "peer": peer_id, "reason": str(problem)}
            log.warning("no usable copy", extra=details)
        except StorageError as problem:
            log.warning("not mended", extra={"height": height, "reason": str(problem)})
            return False
        else:
            log.warning("block mended", extra={"height": height, "peer": peer_id})
            return True
    return False


async def mend_receipts(chain: Chain, network: Network, height: int) -> bool:
    """Replace the receipts of one block by a peer's; return whether they are whole again."""
    for peer_id in network.connected():
        try:
            reply = await network.request(
                peer_id,
                Kind.FIND_RECEIPTS,
                encode(ReceiptsQuery(height=height)),
                ASK_TIMEOUT_MS,
                reply_bytes_max=FoundReceipts.WIRE_BYTES_MAX,
            )
            replace_receipts(chain.stored, Height(height), decode(FoundReceipts, reply).receipts)
        except (P2pError, DecodeError, BlockNotOurs) as problem:
            details = {"height": height, "peer": peer_id, "reason": str(problem)}
            log.warning("no usable receipts", extra=details)
        except HistoryPruned:
            return True  # They were pruned meanwhile: nobody needs them here.
        except StorageError as problem:
            log.warning("not mended", extra={"height": height, "reason": str(problem)})
            return False
        else:
            log.warning("receipts mended", extra={"height": height, "peer": peer_id})
            return True
    return False


async def answer_copy(chain: Chain, _peer_id: int, body: bytes) -> bytes:
    """Answer a peer with a decided block of this node's."""
    try:
        height = decode(BlockCopy, body).height
        found = chain.certified_block(height)
    except DecodeError as problem:
        raise RequestRefused("malformed") from problem
    except StorageError as problem:
        raise RequestRefused(problem.code) from problem
    if found is None:
        is_pruned = height <= chain.tip.height  # Who asks must not believe that it has them all.
        raise RequestRefused(HistoryPruned.code if is_pruned else NOT_HERE)
    return encode(found)


async def _ask(network: Network, peer_id: int, height: int) -> CertifiedBlock:
    reply = await network.request(
        peer_id,
        Kind.FIND_BLOCK,
        encode(BlockCopy(height=height)),
        ASK_TIMEOUT_MS,
        reply_bytes_max=CERTIFIED_BYTES_MAX,
    )
    return decode(CertifiedBlock, reply, bytes_max=CERTIFIED_BYTES_MAX)


def _check_certificate(chain: Chain, copy: CertifiedBlock) -> None:
    """Raise `InvalidCertificate` unless a quorum of its epoch's replica set decided this block.

    The sets of all epochs stand in state. The next header, which `replace_block` asks, says
    nothing of the certificate beside a block: others are to believe it.
    """
    header, certificate = decode_header(copy.block), copy.certificate
    told = (certificate.epoch, certificate.height, certificate.digest)
    if told != (header.epoch, header.height, copy.block.digest):
        raise InvalidCertificate(f"the certificate is not that of block {header.height}")
    entry = get_epoch(chain.view(), set_number(header.epoch))
    if entry is None:
        raise InvalidCertificate(f"block {header.height} is of an epoch that is not known here")
    check_commit_certificate(certificate, entry.validators, chain.chain_id, epoch=header.epoch)


def _stored(copy: CertifiedBlock) -> StoredBlock:
    return StoredBlock(
        header=copy.block.header,
        certificate=encode(copy.certificate),
        transactions=decode(BlockBodies, copy.bodies).transactions,
    )


_MENDABLE: Final[Mapping[str, Callable[[Mending, int], None]]] = {
    BlockCorrupt.code: report_damage,
    ReceiptsCorrupt.code: report_damaged_receipts,
}
"""What a start lets pass, because a peer's copy mends it."""
