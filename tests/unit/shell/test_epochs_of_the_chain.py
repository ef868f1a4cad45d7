"""The ledger and the running chain number epochs alike: the set of h is that after block h - 2."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crypto.hashing import Digest
from crypto.schema import decode
from crypto.signatures import Scheme
from crypto.validators import Epoch, ReplicaId
from ledger.accounts import OrgId
from ledger.blocks import Header
from ledger.contracts.governance import EpochEntry, get_epoch, get_latest_epoch
from ledger.governance_payloads import Change, Propose, Ready, RemoveValidator, Vote
from shell.chain import open_live_chain
from storage import blocks as stored_blocks
from storage.sidecars import close_sidecars
from tests.unit.ledger.governance_samples import Council, admin
from tests.unit.ledger.small_consortium import NORTH, SOUTH
from tests.unit.shell.live_chain import LiveChain, make_live_chain


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveChain]:
    live = make_live_chain(tmp_path)
    live.hospitals.chain.height = live.chain.tip.height  # Heights matter to governance.
    yield live
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()


async def submit(live: LiveChain, kind: str, payload: Any, by: str, **options: Any) -> Digest:
    receipt = await live.submit(kind, payload, by, sidecars=(), **options)
    assert receipt.accepted, receipt.code
    check_reopened(live)
    return receipt.tx_id


async def pass_change(live: LiveChain, change: Change, org: OrgId) -> None:
    """Both hospitals accept; the second ballot executes."""
    latest = get_latest_epoch(live.chain.view())
    propose = Propose(epoch=latest.epoch, expires_height=live.chain.tip.height + 9, change=change)
    proposal = await submit(live, "governance.propose", propose, admin(org))
    for voter in (NORTH, SOUTH):
        ballot = Vote(proposal=proposal, epoch=latest.epoch, org=voter, accepts=True)
        await submit(live, "governance.vote", ballot, admin(voter))


async def pass_blocks(live: LiveChain, count: int) -> None:
    for _ in range(count):
        await live.decide()
        check_reopened(live)


def check_reopened(live: LiveChain) -> None:
    """A node that starts at this tip numbers the heights around it as one that went on."""
    chain = live.chain
    again = open_live_chain(chain.stored, chain.genesis, chain.pool)
    assert (again.next_epoch, again.sets) == (chain.next_epoch, chain.sets)
    assert (again.next_set, again.later_set) == (chain.next_set, chain.later_set)


def entry_of(entries: list[EpochEntry], height: int) -> EpochEntry:
    return [entry for entry in entries if entry.first_height <= height][-1]


async def test_every_header_has_the_epoch_and_set_that_the_state_keeps_for_its_height(
    live: LiveChain,
) -> None:
    council = Council(chain=live.hospitals.chain)

    await pass_blocks(live, 2)
    await pass_change(live, council.add(4, NORTH), NORTH)
    await pass_change(live, RemoveValidator(index=ReplicaId(3)), SOUTH)
    await pass_blocks(live, 1)
    ready = Ready(index=ReplicaId(4), height=live.chain.tip.height)
    await submit(live, "validator.ready", ready, "node 4", scheme=Scheme.ED25519)
    await pass_blocks(live, 1)
    await pass_change(live, council.rekey(2, SOUTH, "node 2, second"), SOUTH)
    await pass_blocks(live, 1)
    await pass_change(live, RemoveValidator(index=ReplicaId(0)), NORTH)
    await pass_blocks(live, 3)

    entries = [get_epoch(live.chain.view(), epoch) for epoch in range(5)]
    known = [entry for entry in entries if entry is not None]
    assert [entry.epoch for entry in known] == [0, 1, 2, 3, 4]
    assert known[2].first_height - known[1].first_height == 2, "one change on the heels of another"
    for height in range(1, live.chain.tip.height + 1):
        stored = stored_blocks.get_block(live.chain.stored, height)
        assert stored is not None
        header = decode(Header, stored.header)
        entry = entry_of(known, height)
        assert header.epoch == entry.epoch, f"height {height}"
        assert header.validators == entry.validators.digest(), f"height {height}"
        following = entry_of(known, height + 1)
        assert header.next_validators == following.validators.digest(), f"height {height}"


async def test_an_epoch_begins_two_blocks_after_the_ballot_that_decided_it(
    live: LiveChain,
) -> None:
    await pass_change(live, RemoveValidator(index=ReplicaId(3)), SOUTH)
    decided = live.chain.tip.height

    first = get_latest_epoch(live.chain.view())
    epochs = []
    for _ in range(3):
        epochs.append(live.chain.next_epoch)
        await pass_blocks(live, 1)

    assert first.first_height == decided + 2
    assert epochs == [Epoch(0), Epoch(1), Epoch(1)]
