"""Catching up by visits: decided blocks from whoever listens at an address the node has heard of.

A node that the others do not know yet, or do not know any more, has no link over which the core
could ask. It calls at every address that the ledger or its invitation names, one after the other,
takes the blocks above its tip under whatever key, and hands them to the core, which decides each
under the set it has derived so far. Nothing here has to be believed: an impostor can withhold, and
is then asked last.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from consensus.blocks import CertifiedBlock
from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.messages import Blocks
from consensus.verification import make_verifiable, message_signature_jobs
from crypto.errors import DecodeError
from crypto.schema import decode, encode
from crypto.signatures import is_valid_many
from genesis.invite import Invite
from ledger.errors import InvalidBlock
from ledger.nodes import get_nodes
from p2p.errors import NotWelcome, P2pError, PeerRefused
from p2p.statistics import PeerState
from p2p.visiting import VISITED, Visit
from shell.blocks import check_consistent
from shell.chain import Chain, wait_height
from shell.kinds import Kind
from shell.membership import Following, split_address
from shell.mending import ASK_TIMEOUT_MS, CERTIFIED_BYTES_MAX, BlockCopy
from shell.receiving import check_anchored, receive
from shell.replica import Replica
from shell.snapshots import NOT_HERE

log = logging.getLogger("medledger.visits")

BLOCKS_PER_ASK: Final = 4
EXECUTION_TIMEOUT_MS: Final = 20_000
FAILURES_MAX: Final = 1 << 10
STALE_S: Final = 10.0

VISIT_S: Final = 30.0
"""So long one address is taken from; then it is the next one's turn, whatever it still has."""

Address = tuple[str, int]


class Unhelpful(Exception):
    """Whoever was visited sent what is no next block of this chain."""


@dataclass(slots=True, kw_only=True)
class Visits:
    """What a node knows about whom to visit.

    `seeds` are addresses from the invite. `failures` counts visits in a row that brought less than
    they promised. `moved_at` is the loop's time at which the tip was last seen to move; `has_all`
    says that whoever was visited last had nothing more, `is_turned_away` that somebody answers only
    keys that the ledger has named, and not ours, `is_unreached` that nobody was there at any known
    address.
    """

    replica: Replica
    following: Following
    seeds: tuple[Address, ...] = ()
    failures: Counter[Address] = field(default_factory=Counter)
    has_all: bool = False
    is_turned_away: bool = False
    is_unreached: bool = False
    seen_height: int = -1
    moved_at: float = 0.0


def make_visits(replica: Replica, following: Following, invite: Invite | None) -> Visits:
    """Return what a node with this invite, if it joined with one, knows about whom to visit."""
    if invite is None:
        return Visits(replica=replica, following=following)
    seeds = tuple(split_address(node.p2p_address) for node in invite.nodes)
    return Visits(replica=replica, following=following, seeds=seeds)


async def keep_visiting(visits: Visits, *, pause_s: float) -> None:
    """Look now and then whether this node is cut off, and visit everybody it knows of if so."""
    while True:
        if is_cut_off(visits):
            answered = [await _visit(visits, address) for address in addresses_of(visits)]
            _note_unreached(visits, is_unreached=bool(answered) and not any(answered))
        else:
            visits.is_unreached = False
        await asyncio.sleep(pause_s)


def is_cut_off(visits: Visits) -> bool:
    """Whether the links to members may not bring the next block: too few, or none came for long."""
    chain = visits.replica.chain
    now = asyncio.get_running_loop().time()
    if chain.tip.height != visits.seen_height:
        visits.seen_height, visits.moved_at = chain.tip.height, now
    if not _others(visits):
        return False
    stale_s = STALE_S + 3 * chain.next_pace.idle_block_ms / 1000
    return not is_linked(visits) or now - visits.moved_at > stale_s


def is_linked(visits: Visits) -> bool:
    """Whether f + 1 members are linked with it as with a peer, so that one of them is correct.

    Members are those of the chain here: whoever else an invite names, or learns, is asked for no
    block by the core.
    """
    others = _others(visits)
    linked = sum(
        peer.state is PeerState.CONNECTED and not peer.is_guest_there
        for peer in visits.following.network.statistics().peers
        if peer.peer_id in others
    )
    return linked >= min(visits.replica.chain.quorum().weak, len(others))


def has_anchor(visits: Visits) -> bool:
    """Whether the chain here has come to the invite's block: below it nobody has "no more".

    Who has pruned what comes next has nothing to give either.
    """
    replica = visits.replica
    return replica.anchor is None or replica.chain.tip.height >= replica.anchor[0]


def _others(visits: Visits) -> frozenset[int]:
    members = visits.replica.chain.next_set.members
    return frozenset(one.index for one in members) - {visits.following.keys.replica}


def _note_unreached(visits: Visits, *, is_unreached: bool) -> None:
    """Say once that nobody is there: the members may have moved while this node slept."""
    is_unreached = is_unreached and not visits.following.network.connected()
    if is_unreached and not visits.is_unreached:
        log.warning(
            "nobody answers at any address known here: check this machine's network; if the members"
            " have moved, `medledger join INVITE --dir DIR` with a new invite of theirs says where",
            extra={"addresses": [_text(one) for one in addresses_of(visits)]},
        )
    visits.is_unreached = is_unreached


def addresses_of(visits: Visits) -> list[Address]:
    """Return every address that is known, those that helped first."""
    chain, replica = visits.replica.chain, visits.following.keys.replica
    known = [
        split_address(entry.p2p_address)
        for entry in get_nodes(chain.view())
        if entry.index != replica
    ]
    known = list(dict.fromkeys([*known, *visits.seeds]))
    return sorted(known, key=lambda address: visits.failures[address])


def is_nowhere_welcome(visits: Visits) -> bool:
    """Whether this node was turned away, and no address has helped: one alone may say anything."""
    has_helper = any(not visits.failures[address] for address in addresses_of(visits))
    return visits.is_turned_away and not has_helper


def check_certified(message: Blocks, chain: Chain) -> None:
    """Raise `Unhelpful` at once for certificates that do not hold, as far as they can be checked.

    Whoever delivers the blocks checks again; this tells a liar from somebody slow.
    """
    for one in message.blocks:
        told = (one.certificate.height, one.certificate.digest)
        if told != (one.block.height, one.block.digest):
            raise Unhelpful(f"the certificate beside block {one.block.height} is another's")
    sets = chain.validator_sets()
    known = make_verifiable(message, sets)
    try:
        jobs = message_signature_jobs(known, sets, chain.chain_id)
    except (InvalidMessage, UnknownEpoch) as problem:
        raise Unhelpful(str(problem)) from problem
    if not all(is_valid_many(jobs)):
        raise Unhelpful("a wrong signature in a certificate")


async def _visit(visits: Visits, address: Address) -> bool:
    """Take what one address has, and not for ever; return whether somebody was there.

    One that gives each block at the last moment would else keep this node with it, and behind.
    """
    height = visits.replica.chain.tip.height
    over_s = time.monotonic() + VISIT_S
    has_answered = False
    try:
        async with visits.following.network.visit(*address) as visit:
            has_answered, visits.is_turned_away = True, False
            while await _take_blocks(visits, visit):
                visits.has_all = False
                if time.monotonic() >= over_s:
                    break
            else:
                visits.has_all = has_anchor(visits)
    except (P2pError, DecodeError, InvalidBlock, Unhelpful) as problem:
        if isinstance(problem, NotWelcome):
            has_answered = visits.is_turned_away = True
        visits.failures[address] = min(visits.failures[address] + 1, FAILURES_MAX)
        log.info("visit failed", extra={"peer": _text(address), "reason": str(problem)})
    else:
        visits.failures[address] = 0
    if visits.replica.chain.tip.height > height:
        details = {"peer": _text(address), "height": visits.replica.chain.tip.height}
        log.info("caught up by a visit", extra=details)
    return has_answered


def _text(address: Address) -> str:
    host, port = address
    return f"{host}:{port}"


async def _take_blocks(visits: Visits, visit: Visit) -> bool:
    """Take the next blocks; return False once there are no more, raise if they do not fit."""
    replica = visits.replica
    chain, first = replica.chain, replica.chain.tip.height + 1
    found = await _ask_blocks(visit, first)
    if not found:
        return False
    message = Blocks(blocks=tuple(found))
    check_anchored(message, replica.anchor)  # As `receive` does, which does not say who lied.
    check_certified(message, chain)
    check_consistent(message, chain.chain_id)  # After the certificates: it is not cheap.
    receive(replica, VISITED, message)  # Those of an epoch that is not known yet are cut off.
    if await wait_height(chain, first, EXECUTION_TIMEOUT_MS) < first:
        raise Unhelpful(f"block {first} was not decided")
    await wait_height(chain, first + len(found) - 1, ASK_TIMEOUT_MS)
    return True


async def _ask_blocks(visit: Visit, first: int) -> list[CertifiedBlock]:
    """Return consecutive blocks from `first` on, as many as are there."""
    heights = range(first, first + BLOCKS_PER_ASK)
    answers = await asyncio.gather(
        *(_ask_block(visit, height) for height in heights), return_exceptions=True
    )
    found: list[CertifiedBlock] = []
    for height, answer in zip(heights, answers, strict=True):
        if isinstance(answer, PeerRefused) and answer.refusal == NOT_HERE:
            break
        if isinstance(answer, BaseException):
            if found:
                break
            raise answer
        if answer.block.height != height:
            raise Unhelpful(f"block {answer.block.height} where {height} was asked for")
        found.append(answer)
    return found


async def _ask_block(visit: Visit, height: int) -> CertifiedBlock:
    reply = await visit.request(
        Kind.FIND_BLOCK,
        encode(BlockCopy(height=height)),
        ASK_TIMEOUT_MS,
        reply_bytes_max=CERTIFIED_BYTES_MAX,
    )
    return decode(CertifiedBlock, reply, bytes_max=CERTIFIED_BYTES_MAX)
