"""Passing transactions on: every entry travels once, in few frames, and is repeated."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ports import NotTaken, Submitted
from crypto.schema import decode
from ledger.errors import NotSigned
from ledger.exchange import SUBMIT_ITEMS_MAX, SubmitBatch
from ledger.identity_payloads import Suspend
from ledger.pool import Entry, Pool, PoolLimits
from p2p.config import NetworkConfig, PeerAddress
from p2p.errors import RequestRefused
from p2p.frames import SHARED_BYTES_MAX
from p2p.network import Network
from shell.gossip import (
    FLUSH_MS,
    LARGE_BYTES_MAX,
    Gossip,
    TakeItems,
    announce,
    find_due,
    is_due,
    make_batches,
    on_batch,
    on_large_batch,
)
from shell.kinds import KIND_RULES
from tests.unit.ledger.small_consortium import Consortium, account_of
from tests.unit.p2p.loopback import Node, consortium, new_identity, running, until

ADMIN = "first admin of north"


@pytest.fixture(scope="module")
def entry() -> Entry:
    chain = Consortium()
    payload = Suspend(account_id=account_of(ADMIN), reason="test")
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    return pool.add(chain.transaction("identity.suspend", payload, ADMIN), (), 0)


def weighing(entry: Entry, number: int, sidecar_bytes: Sequence[int]) -> Entry:
    """An entry with sidecars of these sizes; its bytes carry its number."""
    sidecars = tuple(number.to_bytes(4, "big") + bytes(size - 4) for size in sidecar_bytes)
    size = entry.transaction.size_bytes + sum(sidecar_bytes)
    return replace(entry, sidecars=sidecars, size_bytes=size)


sizes = st.lists(
    st.lists(st.sampled_from([32, 1_000, 20_000, 60_000, 200_000]), max_size=4), max_size=40
)


@given(sizes)
def test_every_entry_travels_once_and_only_alone_beyond_a_frame(
    entry: Entry, sizes: list[list[int]]
) -> None:
    entries = [weighing(entry, number, one) for number, one in enumerate(sizes)]

    batches = make_batches(entries)

    items = [decode(SubmitBatch, one).items for one in batches]
    assert [one.sidecars for some in items for one in some] == [one.sidecars for one in entries]
    for batch, carried in zip(batches, items, strict=True):
        assert len(batch) <= SHARED_BYTES_MAX or len(carried) == 1


def test_batches_are_as_full_as_may_be(entry: Entry) -> None:
    counts = [len(decode(SubmitBatch, one).items) for one in make_batches([entry] * 1_300)]

    assert counts[:-1] == [min(SUBMIT_ITEMS_MAX, counts[0])] * (len(counts) - 1)
    assert sum(counts) == 1_300
    assert make_batches([]) == []


def test_what_came_early_is_sent_again_as_its_window_begins(entry: Entry) -> None:
    """Others take little of it before; the primary must have it when it may be in a block."""
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    from_ms = entry.transaction.body.valid_from_ms
    one = pool.add(entry.transaction, (), from_ms - 10_300)

    due = [at_ms for at_ms in range(-9_800, 4_000, 1_000) if find_due(pool, from_ms + at_ms)]

    assert one.is_early
    assert due == [-8_800, -7_800, -5_800, -1_800, 200], "1, 2, 4, 8 seconds old, and then valid"


def test_while_blocks_come_only_what_they_passed_over_is_sent_again() -> None:
    """A long queue must not be made longer by everybody who sends it once more."""
    pool = Pool(PoolLimits(transactions_max=99, bytes_max=1 << 20, account_transactions_max=99))
    chain, payload = Consortium(), Suspend(account_id=account_of(ADMIN), reason="test")
    passed_over, decided, behind = (
        chain.transaction("identity.suspend", payload, ADMIN) for _ in range(3)
    )
    for added_ms, one in ((1_000, passed_over), (2_500, decided), (2_600, behind)):
        pool.add(one, (), added_ms)

    still = find_due(pool, 5_050)
    pool.remove([decided.tx_id], decided_ms=4_800)
    moving = find_due(pool, 5_050)
    stopped = find_due(pool, 10_700)

    assert [one.transaction for one in still] == [passed_over, decided, behind]
    assert [one.transaction for one in moving] == [passed_over]
    assert [one.transaction for one in stopped] == [behind]


def test_what_the_last_blocks_left_over_is_sent_again_whatever_its_age() -> None:
    """What was held back while blocks came must not wait for the next power of two."""
    pool = Pool(PoolLimits(transactions_max=99, bytes_max=1 << 20, account_transactions_max=99))
    chain, payload = Consortium(), Suspend(account_id=account_of(ADMIN), reason="test")
    decided, left = (chain.transaction("identity.suspend", payload, ADMIN) for _ in range(2))
    for added_ms, one in ((1_000, decided), (1_500, left)):
        pool.add(one, (), added_ms)
    pool.remove([decided.tx_id], decided_ms=6_000)

    moving, stopped, later = (find_due(pool, now_ms) for now_ms in (6_900, 7_500, 8_600))

    assert moving == []
    assert [one.transaction for one in stopped] == [left], "it is six seconds old"
    assert later == []


@pytest.mark.parametrize("added_ms", [1_000, 90_000], ids=["not due itself", "clock stepped back"])
def test_what_is_due_is_found_behind_what_is_not(added_ms: int) -> None:
    """One account can have a thousand waiting for their time, and others wait behind them."""
    pool = Pool(PoolLimits(transactions_max=99, bytes_max=1 << 20, account_transactions_max=99))
    chain, payload = Consortium(), Suspend(account_id=account_of(ADMIN), reason="test")
    first, second = (chain.transaction("identity.suspend", payload, ADMIN) for _ in range(2))
    pool.add(first, (), added_ms)
    pool.add(second, (), 2_000)

    due = find_due(pool, 4_050, limit=1)

    assert [one.transaction for one in due] == [second]


def test_a_transaction_is_sent_again_after_1_2_4_8_seconds() -> None:
    due = [age_s for age_s in range(100) if is_due(age_s * 1_000 + 999)]

    assert due == [1, 2, 4, 8, 16, 32, 64]
    assert not is_due(0)
    assert not is_due(-5_000)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with running(0) as node:
        yield node


async def test_a_malformed_batch_is_counted_against_its_peer(node: Node) -> None:
    taken: list[object] = []
    gossip = Gossip(network=node.network, take=collecting(taken))

    on_batch(gossip, 2, b"junk")

    assert (gossip.malformed, taken, gossip.tasks) == ({2: 1}, [], set())


async def test_a_batch_of_a_peer_is_taken_whole(entry: Entry) -> None:
    taken: list[object] = []
    async with consortium(2) as (one, _):
        gossip = Gossip(network=one.network, take=collecting(taken))
        (batch,) = make_batches([entry, weighing(entry, 1, [40])])

        on_batch(gossip, 1, batch)
        for task in tuple(gossip.tasks):
            await task

    assert taken == [
        (entry.transaction.signed, ()),
        (entry.transaction.signed, (bytes(3) + b"\x01" + bytes(36),)),
    ]


async def test_a_peer_that_passes_on_what_nobody_signed_is_not_read_for_a_while(
    entry: Entry,
) -> None:
    """A check costs more than the loop's work with a transaction; a correct peer has made it."""
    async with consortium(2) as (one, _):
        gossip = Gossip(network=one.network, take=find_unsigned)
        (batch,) = make_batches([entry] * 30)

        on_batch(gossip, 1, batch)
        for task in tuple(gossip.tasks):
            await task

    assert gossip.allowances[1].work_us < 0
    assert gossip.allowances[1].pauses == 1


async def test_what_fits_into_frames_is_not_uploaded(node: Node, entry: Entry) -> None:
    """Uploads are not counted by the transaction: many in one would cost nothing."""
    taken: list[object] = []
    gossip = Gossip(network=node.network, take=collecting(taken))
    (batch,) = make_batches([entry, weighing(entry, 1, [40])])

    with pytest.raises(RequestRefused, match="malformed"):
        await on_large_batch(gossip, 2, b"", in_chunks(batch))

    assert taken == []


@pytest.mark.parametrize(
    ("size", "code"),
    [(10, "malformed"), (LARGE_BYTES_MAX, "malformed"), (LARGE_BYTES_MAX + 1, "too_large")],
)
async def test_a_large_batch_is_bounded_and_has_to_be_one(node: Node, size: int, code: str) -> None:
    gossip = Gossip(network=node.network, take=collecting([]))

    with pytest.raises(RequestRefused) as refusal:
        await on_large_batch(gossip, 2, b"", in_chunks(bytes(size)))

    assert code in str(refusal.value)
    assert not gossip.uploading, "the peer may try again"


async def test_a_peer_uploads_one_large_batch_at_a_time(node: Node) -> None:
    gossip = Gossip(network=node.network, take=collecting([]))

    async def hostile() -> AsyncIterator[bytes]:
        with pytest.raises(RequestRefused, match="busy"):
            await on_large_batch(gossip, 2, b"", in_chunks(b""))
        yield b"junk"

    with pytest.raises(RequestRefused, match="malformed"):
        await on_large_batch(gossip, 2, b"", hostile())


async def test_a_lone_transaction_leaves_at_once_and_those_that_follow_together(
    entry: Entry,
) -> None:
    loop = asyncio.get_running_loop()
    others = [weighing(entry, number, [40]) for number in range(1, 4)]
    heard: list[bytes] = []
    async with listening(heard) as network:
        gossip = Gossip(network=network, take=collecting([]))
        announce(gossip, [entry])
        assert gossip.flush is not None
        is_due_at_once = gossip.flush.when() <= loop.time()
        await until(lambda: gossip.flush is None)
        flushed_s = gossip.flushed_s
        for one in others:
            announce(gossip, [one])
        assert gossip.flush is not None
        second_s = gossip.flush.when()
        await until(lambda: len(heard) == 2)

    assert is_due_at_once
    assert second_s >= flushed_s + FLUSH_MS / 1000
    assert [len(decode(SubmitBatch, one).items) for one in heard] == [1, 3]


@asynccontextmanager
async def listening(heard: list[bytes]) -> AsyncIterator[Network]:
    """A network whose only peer keeps the batches that it hears."""
    networks: list[Network] = []
    identities = []
    for number, bodies in enumerate(([], heard)):
        identities.append(new_identity())
        networks.append(
            Network(
                NetworkConfig(host="127.0.0.1", port=0, kinds=KIND_RULES),
                identities[number],
                self_id=number,
                peers=(),
                on_frame=partial(keep_body, bodies),
            )
        )
    async with AsyncExitStack() as stack:
        for network in networks:
            await network.start()
            stack.push_async_callback(network.close)
        addresses = [
            PeerAddress(
                peer_id=number, host="127.0.0.1", port=network.port, pin=identities[number].pin
            )
            for number, network in enumerate(networks)
        ]
        for number, network in enumerate(networks):
            network.set_peers(addresses, self_id=number)
        await until(lambda: networks[0].connected() == (1,))
        yield networks[0]


def keep_body(bodies: list[bytes], _peer: int, _kind: int, body: bytes) -> None:
    bodies.append(body)


def collecting(taken: list[object]) -> TakeItems:
    async def take(
        items: Sequence[tuple[bytes, tuple[bytes, ...]]],
    ) -> Sequence[Submitted | NotTaken]:
        taken.extend(items)
        return ()

    return take


async def find_unsigned(
    items: Sequence[tuple[bytes, tuple[bytes, ...]]],
) -> Sequence[Submitted | NotTaken]:
    """Take nothing: no signature is good."""
    problem = NotTaken(tx_id=None, code=NotSigned.code, text="not signed", definite=True)
    return [problem] * len(items)


async def in_chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1 << 18):
        yield content[start : start + (1 << 18)]
