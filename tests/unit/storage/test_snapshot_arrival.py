"""A ledger put together from chunks: broken off anywhere it goes on, and is whole at the end."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.hashing import Digest
from crypto.schema import encode
from crypto.votes import Height
from ledger.blocks import header_digest
from ledger.tree.cache import NodeCache
from ledger.tree.chunks import StateChunk, check_chunk, make_chunk
from storage.arrivals import (
    RANGE_DONE,
    RANGES,
    Arrival,
    Arriving,
    PastBlock,
    adopt_arrival,
    close_arrival,
    finish_arrival,
    first_ranges,
    has_past_block,
    interrupted_arrival,
    open_arrival,
    put_chunk,
    put_header,
    put_past_block,
    range_end,
)
from storage.blocks import (
    entry_after,
    find_transaction,
    get_block,
    get_header,
    get_stored_header,
    get_transaction,
    prove_state,
)
from storage.chain import Chain, Tip, commit_block, create_chain, open_chain
from storage.check import check_start, findings
from storage.database import create_database, open_database
from storage.errors import ArrivalBroken, BlockCorrupt, HeightPruned
from storage.history import History
from storage.journal import close_journal, create_journal
from storage.keys import Place
from storage.layout import NodeLayout, check_layout, make_layout
from storage.pruning import Keep, prune_horizon
from storage.receipts import get_receipts
from storage.world import StoredNodes, state_root
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, Sample, grow

BLOCKS = 8
HEIGHT = 7
FIRST = 5
ENTRIES = 900


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chain, list[Sample]]]:
    """The chain a snapshot is taken of: nine hundred entries, eight blocks."""
    with create_database(tmp_path_factory.mktemp("origin") / "ledger") as database:
        entries = {
            b"test/entry/%d" % number: bytes([number % 256]) * 40 for number in range(ENTRIES)
        }
        chain = create_chain(database, CHAIN_ID, entries, time_ms=GENESIS_MS)
        yield chain, grow(chain, BLOCKS)


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    root = tmp_path / "node"
    made = make_layout(root)
    made.config.write_text("")
    made.genesis.write_text("{}")
    return made


def wanted(chain: Chain) -> Arriving:
    head = get_header(chain, HEIGHT + 1)
    assert head is not None
    return Arriving(
        height=HEIGHT,
        head=header_digest(head),
        state_root=head.state_root,
        nexts=first_ranges(),
    )


def chunk_of(chain: Chain, start: bytes) -> tuple[StateChunk, Digest | None]:
    """A chunk as a source sends it, and where the next one begins."""
    nodes = NodeCache(StoredNodes(chain.database), nodes_max=100)
    chunk = make_chunk(nodes, HEIGHT, Digest(start), leaves_max=11, bytes_max=10_000)
    return chunk, check_chunk(state_root(chain.world, HEIGHT), Digest(start), chunk)


def put_next(chain: Chain, arrival: Arrival, number: int) -> None:
    start = arrival.arriving.nexts[number]
    if start != RANGE_DONE:
        chunk, following = chunk_of(chain, start)
        put_chunk(arrival, number, chunk, following)


def put_rest(chain: Chain, samples: list[Sample], arrival: Arrival) -> None:
    while any(arrival.arriving.nexts):
        for number in range(RANGES):
            put_next(chain, arrival, number)
    for one in samples[FIRST - 1 : HEIGHT]:
        receipts = tuple(encode(receipt) for receipt in one.result.receipts)
        put_past_block(arrival, one.height, PastBlock(block=one.block, receipts=receipts))
    before = get_stored_header(chain, FIRST - 1)
    assert before is not None
    put_header(arrival, Height(FIRST - 1), before)


def finish(chain: Chain, arrival: Arrival, layout: NodeLayout) -> None:
    header, above = get_header(chain, HEIGHT), get_header(chain, HEIGHT + 1)
    assert header is not None
    assert above is not None
    tip = Tip(
        height=header.height,
        digest=header_digest(header),
        time_ms=header.time_ms,
        epoch=header.epoch,
        state_root=above.state_root,
        receipts_root=above.receipts_root,
    )
    history = History(headers_from=FIRST - 1, whole_from=FIRST, indexed_from=FIRST)
    before = {(HEIGHT - 1, b"test/changing"): b"at %d" % (HEIGHT - 1)}
    finish_arrival(arrival, layout, CHAIN_ID, tip, history, before)


def arrived(origin: tuple[Chain, list[Sample]], layout: NodeLayout) -> None:
    chain, samples = origin
    arrival = open_arrival(layout, wanted(chain))
    put_rest(chain, samples, arrival)
    finish(chain, arrival, layout)


def test_what_arrived_is_the_chain_it_came_from(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    chain, samples = origin
    arrived(origin, layout)

    assert adopt_arrival(layout)

    close_journal(create_journal(layout.journal))
    with open_database(layout.ledger) as database:
        new = open_chain(database, CHAIN_ID)
        assert new.tip.height == HEIGHT
        assert list(new.world.view.scan(b"", limit=2 * ENTRIES)) == [
            (key, value if key != b"test/changing" else b"at %d" % HEIGHT)
            for key, value in chain.world.view.scan(b"", limit=2 * ENTRIES)
            if key != b"test/at/%06d" % (HEIGHT + 1)
        ]
        assert get_block(new, FIRST) == samples[FIRST - 1].stored
        assert get_receipts(new, HEIGHT) == samples[HEIGHT - 1].result.receipts
        place = find_transaction(new, samples[FIRST].block.transactions[1].tx_id)
        assert place == Place(FIRST + 1, 1)
        assert get_transaction(new, place) == samples[FIRST].block.transactions[1].signed
        assert findings(check_start(new, layout.journal)) == []
        assert prove_state(new, HEIGHT, b"test/changing").value == b"at %d" % HEIGHT

        last = samples[HEIGHT]
        assert commit_block(new, last.block, last.result) == chain.tip


def test_what_lies_before_it_is_not_here_and_no_damage(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    arrived(origin, layout)
    adopt_arrival(layout)

    with open_database(layout.ledger) as database:
        new = open_chain(database, CHAIN_ID)
        assert get_block(new, FIRST - 1) is None
        assert get_header(new, FIRST - 1) is not None
        assert get_stored_header(new, FIRST - 2) is None
        assert entry_after(new, HEIGHT - 1, b"test/changing") == b"at %d" % (HEIGHT - 1)
        with pytest.raises(HeightPruned):
            entry_after(new, HEIGHT - 2, b"test/changing")
        assert prune_horizon(new, Keep(blocks=1, days=0)) == FIRST


def test_broken_off_anywhere_it_goes_on(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    chain, samples = origin
    chance = random.Random(7)
    leaves = 0

    for _ in range(40):
        arrival = open_arrival(layout, wanted(chain))
        for _ in range(chance.randrange(4)):
            put_next(chain, arrival, chance.randrange(RANGES))
        leaves += arrival.leaves
        close_arrival(arrival)
    arrival = open_arrival(layout, wanted(chain))
    put_rest(chain, samples, arrival)
    leaves += arrival.leaves
    finish(chain, arrival, layout)

    adopt_arrival(layout)
    with open_database(layout.ledger) as database:
        assert open_chain(database, CHAIN_ID).tip.height == HEIGHT
    assert leaves <= ENTRIES + HEIGHT + 1 + 11 * RANGES  # A range's last chunk goes beyond its end.


def test_a_snapshot_of_another_height_begins_anew(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    chain, samples = origin
    arrival = open_arrival(layout, wanted(chain))
    put_next(chain, arrival, 3)
    put_past_block(arrival, Height(HEIGHT), PastBlock(block=samples[HEIGHT - 1].block, receipts=()))
    close_arrival(arrival)
    before = interrupted_arrival(layout)
    other = Arriving(
        height=HEIGHT - 1, head=chain.tip.digest, state_root=Digest(bytes(32)), nexts=first_ranges()
    )

    again = open_arrival(layout, other)

    assert before is not None
    assert before.height == HEIGHT
    assert before.nexts[3] != first_ranges()[3]
    assert again.arriving == other
    assert not has_past_block(again, HEIGHT)
    close_arrival(again)


def test_nothing_is_adopted_before_it_is_whole(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    chain, _ = origin
    arrival = open_arrival(layout, wanted(chain))
    put_next(chain, arrival, 0)
    close_arrival(arrival)

    assert not adopt_arrival(layout)
    assert list(layout.ledger.iterdir()) == []


def test_a_wrong_root_is_noticed_and_begun_anew(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    chain, samples = origin
    arrival = open_arrival(layout, wanted(chain))
    chunk, following = chunk_of(chain, bytes(32))
    forged = StateChunk(left=None, leaves=chunk.leaves[1:], right=chunk.right)
    put_chunk(arrival, 0, forged, following)  # As memory or disk could do: no source can.
    put_rest(chain, samples, arrival)

    with pytest.raises(ArrivalBroken):
        finish(chain, arrival, layout)

    assert interrupted_arrival(layout) is None
    assert not adopt_arrival(layout)


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_crash_while_it_takes_the_ledgers_place_leaves_one_of_them(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout, moment: str
) -> None:
    with create_database(layout.ledger) as database:
        create_chain(database, CHAIN_ID, {}, time_ms=GENESIS_MS)
    arrived(origin, layout)
    if moment in ("between", "after"):
        layout.ledger.rename(layout.former)
    if moment == "after":
        layout.arrived.rename(layout.ledger)

    check_layout(layout.root)
    adopt_arrival(layout)

    with open_database(layout.ledger) as database:
        assert open_chain(database, CHAIN_ID).tip.height == HEIGHT
    assert not layout.former.exists()
    assert not layout.arrived.exists()


def test_ranges_cover_every_key_hash() -> None:
    starts = first_ranges()

    assert starts[0] == bytes(32)
    assert [range_end(number) for number in range(RANGES)] == [*starts[1:], None]


def test_a_header_that_is_missing_within_what_is_kept_is_damage(
    origin: tuple[Chain, list[Sample]], layout: NodeLayout
) -> None:
    arrived(origin, layout)
    adopt_arrival(layout)

    with open_database(layout.ledger) as database:
        database.delete(b"h" + FIRST.to_bytes(8, "big"))
        new = open_chain(database, CHAIN_ID)
        with pytest.raises(BlockCorrupt):
            get_header(new, FIRST)
