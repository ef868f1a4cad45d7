"""Following the validators from the founders to those of today, one epoch at a time.

The last block of an epoch is decided by its own validators and names the digest of the next set.
So one header for each change is enough, whatever lies between, and no node's word is needed for
who votes now. Sets that were proven stay known: a node may be a block behind a change.
"""

from typing import Final

from client.errors import AnswerRejected, CertificateRejected
from client.http import Node, get_bytes
from client.trust import Trust, check_header
from crypto.errors import DecodeError
from crypto.schema import decode
from crypto.validators import Epoch, set_number
from ledger.exchange import EpochLink, EpochLinks

EPOCHS_MAX: Final = 100_000
"""Changes of members that are walked at the most: a node that goes on for ever is no node."""


async def follow_epochs(node: Node, trust: Trust, epoch: Epoch) -> None:
    """Prove the validators of `epoch`, unless they are known; ask the node that speaks of it.

    Raises `Untrusted` if that node cannot prove them.
    """
    while set_number(epoch) > trust.epoch:
        known = trust.epoch
        await learn_epochs(node, trust)
        if trust.epoch == known:
            raise CertificateRejected(
                f"the node speaks of epoch {epoch} and cannot prove who votes in it; "
                "ask another node"
            )


async def learn_epochs(node: Node, trust: Trust) -> None:
    """Prove all epochs that the node knows of beyond ours."""
    path = "/v1/epochs"
    for _ in range(EPOCHS_MAX):
        after = {"after": str(trust.epoch)}
        body = await get_bytes(node, path, after, bytes_max=EpochLinks.WIRE_BYTES_MAX)
        try:
            links = decode(EpochLinks, body).links
        except DecodeError as problem:
            raise AnswerRejected(f"{path}: not a list of epochs: {problem}") from problem
        if not links:
            return
        for link in links:
            take_link(trust, link)
    raise AnswerRejected(f"{path}: more than {EPOCHS_MAX} changes of members; ask another node")


def take_link(trust: Trust, link: EpochLink) -> None:
    """Take the validators after the newest known, by their last header; raise `Untrusted`."""
    header = check_header(trust, link.sealed_header)
    if set_number(header.epoch) != trust.epoch or header.next_validators == header.validators:
        raise CertificateRejected(
            f"block {header.height} is not the last one of epoch {trust.epoch}; ask another node"
        )
    if link.validators.digest() != header.next_validators:
        raise CertificateRejected(
            f"block {header.height} names other validators for the next epoch than the node does; "
            "ask another node"
        )
    trust.ends[trust.epoch] = header.height + 1
    trust.epoch = Epoch(trust.epoch + 1)
    trust.sets[trust.epoch] = link.validators
    trust.links.append(link)
    trust.height = max(trust.height, header.height)


def take_known_link(trust: Trust, link: EpochLink) -> None:
    """Take a link that may be known already; raise `Untrusted` if another one is known."""
    number = set_number(link.sealed_header.header.epoch)
    if number >= trust.epoch:
        take_link(trust, link)
    elif link.validators != trust.sets[Epoch(number + 1)]:
        raise CertificateRejected(
            f"other validators follow epoch {number} than those that this home has seen: whoever "
            "made this has the keys of former validators, or the chain was restarted since"
        )
