"""What a snapshot is checked against: the way from this node's own sets to the headers around it.

The last header of each epoch names the set of the next and is signed by a quorum of its own set; so
from any set that is known all later ones follow, and with them every header.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import InvalidCertificate
from crypto.hashing import ChainId
from crypto.schema import decode, encode
from crypto.validators import Epoch, ValidatorSet
from crypto.votes import CommitCertificate, check_commit_certificate
from ledger.blocks import Header, header_digest
from ledger.contracts.governance import VALIDATORS_KEY, get_epoch
from ledger.parameters import PARAMETERS_KEY
from ledger.replay import needed_from_ms
from ledger.tree.proofs import StateProofs, check_many
from p2p.errors import PeerRefused
from shell.chain import Chain
from shell.kinds import Kind
from shell.snapshots import (
    HEADERS_MAX,
    NOT_HERE,
    EntryQuery,
    EpochEnd,
    EpochQuery,
    FoundHeaders,
    HeaderQuery,
)
from shell.sources import Sources
from storage.blocks import get_stored_header
from storage.chain import StoredHeader
from storage.errors import BlockNotOurs

ASK_TIMEOUT_MS: Final = 10_000
LOOKED_UP: Final = (PARAMETERS_KEY, VALIDATORS_KEY)
"""Entries that a start looks up in the states of the two heights before its tip."""


@dataclass(slots=True, kw_only=True)
class Target:
    """A snapshot's height with the proven headers around it.

    `sets` are all known sets by epoch, `ends` the last headers of epochs, by height.
    """

    height: int
    sets: dict[Epoch, ValidatorSet]
    headers: dict[int, StoredHeader] = field(default_factory=dict)
    ends: dict[int, StoredHeader] = field(default_factory=dict)

    def header(self, height: int) -> Header:
        return decode(Header, self.headers[height].header)


def make_target(chain: Chain, height: int) -> Target:
    """Begin with the sets and the ends of epochs that this node has executed itself."""
    target = Target(height=height, sets=dict(chain.validator_sets()))
    for number in range(chain.next_epoch + 1):
        entry = get_epoch(chain.view(), number)
        if entry is None:
            continue
        target.sets[entry.epoch] = entry.validators
        stored = get_stored_header(chain.stored, entry.first_height - 1)
        if stored is not None:
            target.ends[entry.first_height - 1] = stored
    return target


async def find_head(chain_id: ChainId, sources: Sources, target: Target, peer_id: int) -> None:
    """Learn the headers of the snapshot's height and its neighbours, each with its certificate."""
    await walk_epochs(chain_id, sources, target, peer_id)
    await _find_headers(chain_id, sources, target, peer_id, target.height - 1, 3)


async def walk_epochs(chain_id: ChainId, sources: Sources, target: Target, peer_id: int) -> None:
    """Go from set to set: the last header of each epoch names the next, signed by the one before.

    A source that ends too early is found out at the header that needs the next set.
    """
    while True:
        epoch = max(target.sets)
        try:
            reply = await sources.asks.request(
                peer_id,
                Kind.FIND_EPOCH,
                encode(EpochQuery(epoch=epoch)),
                ASK_TIMEOUT_MS,
                reply_bytes_max=EpochEnd.WIRE_BYTES_MAX,
            )
        except PeerRefused as refused:
            if refused.refusal == NOT_HERE:
                return
            raise
        end = decode(EpochEnd, reply)
        header = check_sealed(chain_id, target.sets, end.header)
        if header.epoch != epoch or header.next_validators != end.next_validators.digest():
            raise InvalidCertificate(f"header {header.height} does not name the next set")
        target.sets[Epoch(epoch + 1)] = end.next_validators
        target.ends[header.height] = end.header


async def _find_headers(
    chain_id: ChainId, sources: Sources, target: Target, peer_id: int, first: int, count: int
) -> None:
    """Learn headers that are certified by sets known here; raises for any that does not hold."""
    reply = await sources.asks.request(
        peer_id,
        Kind.FIND_HEADERS,
        encode(HeaderQuery(first=first, count=count)),
        ASK_TIMEOUT_MS,
        reply_bytes_max=FoundHeaders.WIRE_BYTES_MAX,
    )
    found = decode(FoundHeaders, reply).headers
    if len(found) != count:
        raise BlockNotOurs(f"{len(found)} headers where {count} were asked for")
    for offset, stored in enumerate(found):
        header = check_sealed(chain_id, target.sets, stored)
        if header.height != first + offset:
            raise BlockNotOurs(f"header {header.height} where {first + offset} was asked for")
        target.headers[first + offset] = stored


def check_sealed(
    chain_id: ChainId, sets: dict[Epoch, ValidatorSet], stored: StoredHeader
) -> Header:
    """Return a header that a quorum of its epoch's set has decided.

    Raises `DecodeError` or `InvalidCertificate`.
    """
    header = decode(Header, stored.header)
    certificate = decode(CommitCertificate, stored.certificate)
    validators = sets.get(header.epoch)
    if header.chain_id != chain_id or validators is None:
        raise InvalidCertificate(f"header {header.height} is of another chain, or unknown epoch")
    if (certificate.height, certificate.digest) != (header.height, header_digest(header)):
        raise InvalidCertificate(f"the certificate is not that of header {header.height}")
    check_commit_certificate(certificate, validators, chain_id, epoch=header.epoch)
    return header


async def entries_before(
    sources: Sources, target: Target, peer_id: int
) -> dict[tuple[int, bytes], bytes]:
    """Return what a start looks up in the states of the two heights before the snapshot's."""
    found: dict[tuple[int, bytes], bytes] = {}
    for height in (target.height - 2, target.height - 1):
        reply = await sources.asks.request(
            peer_id,
            Kind.FIND_ENTRIES,
            encode(EntryQuery(height=height, keys=LOOKED_UP)),
            ASK_TIMEOUT_MS,
        )
        root = target.header(height + 1).state_root
        for key, value in check_many(root, LOOKED_UP, decode(StateProofs, reply)).items():
            assert value is not None, "genesis wrote these entries"
            found[height, key] = value
    return found


async def find_window(chain_id: ChainId, sources: Sources, target: Target, peer_id: int) -> int:
    """Learn the headers of the replay window; return the height of its first block."""
    above_ms = needed_from_ms(target.header(target.height).time_ms)
    lowest = target.height
    while lowest - 1 in target.headers:
        lowest -= 1
    while lowest > 1 and target.header(lowest).time_ms > above_ms:
        count = min(HEADERS_MAX, lowest - 1)
        await _find_headers(chain_id, sources, target, peer_id, lowest - count, count)
        lowest -= count
        await asyncio.sleep(0)
    inside = [one for one in range(lowest, target.height) if target.header(one).time_ms > above_ms]
    return min(inside, default=target.height)
