"""Lies for scenario files: what a faulty replica makes of its own messages while they travel.

A forger holds its own key and whatever it has heard. What it sends goes through the real decoder
and the real verifier: some lies end there, and the transcript says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from consensus.boots import NOBODY, Boot, boot_preimage
from consensus.messages import (
    Blocks,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    Status,
    ViewChange,
    encode_message,
)
from crypto.encoding import decode_value, encode_value
from crypto.hashing import Digest
from crypto.schema import encode
from crypto.validators import Epoch
from crypto.votes import Height, View
from tests.simulation.application import later_block
from tests.simulation.byzantine import hide_prepared, make_vote, propose
from tests.simulation.host import Host

FAR_HEIGHTS = (0, 3, 1_000, 2**32, 2**63, 2**64 - 1)
FAR_VIEWS = (1, 2, 1_000, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Forged:
    """Bytes on the wire that claim to be a message of some kind."""

    kind: type[Message]
    encoded: bytes


def ahead(host: Host, message: Status) -> Status:
    """Claims a thousand heights that nobody has decided."""
    return replace(message, height=Height(message.height + 1_000))


def empty(host: Host, message: Blocks) -> Blocks:
    """Answers a fetch with nothing."""
    return Blocks(blocks=())


def unsigned(host: Host, message: Blocks) -> Blocks:
    """Shows other blocks than the decided ones, under certificates that nobody signed."""
    forged = []
    for one in message.blocks:
        block = later_block(one.block)
        signatures = tuple((signer, bytes(64)) for signer, _ in one.certificate.signatures)
        certificate = replace(one.certificate, digest=block.digest, signatures=signatures)
        forged.append(replace(one, block=block, certificate=certificate))
    return Blocks(blocks=tuple(forged))


def swapped(host: Host, message: Blocks) -> Forged:
    """Shows another block beside a certificate that is good."""
    tag, ((_, certificate, bodies), *rest) = _apart(encode_message(message))
    other = _apart(encode(later_block(message.blocks[0].block)))
    return Forged(Blocks, encode_value((tag, ((other, certificate, bodies), *rest))))


def shifted(host: Host, message: Blocks) -> Blocks:
    """Answers with good blocks, but not from the height that was asked for."""
    return Blocks(blocks=message.blocks[1:])


def repeated(host: Host, message: NewView) -> Forged:
    """Shows the view-change of one replica twice, in place of another's."""
    tag, view_changes, pre_prepare = _apart(encode_message(message))
    twice = (view_changes[0], view_changes[0], *view_changes[2:])
    return Forged(NewView, encode_value((tag, twice, pre_prepare)))


def too_few(host: Host, message: NewView) -> NewView:
    """Shows one view-change less than a quorum."""
    return replace(message, view_changes=message.view_changes[:-1])


def free(host: Host, message: NewView) -> NewView:
    """Proposes a block of its own where a certificate leaves no choice."""
    proposal = message.pre_prepare
    block = later_block(proposal.block, view=message.view, proposer=host.replica)
    return replace(message, pre_prepare=propose(host, proposal, block))


def forgetful(host: Host, message: ViewChange) -> ViewChange:
    """Hides the certificate it holds."""
    return hide_prepared(host, message)


FORGERIES: dict[str, Callable[[Host, Any], Message | Forged]] = {
    one.__name__: one
    for one in (ahead, empty, unsigned, swapped, shifted, repeated, too_few, free, forgetful)
}


def far_future(host: Host, count: int) -> Iterator[Message]:
    """Messages of heights and views that nobody has reached, each well signed and different."""
    for number in range(count):
        height = Height(min(FAR_HEIGHTS[number % len(FAR_HEIGHTS)] + number // 100, 2**64 - 1))
        view = View(FAR_VIEWS[number // 7 % len(FAR_VIEWS)])
        digest = Digest(number.to_bytes(32, "big"))
        match number % 5:
            case 0:
                yield make_vote(host, Prepare, height, view, digest)
            case 1:
                yield make_vote(host, Commit, height, view, digest)
            case 2:
                yield hide_prepared(host, _empty_view_change(host, height, view))
            case 3:
                yield Fetch(from_height=height, count=64)
            case _:
                yield _claim(host, height, view, number)


def _empty_view_change(host: Host, height: Height, view: View) -> ViewChange:
    return ViewChange(
        epoch=Epoch(0),
        height=height,
        view=view,
        prepared=None,
        signer=host.replica,
        signature=bytes(64),
    )


def _claim(host: Host, height: Height, view: View, number: int) -> Status:
    boot_id = number.to_bytes(16, "big")
    return Status(
        height=height,
        view=view,
        has_proposal=False,
        has_committed=False,
        is_fenced=number % 2 == 0,
        is_listening=number % 3 == 0,
        certificate=None,
        boot=Boot(
            epoch=Epoch(0),
            replica=host.replica,
            number=number,
            boot_id=boot_id,
            seen=NOBODY,
            signature=host.config.sign(
                Epoch(0),
                boot_preimage(
                    host.config.chain_id, Epoch(0), host.replica, number, boot_id, NOBODY
                ),
            ),
        ),
        clock_ms=0,
    )


def _apart(encoded: bytes) -> Any:
    """Return the plain values a message travels as; what they make is for the receiver to see."""
    return decode_value(encoded, bytes_max=1 << 20)
