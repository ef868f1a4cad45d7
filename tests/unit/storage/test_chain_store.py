"""One batch per block: everything of it is there or nothing, and readers see whole blocks only."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.hashing import ChainId, Digest
from crypto.merkle import merkle_root
from crypto.schema import encode
from crypto.votes import Height
from ledger.blocks import genesis_header_digest, receipts_root
from ledger.contract import SidecarPlace
from ledger.tree.proofs import check_proof
from storage.blocks import (
    find_transaction,
    first_height_above,
    get_block,
    get_header,
    get_stored_header,
    get_transaction,
    prove_state,
    replay_entries,
    sidecar_places,
    state_root_after,
)
from storage.chain import (
    Chain,
    commit_block,
    create_chain,
    has_block,
    has_chain,
    open_chain,
    publish_commit,
    reopen_chain,
    stage_block,
    write_commit,
)
from storage.database import Database, create_database, open_database
from storage.errors import (
    ChainConflict,
    DatabaseCorrupt,
    DatabaseExists,
    DatabaseForeign,
    DatabaseMissing,
    DiskFull,
    HeightPruned,
    StateCorrupt,
)
from storage.keys import NODES, OLDEST_KEY, STALE, TIP_KEY, LogPlace, Place, node_key
from storage.receipts import get_receipt, get_receipts, read_log
from storage.slices import run_to_end
from storage.world import (
    WorldLimits,
    open_world,
    prove_entries,
    prove_entry,
    stage_world,
    state_root,
)
from tests.unit.storage.chain_samples import (
    BLOCK_MS,
    CHAIN_ID,
    GENESIS_MS,
    SENDER,
    WINDOW_MS,
    grow,
    sample,
    subject,
)

GENESIS = {b"test/changing": b"at 0", b"test/founding": b"stays"}
LIMITS = WorldLimits(proof_heights=5, nodes_max=50, values_bytes_max=10_000)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create_database(tmp_path / "ledger") as opened:
        yield opened


@pytest.fixture
def chain(database: Database) -> Chain:
    return create_chain(database, CHAIN_ID, GENESIS, time_ms=GENESIS_MS, limits=LIMITS)


def proven(chain: Chain, height: int, key: bytes) -> bytes | None:
    """What a client would believe about a key after a height."""
    proof = prove_state(chain, height, key)
    return check_proof(state_root_after(chain, height), key, proof)


def test_genesis_is_height_0(chain: Chain) -> None:
    assert chain.tip.height == 0
    assert chain.tip.digest == genesis_header_digest(CHAIN_ID)
    assert chain.tip.time_ms == GENESIS_MS
    assert chain.tip.receipts_root == merkle_root(())
    assert chain.world.view.get(b"test/founding") == b"stays"
    assert proven(chain, 0, b"test/founding") == b"stays"
    assert get_block(chain, 0) is None
    assert get_stored_header(chain, 0) is None
    assert get_receipts(chain, 0) is None


def test_a_chain_begins_once(database: Database, chain: Chain) -> None:
    assert has_chain(database)
    with pytest.raises(DatabaseExists):
        create_chain(database, CHAIN_ID, GENESIS, time_ms=GENESIS_MS)


def test_an_empty_database_holds_no_chain(database: Database) -> None:
    assert not has_chain(database)
    with pytest.raises(DatabaseMissing, match="genesis"):
        open_chain(database, CHAIN_ID)


def test_another_chain_is_not_opened(database: Database, chain: Chain) -> None:
    with pytest.raises(DatabaseForeign, match="another chain"):
        open_chain(database, ChainId(bytes(32)))


def test_everything_of_a_block_is_read_back(chain: Chain) -> None:
    place = SidecarPlace(Digest(subject(9)), b"records/version/1")
    one = sample(
        chain, {b"test/new": b"1", b"test/founding": None}, subjects=[(1, 2), ()], sidecars=[place]
    )

    tip = commit_block(chain, one.block, one.result)

    assert tip == chain.tip
    assert tip.height == 1
    assert tip.receipts_root == receipts_root(CHAIN_ID, one.result.receipts)
    assert get_block(chain, 1) == one.stored
    header = get_header(chain, 1)
    assert header is not None
    assert encode(header) == one.block.header
    assert get_receipts(chain, 1) == one.result.receipts
    for index, transaction in enumerate(one.block.transactions):
        found = find_transaction(chain, transaction.tx_id)
        assert found == Place(1, index)
        assert get_transaction(chain, found) == transaction.signed
        assert get_receipt(chain, found) == one.result.receipts[index]
    assert find_transaction(chain, Digest(bytes(32))) is None
    assert sidecar_places(chain, place.digest) == ((1, place.key),)
    assert sidecar_places(chain, Digest(bytes(32))) == ()
    (entry,) = read_log(chain, subject(2), limit=10)
    assert entry.place == LogPlace(1, 0, 1)
    assert entry.sender == SENDER
    assert entry.time_ms == GENESIS_MS + BLOCK_MS
    assert entry.receipt == one.result.receipts[0]
    assert chain.world.view.get(b"test/new") == b"1"
    assert chain.world.view.get(b"test/founding") is None


def test_everything_is_there_after_a_restart(tmp_path: Path, chain: Chain) -> None:
    samples = grow(chain, 7)
    tip = chain.tip
    chain.database.close()

    with open_database(tmp_path / "ledger") as database:
        again = open_chain(database, CHAIN_ID, limits=LIMITS)

        assert again.tip == tip
        assert again.world.view.get(b"test/changing") == b"at 7"
        for one in samples:
            assert get_block(again, one.height) == one.stored
            assert get_receipts(again, one.height) == one.result.receipts
        assert len(read_log(again, subject(0), limit=100)) == 14
        grow(again, 1)
        assert again.tip.height == 8


def test_committing_a_block_again_changes_nothing(chain: Chain) -> None:
    first, second = grow(chain, 2)
    tip = chain.tip

    commit_block(chain, second.block, second.result)
    commit_block(chain, first.block, first.result)

    assert chain.tip == tip
    assert chain.world.view.get(b"test/changing") == b"at 2"


def test_a_second_block_at_a_height_is_a_broken_consortium(chain: Chain) -> None:
    other = sample(chain, {}, time_ms=GENESIS_MS + 5)
    (first,) = grow(chain, 1)

    with pytest.raises(ChainConflict, match="decided twice"):
        commit_block(chain, other.block, other.result)

    assert get_block(chain, 1) == first.stored
    assert not has_block(chain, Height(other.height + 1), Digest(bytes(32)))


def test_a_block_is_seen_when_it_is_published_and_not_before(chain: Chain) -> None:
    grow(chain, 1)
    view, tip = chain.world.view, chain.tip
    one = sample(chain, {b"test/changing": b"at 2", b"test/new": b"n"})

    commit = run_to_end(stage_block(chain, one.block, one.result))
    write_commit(chain, commit)

    assert chain.tip == tip
    assert get_block(chain, 2) is None
    assert chain.world.view.get(b"test/changing") == b"at 1"
    assert list(chain.world.view.scan(b"test/new", limit=5)) == []

    publish_commit(chain, commit)

    assert chain.tip.height == 2
    assert get_block(chain, 2) == one.stored
    assert chain.world.view.get(b"test/changing") == b"at 2"
    assert view.get(b"test/changing") == b"at 1"
    assert view.get(b"test/new") is None
    assert list(view.scan(b"test/changing", limit=5)) == [(b"test/changing", b"at 1")]


def test_views_stay_as_they_were_however_far_the_chain_goes(chain: Chain) -> None:
    views = [chain.world.view]
    for _ in range(6):
        grow(chain, 1)
        views.append(chain.world.view)

    for height, view in enumerate(views):
        assert view.height == height
        for _ in range(2):  # From the database, then from what was remembered.
            assert view.get(b"test/changing") == b"at %d" % height
            assert (view.get(b"test/at/000003") is not None) == (height >= 3)
        assert len(list(view.scan(b"test/at/", limit=100))) == height


def test_readers_in_other_threads_never_see_half_a_block(chain: Chain) -> None:
    keys = [b"pair/%d" % number for number in range(6)]
    first = sample(chain, dict.fromkeys(keys, b"0"))
    commit_block(chain, first.block, first.result)
    is_done, mixed = threading.Event(), list[set[bytes | None]]()

    def read_all_the_time() -> None:
        while not is_done.is_set():
            view = chain.world.view
            seen = {view.get(key) for key in keys}
            if len(seen) != 1:
                mixed.append(seen)

    readers = [threading.Thread(target=read_all_the_time) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        one = sample(chain, dict.fromkeys(keys, b"%d" % number))
        commit_block(chain, one.block, one.result)
    is_done.set()
    for reader in readers:
        reader.join()

    assert mixed == []


def test_a_crash_before_publishing_leaves_a_whole_block(tmp_path: Path, chain: Chain) -> None:
    grow(chain, 3)
    one = sample(chain, {b"test/changing": b"at 4"}, subjects=[(0,)])
    write_commit(chain, run_to_end(stage_block(chain, one.block, one.result)))
    chain.database.close()

    with open_database(tmp_path / "ledger") as database:
        again = open_chain(database, CHAIN_ID, limits=LIMITS)

        assert again.tip.height == 4
        assert get_block(again, 4) == one.stored
        assert again.world.view.get(b"test/changing") == b"at 4"
        assert proven(again, 4, b"test/changing") == b"at 4"
        assert proven(again, 3, b"test/changing") == b"at 3"
        commit_block(again, one.block, one.result)
        assert again.tip.height == 4


def test_a_staged_block_that_is_never_written_leaves_nothing(chain: Chain) -> None:
    one = sample(chain, {b"test/new": b"1"})
    run_to_end(stage_block(chain, one.block, one.result))

    other = sample(chain, {b"test/other": b"2"}, time_ms=GENESIS_MS + 7)
    commit_block(chain, other.block, other.result)

    assert chain.world.view.get(b"test/new") is None
    assert proven(chain, 1, b"test/other") == b"2"
    assert proven(chain, 1, b"test/new") is None


def test_a_full_disk_stops_the_block_and_harms_nothing(chain: Chain) -> None:
    grow(chain, 1)
    one = sample(chain, {b"test/changing": b"at 2"})
    chain.database.reserve_bytes = 1 << 60

    with pytest.raises(DiskFull):
        commit_block(chain, one.block, one.result)

    assert chain.tip.height == 1
    assert chain.world.view.get(b"test/changing") == b"at 1"
    chain.database.reserve_bytes = 0
    reopen_chain(chain)
    commit_block(chain, one.block, one.result)
    assert chain.tip.height == 2
    assert proven(chain, 2, b"test/changing") == b"at 2"


def test_reopening_finds_a_block_whose_write_was_not_acknowledged(chain: Chain) -> None:
    grow(chain, 1)
    one = sample(chain, {b"test/changing": b"at 2"})
    write_commit(chain, run_to_end(stage_block(chain, one.block, one.result)))

    reopen_chain(chain)

    assert chain.tip.height == 2
    assert chain.world.view.get(b"test/changing") == b"at 2"


def test_old_roots_stay_provable_for_so_many_heights(chain: Chain) -> None:
    grow(chain, 20)

    for height in range(16, 21):
        assert proven(chain, height, b"test/changing") == b"at %d" % height
        assert proven(chain, height, b"test/at/000018") == (b"v" if height >= 18 else None)
        assert proven(chain, height, b"test/founding") == b"stays"
    for height in (0, 15, 21):
        with pytest.raises(HeightPruned, match="16 to 20"):
            prove_state(chain, height, b"test/changing")


def test_nodes_that_no_provable_root_needs_are_deleted(chain: Chain) -> None:
    for height in range(1, 60):
        one = sample(chain, {b"test/%d" % (height % 7): b"%d" % height})
        commit_block(chain, one.block, one.result)
        if height == 20:
            early = sum(1 for _ in chain.database.scan(NODES))

    assert sum(1 for _ in chain.database.scan(NODES)) <= early + 1
    assert {int.from_bytes(key[1:9], "big") for key, _ in chain.database.scan(STALE)} == {
        56, 57, 58, 59
    }  # fmt: skip


def test_keeping_more_heights_provable_does_not_bring_pruned_ones_back(
    tmp_path: Path, chain: Chain
) -> None:
    grow(chain, 20)
    chain.database.close()

    with open_database(tmp_path / "ledger") as database:
        again = open_chain(database, CHAIN_ID, limits=WorldLimits(proof_heights=1_000))

        with pytest.raises(HeightPruned, match="16 to 20"):
            prove_state(again, 15, b"test/changing")
        assert proven(again, 16, b"test/changing") == b"at 16"
        grow(again, 10)
        assert proven(again, 16, b"test/changing") == b"at 16"
        assert proven(again, 30, b"test/changing") == b"at 30"


def test_a_lost_tree_node_is_damage(tmp_path: Path, chain: Chain) -> None:
    grow(chain, 2)
    world = open_world(chain.database, 2, WorldLimits(nodes_max=0))
    root = state_root(world, 2)
    for key, _ in list(chain.database.scan(NODES)):
        chain.database.delete(key)

    with pytest.raises(StateCorrupt, match=str(tmp_path)):
        prove_entry(world, 2, root, b"test/founding")
    with pytest.raises(StateCorrupt, match=str(tmp_path)):
        prove_entries(world, 2, root, [b"test/founding"])
    with pytest.raises(StateCorrupt):
        run_to_end(stage_world(world, 3, {b"test/founding": b"1"}))
    with pytest.raises(StateCorrupt, match=str(tmp_path)):
        open_world(chain.database, 2, LIMITS)


def test_a_damaged_note_of_what_is_kept_refuses_to_open(tmp_path: Path, chain: Chain) -> None:
    chain.database.put(OLDEST_KEY, b"garbage")

    with pytest.raises(StateCorrupt, match=str(tmp_path)):
        open_chain(chain.database, CHAIN_ID)


def test_a_tree_with_another_root_proves_nothing(chain: Chain) -> None:
    grow(chain, 2)

    with pytest.raises(StateCorrupt, match="root of height 2"):
        prove_entry(chain.world, 2, Digest(bytes(32)), b"test/changing")
    with pytest.raises(StateCorrupt, match="root of height 2"):
        prove_entries(chain.world, 2, Digest(bytes(32)), [b"test/changing"])


def test_the_state_before_the_tip_is_at_hand(tmp_path: Path, chain: Chain) -> None:
    grow(chain, 2)
    certified = chain.world.certified
    assert certified is not None
    assert certified.height == 1
    assert certified.get(b"test/changing") == b"at 1"
    chain.database.close()

    with open_database(tmp_path / "ledger") as database:
        again = open_chain(database, CHAIN_ID, limits=LIMITS)
        assert again.world.certified is None, "the tip's block changed something"
        one = sample(again, {}, subjects=())
        commit_block(again, one.block, one.result)
    with open_database(tmp_path / "ledger") as database:
        again = open_chain(database, CHAIN_ID, limits=LIMITS)

        assert again.world.certified is not None
        assert again.world.certified.height == 2
        assert again.world.certified.get(b"test/changing") == b"at 2"


def test_the_replay_window_is_read_from_the_blocks_that_matter(chain: Chain) -> None:
    samples = grow(chain, 6)
    above_ms = GENESIS_MS + 4 * BLOCK_MS

    entries = list(replay_entries(chain, above_ms))

    assert [one.height for one in entries] == [5, 6]
    assert [one.time_ms for one in entries] == [GENESIS_MS + 5_000, GENESIS_MS + 6_000]
    assert entries[0].ids == tuple(
        (one.tx_id, GENESIS_MS + 4 * BLOCK_MS + WINDOW_MS) for one in samples[4].block.transactions
    )
    assert len(list(replay_entries(chain, 0))) == 6
    assert list(replay_entries(chain, chain.tip.time_ms)) == []
    assert first_height_above(chain, above_ms - 1) == 4


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40])
def test_a_damaged_tip_refuses_to_open(tmp_path: Path, chain: Chain, damage: bytes) -> None:
    stored = chain.database.get(TIP_KEY)
    assert stored is not None
    chain.database.put(TIP_KEY, stored[:30] + damage + stored[31:])
    chain.database.close()

    with (
        open_database(tmp_path / "ledger") as database,
        pytest.raises(DatabaseCorrupt, match=str(tmp_path)),
    ):
        open_chain(database, CHAIN_ID)


def test_a_damaged_tree_node_is_never_part_of_a_proof(tmp_path: Path, chain: Chain) -> None:
    grow(chain, 3)
    nodes = [(key, value) for key, value in chain.database.scan(NODES)]
    chain.database.close()

    for key, value in nodes:
        with open_database(tmp_path / "ledger") as database:
            again = open_chain(database, CHAIN_ID, limits=LIMITS)
            flipped = value[:-1] + bytes((value[-1] ^ 1,))
            database.put(node_key(key[1:]), flipped)
            for height in range(4):
                for state_key in (b"test/changing", b"test/founding", b"test/none"):
                    before = b"at %d" % height if state_key == b"test/changing" else b"stays"
                    expected = None if state_key == b"test/none" else before
                    try:
                        found = proven(again, height, state_key)
                    except StateCorrupt as problem:
                        assert str(tmp_path) in str(problem)  # noqa: PT017
                    else:
                        assert found == expected
            database.put(node_key(key[1:]), value)
