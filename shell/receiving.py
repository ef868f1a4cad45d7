"""The way in for consensus messages: decode, check every signature, hand over, within limits.

Signatures are checked here and now: a consensus message must not wait behind a batch for the
workers. So each peer has an allowance (`shell.allowance`); over it the node stops reading that
peer's connection for a while, and what was read already is dropped. Heartbeats make the others
send again whatever was lost that way.
"""

import logging
import time

from consensus.blocks import Block
from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.events import MessageReceived
from consensus.messages import (
    Blocks,
    Message,
    NewView,
    PrePrepare,
    Proposal,
    Status,
    decode_message,
)
from consensus.verification import make_verifiable, message_signature_jobs
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.signatures import is_valid_many, remember_valid
from crypto.validators import ReplicaId
from ledger.errors import InvalidBlock
from shell.allowance import Allowance, spend, take_frame
from shell.blocks import check_consistent
from shell.proposals import check_proposed, note_heard
from shell.replica import Replica, deliver
from shell.resting import rest_if_spent
from shell.timeline import note_message

log = logging.getLogger("medledger.replica")


def on_frame(replica: Replica, peer_id: int, body: bytes) -> None:
    """Take a peer's consensus message, within its allowance."""
    allowance = replica.allowances.setdefault(peer_id, Allowance(at_s=time.monotonic()))
    if not take_frame(allowance, time.monotonic()):
        return
    started_s = time.thread_time()  # Not the clock: a slow disk is no fault of the peer's.
    is_invalid = not _is_taken(replica, peer_id, body)
    spend(allowance, (time.thread_time() - started_s) * 1e6, is_invalid=is_invalid)
    rest_if_spent(replica.network, peer_id, allowance)


def receive(replica: Replica, peer_id: int, message: Message) -> bool:
    """Deliver a decoded message once every signature in it is found valid; False: it is invalid."""
    sets = replica.chain.validator_sets()
    message = _without_known(make_verifiable(message, sets), replica.chain.tip.height)
    try:
        jobs = message_signature_jobs(message, sets, replica.chain.chain_id)
    except UnknownEpoch:
        replica.ignored["unknown epoch"] += 1
        return True
    except InvalidMessage as problem:
        return _count_invalid(replica, peer_id, str(problem))
    if not all(is_valid_many(jobs)):
        return _count_invalid(replica, peer_id, "a wrong signature")
    for job in jobs:  # A vote comes again: in the certificate of the next proposal.
        remember_valid(job)
    try:
        # After the signatures: a Merkle root over thousands is not cheap.
        _check_block(replica, message)
    except InvalidBlock as problem:
        return _count_invalid(replica, peer_id, str(problem))
    if isinstance(message, Status):
        replica.statuses[peer_id] = (message, replica.clock.now_ms())
    note_message(replica.timeline, peer_id, message)
    deliver(replica, MessageReceived(sender=ReplicaId(peer_id), message=message))
    return True


def _is_taken(replica: Replica, peer_id: int, body: bytes) -> bool:
    try:
        message = decode_message(body)
    except DecodeError as problem:
        return _count_invalid(replica, peer_id, str(problem))
    if isinstance(message, Blocks | Proposal):
        return _count_invalid(replica, peer_id, "blocks travel as uploads")
    return receive(replica, peer_id, message)


def _without_known(message: Message, height: int) -> Message:
    """Leave out decided blocks: their certificates are true, whatever is beside them."""
    if not isinstance(message, Blocks):
        return message
    return Blocks(blocks=tuple(one for one in message.blocks if one.block.height > height))


def _check_block(replica: Replica, message: Message) -> None:
    """Raise `InvalidBlock` for a block that cannot be; note when a proposed header arrived."""
    check_anchored(message, replica.anchor)
    if isinstance(message, Blocks | Proposal):
        check_consistent(message, replica.chain.chain_id)
    check_proposed(message)
    if isinstance(message, PrePrepare | NewView):
        note_heard(replica.proposals, message.digest)


def check_anchored(message: Message, anchor: tuple[int, Digest] | None) -> None:
    """Raise `InvalidBlock` for another block than the one that the node's invite vouches for.

    Keys of former members, stolen since, can certify one; a node that joins knows no better.
    """
    if anchor is None:
        return
    height, digest = anchor
    if any(one.height == height and one.digest != digest for one in _blocks_in(message)):
        raise InvalidBlock("block.anchor", f"block {height} is not the one that the invite names")


def _blocks_in(message: Message) -> tuple[Block, ...]:
    match message:
        case Blocks(blocks=blocks):
            return tuple(one.block for one in blocks)
        case Proposal(block=block) | PrePrepare(block=block):
            return (block,)
        case NewView(pre_prepare=pre_prepare):
            return (pre_prepare.block,)
        case _:
            return ()


def _count_invalid(replica: Replica, peer_id: int, reason: str) -> bool:
    replica.invalid[peer_id] += 1
    log.warning("invalid message", extra={"peer": peer_id, "reason": reason})
    return False
