import contextlib
from functools import cache

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.signatures import P256_ORDER
from ledger.contract import Lane
from ledger.errors import AccountFull, AlreadyPooled, PoolError, PoolFull
from ledger.identity_payloads import Restore, Suspend
from ledger.owed import (
    count_admissible,
    note_crowded,
    owed_between,
    owed_since_ms,
    waiting_since_ms,
)
from ledger.pool import EARLY_MS, SHARES_PERCENT, BlockLimits, Pool, PoolLimits, is_admissible
from ledger.transactions import (
    SignedTransaction,
    Transaction,
    decode_transaction,
)
from tests.unit.ledger.small_consortium import CREATED_MS, Consortium, account_of

SIGNERS = ("first admin of north", "second admin of north", "first admin of south")
LIMITS = PoolLimits(transactions_max=20, bytes_max=20_000, account_transactions_max=6)
BLOCK = BlockLimits(transactions_max=10, bytes_max=20_000, account_transactions_max=4)
CONSORTIUM = Consortium()


@cache
def transaction(
    number: int,
    *,
    lane: Lane = Lane.REST,
    by: str = SIGNERS[0],
    valid_from_ms: int = CREATED_MS,
    window_ms: int = 60_000,
    sidecar_count: int = 0,
) -> Transaction:
    """A transaction that only the pool looks at: suspend is an emergency, restore is not."""
    kind, payload = {
        Lane.EMERGENCY: ("identity.suspend", Suspend),
        Lane.REST: ("identity.restore", Restore),
    }[lane]
    return CONSORTIUM.transaction(
        kind,
        payload(account_id=account_of(str(number)), reason=str(number)),
        by,
        valid_from_ms=valid_from_ms,
        window_ms=window_ms,
        sidecars=[Digest(bytes([at]) * 32) for at in range(sidecar_count)],
    )


def make_pool(**changes: int) -> Pool:
    limits = {
        "transactions_max": LIMITS.transactions_max,
        "bytes_max": LIMITS.bytes_max,
        "account_transactions_max": LIMITS.account_transactions_max,
    }
    return Pool(PoolLimits(**{**limits, **changes}))


def test_the_oldest_goes_first_and_stays_until_removed() -> None:
    pool = make_pool()
    waiting = [transaction(number) for number in range(4)]
    for at, one in enumerate(waiting):
        pool.add(one, (), CREATED_MS + at)

    first, again = (pool.take(BLOCK, time_ms=CREATED_MS) for _ in range(2))
    pool.remove([waiting[0].tx_id])

    assert [entry.transaction for entry in first] == waiting
    assert first == again
    assert [e.transaction for e in pool.take(BLOCK, time_ms=CREATED_MS)] == waiting[1:]
    assert pool.find(waiting[0].tx_id) is None


def test_a_second_signature_over_a_waiting_body_takes_no_place() -> None:
    pool = make_pool()
    original = transaction(1)
    variant = other_signature(original)

    pool.add(original, (), CREATED_MS)
    with pytest.raises(AlreadyPooled):
        pool.add(variant, (), CREATED_MS)

    assert variant.tx_id == original.tx_id
    assert variant.signed_hash != original.signed_hash
    assert len(pool) == 1
    assert pool.get(original.signed_hash) is pool.find(variant.tx_id)
    assert pool.get(variant.signed_hash) is None
    assert pool.counters.duplicates == 1


def other_signature(original: Transaction) -> Transaction:
    """Another low-S signature with the same body; its own validity is not the pool's matter."""
    outer = decode(SignedTransaction, original.signed)
    r = (int.from_bytes(outer.signature[:32], "big") + 1) % P256_ORDER
    forged = r.to_bytes(32, "big") + outer.signature[32:]
    signed = encode(SignedTransaction(body=outer.body, key=outer.key, signature=forged))
    return decode_transaction(signed, original.body.chain_id)


def fill(pool: Pool, lane: Lane) -> int:
    """Offer more than fits; return how many the pool took."""
    for number in range(LIMITS.transactions_max):
        with contextlib.suppress(PoolFull):
            pool.add(transaction(number, lane=lane), (), CREATED_MS)
    assert pool.counters.refused_full > 0
    return len(pool)


def test_a_flood_of_the_rest_leaves_room_for_emergencies() -> None:
    pool = make_pool(account_transactions_max=100)
    flood = fill(pool, Lane.REST)

    pool.add(transaction(0, lane=Lane.EMERGENCY), (), CREATED_MS)

    assert flood == LIMITS.transactions_max * 70 // 100
    assert pool.lane_counts() == {Lane.EMERGENCY: 1, Lane.GOVERNANCE: 0, Lane.REST: flood}


def test_a_flood_of_emergencies_leaves_room_for_the_rest() -> None:
    pool = make_pool(account_transactions_max=100)
    flood = fill(pool, Lane.EMERGENCY)

    pool.add(transaction(0), (), CREATED_MS)

    assert flood == LIMITS.transactions_max * 50 // 100
    assert pool.lane_counts()[Lane.REST] == 1


def test_an_emergency_goes_first_although_it_came_last() -> None:
    pool = make_pool()
    for number in range(6):
        pool.add(transaction(number), (), CREATED_MS)
    urgent = transaction(0, lane=Lane.EMERGENCY)
    pool.add(urgent, (), CREATED_MS)

    taken = pool.take(BLOCK, time_ms=CREATED_MS)

    assert taken[0].transaction is urgent


def test_emergencies_do_not_keep_the_rest_out_of_a_block() -> None:
    pool = Pool(PoolLimits(transactions_max=100, bytes_max=1 << 20, account_transactions_max=50))
    for number in range(30):
        by = SIGNERS[number % 3]
        pool.add(transaction(number, lane=Lane.EMERGENCY, by=by), (), CREATED_MS)
        pool.add(transaction(number, by=by), (), CREATED_MS)

    taken = pool.take(
        BlockLimits(transactions_max=10, bytes_max=1 << 20, account_transactions_max=10),
        time_ms=CREATED_MS,
    )

    lanes = [entry.lane for entry in taken]
    assert len(taken) == 10
    assert lanes.count(Lane.REST) == 4


def test_one_account_gets_its_share_of_a_block_and_no_more() -> None:
    pool = make_pool()
    for number in range(6):
        pool.add(transaction(number), (), CREATED_MS)
    pool.add(transaction(9, by=SIGNERS[1]), (), CREATED_MS)

    taken = pool.take(BLOCK, time_ms=CREATED_MS)

    senders = [entry.transaction.body.sender for entry in taken]
    assert senders == [account_of(SIGNERS[0])] * 4 + [account_of(SIGNERS[1])]


def test_an_account_that_fills_its_places_may_still_raise_an_emergency() -> None:
    pool = make_pool()
    for number in range(LIMITS.account_transactions_max):
        pool.add(transaction(number), (), CREATED_MS)

    with pytest.raises(AccountFull):
        pool.add(transaction(99), (), CREATED_MS)
    pool.add(transaction(99, lane=Lane.EMERGENCY), (), CREATED_MS)

    assert pool.counters.refused_account == 1


def test_sidecar_bytes_count() -> None:
    pool = make_pool()
    big = transaction(1, sidecar_count=2)

    entry = pool.add(big, (bytes(5_000), bytes(4_000)), CREATED_MS)

    assert entry.size_bytes == big.size_bytes + 9_000
    assert pool.bytes_used == entry.size_bytes
    with pytest.raises(PoolFull):
        pool.add(transaction(2, sidecar_count=1), (bytes(9_000),), CREATED_MS)
    small_block = BlockLimits(
        transactions_max=10, bytes_max=entry.size_bytes - 1, account_transactions_max=10
    )
    assert pool.take(small_block, time_ms=CREATED_MS) == ()


@pytest.mark.parametrize(
    ("at_ms", "admissible"), [(-1, False), (0, True), (59_999, True), (60_000, False)]
)
def test_a_block_takes_what_is_valid_at_its_time(at_ms: int, admissible: bool) -> None:
    pool = make_pool()
    pool.add(transaction(1), (), CREATED_MS)

    taken = pool.take(BLOCK, time_ms=CREATED_MS + at_ms)

    assert bool(taken) is admissible
    assert pool.has_admissible(CREATED_MS + at_ms) is admissible


def test_the_expired_leave_at_the_exact_millisecond() -> None:
    pool = make_pool()
    early, late = transaction(1, window_ms=1_500), transaction(2, window_ms=1_501)
    for one in (early, late):
        pool.add(one, (), CREATED_MS)

    assert pool.expire(CREATED_MS + 1_499) == ()
    gone = pool.expire(CREATED_MS + 1_500)

    assert [entry.transaction for entry in gone] == [early]
    assert [entry.transaction for entry in pool.expire(CREATED_MS + 9_999)] == [late]
    assert pool.counters.expired == 2


def test_the_pool_says_since_when_the_oldest_admissible_waits() -> None:
    pool = make_pool()
    assert waiting_since_ms(pool, CREATED_MS) is None
    pool.add(transaction(1, valid_from_ms=CREATED_MS + 500), (), CREATED_MS + 1)
    pool.add(transaction(2), (), CREATED_MS + 2)
    pool.add(transaction(3, lane=Lane.EMERGENCY), (), CREATED_MS + 3)

    assert waiting_since_ms(pool, CREATED_MS + 10) == CREATED_MS + 2
    assert waiting_since_ms(pool, CREATED_MS + 500) == CREATED_MS + 2, "the first came too early"
    assert next(iter(pool.entries())).added_ms == CREATED_MS + 1


def test_an_account_near_its_places_is_owed_nothing_until_that_has_passed() -> None:
    """Another pool, full of the others, may rightly have turned the last one away."""
    pool = make_pool()
    held = [transaction(number) for number in range(3)]
    for one in (*held, transaction(8, by=SIGNERS[1])):
        pool.add(one, (), CREATED_MS + 1)
    note_crowded(pool, CREATED_MS + 2)
    before = owed_since_ms(pool, CREATED_MS + 2)
    pool.add(transaction(3), (), CREATED_MS + 3)
    pool.remove([transaction(8, by=SIGNERS[1]).tx_id])

    note_crowded(pool, CREATED_MS + 700)
    crowded = owed_since_ms(pool, CREATED_MS + 700)
    pool.remove([held[0].tx_id])
    note_crowded(pool, CREATED_MS + 900)
    after = owed_since_ms(pool, CREATED_MS + 900)

    assert before == CREATED_MS + 1
    assert crowded == CREATED_MS + 700, "from now on at the earliest"
    assert after == CREATED_MS + 700
    assert waiting_since_ms(pool, CREATED_MS + 900) == CREATED_MS + 1, "it waits all the same"


def test_nobody_is_owed_anything_while_a_lane_has_hardly_room() -> None:
    pool = make_pool(account_transactions_max=20)
    for number in range(13):
        pool.add(transaction(number), (), CREATED_MS)
    urgent = transaction(50, lane=Lane.EMERGENCY)
    pool.add(urgent, (), CREATED_MS + 5)

    note_crowded(pool, CREATED_MS + 400)

    assert owed_since_ms(pool, CREATED_MS + 400) == CREATED_MS + 5, "that lane has room"
    pool.remove([urgent.tx_id])
    assert owed_since_ms(pool, CREATED_MS + 400) == CREATED_MS + 400


def test_what_is_owed_since_a_stretch_of_time_is_found_in_order() -> None:
    pool = make_pool()
    early = transaction(0, valid_from_ms=CREATED_MS + 30)
    entries = [pool.add(early, (), CREATED_MS)]
    entries += [pool.add(transaction(number), (), CREATED_MS + number) for number in (1, 2)]

    found = owed_between(pool, CREATED_MS + 2, CREATED_MS + 31, limit=9)
    first = owed_between(pool, CREATED_MS, CREATED_MS + 31, limit=1)

    assert found == (entries[0], entries[2])
    assert first == (entries[0],)


def test_only_what_a_block_may_hold_now_is_counted() -> None:
    pool = make_pool()
    for number in range(3):
        pool.add(transaction(number), (), CREATED_MS)
    pool.add(transaction(3, valid_from_ms=CREATED_MS + 500), (), CREATED_MS)

    assert count_admissible(pool, CREATED_MS + 499, limit=9) == 3
    assert count_admissible(pool, CREATED_MS + 500, limit=9) == 4
    assert count_admissible(pool, CREATED_MS + 500, limit=2) == 2


def test_what_comes_early_takes_no_place_of_what_is_valid() -> None:
    """Else it would keep out of one pool, for a minute, what others expect a block to hold."""
    pool = make_pool()
    early = transaction(0, valid_from_ms=CREATED_MS + EARLY_MS + 1)
    pool.add(early, (), CREATED_MS)

    with pytest.raises(AccountFull, match="not valid yet"):
        pool.add(transaction(1, valid_from_ms=CREATED_MS + 9_000), (), CREATED_MS)
    for number in range(2, 2 + LIMITS.account_transactions_max):
        pool.add(transaction(number, valid_from_ms=CREATED_MS + EARLY_MS), (), CREATED_MS)
    pool.remove([early.tx_id])
    pool.add(transaction(1, valid_from_ms=CREATED_MS + 9_000), (), CREATED_MS)

    assert [one.transaction for one in pool.early()] == [
        transaction(1, valid_from_ms=CREATED_MS + 9_000)
    ]


def test_a_pool_is_not_filled_by_what_comes_early() -> None:
    pool = make_pool()
    for number in range(2):
        one = transaction(number, by=SIGNERS[number], valid_from_ms=CREATED_MS + 9_000)
        pool.add(one, (), CREATED_MS)

    with pytest.raises(PoolFull, match="send it when it is valid"):
        pool.add(transaction(2, by=SIGNERS[2], valid_from_ms=CREATED_MS + 9_000), (), CREATED_MS)


class PoolMachine(RuleBasedStateMachine):
    """Whatever is offered, the pool is bounded, and its books balance."""

    @initialize()
    def start(self) -> None:
        self.pool = make_pool()
        self.now_ms = CREATED_MS
        self.offered = 0
        self.refused = 0

    @rule(
        number=st.integers(0, 15),
        lane=st.sampled_from([Lane.EMERGENCY, Lane.REST]),
        by=st.sampled_from(SIGNERS),
        window_ms=st.sampled_from([1_000, 2_500, 60_000]),
        sidecar_count=st.integers(0, 2),
    )
    def add(self, number: int, lane: Lane, by: str, window_ms: int, sidecar_count: int) -> None:
        offered = transaction(
            number, lane=lane, by=by, window_ms=window_ms, sidecar_count=sidecar_count
        )
        known = self.pool.find(offered.tx_id) is not None
        self.offered += 1
        try:
            self.pool.add(offered, (bytes(400),) * sidecar_count, self.now_ms)
        except AlreadyPooled:
            assert known
            self.refused += 1
        except PoolError:
            assert not known
            self.refused += 1

    @rule(numbers=st.lists(st.integers(0, 15), max_size=3), by=st.sampled_from(SIGNERS))
    def remove(self, numbers: list[int], by: str) -> None:
        self.pool.remove([transaction(number, by=by).tx_id for number in numbers])

    @rule(step_ms=st.integers(1, 1_500))
    def expire(self, step_ms: int) -> None:
        self.now_ms += step_ms
        for entry in self.pool.expire(self.now_ms):
            assert entry.transaction.body.valid_until_ms <= self.now_ms

    @rule(
        count_max=st.integers(1, 12), bytes_max=st.integers(100, 9_000), account=st.integers(1, 5)
    )
    def take(self, count_max: int, bytes_max: int, account: int) -> None:
        limits = BlockLimits(
            transactions_max=count_max, bytes_max=bytes_max, account_transactions_max=account
        )
        taken = self.pool.take(limits, time_ms=self.now_ms)
        senders = [entry.transaction.body.sender for entry in taken]
        assert len({entry.transaction.tx_id for entry in taken}) == len(taken) <= count_max
        assert sum(entry.size_bytes for entry in taken) <= bytes_max
        assert all(senders.count(sender) <= account for sender in senders)
        assert all(is_admissible(entry.transaction, self.now_ms) for entry in taken)
        for lane in SHARES_PERCENT:
            added = [entry.added_ms for entry in taken if entry.lane is lane]
            assert added == sorted(added)

    @invariant()
    def is_bounded_and_balanced(self) -> None:
        if not hasattr(self, "pool"):
            return
        pool = self.pool
        assert len(pool) <= LIMITS.transactions_max
        assert pool.bytes_used <= LIMITS.bytes_max
        entries = list(pool._entries.values())
        assert pool.bytes_used == sum(entry.size_bytes for entry in entries)
        assert sum(pool.lane_counts().values()) == len(entries) == len(pool._by_signed_hash)
        assert sum(pool._accounts.values()) == len(entries)
        assert all(0 < held <= LIMITS.account_transactions_max for held in pool._accounts.values())
        assert sum(len(bucket) for bucket in pool._expiries.values()) == len(entries)
        assert all(pool._expiries.values())
        counters = pool.counters
        assert self.offered == counters.added + self.refused
        assert self.refused == (
            counters.duplicates + counters.refused_full + counters.refused_account
        )
        assert counters.added == len(pool) + counters.removed + counters.expired


def test_the_pool_is_bounded_and_its_books_balance() -> None:
    run_state_machine_as_test(PoolMachine)
