"""Of a pruned block a node still knows what it decided, and serves nothing."""

import asyncio
from pathlib import Path

import pytest

from crypto.hashing import Digest
from crypto.schema import encode
from crypto.votes import Height
from ledger.identity_payloads import Suspend
from ledger.replay import Status
from ledger.transactions import decode_transaction
from p2p.errors import RequestRefused
from shell.chain import Chain, open_live_chain
from shell.mending import BlockCopy, answer_copy
from storage.chain import open_chain
from storage.pruning import prune
from storage.slices import run_to_end
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain, make_live_chain

BLOCKS = 4
HORIZON = Height(3)


@pytest.fixture
def pruned(tmp_path: Path) -> tuple[LiveChain, list[Digest]]:
    """A chain of four blocks whose first two are pruned, and the ids of their transactions."""
    live = make_live_chain(tmp_path)
    ids = []

    async def decide() -> None:
        for _ in range(BLOCKS):
            payload = Suspend(account_id=account_of(DOCTOR), reason="test")
            signed = live.hospitals.chain.signed(
                "identity.suspend", payload, "first admin of north"
            )
            transaction = decode_transaction(signed, live.chain.chain_id)
            ids.append(transaction.tx_id)
            await live.decide(transaction)

    asyncio.run(decide())
    run_to_end(prune(live.chain.stored, HORIZON))
    return live, ids


def started_again(live: LiveChain) -> Chain:
    stored = open_chain(live.chain.stored.database, live.chain.chain_id)
    return open_live_chain(stored, live.chain.genesis, live.chain.pool)


def test_a_pruned_transaction_is_said_to_be_decided(pruned: tuple[LiveChain, list[Digest]]) -> None:
    live, ids = pruned

    for chain in (live.chain, started_again(live)):
        gone, kept = chain.status(ids[0]), chain.status(ids[2])
        assert (gone.state, gone.receipt, gone.pruned_height) == (Status.PRUNED, None, 1)
        assert kept.state is not Status.PRUNED
        assert kept.receipt is not None


def test_a_pruned_block_is_not_served_and_the_next_one_is(
    pruned: tuple[LiveChain, list[Digest]],
) -> None:
    live, _ = pruned

    assert live.chain.certified_block(HORIZON - 1) is None
    kept = live.chain.certified_block(HORIZON)
    assert kept is not None
    assert kept.block.parent_certificate is not None


@pytest.mark.parametrize(("height", "code"), [(1, "history.pruned"), (BLOCKS + 1, "not_here")])
async def test_who_asks_for_a_pruned_block_is_not_told_that_there_is_none(
    pruned: tuple[LiveChain, list[Digest]], height: int, code: str
) -> None:
    """It would else believe that it has all of them, and say so to its operator."""
    live, _ = pruned

    with pytest.raises(RequestRefused, match=code):
        await answer_copy(live.chain, 0, encode(BlockCopy(height=height)))
