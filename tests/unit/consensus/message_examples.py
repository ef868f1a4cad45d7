"""At least one valid message of every kind, as four replicas would say it at height 1."""

from consensus.evidence import signed_vote
from consensus.messages import (
    Blocks,
    Complaint,
    Contradiction,
    Fetch,
    FetchProposal,
    Message,
    Proposal,
    Suspicion,
    complaint_preimage,
)
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height
from tests.simulation.ideal import CHAIN, make_signer, make_validators
from tests.unit.consensus.replicas import (
    boot,
    certified,
    commit,
    committed,
    echo,
    make_block,
    new_view,
    pre_prepare,
    prepare,
    prepared,
    status,
    view_change,
)

SETS = {Epoch(0): make_validators(4)}
BLOCK = make_block("a")
SECOND = make_block("b", height=2, parent=BLOCK.digest, parent_certificate=committed(BLOCK))
FRESH = make_block("fresh", view=1, proposer=1)
LEAVERS = [
    view_change(0, 1, report=prepared(BLOCK)),
    view_change(2, 1),
    view_change(3, 1, report=prepared(BLOCK)),
]
MESSAGES: list[Message] = [
    pre_prepare(0, BLOCK),
    pre_prepare(0, SECOND),
    prepare(1, BLOCK),
    commit(2, BLOCK, view=3),
    view_change(1, 2),
    view_change(1, 2, report=prepared(BLOCK)),
    new_view(FRESH, view=1, leavers=[view_change(one, 1) for one in (1, 2, 3)], signer=1),
    new_view(BLOCK, view=1, leavers=LEAVERS, signer=1),
    status(5, 2, has_proposal=True),
    status(2, certificate=committed(BLOCK)),
    Fetch(from_height=Height(7), count=64),
    Blocks(blocks=()),
    Blocks(blocks=(certified(BLOCK), certified(SECOND))),
    FetchProposal(height=Height(1), digest=BLOCK.digest),
    Proposal(block=BLOCK, bodies=b"bodies"),
    Complaint(
        epoch=Epoch(0),
        primary=ReplicaId(0),
        reason=Suspicion.SLOW,
        signer=ReplicaId(2),
        signature=make_signer(2)(complaint_preimage(CHAIN, Epoch(0), ReplicaId(0), Suspicion.SLOW)),
    ),
    Contradiction(votes=(signed_vote(prepare(1, BLOCK)), signed_vote(commit(2, BLOCK)))),
    status(3, is_listening=True, boot=boot(2, b"the second start", number=2)),
    echo(b"the second start"),
    echo(
        b"the second start",
        boots=(boot(2, b"the first start.", seen=b"the second start"),),
        vote=commit(2, BLOCK),
        height=2,
        certificate=committed(BLOCK),
    ),
]
