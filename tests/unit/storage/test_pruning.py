"""Pruning: old transactions and receipts leave the disk, what proves them stays."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from crypto.hashing import Digest
from crypto.votes import Height
from ledger.contract import SidecarPlace
from ledger.parameters import TX_WINDOW_MS_LIMIT
from storage.blocks import (
    find_transaction,
    get_block,
    get_header,
    get_stored_header,
    get_transaction,
    replay_entries,
    sidecar_places,
)
from storage.chain import Chain, commit_block, create_chain, open_chain, reopen_chain
from storage.check import check_start, findings
from storage.database import create_database
from storage.errors import HistoryPruned
from storage.journal import close_journal, create_journal
from storage.keys import NODES, RECEIPTS, TRANSACTIONS, Place
from storage.mending import replace_block, replace_receipts
from storage.pruning import (
    BLOCKS_KEPT_MIN,
    DAY_MS,
    Keep,
    plan_prune,
    prune,
    prune_floor,
    prune_horizon,
    pruned_ranges,
)
from storage.receipts import get_encoded_receipts, get_receipt, read_log
from storage.slices import run_to_end
from storage.world import WorldLimits
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, Sample, grow, sample, subject

BLOCKS = 100
PROVABLE = 8
HORIZON = Height(31)


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[tuple[Chain, list[Sample]]]:
    """A hundred blocks an hour apart, of which eight roots are provable."""
    with create_database(tmp_path / "ledger") as database:
        chain = create_chain(
            database,
            CHAIN_ID,
            {b"a": b"1"},
            time_ms=GENESIS_MS,
            limits=WorldLimits(proof_heights=PROVABLE),
        )
        yield chain, [grow_one(chain) for _ in range(BLOCKS)]


def grow_one(chain: Chain, *, after_ms: int = 3_600_000) -> Sample:
    height = chain.tip.height + 1
    one = sample(
        chain,
        {b"test/changing": b"at %d" % height, b"test/at/%06d" % height: b"v"},
        subjects=[(0, 1), (0, 2)],
        time_ms=chain.tip.time_ms + after_ms,
    )
    commit_block(chain, one.block, one.result)
    return one


def reopened(chain: Chain) -> Chain:
    return open_chain(chain.database, CHAIN_ID, limits=chain.world.limits)


def heights_with(chain: Chain, family: bytes) -> set[int]:
    return {int.from_bytes(key[1:9], "big") for key, _ in chain.database.scan(family)}


def test_what_old_blocks_hold_goes_and_what_proves_it_stays(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, samples = grown
    old, horizon = samples[9], HORIZON

    pruned = run_to_end(prune(chain, horizon))
    again = reopened(chain)

    assert (pruned.blocks, pruned.transactions, pruned.receipts) == (30, 60, 60)
    assert pruned.log_entries == 120
    for one in (chain, again):
        assert heights_with(one, TRANSACTIONS) == set(range(horizon, BLOCKS + 1))
        assert heights_with(one, RECEIPTS) == set(range(horizon, BLOCKS + 1))
        assert get_block(one, old.height) is None
        assert get_encoded_receipts(one, old.height) is None
        stored = get_stored_header(one, old.height)
        assert stored is not None
        assert (stored.header, stored.certificate) == (old.block.header, old.block.certificate)
        assert get_block(one, horizon) == samples[horizon - 1].stored
        assert len(read_log(one, subject(0), limit=1_000)) == 2 * (BLOCKS - horizon + 1)


def test_a_pruned_transaction_is_still_known_by_its_place(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, samples = grown
    run_to_end(prune(chain, HORIZON))

    place = find_transaction(chain, samples[9].block.transactions[1].tx_id)

    assert place == Place(10, 1)
    for read in (get_transaction, get_receipt):
        with pytest.raises(HistoryPruned, match=r"block 10 is decided; .* from block 31 on"):
            read(chain, place)


def test_a_plan_counts_what_a_run_deletes_and_changes_nothing(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, _ = grown
    before = list(chain.database.scan(b""))

    planned = run_to_end(plan_prune(chain, HORIZON))
    untouched = list(chain.database.scan(b""))
    pruned = run_to_end(prune(chain, HORIZON))

    assert planned == pruned
    assert untouched == before
    remaining = sum(len(key) + len(value) for key, value in chain.database.scan(b""))
    row = len(b"mhistory") + len(chain.database.get(b"mhistory") or b"")
    assert sum(len(k) + len(v) for k, v in before) - planned.bytes_count == remaining - row


def test_a_pruning_that_was_broken_off_goes_on(grown: tuple[Chain, list[Sample]]) -> None:
    chain, _ = grown
    list(islice(prune(chain, HORIZON), 5))
    again = reopened(chain)

    assert again.history.whole_from == 31
    assert get_block(again, 20) is None  # Its rows are still there, and nobody reads them.
    assert 20 in heights_with(again, TRANSACTIONS)

    run_to_end(prune(again, HORIZON))

    assert heights_with(again, TRANSACTIONS) == set(range(31, BLOCKS + 1))
    assert len(read_log(again, subject(1), limit=1_000)) == BLOCKS - 30


def test_a_pruned_ledger_passes_every_check(
    grown: tuple[Chain, list[Sample]], tmp_path: Path
) -> None:
    chain, _ = grown
    (tmp_path / "journal").mkdir()
    close_journal(create_journal(tmp_path / "journal"))
    run_to_end(prune(chain, prune_horizon(chain, Keep(blocks=1, days=0))))

    again = reopened(chain)

    assert findings(check_start(again, tmp_path / "journal", last_blocks=BLOCKS)) == []


def test_nothing_the_node_still_needs_can_be_pruned(grown: tuple[Chain, list[Sample]]) -> None:
    chain, _ = grown

    horizon = prune_horizon(chain, Keep(blocks=1, days=0))

    assert horizon == prune_floor(chain) == BLOCKS - BLOCKS_KEPT_MIN + 1


def test_the_replay_window_of_every_provable_state_stays(tmp_path: Path) -> None:
    with create_database(tmp_path / "ledger") as database:
        limits = WorldLimits(proof_heights=PROVABLE)
        chain = create_chain(database, CHAIN_ID, {}, time_ms=GENESIS_MS, limits=limits)
        for _ in range(BLOCKS):
            grow_one(chain, after_ms=TX_WINDOW_MS_LIMIT // 80)

        run_to_end(prune(chain, prune_horizon(chain, Keep(blocks=1, days=0))))

        oldest = get_header(chain, chain.world.oldest_provable)
        assert oldest is not None
        kept = list(replay_entries(chain, oldest.time_ms - TX_WINDOW_MS_LIMIT))
        assert kept[0].height == chain.history.whole_from == BLOCKS - PROVABLE + 2 - 80
        assert len(kept) == BLOCKS - kept[0].height + 1


def test_days_are_those_of_the_chain(grown: tuple[Chain, list[Sample]]) -> None:
    chain, _ = grown

    assert prune_horizon(chain, Keep(blocks=0, days=3)) == BLOCKS - 3 * 24 + 1
    assert prune_horizon(chain, Keep(blocks=90, days=3)) == BLOCKS - 90 + 1
    assert prune_horizon(chain, Keep(blocks=0, days=0)) == 1
    assert 3 * DAY_MS == 72 * 3_600_000


def test_places_of_sidecars_that_no_entry_names_go(tmp_path: Path) -> None:
    live, dead = Digest(b"\1" * 32), Digest(b"\2" * 32)
    with create_database(tmp_path / "ledger") as database:
        limits = WorldLimits(proof_heights=PROVABLE)
        chain = create_chain(database, CHAIN_ID, {}, time_ms=GENESIS_MS, limits=limits)
        one = sample(
            chain,
            {b"kept": b"names " + live, b"gone": b"names " + dead},
            sidecars=[SidecarPlace(live, b"kept"), SidecarPlace(dead, b"gone")],
        )
        commit_block(chain, one.block, one.result)
        other = sample(chain, {b"gone": b"names nothing"})
        commit_block(chain, other.block, other.result)
        grow(chain, BLOCKS)

        pruned = run_to_end(prune(chain, Height(20)))

        assert pruned.sidecar_places == 1
        assert sidecar_places(chain, live) == ((1, b"kept"),)
        assert sidecar_places(chain, dead) == ()


def test_nodes_of_roots_that_need_no_proof_go_all_at_once(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, _ = grown
    wide = sample(chain, {b"test/wide/%05d" % number: b"v" for number in range(40_000)})
    commit_block(chain, wide.block, wide.result)
    other = sample(chain, {b"test/wide/%05d" % number: b"w" for number in range(40_000)})
    commit_block(chain, other.block, other.result)
    grow(chain, PROVABLE)
    before = sum(1 for _ in chain.database.scan(NODES))

    pruned = run_to_end(prune(chain, HORIZON))

    assert pruned.tree_nodes > 10_000
    assert sum(1 for _ in chain.database.scan(NODES)) == before - pruned.tree_nodes
    assert findings(check_start(reopened(chain), Path("nowhere"), last_blocks=PROVABLE))[1:] == []


def test_a_mended_old_block_does_not_come_back_whole(grown: tuple[Chain, list[Sample]]) -> None:
    chain, samples = grown
    old = samples[9]
    run_to_end(prune(chain, HORIZON))

    replace_block(chain, old.height, old.stored)

    assert get_header(chain, old.height) is not None
    assert old.height not in heights_with(chain, TRANSACTIONS)
    with pytest.raises(HistoryPruned):
        replace_receipts(chain, samples[10].height, [])


def test_the_disk_shrinks_to_little_more_than_what_is_live(
    grown: tuple[Chain, list[Sample]],
) -> None:
    chain, _ = grown
    for block in range(10):
        entries = {b"test/of/%d/%d" % (block, number): bytes(200) for number in range(1_000)}
        filling = sample(chain, entries, subjects=[(number,) for number in range(1_000)])
        commit_block(chain, filling.block, filling.result)
    for _ in range(BLOCKS):
        grow_one(chain)
    chain.database.compact_range()
    before_bytes = chain.database.size_bytes()

    run_to_end(prune(chain, prune_horizon(chain, Keep(blocks=1, days=0))))
    reopen_chain(chain)
    for start, stop in pruned_ranges(chain):
        chain.database.compact_range(start, stop)
    between_bytes = chain.database.size_bytes()
    chain.database.compact_range()
    chain.database.reopen()

    live_bytes = sum(len(key) + len(value) for key, value in chain.database.scan(b""))
    assert chain.database.size_bytes() <= 1.2 * live_bytes
    assert between_bytes < before_bytes * 0.75
