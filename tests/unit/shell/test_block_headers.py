"""A block whose parts disagree is refused before anybody spends work on it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.blocks import Block
from consensus.effects import RequestProposal
from crypto.schema import decode, encode
from crypto.validators import ReplicaId
from crypto.votes import FIRST_VIEW, NO_DIGEST, Height, View
from ledger.blocks import Header, header_digest
from ledger.errors import InvalidBlock
from ledger.identity_payloads import Suspend
from ledger.transactions import decode_transaction
from shell.clock import Clock
from shell.proposals import decode_header, make_proposal, payload_hashes, recall
from storage.sidecars import close_sidecars
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain, make_live_chain

OTHER = bytes([7]) * 32


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveChain]:
    live = make_live_chain(tmp_path)
    live.proposals.clock = Clock(live.chain.tip.time_ms + 1_000 - Clock().now_ms())
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    for _ in range(2):
        signed = live.hospitals.chain.signed("identity.suspend", payload, "first admin of north")
        transaction = decode_transaction(signed, live.chain.chain_id)
        live.chain.pool.add(transaction, (), live.chain.tip.time_ms)
    yield live
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()


def propose(live: LiveChain, **changes: Any) -> Block | None:
    tip = live.chain.tip
    request = RequestProposal(
        epoch=live.chain.next_epoch,
        height=Height(tip.height + 1),
        view=FIRST_VIEW,
        parent=tip.digest,
        parent_certificate=None,
    )
    return make_proposal(live.proposals, replace(request, **changes))


async def test_a_block_of_ours_agrees_with_itself_and_is_remembered(live: LiveChain) -> None:
    block = propose(live)

    assert block is not None
    header = decode_header(block)
    assert header.height == live.chain.tip.height + 1
    assert block.digest in live.proposals.checked
    for signed_hash in payload_hashes(block.payload):
        assert recall(live.proposals, signed_hash) is not None


async def test_nothing_is_proposed_upon_a_tip_that_has_moved_on(live: LiveChain) -> None:
    assert propose(live, height=Height(live.chain.tip.height + 2)) is None
    assert propose(live, parent=OTHER) is None
    assert not live.proposals.checked


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"height": Height(2)}, "block.fields"),
        ({"view": View(1)}, "block.fields"),
        ({"proposer": ReplicaId(1)}, "block.fields"),
        ({"parent": OTHER}, "block.fields"),
        ({"digest": OTHER}, "block.fields"),
        ({"digest": NO_DIGEST}, "block.fields"),
        ({"header": b""}, "block.header"),
        ({"header": b"junk"}, "block.header"),
        ({"payload": b""}, "block.tx_root"),
        ({"payload": OTHER}, "block.tx_root"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_field_that_is_not_the_headers_is_refused(
    live: LiveChain, changes: dict[str, Any], code: str
) -> None:
    block = propose(live)
    assert block is not None

    with pytest.raises(InvalidBlock) as refusal:
        decode_header(replace(block, **changes))

    assert refusal.value.code == code


async def test_transactions_in_another_order_are_another_block(live: LiveChain) -> None:
    block = propose(live)
    assert block is not None
    hashes = payload_hashes(block.payload)
    assert len(hashes) == 2

    with pytest.raises(InvalidBlock, match="tx root"):
        decode_header(replace(block, payload=b"".join(reversed(hashes))))


async def test_a_header_of_another_proposer_does_not_pass_under_this_digest(
    live: LiveChain,
) -> None:
    block = propose(live)
    assert block is not None
    forged = replace(decode(Header, block.header), proposer=ReplicaId(2))

    with pytest.raises(InvalidBlock) as refusal:
        decode_header(replace(block, header=encode(forged), proposer=ReplicaId(2)))

    assert refusal.value.code == "block.fields"
    assert header_digest(forged) != block.digest


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=9))
def test_a_payload_is_the_hashes_one_after_the_other(hashes: list[bytes]) -> None:
    assert payload_hashes(b"".join(hashes)) == tuple(hashes)
