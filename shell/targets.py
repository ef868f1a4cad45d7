"""What a snapshot is checked against: the way from this node's own sets to the headers around it.

The last header of each epoch names the set of the next and is signed by a quorum of its own set; so
from any set that is known all later ones follow, and with them every header.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import InvalidCertificate
from crypto.hashing import ChainId
from crypto.schema import decode, encode
from crypto.validators import Epoch, ReplicaId, ValidatorSet, set_number
from crypto.votes import CommitCertificate, check_commit_certificate
from genesis.invite import Invite
from ledger.blocks import Header, header_digest
from ledger.contracts.governance import VALIDATORS_KEY, get_epoch
from ledger.parameters import PARAMETERS_KEY
from ledger.replay import needed_from_ms
from ledger.tree.proofs import StateProofs, check_many
from p2p.errors import P2pError, PeerRefused
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
from shell.sources import WRONG, NoSource, Sources, note_fault
from storage.blocks import get_stored_header
from storage.chain import StoredHeader
from storage.errors import BlockNotOurs

ASK_TIMEOUT_MS: Final = 10_000
LOOKED_UP: Final = (PARAMETERS_KEY, VALIDATORS_KEY)
"""Entries that a start looks up in the states of the two heights before its tip."""


@dataclass(slots=True, kw_only=True)
class Target:
    """A snapshot's height with the proven headers around it.

    `sets` are all known sets by number, `last` the last heights of those that have ended, `ends`
    their last headers, by height.
    """

    height: int
    sets: dict[Epoch, ValidatorSet]
    last: dict[Epoch, int] = field(default_factory=dict)
    headers: dict[int, StoredHeader] = field(default_factory=dict)
    ends: dict[int, StoredHeader] = field(default_factory=dict)

    def header(self, height: int) -> Header:
        return decode(Header, self.headers[height].header)


def make_target(chain: Chain, height: int) -> Target:
    """Begin with the sets and the ends of epochs that this node has executed itself."""
    target = Target(height=height, sets={})
    for number in range(set_number(chain.next_epoch) + 1):
        entry = get_epoch(chain.view(), number)
        assert entry is not None, "every set up to the present one stands in state"
        target.sets[entry.epoch] = entry.validators
        if number:
            target.last[Epoch(number - 1)] = entry.first_height - 1
        stored = get_stored_header(chain.stored, entry.first_height - 1)
        if stored is not None:
            target.ends[entry.first_height - 1] = stored
    return target


async def find_heads(
    chain: Chain, sources: Sources, height: int, voters: ValidatorSet, invite: Invite | None = None
) -> Target:
    """Hear every source about the header above the snapshot; keep those that have the chain's.

    One that does not come from the block of the `invite` is none of this chain. Raises `NoSource`.
    """
    heads: dict[int, Target] = {}
    for peer_id in tuple(sources.peers):
        target = make_target(chain, height)
        try:
            await find_head(chain.chain_id, sources, target, peer_id)
            check_invited(target, invite)
        except (P2pError, *WRONG) as problem:
            note_fault(sources, peer_id, problem)
        else:
            heads[peer_id] = target
    sources.peers = choose_head(heads, voters)
    return heads[sources.peers[0]]


def choose_head(heads: Mapping[int, Target], voters: ValidatorSet) -> list[int]:
    """Return the sources whose header above the snapshot is the chain's; raise `NoSource`.

    Two that are certified differ only where a chain was restarted by its operators, so that some
    are left behind, or where keys of former sets were stolen. What one correct source has is no
    thief's, so f + 1 voters have to share it; of two such the later epoch is the restarted chain.
    """
    sharing: dict[bytes, list[int]] = {}
    for peer_id, target in heads.items():
        sharing.setdefault(target.headers[target.height + 1].header, []).append(peer_id)
    backing = {
        head: sum(voters.member(ReplicaId(one)) is not None for one in peers)
        for head, peers in sharing.items()
    }
    needed = min(voters.quorum.weak, sum(backing.values()))
    shared = [head for head, count in backing.items() if count >= needed]
    if not shared:
        raise NoSource("no header above the snapshot is shared by enough voters")
    return sharing[max(shared, key=lambda head: decode(Header, head).epoch)]


async def find_head(chain_id: ChainId, sources: Sources, target: Target, peer_id: int) -> None:
    """Learn the headers of the snapshot's height and its neighbours, each with its certificate."""
    await walk_epochs(chain_id, sources, target, peer_id)
    await _find_headers(chain_id, sources, target, peer_id, target.height - 1, 3)


def check_invited(target: Target, invite: Invite | None) -> None:
    """Raise `InvalidCertificate` for a chain that the nodes of an invite do not know.

    Keys of former sets, stolen since, certify another chain: it has other sets, or ends too early.
    """
    if invite is None:
        return
    anchor, above = invite.header().header, target.height + 1
    if above < anchor.height or target.sets.get(set_number(anchor.epoch)) != invite.validators:
        raise InvalidCertificate(f"block {above} does not come from the one that the invite names")
    if above == anchor.height and header_digest(target.header(above)) != header_digest(anchor):
        raise InvalidCertificate(f"block {above} is not the one that the invite names")


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
        header = check_sealed(chain_id, target, end.header)
        is_last = set_number(header.epoch) == epoch and header.next_validators != header.validators
        if not is_last or header.next_validators != end.next_validators.digest():
            raise InvalidCertificate(f"header {header.height} does not name the next set")
        target.sets[Epoch(epoch + 1)] = end.next_validators
        target.last[epoch] = header.height
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
    for height, stored in reversed(tuple(enumerate(found, start=first))):
        header = check_sealed(chain_id, target, stored)
        if header.height != height:
            raise BlockNotOurs(f"header {header.height} where {height} was asked for")
        above = target.headers.get(height + 1)
        if above is not None and decode(Header, above.header).parent != header_digest(header):
            raise BlockNotOurs(f"header {height} is not the parent of the one above it")
        target.headers[height] = stored


def check_sealed(chain_id: ChainId, target: Target, stored: StoredHeader) -> Header:
    """Return a header that a quorum of its epoch's set has decided while it was the set.

    Raises `DecodeError` or `InvalidCertificate`.
    """
    header = decode(Header, stored.header)
    certificate = decode(CommitCertificate, stored.certificate)
    number = set_number(header.epoch)
    validators = target.sets.get(number)
    if header.chain_id != chain_id or validators is None:
        raise InvalidCertificate(f"header {header.height} is of another chain, or unknown epoch")
    if header.height > target.last.get(number, header.height):
        raise InvalidCertificate(f"header {header.height} is of an epoch that had ended before")
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
