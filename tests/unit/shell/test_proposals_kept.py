"""Which checked proposals are kept, and for how long."""

from typing import Any, cast

from consensus.blocks import Block
from crypto.hashing import Digest
from crypto.validators import ReplicaId
from crypto.votes import NO_DIGEST, Height, View
from ledger.blocks import Header
from shell.proposals import Checked, Proposals, forget, remember, retain


def make_checked(height: int, mark: int) -> Checked:
    block = Block(
        height=Height(height),
        view=View(0),
        proposer=ReplicaId(0),
        parent=NO_DIGEST,
        digest=Digest(bytes([mark]) * 32),
        header=b"header",
        parent_certificate=None,
        payload=b"",
    )
    return Checked(block=block, header=cast("Header", None), bodies=())


def make_proposals(*kept: Checked) -> Proposals:
    nothing: Any = None
    proposals = Proposals(chain=nothing, pool=nothing, clock=nothing, replica=ReplicaId(0))
    for one in kept:
        remember(proposals, one)
    return proposals


def test_a_decided_block_that_waits_to_be_executed_is_not_dropped() -> None:
    decided = make_checked(5, 1)
    proposals = make_proposals(decided)

    retain(proposals, 6, ())  # The core has moved on to the next height already.

    assert proposals.checked[decided.block.digest] is decided


def test_what_the_core_has_lost_interest_in_goes() -> None:
    wanted, forgotten = make_checked(5, 1), make_checked(5, 2)
    proposals = make_proposals(wanted, forgotten)

    retain(proposals, 5, {wanted.block.digest: None})

    assert list(proposals.checked) == [wanted.block.digest]


def test_executed_heights_go() -> None:
    executed, later = make_checked(5, 1), make_checked(6, 2)
    proposals = make_proposals(executed, later)

    forget(proposals, 5)

    assert list(proposals.checked) == [later.block.digest]
