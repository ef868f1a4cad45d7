"""Attacks of one peer, or of a disk, on snapshots, mending and the pins of old roots."""

import asyncio
from dataclasses import replace

import pytest

from consensus.blocks import CertifiedBlock
from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.validators import Epoch
from p2p.errors import RequestRefused
from shell.joining import ask_offers, choose_height, take_snapshot
from shell.kinds import Kind
from shell.mending import CERTIFIED_BYTES_MAX, answer_copy, mend_block
from shell.snapshots import (
    EpochQuery,
    SnapshotOffer,
    Snapshots,
    answer_chunk,
    answer_epoch,
)
from storage.arrivals import Arriving, close_arrival, first_ranges, open_arrival
from storage.blocks import get_stored_header, state_root_after
from storage.keys import TRANSACTIONS
from storage.pruning import Keep, prune, prune_floor, prune_horizon
from storage.slices import run_to_end
from storage.world import WorldLimits, state_root
from tests.unit.shell.test_joining import BLOCKS, PROVABLE, Party, check_arrived, grown, party
from tests.unit.shell.test_mending_blocks import damage

__all__ = ["grown", "party"]  # Fixtures of the neighbour.

LONG_GONE = 40


async def test_one_peer_that_claims_to_serve_an_interrupted_height_keeps_nobody_there(
    party: Party,
) -> None:
    """The others let go of that root while the node was down; the liar serves nothing of it."""
    lost = Arriving(
        height=LONG_GONE,
        head=Digest(b"h" * 32),
        state_root=Digest(b"r" * 32),
        nexts=first_ranges(),
    )
    close_arrival(open_arrival(party.layout, lost))

    async def boast(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        return encode(SnapshotOffer(oldest_block=1, oldest_state=3, newest_state=BLOCKS - 1))

    async def honest(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        offer = SnapshotOffer(oldest_block=1, oldest_state=LONG_GONE + 1, newest_state=BLOCKS - 1)
        return encode(offer)

    async def refuse(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        raise RequestRefused("busy")

    party.servers[1].serve(Kind.OFFER_SNAPSHOT, honest)
    party.servers[2].serve(Kind.OFFER_SNAPSHOT, honest)
    party.servers[3].serve(Kind.OFFER_SNAPSHOT, boast)
    party.servers[3].serve(Kind.STATE_CHUNK, refuse)

    offers = await ask_offers(party.joining.network)

    assert choose_height(party.joining, offers) == BLOCKS - 1
    assert await take_snapshot(party.joining)
    check_arrived(party)


@pytest.mark.parametrize("height", [1, 2])
async def test_a_copy_from_a_former_epoch_comes_with_the_signatures_of_its_quorum(
    party: Party, height: int
) -> None:
    """The sets around the tip are not all there are: nobody would believe us such a certificate."""
    ours = party.servers[1].chain
    assert ours.validator_sets().get(epoch_of(party, height)) is None
    damage(ours, TRANSACTIONS, height)
    kept = get_stored_header(ours.stored, height)

    async def forge(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        whole = await answer_copy(snapshots.chain, peer_id, body)
        copy = decode(CertifiedBlock, whole, bytes_max=CERTIFIED_BYTES_MAX)
        signatures = tuple((signer, bytes(64)) for signer, _ in copy.certificate.signatures)
        certificate = replace(copy.certificate, signatures=signatures)
        return encode(replace(copy, certificate=certificate))

    for number in (2, 3):
        party.servers[number].serve(Kind.FIND_BLOCK, forge)

    is_mended = await mend_block(ours, party.servers[1].network, height)

    assert not is_mended
    assert get_stored_header(ours.stored, height) == kept


def epoch_of(party: Party, height: int) -> Epoch:
    block = party.servers[2].chain.certified_block(height)
    assert block is not None
    return block.certificate.epoch


async def test_a_pruning_leaves_the_root_that_a_peer_is_fetching(party: Party) -> None:
    stored = party.servers[1].chain.stored
    stored.world.limits = WorldLimits(proof_heights=PROVABLE // 2)
    pinned = stored.world.pinned = BLOCKS - PROVABLE

    floor = prune_floor(stored)
    run_to_end(prune(stored, prune_horizon(stored, Keep(blocks=1, days=0))))

    assert state_root(stored.world, pinned) == state_root_after(stored, pinned)
    assert floor <= pinned
    stored.world.pinned = None
    run_to_end(prune(stored, prune_horizon(stored, Keep(blocks=1, days=0))))
    assert stored.world.oldest_provable == BLOCKS - PROVABLE // 2 + 1


@pytest.mark.parametrize("epoch", [2, 2**63, 2**64 - 1])
async def test_no_number_of_an_epoch_is_a_fault_of_the_node_that_is_asked(
    party: Party, epoch: int
) -> None:
    with pytest.raises(RequestRefused, match="not_here"):
        await answer_epoch(party.servers[1].snapshots, 0, encode(EpochQuery(epoch=epoch)))


async def test_a_source_that_dribbles_loses_its_part_to_those_who_wait_for_it(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its answers comes just before it counts as slow: alone it could take for ever."""
    monkeypatch.setattr("shell.sources.TAKE_OVER_S", 0.2)

    async def dribble(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return await answer_chunk(snapshots, peer_id, body)

    monkeypatch.setattr("shell.joining.CHUNK_TIMEOUT_MS", 3_600_000)
    party.servers[2].serve(Kind.STATE_CHUNK, dribble)

    async with asyncio.timeout(60):
        is_fetched = await take_snapshot(party.joining)

    assert is_fetched
    assert party.joining.sources is not None
    assert party.joining.sources.slow[2] == 1
    assert not party.joining.sources.bad
    check_arrived(party)
